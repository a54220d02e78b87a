import numpy as np
import pytest

from app.pipeline import resample


@pytest.mark.parametrize("dt", [0.4e-3, 0.8333e-3, 2e-3])
@pytest.mark.parametrize("rows", [300, 344, 700])
def test_the_grid_is_one_of_depth_shares_and_seconds(dt: float, rows: int) -> None:
    columns = round(1.0 / dt)
    pixels = np.zeros((rows, columns), np.uint8)
    pixels[rows // 2 :] = 200  # half the depth
    pixels[:, columns // 2 :] //= 2  # half the time
    picture = resample.network_picture(pixels, dt)
    assert picture.shape == (256, 800)
    assert picture[200, 200] == 200
    assert picture[200, 600] == 100
    assert picture[100].max() == 0
    assert int(np.argmax(picture[:, 100] > 100)) == pytest.approx(128, abs=1)
    assert int(np.argmax(picture[200] < 150)) == pytest.approx(400, abs=1)


def test_gain_hardly_matters_to_what_the_networks_see() -> None:
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 120, (256, 400)).astype(np.uint8)
    brighter = (picture * 2).astype(np.uint8)
    one = resample.normalised(picture, resample.bright_grey(picture))
    other = resample.normalised(brighter, resample.bright_grey(brighter))
    assert one == pytest.approx(other, abs=0.02)


def test_an_empty_picture_stays_dark() -> None:
    picture = np.full((256, 300), 3, np.uint8)
    assert resample.bright_grey(picture) == 40
    assert resample.normalised(picture, 40).max() < 0.25
