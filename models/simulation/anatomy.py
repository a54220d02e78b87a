"""Whose heart it is and how it moves: the curves that everything else is drawn around.

Lengths are in mm below the top of the image, times in seconds. The ranges reach well beyond what
the published work reports for conscious mice (median LVIDd 2.72 mm, FS 56 %, 692 bpm), so that a
network trained on them has seen more than it will meet.

``upper_mm`` and ``lower_mm`` are the borders that the heart is drawn around, ``upper_inner_mm`` and
``lower_inner_mm`` the edges of the echo-free lumen within. What a reader makes of the finished
picture, and with it the truth that networks learn, is read off later: see `convention`.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Curve = NDArray[np.float32]

UPPER_OFFSET_D_MM, UPPER_OFFSET_S_MM = 0.145, 0.115
LOWER_OFFSET_D_MM, LOWER_OFFSET_S_MM = 0.18, 0.295


@dataclass(frozen=True)
class Anatomy:
    """What one animal and one acquisition are like; drawn once a recording."""

    depth_mm: float
    lvid_d_mm: float
    fractional_shortening: float
    heart_rate_bpm: float
    skin_mm: float
    upper_at_diastole_mm: float
    anterior_share: float
    anterior_wall_mm: float
    posterior_wall_mm: float
    pericardial_gap_mm: float


@dataclass(frozen=True)
class Motion:
    """Depth of every boundary in every column, mm, and where in which beat a column lies.

    ``phase`` runs from 0 to 1 in each beat, from diastole to diastole; ``tips_mm`` is how far the
    posterior wall's tips stand out into the lumen, already within ``lower_inner_mm``.
    """

    skin_mm: Curve
    anterior_outer_mm: Curve
    upper_mm: Curve
    upper_inner_mm: Curve
    lower_inner_mm: Curve
    lower_mm: Curve
    posterior_outer_mm: Curve
    pericardium_mm: Curve
    contraction: Curve
    phase: Curve
    tips_mm: Curve
    beat: NDArray[np.int64]


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw an animal: half from what is usual in conscious mice, half from far beyond it."""
    usual = rng.random() < 0.5
    if usual:
        lvid_d = float(np.clip(rng.normal(2.8, 0.45), 1.9, 4.2))
        fs = float(np.clip(rng.normal(0.54, 0.12), 0.2, 0.75))
        rate = float(np.clip(rng.normal(670, 90), 380, 850))
    else:
        lvid_d = float(rng.uniform(1.7, 5.2))
        fs = float(rng.uniform(0.08, 0.75))
        rate = float(rng.uniform(230, 860))
    smallest_systole_mm = 0.62
    fs = min(fs, 1 - smallest_systole_mm / lvid_d)
    anterior_wall = float(rng.uniform(0.45, 1.2))
    posterior_wall = float(rng.uniform(0.5, 1.2))
    upper = float(rng.uniform(0.9, 2.6))
    gap = float(rng.choice([0.0, rng.uniform(0, 0.9)]))
    needed = upper + lvid_d + posterior_wall + gap + 0.3
    depth = float(max(rng.uniform(5.5, 9.5), needed * rng.uniform(0.98, 1.35)))
    return Anatomy(
        depth_mm=depth,
        lvid_d_mm=lvid_d,
        fractional_shortening=fs,
        heart_rate_bpm=rate,
        skin_mm=float(rng.uniform(0.0, 0.4)),
        upper_at_diastole_mm=upper,
        anterior_share=float(rng.uniform(0.3, 0.68)),
        anterior_wall_mm=anterior_wall,
        posterior_wall_mm=posterior_wall,
        pericardial_gap_mm=gap,
    )


def beat_onsets(rng: np.random.Generator, heart_rate_bpm: float, duration_s: float) -> Curve:
    """Times of consecutive beats, s, from before the start to after the end."""
    period = 60 / heart_rate_bpm
    count = int(duration_s / period * 1.6) + 8
    intervals = period * (1 + rng.uniform(0.005, 0.05) * rng.standard_normal(count))
    breathing = rng.uniform(0, 0.05) * np.sin(
        2 * np.pi * rng.uniform(1.5, 5) * period * np.arange(count) + rng.uniform(0, 6)
    )
    intervals *= 1 + breathing
    if rng.random() < 0.12:  # arrhythmia: early beats, each followed by a pause
        early = rng.random(count) < rng.uniform(0.03, 0.15)
        intervals[early] *= rng.uniform(0.6, 0.85)
        intervals[np.roll(early, 1)] *= rng.uniform(1.1, 1.5)
    intervals = np.clip(intervals, 0.06, 0.33)
    return (np.cumsum(intervals) - intervals[0] - rng.uniform(0, 2) * period).astype(np.float32)


