"""Echocardiogram and segmentation, read back pixel by pixel.

Where a row or column of the strip lies in the figure is told from white lines drawn into the
strip itself, so that the figure's own geometry is not taken at its word.
"""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from app.pipeline.results import Borders
from tests.unit.output.plain import (
    COLUMNS,
    ROWS,
    Pixels,
    decode,
    has_colour,
    plain_analysis,
    plain_beat,
)

LOW, MIDDLE, HIGH = (0xD5, 0x5E, 0x00), (0xCF, 0xCF, 0xCF), (0x00, 0x72, 0xB2)
UPPER, LOWER = (0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00)
DIASTOLE, SYSTOLE = (0xF0, 0xE4, 0x42), (0xEE, 0x9A, 0xC7)
STRIP_TOP = 140  # below title, legend and band

MARKED_ROWS, MARKED_COLUMNS = (30, 270), (200, 1000)


def expected_colour(probability: float) -> NDArray[np.float64]:
    """Vermilion to grey to blue, straight lines between."""
    colours = np.array([LOW, MIDDLE, HIGH], float)
    return np.array([np.interp(probability, [0, 0.5, 1], channel) for channel in colours.T])


def lined_strip() -> NDArray[np.uint8]:
    """Black, with two white rows and two white columns."""
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    for row in MARKED_ROWS:
        pixels[row - 1 : row + 2] = 255
    for column in MARKED_COLUMNS:
        pixels[:, column - 2 : column + 3] = 255
    return pixels


class Places:
    """Where rows and columns of a lined strip lie in a figure."""

    def __init__(self, pixels: Pixels) -> None:
        black = has_colour(pixels, (0, 0, 0), 2)
        black[:STRIP_TOP] = False
        strip = black.sum(axis=1) > 400
        self.top, self.bottom = np.flatnonzero(strip)[[0, -1]]
        inside = black[self.top : self.bottom].sum(axis=0) > 100
        self.left, self.right = np.flatnonzero(inside)[[0, -1]]
        cut = has_colour(
            pixels[self.top : self.bottom, self.left : self.right], (255, 255, 255), 40
        )
        self._rows = self._lines(cut.mean(axis=1)) + self.top
        self._columns = self._lines(cut.mean(axis=0)) + self.left

    @staticmethod
    def _lines(share: NDArray[np.float64]) -> NDArray[np.float64]:
        lines = find_objects(label(share > 0.6)[0])
        assert len(lines) == 2
        return np.array([(line[0].start + line[0].stop - 1) / 2 for line in lines])

    def y(self, row: float) -> float:
        return float(np.polyval(np.polyfit(MARKED_ROWS, self._rows, 1), row))

    def x(self, column: float) -> float:
        return float(np.polyval(np.polyfit(MARKED_COLUMNS, self._columns, 1), column))


def band_of(pixels: Pixels, colours: list[NDArray[np.float64]]) -> tuple[slice, list[slice]]:
    """Rows of the band, and the columns of each colour in it."""
    masks = [has_colour(pixels, colour) for colour in colours]
    found = []
    for mask in masks:
        mask[:, 1440:] = False  # the scale
        places = find_objects(label(mask)[0])
        found.append(max(places, key=lambda p: (p[0].stop - p[0].start) * (p[1].stop - p[1].start)))
    assert len({(rows.start, rows.stop) for rows, _ in found}) == 1
    return found[0][0], [columns for _, columns in found]


def test_the_band_has_each_windows_probability_as_its_colour() -> None:
    probabilities = (0.03, 0.3, 0.62, 0.97)
    pixels = decode("echocardiogram", plain_analysis(probabilities=probabilities))

    colours = [expected_colour(probability) for probability in probabilities]
    rows, columns = band_of(pixels, colours)

    assert rows.stop - rows.start >= 18
    left, right = columns[0].start, columns[-1].stop
    for index, place in enumerate(columns):
        assert place.start == pytest.approx(left + index * (right - left) / 4, abs=3)
        assert place.stop - place.start == pytest.approx((right - left) / 4, abs=4)


def test_the_band_lies_over_the_strip_column_for_column() -> None:
    analysis = plain_analysis(lined_strip(), probabilities=(0.1, 0.9, 0.2))
    pixels = decode("echocardiogram", analysis)

    colours = [expected_colour(probability) for probability in (0.1, 0.9, 0.2)]
    rows, columns = band_of(pixels, colours)
    places = Places(pixels)

    assert rows.stop < places.top
    assert columns[1].start == pytest.approx(places.x(400), abs=2)
    assert columns[1].stop == pytest.approx(places.x(800), abs=2)


