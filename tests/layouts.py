"""Ways in which scanners lay out one and the same M-mode on their screens, by name.

Each writes an uncompressed RGB file; what it should be read as is known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from models.simulation.scanner import Layout, write_screens
from tests.strips import make_strip
from tests.sweeps import sweep

Pixels = NDArray[np.uint8]
Paint = Callable[[Pixels], None]
Edit = Callable[[Dataset], None]

SECONDS_PER_COLUMN, MM_PER_ROW = 1 / 1200, 0.02
WIDTH = 430
STRIP = make_strip(rows=64, columns=800)
STARTS = (0, 40, 75, 160, 220, 370)
PLAIN = Layout()


@dataclass(frozen=True)
class Case:
    """A layout, and what a recording of it holds.

    Attributes
    ----------
    starts : sequence of int
        Where the screens begin on the strip; as they should be found, too, unless `found` is given.
    paint : callable
        Draws on the M-mode of all screens, shape (screens, rows, columns, 3).
    edit : callable
        Changes what the file says.
    pixels : ndarray, optional
        The strip as it should come out; None where marks lie on it.
    warnings : sequence of str
        Their codes.
    """

    layout: Layout = PLAIN
    starts: Sequence[int] = STARTS
    width: int = WIDTH
    paint: Paint = lambda screens: None
    edit: Edit = lambda data_set: None
    pixels: Pixels | None = field(default_factory=lambda: STRIP)
    found: Sequence[int] | None = None
    warnings: Sequence[str] = ()

    def write(self, path: Path) -> None:
        write_screens(
            STRIP, path, seconds_per_column=SECONDS_PER_COLUMN, mm_per_row=MM_PER_ROW,
            width=self.width, starts=self.starts, layout=self.layout, seed=1,
        )  # fmt: skip
        data_set = pydicom.dcmread(path)
        shape = (data_set.NumberOfFrames, data_set.Rows, data_set.Columns, 3)
        count = int(np.prod(shape))
        screens = np.frombuffer(data_set.PixelData, np.uint8, count=count).reshape(shape).copy()
        top, left = self.layout.top, self.layout.left
        self.paint(screens[:, top : top + STRIP.shape[0], left : left + self.width])
        data_set.PixelData = screens.tobytes()
        self.edit(data_set)
        data_set.save_as(path, enforce_file_format=True)


def _m_mode(data_set: Dataset, index: int = 1) -> Dataset:
    item: Dataset = data_set.SequenceOfUltrasoundRegions[index]
    return item


def _say(**attributes: Any) -> Edit:
    return lambda data_set: _m_mode(data_set).update(attributes)


def _add_ecg(data_set: Dataset) -> None:
    item = Dataset()
    item.update(_m_mode(data_set))
    item.RegionSpatialFormat, item.RegionDataType = 4, 10  # waveform, ECG trace
    item.RegionLocationMinY0, item.RegionLocationMaxY1 = data_set.Rows - 50, data_set.Rows
    item.PhysicalUnitsYDirection = 0
    data_set.SequenceOfUltrasoundRegions.insert(0, item)


def _two_m_modes(data_set: Dataset) -> None:
    small = data_set.SequenceOfUltrasoundRegions[0]
    large = _m_mode(data_set)
    for keyword in ("RegionSpatialFormat", "PhysicalUnitsXDirection", "PhysicalDeltaX"):
        setattr(small, keyword, large[keyword].value)


def _cursor(moves: int) -> Paint:
    def paint(screens: Pixels) -> None:
        for number, screen in enumerate(screens):
            at = 100 + moves * number
            screen[:, at : at + 3] = 255

    return paint


def _ecg_line(moves: int) -> Paint:
    def paint(screens: Pixels) -> None:
        across = np.arange(screens.shape[2])
        for number, screen in enumerate(screens):
            beat = 4 * (((across + moves * STARTS[number]) % 100) < 8)
            screen[58 - beat, across] = (0, 160, 0)

    return paint


def _label(screens: Pixels) -> None:
    screens[:, 2:10, 380:425] = 240


def _sweep(ends: Sequence[int], bar: int) -> Paint:
    def paint(screens: Pixels) -> None:
        screens[:] = sweep(STRIP, WIDTH, ends, bar)[..., None]

    return paint


CASES: dict[str, Case] = {
    "as published": Case(),
    "M-mode first": Case(Layout(m_mode_index=0)),
    "M-mode last": Case(Layout(m_mode_index=2)),
    "M-mode beside a 2-D image": Case(Layout(left=450, right=0)),
    "M-mode elsewhere": Case(Layout(top=201, left=63, right=5, bottom=31)),
    "inclusive corners": Case(
        Layout(inclusive_corners=True), pixels=STRIP[:-1, :-1], found=STARTS
    ),
    "negative deltas": Case(
        edit=_say(PhysicalDeltaX=-SECONDS_PER_COLUMN, PhysicalDeltaY=-MM_PER_ROW / 10)
    ),
    "a region that is an ECG": Case(edit=_add_ecg),
    "several M-modes": Case(edit=_two_m_modes, warnings=["several_m_mode_regions"]),
    "one screen": Case(starts=[0], width=400, pixels=STRIP[:, :400]),
    "narrow screens": Case(starts=range(0, 761, 20), width=40),
    "wide screens": Case(starts=[0, 50], width=750),
    "repeated screens": Case(starts=[0, 0, 40, 40, 40, 160, 370, 370]),
    "dropped screens": Case(starts=[0, 60, 120, 370]),
    "too many dropped screens": Case(
        starts=[0, 370],
        width=300,
        pixels=np.concatenate([STRIP[:, :300], STRIP[:, 370:670]], axis=1),
        found=[0, 300],
        warnings=["screens_do_not_overlap"],
    ),
    "not yet drawn": Case(starts=[-400, -300, -120, 40, 250, 370]),
    "a cursor that stays": Case(paint=_cursor(0), pixels=None),
    "a cursor that moves": Case(paint=_cursor(37), pixels=None),
    "an ECG line that stays": Case(paint=_ecg_line(0), pixels=None),
    "an ECG line that scrolls": Case(paint=_ecg_line(1), pixels=None),
    "a label": Case(paint=_label, pixels=None),
    "a sweep": Case(
        starts=[0] * 6, paint=_sweep([500, 520, 560, 640, 641, 800], 8),
        pixels=STRIP[:, 78:], found=[-8, 12, 52, 132, 132, 292], warnings=["sweep_ordered"],
    ),
    "a sweep that fills first": Case(
        starts=[0] * 5, paint=_sweep([100, 300, 440, 600, 800], 0),
        found=[-130, -130, 10, 170, 370], warnings=["sweep_ordered"],
    ),
    "one screen of a sweep": Case(
        starts=[0], paint=_sweep([600], 8),
        pixels=sweep(STRIP, WIDTH, [600], 8)[0], warnings=["sweep_seam"],
    ),
}  # fmt: skip