def _cycle(phase: Curve, peak: Curve, sharpness: float, plateau: float) -> Curve:
    """Contraction 0..1 over a cycle: 0 at phase 0 and 1, 1 at ``peak``."""
    rising = np.clip(phase / peak, 0, 1)
    falling = np.clip((1 - phase) / (1 - peak), 0, 1)
    level = 0.5 - 0.5 * np.cos(np.pi * np.where(phase < peak, rising, falling))
    shaped = level**sharpness
    return (shaped * (1 - plateau) + plateau * np.sin(0.5 * np.pi * shaped)).astype(np.float32)


def _beatwise(rng: np.random.Generator, beats: int, spread: float) -> Curve:
    """One factor a beat around 1, neighbours alike."""
    noise = rng.standard_normal(beats) + 0.7 * gaussian_filter1d(rng.standard_normal(beats), 2) * 2
    return (1 + spread * noise).astype(np.float32)


def _wander(rng: np.random.Generator, seconds: Curve, amplitude: float) -> Curve:
    """Slow movement of the whole heart: drift and breathing, mm."""
    drift = gaussian_filter1d(rng.standard_normal(seconds.size), 0.35 / (seconds[1] - seconds[0]))
    drift /= np.abs(drift).max() + 1e-6
    rate_hz = rng.uniform(1.2, 5)
    breath = np.sin(2 * np.pi * rate_hz * seconds + rng.uniform(0, 6))
    breath = np.sign(breath) * np.abs(breath) ** rng.uniform(0.6, 3)
    return (amplitude * (drift + rng.uniform(0, 0.8) * breath)).astype(np.float32)


def draw_motion(
    rng: np.random.Generator, anatomy: Anatomy, columns: int, seconds_per_column: float
) -> Motion:
    """Move the heart of ``anatomy`` through ``columns`` columns.

    Returns
    -------
    Motion
        All curves of shape (columns,).
    """
    seconds = (np.arange(columns) * seconds_per_column).astype(np.float32)
    onsets = beat_onsets(rng, anatomy.heart_rate_bpm, columns * seconds_per_column)
    beat = np.clip(np.searchsorted(onsets, seconds, side="right") - 1, 0, onsets.size - 2)
    phase = np.clip((seconds - onsets[beat]) / (onsets[beat + 1] - onsets[beat]), 0, 1)

    beats = onsets.size
    peak = float(rng.uniform(0.36, 0.55))
    peak_of_beat = np.clip(peak * _beatwise(rng, beats, 0.02), 0.25, 0.7)[beat]
    strength = np.clip(_beatwise(rng, beats, rng.uniform(0.01, 0.06)), 0.75, 1.2)[beat]
    size = np.clip(_beatwise(rng, beats, rng.uniform(0.003, 0.02)), 0.9, 1.1)[beat]
    anterior = _cycle(phase, peak_of_beat, rng.uniform(0.7, 1.6), rng.uniform(0, 0.6))
    lag = rng.uniform(-0.05, 0.07)
    lagged = np.clip(phase - lag * np.sin(np.pi * phase), 0, 1)
    posterior = _cycle(lagged, peak_of_beat, rng.uniform(0.7, 3.0), rng.uniform(0, 0.6))
    if rng.random() < 0.6:  # a shoulder in early relaxation, as the mitral valve opens
        height = rng.uniform(0.05, 0.3) * np.clip(_beatwise(rng, beats, 0.3), 0, 2)[beat]
        at = np.minimum(peak_of_beat + rng.uniform(0.12, 0.3), 0.9)
        posterior = np.maximum(
            posterior,
            posterior + height * np.exp(-(((phase - at) / rng.uniform(0.03, 0.07)) ** 2)) * 0.6,
        )
        posterior = np.minimum(posterior, 1)
    # size and strength change from beat to beat without a jump where one beat ends
    smooth_s = 0.012 / seconds_per_column
    strength, size = gaussian_filter1d(strength, smooth_s), gaussian_filter1d(size, smooth_s)
    kernel = rng.uniform(0.0015, 0.005) / seconds_per_column
    anterior = gaussian_filter1d(anterior * strength, kernel)
    posterior = gaussian_filter1d(posterior * strength, kernel)

    lvid_d = anatomy.lvid_d_mm * size
    excursion = anatomy.lvid_d_mm * anatomy.fractional_shortening
    centre_shift = _wander(rng, seconds, rng.uniform(0, 0.22))
    swing = rng.uniform(-0.12, 0.12) * np.sin(2 * np.pi * phase + rng.uniform(0, 6))
    swing = gaussian_filter1d(swing, smooth_s)
    upper = (
        anatomy.upper_at_diastole_mm
        + anatomy.anterior_share * excursion * anterior
        + centre_shift
        + swing
        - 0.5 * (lvid_d - anatomy.lvid_d_mm)
    )
    lower = (
        anatomy.upper_at_diastole_mm
        + anatomy.lvid_d_mm
        + 0.5 * (lvid_d - anatomy.lvid_d_mm)
        - (1 - anatomy.anterior_share) * excursion * posterior
        + centre_shift * rng.uniform(0.7, 1.1)
        + swing
    )
    lower = np.maximum(lower, upper + 0.5)

    contraction = np.clip(0.5 * (anterior + posterior), 0, 1)
    upper_offset = UPPER_OFFSET_D_MM + (UPPER_OFFSET_S_MM - UPPER_OFFSET_D_MM) * contraction
    lower_offset = LOWER_OFFSET_D_MM + (LOWER_OFFSET_S_MM - LOWER_OFFSET_D_MM) * contraction
    upper_offset = upper_offset * rng.normal(1, 0.15)
    tips = _tips(rng, onsets, seconds, peak)
    mean_tip = float(tips[contraction > 0.7].mean()) if (contraction > 0.7).any() else 0.0
    lower_offset = np.maximum(lower_offset * rng.normal(1, 0.12) - mean_tip * contraction, 0.06)
    lower_offset = lower_offset + tips
    upper_inner = upper + upper_offset
    lower_inner = np.maximum(lower - lower_offset, upper_inner + 0.06)

    thickening = rng.uniform(0.1, 0.6)
    anterior_outer = upper - anatomy.anterior_wall_mm * (1 + thickening * contraction)
    skin = np.full(columns, anatomy.skin_mm, np.float32) + 0.1 * _wander(rng, seconds, 0.3)
    anterior_outer = np.maximum(anterior_outer, skin + 0.2)
    posterior_outer = lower + anatomy.posterior_wall_mm * (1 + thickening * contraction)
    pericardium = _pericardium(rng, anatomy, phase, posterior_outer, centre_shift, smooth_s)
    posterior_outer = np.minimum(posterior_outer, pericardium - 0.02)
    posterior_outer = np.maximum(posterior_outer, lower + 0.15)
    pericardium = np.maximum(pericardium, posterior_outer + 0.02)

    as_curve = [
        np.asarray(curve, np.float32)
        for curve in (
            skin, anterior_outer, upper, upper_inner, lower_inner, lower, posterior_outer,
            pericardium, contraction, phase, tips,
        )
    ]  # fmt: skip
    return Motion(*as_curve, beat)


