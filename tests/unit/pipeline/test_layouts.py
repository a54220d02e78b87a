"""One M-mode in every layout, in several wrappings: what is read does not depend on either."""

from pathlib import Path

import numpy as np
import pytest

from app.pipeline.dicom import open_recording
from app.pipeline.stitch import stitch
from models.simulation.scanner import write_screens
from tests.layouts import CASES, MM_PER_ROW, SECONDS_PER_COLUMN, STRIP
from tests.wrappings import LOSSLESS, LOSSY

# The files of an encoder for tests may make pydicom warn.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

EXACT = (
    "explicit, RGB",
    "implicit, palette",
    "deflated, 16 bits",
    "big-endian, MONOCHROME1",
    "RLE, YBR_FULL",
    "JPEG lossless SV1, 12 of 16 bits",
    "JPEG-LS, MONOCHROME2",
    "JPEG 2000 lossless, RGB",
)
CLOSE = ("JPEG baseline, YBR_FULL_422", "JPEG 2000, MONOCHROME2")


@pytest.mark.parametrize("wrapping", EXACT)
@pytest.mark.parametrize("name", CASES)
def test_a_layout_is_read_by_its_meaning(tmp_path: Path, name: str, wrapping: str) -> None:
    case, path = CASES[name], tmp_path / "recording.dcm"
    case.write(path)
    LOSSLESS[wrapping](path)

    strip = stitch(open_recording(path))

    assert [warning.code for warning in strip.warnings] == list(case.warnings)
    found = case.starts if case.found is None else case.found
    assert strip.starts[-1] == found[-1]
    if "drawn" not in name:  # of screens that show nothing yet the start is not known
        assert strip.starts == tuple(found)
    if case.pixels is None:
        assert strip.pixels.shape == STRIP.shape
        assert (strip.pixels == STRIP).mean() > 0.9
    else:
        np.testing.assert_array_equal(strip.pixels, case.pixels)
    assert strip.seconds_per_column == pytest.approx(SECONDS_PER_COLUMN)
    assert strip.mm_per_row == pytest.approx(MM_PER_ROW)


@pytest.mark.parametrize("wrapping", CLOSE)
@pytest.mark.parametrize("name", CASES)
def test_compression_moves_nothing(tmp_path: Path, name: str, wrapping: str) -> None:
    case, path = CASES[name], tmp_path / "recording.dcm"
    case.write(path)
    LOSSY[wrapping](path)

    strip = stitch(open_recording(path))

    assert [warning.code for warning in strip.warnings] == list(case.warnings)
    found = case.starts if case.found is None else case.found
    if "sweep" in name or "drawn" in name:  # compression blurs the edge of what is drawn
        assert strip.starts[-1] == pytest.approx(found[-1], abs=24)
    else:
        assert strip.starts[-1] == found[-1]
        truth = STRIP if case.pixels is None else case.pixels
        assert strip.pixels.shape == truth.shape
        assert np.abs(strip.pixels.astype(int) - truth).mean() < 12


def test_two_thousand_screens(tmp_path: Path) -> None:
    path = tmp_path / "recording.dcm"
    columns = 100 + 1999 * 7
    tile = STRIP[:, :700]  # a whole number of beats, so that the strip goes on without a break
    strip = np.tile(tile, (1, columns // 700 + 1))[:, :columns].copy()
    strip[::3] ^= np.random.default_rng(1).integers(0, 16, strip[::3].shape, dtype=np.uint8)
    write_screens(
        strip, path, seconds_per_column=SECONDS_PER_COLUMN, mm_per_row=MM_PER_ROW,
        width=100, screens=2000,
    )  # fmt: skip

    stitched = stitch(open_recording(path))

    assert stitched.frames == 2000
    np.testing.assert_array_equal(stitched.pixels, strip)
