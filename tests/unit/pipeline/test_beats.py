from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.pipeline.beats import autocorrelation_period_s, find_beats
from app.pipeline.features import teichholz_volume_ul
from app.pipeline.measuring import MeasuringSettings
from app.pipeline.results import Beat, Warning
from models.simulation.recording import simulate_recording
from tests.unit.pipeline.strips import beating, blank_strip, borders_of, make_strip, windows_of


def _find(
    diameter_mm: NDArray[np.float64],
    dt: float = 1e-3,
    probabilities: list[float] | None = None,
    confidence: float = 1.0,
) -> tuple[tuple[Beat, ...], tuple[Warning, ...]]:
    strip = blank_strip(diameter_mm.size, seconds_per_column=dt)
    borders = borders_of(diameter_mm, strip, confidence)
    return find_beats(strip, borders, windows_of(strip, probabilities or [0.9]))


def test_every_diastole_is_found_once_with_its_own_systole_and_rate() -> None:
    beats, warnings = _find(beating(2.0, 1e-3, rate_bpm=600))
    # diastoles at 0.1, 0.2 ... 1.9 s (the ones at the edges are cut), systoles 0.05 s later
    inner = [b for b in beats if 0.05 < b.diastole_s < 1.95]
    assert [b.diastole_s for b in inner] == pytest.approx(np.arange(0.1, 1.95, 0.1), abs=0.002)
    for beat in inner:
        assert beat.systole_s == pytest.approx(beat.diastole_s + 0.05, abs=0.002)
        assert beat.lvid_d_mm == pytest.approx(3.0, abs=0.02)
        assert beat.lvid_s_mm == pytest.approx(1.2, abs=0.02)
        assert beat.lv_vol_d_ul == pytest.approx(teichholz_volume_ul(beat.lvid_d_mm))
        assert beat.accepted
    rates = [b.heart_rate_bpm for b in inner[:-1]]
    assert rates == pytest.approx([600] * len(rates), rel=0.03)
    assert not warnings


@pytest.mark.parametrize("rate_bpm", [220, 400, 600, 850])
@pytest.mark.parametrize("dt", [0.4e-3, 2e-3])
def test_a_shoulder_in_each_beat_is_not_a_beat(rate_bpm: float, dt: float) -> None:
    diameter = beating(3.0, dt, rate_bpm=rate_bpm)
    phase = np.arange(diameter.size) * dt * rate_bpm / 60 % 1
    diameter -= 0.35 * np.exp(-(((phase - 0.8) / 0.05) ** 2))  # a notch on the way to diastole
    diameter += 0.03 * np.random.default_rng(5).standard_normal(diameter.size)
    beats, _ = _find(diameter, dt)
    # those at the two edges may be cut off
    assert -2 <= len(beats) - 3.0 * rate_bpm / 60 <= 0.5
    rate = np.median([b.heart_rate_bpm for b in beats if b.heart_rate_bpm])
    assert rate == pytest.approx(rate_bpm, rel=0.01)


def test_a_gap_breaks_the_rate_and_not_the_beats_beside_it() -> None:
    diameter = beating(2.0, 1e-3, rate_bpm=600)
    diameter[820:1180] = np.nan
    beats, _ = _find(diameter)
    assert not [b for b in beats if 0.82 <= b.diastole_s < 1.18]
    before = [b for b in beats if b.diastole_s < 0.82]
    assert before[-1].heart_rate_bpm is None  # the next diastole lies behind the gap
    assert all(b.heart_rate_bpm == pytest.approx(600, rel=0.03) for b in before[:-1])


@pytest.mark.parametrize("first_s", [0.14, 0.145, 0.15, 0.155, 0.16])
def test_a_systole_cut_by_a_gap_does_not_swallow_the_next_one(first_s: float) -> None:
    diameter = beating(1.0, 1e-3, rate_bpm=600)
    diameter[: round(first_s * 1000)] = np.nan  # the first systole seen is that at 0.15 s, in part
    diameter[140:160] -= 0.3  # and it is deeper than those that follow
    beats, _ = _find(diameter)
    systoles = [b.systole_s for b in beats if b.systole_s is not None]
    assert systoles == pytest.approx(np.arange(0.25, 0.96, 0.1), abs=0.004)
    assert [b.diastole_s for b in beats][:8] == pytest.approx(np.arange(0.2, 0.91, 0.1), abs=0.004)


def test_no_interval_is_measured_across_screens_that_do_not_overlap() -> None:
    diameter = beating(2.0, 1e-3, rate_bpm=600)
    strip = blank_strip(2000)
    region = replace(strip.region, x1=strip.region.x0 + 1030)
    joined = replace(strip, region=region, starts=(0, 1030), frames=2)
    beats, _ = find_beats(joined, borders_of(diameter, joined), windows_of(joined, [0.9]))
    before = [b for b in beats if b.diastole_s < 1.03][-1]
    assert before.heart_rate_bpm is None
    assert all(b.heart_rate_bpm for b in beats if b.diastole_s < 0.95)
    whole = replace(joined, starts=(0, 970))
    beats, _ = find_beats(whole, borders_of(diameter, whole), windows_of(whole, [0.9]))
    assert all(b.heart_rate_bpm for b in beats[:-1])