def _tips(rng: np.random.Generator, onsets: Curve, seconds: Curve, peak: float) -> Curve:
    """Thin tips of the posterior wall that stand out into the lumen around systole, mm."""
    tips = np.zeros(seconds.size, np.float32)
    if rng.random() < 0.35:
        return tips
    typical = rng.uniform(0.03, 0.35)
    at = peak + rng.normal(0, 0.05)
    for start, end in itertools.pairwise(onsets):
        centre = start + (at + rng.normal(0, 0.03)) * (end - start)
        width = rng.uniform(0.002, 0.007)
        first, last = np.searchsorted(seconds, [centre - 4 * width, centre + 4 * width])
        near = seconds[first:last]
        height = typical * rng.uniform(0.3, 1.6)
        tips[first:last] += height * np.exp(-(np.abs((near - centre) / width) ** 1.4))
    return tips


def _pericardium(
    rng: np.random.Generator,
    anatomy: Anatomy,
    phase: Curve,
    posterior_outer: Curve,
    centre_shift: Curve,
    smooth_columns: float,
) -> Curve:
    """The bright line behind the heart: it follows the heart a little, with a jerk of its own."""
    rest = float(np.median(posterior_outer)) + anatomy.pericardial_gap_mm
    follow = rng.uniform(0, 0.5) * (posterior_outer - np.median(posterior_outer))
    jerk_at, jerk = rng.uniform(0, 1), rng.uniform(-0.25, 0.25)
    saw = jerk * ((phase - jerk_at) % 1 - 0.5)
    curve = rest + follow + gaussian_filter1d(saw, smooth_columns * 0.3) + 0.6 * centre_shift
    return np.asarray(curve, np.float32)


def extremes(
    diameter: Curve, beat: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns of the diastoles and systoles that lie whole within the recording.

    The diastole of a beat is the column of largest diameter between two systoles, its systole that
    of the smallest before the next diastole.
    """
    columns = diameter.size
    starts = np.flatnonzero(np.diff(beat)) + 1  # first column of each beat: near its diastole
    systoles = [
        int(a + np.argmin(diameter[a:b])) for a, b in itertools.pairwise(starts) if b - a > 4
    ]
    diastoles = [int(a + np.argmax(diameter[a:b])) for a, b in itertools.pairwise(systoles)]
    if systoles and systoles[0] > 4:
        head = int(np.argmax(diameter[: systoles[0]]))
        if head > 2:
            diastoles.insert(0, head)
    if systoles and columns - systoles[-1] > 4:
        tail = systoles[-1] + int(np.argmax(diameter[systoles[-1] :]))
        if tail < columns - 3:
            diastoles.append(tail)
    return np.asarray(diastoles, np.int64), np.asarray(systoles, np.int64)
