"""The scanner that tests and the demo use, read back with pydicom alone."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from models.simulation.scanner import Encoding, Layout, scrolling_starts, write_screens
from tests.strips import make_strip

SCALE = {"seconds_per_column": 1 / 1200, "mm_per_row": 0.02}


def test_shows_the_strip_at_the_starts_in_the_region_that_the_file_names(tmp_path: Path) -> None:
    strip = make_strip(columns=700)
    starts = write_screens(strip, tmp_path / "a.dcm", screens=7, width=400, **SCALE)

    data_set = pydicom.dcmread(tmp_path / "a.dcm")
    region = data_set.SequenceOfUltrasoundRegions[1]
    assert (region.RegionSpatialFormat, region.PhysicalUnitsXDirection) == (2, 4)
    assert region.PhysicalUnitsYDirection == 3
    assert region.PhysicalDeltaX == pytest.approx(1 / 1200)
    assert region.PhysicalDeltaY == pytest.approx(0.002)
    x0, y0 = region.RegionLocationMinX0, region.RegionLocationMinY0
    x1, y1 = region.RegionLocationMaxX1, region.RegionLocationMaxY1
    frames = data_set.pixel_array[:, y0:y1, x0:x1]
    assert starts == (0, 50, 100, 150, 200, 250, 300)
    for frame, start in zip(frames, starts, strict=True):
        for channel in range(3):
            np.testing.assert_array_equal(frame[..., channel], strip[:, start : start + 400])


@pytest.mark.parametrize("encoding", ["raw", "rle", "jpeg"])
def test_the_same_seed_writes_the_same_bytes(tmp_path: Path, encoding: Encoding) -> None:
    strip = make_strip(rows=40, columns=500)
    for name in ("a.dcm", "b.dcm"):
        write_screens(
            strip, tmp_path / name, screens=2, width=450, encoding=encoding, seed=3, **SCALE
        )
    write_screens(strip, tmp_path / "c.dcm", screens=2, width=450, encoding=encoding, **SCALE)

    first = (tmp_path / "a.dcm").read_bytes()
    assert first == (tmp_path / "b.dcm").read_bytes()
    assert first != (tmp_path / "c.dcm").read_bytes()


def test_columns_before_the_strip_are_black(tmp_path: Path) -> None:
    strip = make_strip(columns=600)
    write_screens(strip, tmp_path / "a.dcm", width=450, starts=[-30, 70], **SCALE)

    layout = Layout()
    frame = pydicom.dcmread(tmp_path / "a.dcm").pixel_array[0, layout.top :, layout.left :, 0]
    assert not frame[: len(strip), :30].any()
    np.testing.assert_array_equal(frame[: len(strip), 30:450], strip[:, :420])


def test_starts_beyond_the_strip_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not lie on the strip"):
        write_screens(make_strip(), tmp_path / "a.dcm", width=450, starts=[1_100], **SCALE)


def test_the_last_step_may_be_shorter() -> None:
    assert scrolling_starts(1000, 5, 300).tolist() == [0, 175, 350, 525, 700]
    assert scrolling_starts(1002, 5, 300).tolist() == [0, 176, 352, 528, 702]
    assert scrolling_starts(300, 3, 300).tolist() == [0, 0, 0]