def test_the_scale_beside_it_maps_colour_to_probability() -> None:
    pixels = decode("echocardiogram", plain_analysis())
    scale = pixels[:, 1440:]

    heights = []
    for probability in (0.1, 0.3, 0.7, 0.9):
        there = has_colour(scale, expected_colour(probability), 3)
        heights.append(np.median(np.flatnonzero(there.sum(axis=1) >= 15)))

    assert np.diff(heights) == pytest.approx([-48, -96, -48], abs=6)


def test_grey_is_shown_in_order_and_dark_strips_are_brightened() -> None:
    shades = np.repeat(np.array([0, 10, 20, 40], np.uint8), ROWS // 4)
    strip = np.repeat(shades[:, None], COLUMNS, axis=1)
    pixels = decode("echocardiogram", plain_analysis(strip))

    middle = pixels[:, 700, 0]
    black = np.flatnonzero(middle[STRIP_TOP:] < 3)[0] + STRIP_TOP
    shown = [int(middle[black + 10 + index * 60]) for index in range(4)]

    assert shown == sorted(set(shown))
    assert shown[0] == 0
    assert shown[3] == 255
    assert 64 < shown[1] < 128 < shown[2] < 192


def test_borders_lie_where_they_were_found() -> None:
    analysis = plain_analysis(lined_strip(), upper_row=90, lower_row=210.5)
    pixels = decode("segmentation", analysis)
    places = Places(pixels)

    for colour, row in ((UPPER, 90), (LOWER, 210.5)):
        lines = has_colour(pixels[:, places.left : places.right], colour, 12).mean(axis=1)
        lines[: places.top] = 0
        seen = np.flatnonzero(lines > 0.5)
        assert seen.mean() == pytest.approx(places.y(row), abs=1.0)
        assert 1 <= len(seen) <= 4


def test_absent_borders_leave_a_gap_and_unsure_ones_are_dim() -> None:
    analysis = plain_analysis(lined_strip(), upper_row=90, lower_row=210)
    upper = analysis.borders.upper_row.copy()
    confidence = analysis.borders.confidence.copy()
    upper[300:500] = np.nan
    confidence[600:800] = 0.05
    lower = np.where(np.isnan(upper), np.nan, analysis.borders.lower_row)
    pixels = decode(
        "segmentation",
        replace(analysis, borders=Borders(upper, lower.astype(np.float32), confidence)),
    )
    places = Places(pixels)

    y = round(places.y(90))
    line = pixels[y - 2 : y + 3].max(axis=0)  # the brightest of the line's width, per channel

    def blue(first: int, end: int) -> NDArray[np.int16]:
        return line[round(places.x(first)) : round(places.x(end)), 2]

    assert blue(210, 290).min() > 220
    assert blue(310, 490).max() < 10
    dim = blue(610, 790)
    assert dim.min() > 40
    assert dim.max() < 200


def test_beats_are_marked_solid_where_they_count_and_dotted_where_not() -> None:
    beats = [plain_beat(column) for column in (100, 300, 500)]
    beats += [plain_beat(column, accepted=False) for column in (700, 900)]
    pixels = decode("segmentation", plain_analysis(lined_strip(), beats=beats))
    places = Places(pixels)
    upper, lower = places.y(100), places.y(200)

    for colour, shift in ((DIASTOLE, 0), (SYSTOLE, 50)):
        marks = has_colour(pixels, colour, 12)
        marks[: places.top] = False
        for beat in beats:
            x = round(places.x(beat.diastole_column + shift))
            stretch = marks[round(upper) + 8 : round(lower) - 8, x - 2 : x + 3].any(axis=1)
            assert stretch.any()
            assert stretch.all() == beat.accepted
        marked = np.flatnonzero(marks[:, places.left : places.right].any(axis=1))
        assert marked[0] == pytest.approx(upper, abs=6)
        assert marked[-1] == pytest.approx(lower, abs=6)
        assert len(find_objects(label(marks.any(axis=0))[0])) == len(beats)


def test_a_beat_without_a_systole_has_one_mark() -> None:
    beat = replace(
        plain_beat(500, accepted=False), systole_column=None, systole_s=None, lvid_s_mm=None
    )
    pixels = decode("segmentation", plain_analysis(beats=[beat]))[STRIP_TOP:, :1440]

    assert has_colour(pixels, DIASTOLE, 12).any()
    assert not has_colour(pixels, SYSTOLE, 12).any()
