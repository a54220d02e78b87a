"""What compression with losses changes of the medians that are reported: less than 3 %."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.pipeline.analysis import analyse
from app.pipeline.networks import Networks
from models.simulation.recording import simulate_recording
from models.simulation.scanner import write_screens
from tests.wrappings import LOSSY

FEATURES = ("lvid_d_mm", "lvid_s_mm", "heart_rate_bpm")
Write = Callable[..., object]


def medians(path: Path, networks: Networks) -> NDArray[np.float64]:
    features = analyse(path, networks).features
    found = [features[name].median for name in FEATURES]
    assert None not in found
    return np.array(found)


@pytest.fixture(scope="module", params=[11, 12, 13])
def simulated(request: pytest.FixtureRequest) -> Write:
    recording = simulate_recording(
        request.param, duration_s=3.0, rows=344, seconds_per_column=1 / 1200, acquisition="good"
    )
    return partial(
        write_screens,
        recording.pixels,
        seconds_per_column=recording.seconds_per_column,
        mm_per_row=recording.mm_per_row,
        screens=12,
    )


@pytest.mark.parametrize("quality", [90, 50])
def test_jpeg(simulated: Write, quality: int, networks: Networks, tmp_path: Path) -> None:
    plain, lossy = tmp_path / "plain.dcm", tmp_path / "lossy.dcm"
    simulated(plain)
    simulated(lossy, encoding="jpeg", jpeg_quality=quality)
    np.testing.assert_allclose(medians(lossy, networks), medians(plain, networks), rtol=0.03)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_jpeg_2000(simulated: Write, networks: Networks, tmp_path: Path) -> None:
    plain, lossy = tmp_path / "plain.dcm", tmp_path / "lossy.dcm"
    simulated(plain)
    simulated(lossy)
    LOSSY["JPEG 2000, MONOCHROME2"](lossy)
    np.testing.assert_allclose(medians(lossy, networks), medians(plain, networks), rtol=0.03)


@pytest.mark.parametrize("quality", [90, 75, 50])
def test_jpeg_of_a_real_strip(
    reference_data: Path, quality: int, networks: Networks, tmp_path: Path
) -> None:
    pixels = np.asarray(Image.open(reference_data / "real" / "r4_strip.png").convert("L"))
    write = partial(write_screens, pixels, seconds_per_column=1 / 1200, mm_per_row=0.020645)
    plain, lossy = tmp_path / "plain.dcm", tmp_path / "lossy.dcm"
    write(plain)
    write(lossy, encoding="jpeg", jpeg_quality=quality)
    np.testing.assert_allclose(medians(lossy, networks), medians(plain, networks), rtol=0.03)
