"""Borders, QualityWindows → Beats: each diastole with its own systole, none counted twice.

All rules are in seconds. The period is first read off the autocorrelation of the diameter, which
no shoulder or notch within a beat can double; a smooth copy of the diameter then has one maximum
and one minimum a beat, and the exact extremes are looked for between those.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from app.pipeline.features import (
    cardiac_output_ml_per_min,
    ejection_fraction_pct,
    fractional_shortening_pct,
    teichholz_volume_ul,
)
from app.pipeline.measuring import LEAST_CONFIDENCE, MeasuringSettings
from app.pipeline.peaks import find_peaks
from app.pipeline.results import Beat, Borders, QualityWindow, RejectedBecause, Strip, Warning

Floats = NDArray[np.float64]

READING_SIGMA_S = 0.002
BEAT_SIGMA_PERIODS = 0.12
DIASTOLE_SIGMA_PERIODS = 0.06
LONGEST_BRIDGED_GAP_S = 0.015
CLOSEST_SYSTOLES_PERIODS = 0.5
LEAST_SWING = 0.2
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.55, 1.6
LEAST_SHORTENING_PCT = 3.0
DIAMETER_RANGE_MM = (0.2, 8.0)
AUTOCORRELATION_TOLERANCE = 0.1


def find_beats(
    strip: Strip,
    borders: Borders,
    windows: Sequence[QualityWindow],
    measuring: MeasuringSettings = MeasuringSettings(),
) -> tuple[tuple[Beat, ...], tuple[Warning, ...]]:
    """Find every beat of a recording, and say which count and why the others do not.

    Parameters
    ----------
    strip : Strip
        Gives the calibration.
    borders : Borders
    windows : sequence of QualityWindow
        Tile the strip.
    measuring : MeasuringSettings
        Gives the physiological heart rates.

    Returns
    -------
    beats : tuple of Beat
        In order of time. A beat's systole is the smallest diameter before the next diastole.
    warnings : tuple of Warning
        ``no_ventricle``, ``no_beats``, ``heart_rate_uncertain``.
    """
    dt = strip.seconds_per_column
    diameter = borders.diameter_rows.astype(np.float64) * strip.mm_per_row
    if not np.isfinite(diameter).any():
        return (), (Warning("no_ventricle", "No left ventricle was found in the recording."),)
    diameter = _bridge_gaps(diameter, round(LONGEST_BRIDGED_GAP_S / dt))
    diameter[list(strip.joins)] = np.nan  # no interval may be measured across missing time
    period_s = autocorrelation_period_s(diameter, dt, measuring)
    if period_s is None:
        nothing = "A ventricle is seen, but its diameter does not change like a heart that beats."
        return (), (Warning("no_beats", nothing),)

    found: list[_Cycle] = []
    for first, last in _stretches(diameter):
        if (last - first) * dt >= 0.6 * period_s:
            found += _cycles(diameter[first:last], first, dt, period_s)
    quality = _per_column(windows, strip.columns)
    beats = tuple(
        _measure(cycle, following, dt, period_s, quality, borders.confidence, measuring)
        for cycle, following in zip(found, [*found[1:], None], strict=True)
    )
    return beats, _rate_warnings(beats, period_s)


@dataclass(frozen=True)
class _Cycle:
    """A diastole and its systole, as columns and diameters in mm; ``stretch`` tells gaps apart."""

    stretch: int
    diastole: int
    lvid_d_mm: float
    systole: int | None
    lvid_s_mm: float | None


def autocorrelation_period_s(
    diameter: Floats, seconds_per_column: float, measuring: MeasuringSettings
) -> float | None:
    """Period of the diameter, s, from its autocorrelation; None where nothing repeats.

    Parameters
    ----------
    diameter : ndarray of float64, shape (columns,)
        NaN where absent; absent columns do not take part.
    seconds_per_column : float
    measuring : MeasuringSettings
        The period is looked for between the two rates.
    """
    there = np.isfinite(diameter)
    longest = round(60 / measuring.heart_rate_min_bpm / seconds_per_column)
    shortest = max(1, round(60 / measuring.heart_rate_max_bpm / seconds_per_column))
    if there.sum() < 1.2 * shortest:
        return None
    slow = 0.5 * longest
    weight = gaussian_filter1d(there.astype(np.float64), slow)
    filled = np.where(there, diameter, 0.0)
    baseline = gaussian_filter1d(filled, slow) / np.maximum(weight, 1e-9)
    swing = np.where(there, diameter - baseline, 0.0)
    swing = gaussian_filter1d(swing, 0.004 / seconds_per_column) * there
    lags = 1 + min(longest + shortest // 2, diameter.size - 1)
    size = 1 << int(np.ceil(np.log2(diameter.size + lags)))

    def correlate(values: Floats) -> Floats:
        spectrum = np.fft.rfft(values, size)
        return np.asarray(np.fft.irfft(spectrum * spectrum.conj(), size)[:lags])

    pairs = correlate(there.astype(np.float64))
    correlation = correlate(swing) / np.maximum(pairs, 1.0)
    if correlation[0] <= 1e-9:
        return None
    correlation = np.where(pairs >= 0.5 * shortest, correlation / correlation[0], -1.0)
    peaks = find_peaks(correlation)
    peaks = peaks[(peaks >= shortest) & (peaks <= longest)]
    if peaks.size == 0 or correlation[peaks].max() < 0.15:
        return None
    # several periods correlate as well as one: take the shortest that is nearly as good
    good = peaks[correlation[peaks] >= 0.8 * correlation[peaks].max()]
    return float(good[0] * seconds_per_column)


def _bridge_gaps(diameter: Floats, longest: int) -> Floats:
    """Interpolate over gaps of at most ``longest`` columns."""
    there = np.isfinite(diameter)
    columns = np.arange(diameter.size)
    bridged = diameter.copy()
    for first, last in _runs(~there):
        if last - first <= longest and first > 0 and last < diameter.size:
            gap = columns[first:last]
            bridged[first:last] = np.interp(gap, columns[there], diameter[there])
    return bridged


def _stretches(diameter: Floats) -> list[tuple[int, int]]:
    return _runs(np.isfinite(diameter))


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and end (exclusive) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _cycles(diameter: Floats, offset: int, dt: float, period_s: float) -> list[_Cycle]:
    """Find the cycles of a stretch without gaps; columns are counted from ``-offset``."""
    reading = gaussian_filter1d(diameter, READING_SIGMA_S / dt, mode="nearest")
    # a diastole is flat: its middle is a better time than the highest of its ripples
    broad = gaussian_filter1d(diameter, DIASTOLE_SIGMA_PERIODS * period_s / dt, mode="nearest")
    sigma = BEAT_SIGMA_PERIODS * period_s / dt
    # mirrored ends would look like extremes; continued ones do not
    smooth = gaussian_filter1d(diameter, sigma, mode="nearest")
    baseline = gaussian_filter1d(diameter, 1.5 * period_s / dt, mode="nearest")
    swing = smooth - baseline
    typical = float(np.percentile(swing, 90) - np.percentile(swing, 10))
    if typical <= 0:
        return []
    apart = max(1, round(CLOSEST_SYSTOLES_PERIODS * period_s / dt))
    troughs = find_peaks(-swing, distance=apart, prominence=LEAST_SWING * typical)
    if troughs.size == 0:
        return []
    crests = [int(a + np.argmax(swing[a:b])) for a, b in itertools.pairwise(troughs)]
    # beyond the outermost crests another systole may begin that the stretch does not hold whole
    before = int(np.argmax(swing[: troughs[0] + 1]))
    after = int(troughs[-1] + np.argmax(swing[troughs[-1] :])) + 1
    ends = [before, *crests, after]
    systoles = [int(a + np.argmin(reading[a:b])) for a, b in itertools.pairwise(ends)]
    diastoles: list[int] = []
    head = int(np.argmax(broad[: systoles[0] + 1]))
    reach = round(0.1 * period_s / dt)
    if head >= reach and reading[head] - reading[systoles[0]] > LEAST_SWING * typical:
        # only a diastole whose rise is seen; at the very edge the largest may lie before it
        near = max(0, systoles[0] - round(1.1 * period_s / dt))
        diastoles.append(int(near + np.argmax(broad[near : systoles[0] + 1])))
    first_is_paired = bool(diastoles)
    diastoles += [int(a + np.argmax(broad[a:b])) for a, b in itertools.pairwise(systoles)]
    tail = broad[systoles[-1] : systoles[-1] + round(1.1 * period_s / dt)]
    last = int(systoles[-1] + np.argmax(tail))
    closes = last < diameter.size - reach
    if closes and reading[last] - reading[systoles[-1]] > LEAST_SWING * typical:
        diastoles.append(last)
    own = systoles if first_is_paired else systoles[1:]
    paired: list[int | None] = [*own, *([None] * (len(diastoles) - len(own)))]
    return [
        _Cycle(
            stretch=offset,
            diastole=offset + d,
            lvid_d_mm=float(reading[max(0, d - reach) : d + reach + 1].max()),
            systole=None if s is None else offset + s,
            lvid_s_mm=None if s is None else float(reading[s]),
        )
        for d, s in zip(diastoles, paired, strict=True)
    ]


def _measure(
    cycle: _Cycle,
    following: _Cycle | None,
    dt: float,
    period_s: float,
    quality: Floats,
    confidence: NDArray[np.float32],
    measuring: MeasuringSettings,
) -> Beat:
    """Turn a cycle into a beat: its rate, volumes and function, and whether it counts."""
    interval_s = None
    if following is not None and following.stretch == cycle.stretch:
        interval_s = (following.diastole - cycle.diastole) * dt
    rate = None if interval_s is None else 60 / interval_s
    lvid_d, lvid_s = cycle.lvid_d_mm, cycle.lvid_s_mm
    columns = [cycle.diastole] if cycle.systole is None else [cycle.diastole, cycle.systole]
    lowest_quality = float(min(quality[c] for c in columns))
    reach = max(1, round(0.005 / dt))
    sure = min(float(confidence[max(0, c - reach) : c + reach + 1].mean()) for c in columns)
    volume_d = teichholz_volume_ul(lvid_d)
    volume_s = stroke = output = ef = fs = None
    if lvid_s is not None:
        volume_s = teichholz_volume_ul(lvid_s)
        stroke = volume_d - volume_s
        ef = ejection_fraction_pct(volume_d, volume_s)
        fs = fractional_shortening_pct(lvid_d, lvid_s)
        output = None if rate is None else cardiac_output_ml_per_min(stroke, rate)

    because: RejectedBecause | None = None
    if lvid_s is None:
        because = "no_systole"
    elif lowest_quality < 0.5:
        because = "low_quality"
    elif (
        rate is not None
        and interval_s is not None
        and not _plausible(rate, interval_s, period_s, measuring)
    ):
        because = "implausible_rate"
    elif (
        fs is None
        or fs < LEAST_SHORTENING_PCT
        or not (DIAMETER_RANGE_MM[0] <= lvid_s and lvid_d <= DIAMETER_RANGE_MM[1])
    ):
        because = "implausible_diameter"
    elif sure < LEAST_CONFIDENCE:
        because = "uncertain_border"
    return Beat(
        diastole_column=cycle.diastole,
        diastole_s=cycle.diastole * dt,
        systole_column=cycle.systole,
        systole_s=None if cycle.systole is None else cycle.systole * dt,
        lvid_d_mm=lvid_d,
        lvid_s_mm=lvid_s,
        heart_rate_bpm=rate,
        lv_vol_d_ul=volume_d,
        lv_vol_s_ul=volume_s,
        stroke_volume_ul=stroke,
        cardiac_output_ml_per_min=output,
        ejection_fraction_pct=ef,
        fractional_shortening_pct=fs,
        quality=lowest_quality,
        accepted=because is None,
        rejected_because=because,
    )


def _plausible(
    rate_bpm: float, interval_s: float, period_s: float, measuring: MeasuringSettings
) -> bool:
    """Whether an interval is one beat: within the limits, and neither half a period nor two."""
    within = measuring.heart_rate_min_bpm <= rate_bpm <= measuring.heart_rate_max_bpm
    return within and SHORTEST_INTERVAL <= interval_s / period_s <= LONGEST_INTERVAL


def _per_column(windows: Sequence[QualityWindow], columns: int) -> Floats:
    """Probability of the window that labels each column, shape (columns,)."""
    quality = np.zeros(columns)
    for window in windows:
        quality[window.start_column : window.end_column] = window.probability
    return quality


def _rate_warnings(beats: Sequence[Beat], period_s: float) -> tuple[Warning, ...]:
    """Warn where the beats counted and the autocorrelation disagree on the rate."""
    rates = [b.heart_rate_bpm for b in beats if b.heart_rate_bpm is not None]
    if not rates:
        return ()
    counted, expected = float(np.median(rates)), 60 / period_s
    if abs(counted - expected) <= AUTOCORRELATION_TOLERANCE * expected:
        return ()
    detail = (
        f"The beats found give {counted:.0f} per minute, the repetition of the diameter "
        f"{expected:.0f}: look at the beats marked in the segmentation figure."
    )
    return (Warning("heart_rate_uncertain", detail),)
