"""Beats over time and against rate, read back pixel by pixel."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from app.pipeline.results import Beat, Summary
from tests.unit.output.plain import (
    COLUMNS,
    NOTHING,
    Pixels,
    decode,
    has_colour,
    plain_analysis,
    plain_beat,
)
from tests.unit.output.test_strip_figures import expected_colour

HIGH_GROUND, LOW_GROUND = (0xD6, 0xE9, 0xF6), (0xFB, 0xDC, 0xC6)
INK = (0x1A, 0x1A, 0x1A)
DURATION_S = COLUMNS / 1000


def panels_of(pixels: Pixels) -> list[tuple[slice, slice]]:
    """Rows and columns of the tinted panels, from the top."""
    tinted = has_colour(pixels, HIGH_GROUND, 3) | has_colour(pixels, LOW_GROUND, 3)
    found = find_objects(label(tinted.sum(axis=1) > 600)[0])
    panels = []
    for (rows,) in found:
        across = np.flatnonzero(tinted[rows].any(axis=0))
        panels.append((rows, slice(int(across[0]), int(across[-1]) + 1)))
    return panels


def marks_in(pixels: Pixels, panel: tuple[slice, slice]) -> list[tuple[float, float, bool]]:
    """Centre and fill of every mark in a panel: x and y from its top left, and whether filled."""
    cut = pixels[panel]
    dark = cut.max(axis=-1) < 140
    found = []
    for rows, columns in find_objects(label(dark, np.ones((3, 3)))[0]):
        x = (columns.start + columns.stop - 1) / 2
        y = (rows.start + rows.stop - 1) / 2
        found.append((x, y, bool(cut[round(y), round(x)].max() < 60)))
    return sorted(found)


def beats_of(values: Sequence[dict[str, float]], accepted: Sequence[bool]) -> list[Beat]:
    columns = np.linspace(120, 1000, len(values)).round().astype(int).tolist()
    return [
        plain_beat(column, accepted=counts, **value)
        for column, counts, value in zip(columns, accepted, values, strict=True)
    ]


@pytest.mark.parametrize("name", ["diastole", "systole", "heart_rate", "function"])
def test_backgrounds_say_where_quality_is_high_and_low(name: str) -> None:
    pixels = decode(name, plain_analysis(probabilities=(0.9, 0.1, 0.2, 0.8)))
    panels = panels_of(pixels)

    assert len(panels) == (1 if name == "heart_rate" else 2)
    for rows, columns in panels:
        line = pixels[rows.start + 5, columns]
        width = len(line)
        low = np.flatnonzero(has_colour(line, LOW_GROUND, 2))
        high = has_colour(line, HIGH_GROUND, 2)
        assert low[0] == pytest.approx(width / 4, abs=2)
        assert low[-1] == pytest.approx(3 * width / 4, abs=2)
        assert high[: low[0] - 1].all()
        assert high[low[-1] + 2 :].all()


FIGURES = {
    "diastole": ("diastole_s", "lvid_d_mm", "lv_vol_d_ul"),
    "systole": ("systole_s", "lvid_s_mm", "lv_vol_s_ul"),
    "function": ("diastole_s", "ejection_fraction_pct", "fractional_shortening_pct"),
    "heart_rate": ("diastole_s", "heart_rate_bpm"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_beats_stand_at_their_time_and_value_filled_where_they_count(name: str) -> None:
    time, *features = FIGURES[name]
    steps = np.array([0, 3, 1, 5, 2, 4], float)
    accepted = [True, False, True, True, False, True]
    values = [dict.fromkeys(features, 50 + step) for step in steps]
    beats = beats_of(values, accepted)
    pixels = decode(name, plain_analysis(beats=beats))

    panels = panels_of(pixels)
    assert len(panels) == len(features)
    for panel in panels:
        marks = marks_in(pixels, panel)
        assert [filled for _, _, filled in marks] == accepted
        width = panel[1].stop - panel[1].start
        times_s = np.array([getattr(beat, time) for beat in beats])
        assert [x for x, _, _ in marks] == pytest.approx(times_s / DURATION_S * width, abs=2.5)
        heights = np.array([y for _, y, _ in marks])
        slope, offset = np.polyfit(steps, heights, 1)
        assert slope < 0
        assert heights == pytest.approx(slope * steps + offset, abs=1.0)


def test_beats_without_a_value_are_left_out() -> None:
    beats = beats_of([{}] * 3, [True] * 3)
    beats[1] = replace(beats[1], heart_rate_bpm=None)
    pixels = decode("heart_rate", plain_analysis(beats=beats))

    assert len(marks_in(pixels, panels_of(pixels)[0])) == 2


def test_one_wild_rejected_beat_does_not_flatten_the_others() -> None:
    values = [{"lvid_d_mm": value} for value in (2.0, 2.2, 90.0, 2.4, 2.0)]
    beats = beats_of(values, [True, True, False, True, True])
    pixels = decode("diastole", plain_analysis(beats=beats))

    panel = panels_of(pixels)[0]
    marks = marks_in(pixels, panel)
    heights = [y for _, y, _ in marks]
    assert heights[2] == pytest.approx(0, abs=12)
    assert heights[0] - heights[3] > 60


def test_the_median_is_that_of_the_features() -> None:
    values = [{"lvid_d_mm": value} for value in (2.0, 2.4)]
    analysis = plain_analysis(beats=beats_of(values, [True, True]))
    medians = NOTHING | {"lvid_d_mm": Summary(2.3, 2.2, 2.0, 2.4, 0.2, 2)}
    without = decode("diastole", analysis)
    panel = panels_of(without)[0]
    (_, first, _), (_, second, _) = marks_in(without, panel)

    pixels = decode("diastole", replace(analysis, features=medians))
    dashed = has_colour(pixels[panel], INK, 40).sum(axis=1) > 400

    line = np.flatnonzero(dashed).mean()
    assert line == pytest.approx(first + (second - first) * 0.75, abs=1.5)


def test_volume_against_rate_is_coloured_by_quality() -> None:
    qualities = (0.55, 0.7, 0.85, 1.0)
    beats = [
        plain_beat(
            200 * (index + 1),
            quality=quality,
            heart_rate_bpm=500 + 100 * index,
            lv_vol_d_ul=20 + 5 * index,
            lv_vol_s_ul=8 - 2 * index,
        )
        for index, quality in enumerate(qualities)
    ]
    pixels = decode("heart_rate", plain_analysis(beats=beats, probabilities=(0.2,)))
    below = pixels[560:, :1320]

    found = [largest_two(has_colour(below, expected_colour(q), 4)) for q in qualities]

    for side, direction in ((0, -1), (1, 1)):  # diastolic volume rises with rate, systolic falls
        xs = [places[side][0] for places in found]
        ys = [places[side][1] for places in found]
        assert np.diff(xs) == pytest.approx([np.diff(xs).mean()] * 3, abs=2)
        assert np.diff(xs).mean() > 50
        assert (np.sign(np.diff(ys)) == direction).all()


def largest_two(mask: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Centres of the two largest patches, from left to right."""
    labels, _ = label(mask)
    sizes = np.bincount(labels.ravel())[1:]
    places = find_objects(labels)
    largest = np.argsort(sizes)[-2:]
    assert sizes[largest].min() > 20
    return sorted(
        (
            (places[index][1].start + places[index][1].stop) / 2,
            (places[index][0].start + places[index][0].stop) / 2,
        )
        for index in largest
    )


def test_the_rate_has_the_quality_band_above_it() -> None:
    pixels = decode("heart_rate", plain_analysis(probabilities=(0.05, 0.95)))
    (rows, columns) = panels_of(pixels)[0]
    above = pixels[rows.start - 15, columns]
    width = len(above)

    assert has_colour(above[5 : width // 2 - 5], expected_colour(0.05)).all()
    assert has_colour(above[width // 2 + 5 : -5], expected_colour(0.95)).all()
