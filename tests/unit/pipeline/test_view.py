import numpy as np
import pytest

from app.pipeline.resample import bright_grey, network_picture, normalised
from app.pipeline.view import Box, viewer
from tests.unit.pipeline.strips import make_strip

DT = 1.25e-3


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 700), np.uint8)


def test_unit_grey_shows_whole_pixels_as_they_are(pixels: np.ndarray) -> None:
    show = viewer(make_strip(pixels, seconds_per_column=DT), "unit")
    assert show(Box(100, 20, 356, 276)) == pytest.approx(pixels[20:276, 100:356] / 255, abs=1e-6)
    assert np.array_equal(show(Box(99.6, 20.4, 355.7, 275.6)), show(Box(100, 20, 356, 276)))


def test_unit_grey_overshoots(pixels: np.ndarray) -> None:
    shown = viewer(make_strip(pixels, seconds_per_column=DT), "unit")(Box(0, 0, 90, 90))
    assert shown.dtype == np.float32
    assert shown.min() < 0
    assert shown.max() > 1


def test_scaled_grey_is_that_of_the_networks_grid(pixels: np.ndarray) -> None:
    strip = make_strip(pixels, seconds_per_column=DT)
    picture = network_picture(pixels, DT)
    expected = normalised(picture[:, 100:356], bright_grey(picture))
    assert np.abs(viewer(strip, "scaled")(Box(100, 0, 356, 300)) - expected).max() < 1e-6


@pytest.mark.parametrize("grey", ["unit", "scaled"])
def test_a_box_narrower_than_a_pixel_shows_something(pixels: np.ndarray, grey) -> None:
    shown = viewer(make_strip(pixels, seconds_per_column=DT), grey)(Box(10.1, 5.2, 10.3, 5.4))
    assert shown.shape == (256, 256)
    assert np.isfinite(shown).all()
