"""One recording in every wrapping: the strip does not depend on how its pixels are stored."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from app.pipeline.dicom import open_recording
from app.pipeline.stitch import stitch
from models.simulation.scanner import Layout, write_screens
from tests.strips import make_strip
from tests.wrappings import LOSSLESS, LOSSY

# The files of an encoder for tests may make pydicom warn.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

WIDTH, STARTS = 430, (0, 40, 75)
STRIP = make_strip(rows=64, columns=WIDTH + STARTS[-1])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "recording.dcm"
    write_screens(
        STRIP, path, seconds_per_column=1 / 1200, mm_per_row=0.02, width=WIDTH, starts=STARTS
    )
    return path


@pytest.mark.parametrize("name", LOSSLESS)
def test_without_a_loss_the_strip_is_identical(plain: Path, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copy(plain, tmp_path))
    LOSSLESS[name](path)

    strip = stitch(open_recording(path))

    np.testing.assert_array_equal(strip.pixels, STRIP)
    assert strip.starts == STARTS
    assert strip.warnings == ()


@pytest.mark.parametrize("name", [name for name in LOSSLESS if "YBR_FULL_422" in name])
def test_a_screen_of_odd_columns_holds_half_a_pair(tmp_path: Path, name: str) -> None:
    path = tmp_path / "recording.dcm"
    write_screens(
        STRIP, path, seconds_per_column=1 / 1200, mm_per_row=0.02, width=WIDTH, starts=STARTS,
        layout=Layout(right=29),
    )  # fmt: skip
    LOSSLESS[name](path)

    np.testing.assert_array_equal(stitch(open_recording(path)).pixels, STRIP)


@pytest.mark.parametrize("name", LOSSY)
def test_with_a_loss_the_strip_is_alike_and_no_screen_moves(
    plain: Path, tmp_path: Path, name: str
) -> None:
    path = Path(shutil.copy(plain, tmp_path))
    LOSSY[name](path)

    strip = stitch(open_recording(path))

    assert strip.starts == STARTS
    assert strip.pixels.shape == STRIP.shape
    assert np.abs(strip.pixels.astype(int) - STRIP).mean() < 5
    assert strip.warnings == ()
