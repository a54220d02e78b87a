"""How strips are laid out in rows, how far an axis reaches, and what figures say in words."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.output.palette import display_table
from app.output.ranges import range_of
from app.output.strip_rows import Rows, arrange
from app.output.wording import beats_note, quality_note
from app.pipeline.results import Region, Strip
from tests.unit.output.plain import plain_analysis, plain_beat


def rows_for(duration_s: float, depth_mm: float = 7.0, seconds_per_column: float = 1e-3) -> Rows:
    columns = round(duration_s / seconds_per_column)
    strip = Strip(
        pixels=np.zeros((10, columns), np.uint8),
        region=Region(0, 0, 0, 1, 1, seconds_per_column, depth_mm / 10),
        frames=1,
        starts=(0,),
    )
    return arrange(strip, top_px=100, width_px=1340, above_band_px=24)


@given(duration_s=st.floats(0.3, 14), depth_mm=st.floats(1, 60))
def test_up_to_fourteen_seconds_every_column_is_shown_once(
    duration_s: float, depth_mm: float
) -> None:
    laid_out = rows_for(duration_s, depth_mm)
    rows = laid_out.rows

    assert not laid_out.excerpts
    assert rows[0].first_column == 0
    assert rows[-1].end_column == round(duration_s / 1e-3)
    for above, below in pairwise(rows):
        assert above.end_column == below.first_column
        assert above.strip.top + above.strip.height < below.band.top


@given(duration_s=st.floats(0.3, 900))
def test_rows_share_one_time_scale_and_are_short_enough_to_read(duration_s: float) -> None:
    for row in rows_for(duration_s).rows:
        columns = row.end_column - row.first_column
        assert 0 < columns * 1e-3 <= 1.751
        assert row.strip.width <= 1340
        assert row.strip.width == row.band.width
    scales = [
        row.strip.width / (row.end_column - row.first_column) for row in rows_for(duration_s).rows
    ]
    assert scales == pytest.approx([scales[0]] * len(scales), rel=2e-3)


def test_a_long_recording_is_sampled_from_its_start_to_its_end() -> None:
    laid_out = rows_for(600)
    firsts = [row.first_column for row in laid_out.rows]

    assert laid_out.excerpts
    assert laid_out.overview is not None
    assert firsts[0] == 0
    assert laid_out.rows[-1].end_column == 600_000
    assert np.diff(firsts) == pytest.approx([np.diff(firsts).mean()] * 5, abs=1)
    assert laid_out.height_px == rows_for(3600).height_px < 3600


@given(
    values=st.lists(st.tuples(st.floats(0, 1000), st.booleans()), min_size=1, max_size=50),
)
def test_an_axis_shows_every_accepted_value(values: list[tuple[float, bool]]) -> None:
    numbers = np.array([value for value, _ in values])
    accepted = np.array([counts for _, counts in values])
    shown = range_of(numbers, accepted, least_span=5)

    assert shown.high - shown.low >= 5
    assert shown.low >= 0
    assert (shown.clip(numbers)[accepted] == numbers[accepted]).all()


def test_an_axis_follows_rejected_values_only_as_far_as_they_are_near() -> None:
    values = np.array([10.0, 12.0, 13.0, 500.0])
    shown = range_of(values, np.array([True, True, False, False]), least_span=1)

    assert 13 < shown.high < 20


def test_an_axis_without_values_has_its_least_span() -> None:
    shown = range_of(np.empty(0), np.empty(0, bool), least_span=20)

    assert (shown.low, shown.high) == (0, 20)


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_a_strip_of_one_grey_can_be_shown(grey: int) -> None:
    table = display_table(np.full((10, 10), grey, np.uint8))

    assert table.shape == (256,)
    assert (np.diff(table.astype(int)) >= 0).all()


def test_the_note_counts_beats_and_says_why_others_do_not() -> None:
    beats = [plain_beat(column) for column in (100, 200, 300)]
    beats.append(plain_beat(400, accepted=False))
    beats.append(replace(plain_beat(500, accepted=False), rejected_because="no_systole"))
    beats.append(plain_beat(600, accepted=False))

    assert beats_note(plain_analysis(beats=beats)) == (
        "3 of 6 beats count (not counted: 2 low quality, 1 no systole)."
    )
    beats.append(replace(plain_beat(700, accepted=False), rejected_because="implausible_rate"))
    beats.append(replace(plain_beat(800, accepted=False), rejected_because="uncertain_border"))
    assert beats_note(plain_analysis(beats=beats)).endswith(
        "2 low quality, 1 no systole, 1 implausible rate, 1 other)."
    )
    assert beats_note(plain_analysis(beats=beats[:3])) == "3 of 3 beats count."
    assert beats_note(plain_analysis()) == "No beats were found."


def test_the_note_says_how_much_is_of_high_quality() -> None:
    assert quality_note(plain_analysis(probabilities=(0.9, 0.1, 0.8, 0.7))) == (
        "75 % of 1.20 s is of high quality."
    )
    assert quality_note(plain_analysis(probabilities=(0.3,))) == (
        "No part of these 1.20 s is of high quality, so no beat counts."
    )