def test_short_dropouts_of_the_border_are_bridged() -> None:
    diameter = beating(1.0, 1e-3)
    diameter[310:318] = np.nan
    whole, _ = _find(beating(1.0, 1e-3))
    bridged, _ = _find(diameter)
    assert [b.diastole_s for b in bridged] == pytest.approx(
        [b.diastole_s for b in whole], abs=0.003
    )


def test_quality_decides_what_counts() -> None:
    beats, _ = _find(beating(2.0, 1e-3), probabilities=[0.9, 0.2])
    for beat in beats:
        late = max(beat.diastole_s, beat.systole_s or 0) >= 1.0
        if beat.systole_s is not None:
            assert beat.accepted == (not late)
            assert beat.rejected_because == ("low_quality" if late else None)
            assert beat.quality == (0.2 if late else 0.9)


def test_a_border_that_is_guessed_does_not_count() -> None:
    beats, _ = _find(beating(1.0, 1e-3), confidence=0.1)
    reasons = {b.rejected_because for b in beats if b.systole_s is not None}
    assert reasons == {"uncertain_border"}


def test_a_missing_beat_is_an_implausible_rate() -> None:
    diameter = beating(2.0, 1e-3, rate_bpm=600)
    diameter[1050 - 45 : 1050 + 45] = 3.0  # the systole at 1.05 s does not happen
    beats, _ = _find(diameter)
    slow = [b for b in beats if b.heart_rate_bpm is not None and b.heart_rate_bpm < 400]
    assert len(slow) == 1
    assert slow[0].rejected_because == "implausible_rate"


def test_nothing_seen_and_nothing_beating_are_told_apart() -> None:
    _, unseen = _find(np.full(1000, np.nan))
    _, still = _find(np.full(1000, 2.5))
    assert [w.code for w in unseen] == ["no_ventricle"]
    assert [w.code for w in still] == ["no_beats"]


def test_the_last_diastole_without_a_systole_does_not_count() -> None:
    beats, _ = _find(beating(1.03, 1e-3, rate_bpm=600))  # ends just after the diastole at 1.0 s
    last = beats[-1]
    assert last.diastole_s == pytest.approx(1.0, abs=0.003)
    assert last.systole_s is None
    assert last.lvid_s_mm is None
    assert last.rejected_because == "no_systole"


@given(
    rate_bpm=st.floats(210, 880),
    dt=st.floats(0.4e-3, 2e-3),
    largest_mm=st.floats(1.5, 5),
    shortening=st.floats(0.1, 0.7),
)
@settings(max_examples=60, deadline=None)
def test_the_period_is_found_whatever_the_rate(
    rate_bpm: float, dt: float, largest_mm: float, shortening: float
) -> None:
    diameter = beating(
        2.5, dt, rate_bpm=rate_bpm, largest_mm=largest_mm, smallest_mm=largest_mm * (1 - shortening)
    )
    period_s = autocorrelation_period_s(diameter, dt, MeasuringSettings())
    assert period_s == pytest.approx(60 / rate_bpm, abs=max(1.01 * dt, 0.01 * 60 / rate_bpm))


def test_beats_of_simulated_hearts_are_neither_missed_nor_counted_twice() -> None:
    """Against the simulator's truth, with its true borders: 40 hearts of every kind."""
    hits = found = true = 0
    errors_pct = []
    for seed in range(9_000_000, 9_000_040):
        recording = simulate_recording(
            seed, duration_s=3.0, rows=300, seconds_per_column=1.5e-3, acquisition="good"
        )
        strip = make_strip(
            recording.pixels, seconds_per_column=1.5e-3, mm_per_row=recording.mm_per_row
        )
        diameter = (recording.lower_row - recording.upper_row) * recording.mm_per_row
        beats, _ = find_beats(
            strip, borders_of(diameter.astype(float), strip), windows_of(strip, [1.0])
        )
        # a systole is a sharp event; a flat diastole has no exact place
        wanted = recording.systole_columns * 1.5e-3
        got = np.array([b.systole_s for b in beats if b.systole_s is not None])
        edge = 60 / recording.anatomy.heart_rate_bpm
        inner = (wanted > edge) & (wanted < 3.0 - edge)
        near = np.abs(got[:, None] - wanted[None, :]) < 0.25 * edge
        hits += int(near[:, inner].any(0).sum())
        true += int(inner.sum())
        found += int(((got > edge) & (got < 3.0 - edge)).sum())
        rates = [b.heart_rate_bpm for b in beats if b.heart_rate_bpm is not None]
        intervals = np.diff(recording.systole_columns) * 1.5e-3
        errors_pct.append(100 * (np.median(rates) / np.median(60 / intervals) - 1))
    f1 = 2 * hits / (true + found)
    assert true > 800
    assert f1 >= 0.99
    assert np.median(np.abs(errors_pct)) < 1.0
