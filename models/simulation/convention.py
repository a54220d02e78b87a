"""Where a reader would see the edges of the lumen in a finished picture, and draw the borders.

The borders of a recording are labelled by what can be seen of it, not by what it was drawn from: a
wall whose first layers drown in the noise is read further out than it lies. In every column the
visible inner edge is the place nearest to the lumen at which the grey rises to the half level
between the lumen and the wall's bright echoes (a fifth of its pixels within reach are brighter;
what shines behind the wall does not count); what a reader sees in the long run is the median of
that over many beats, phase by phase. The convention of expert readers lies a fixed way outside it:
through the bright endocardial echo above, through the body of the posterior wall's echo below, and
beneath the thin tips that stand out in systole.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from models.simulation.anatomy import Motion

Curve = NDArray[np.float32]

UPPER_BEYOND_D_MM, UPPER_BEYOND_S_MM = 0.12, 0.075
LOWER_BEYOND_D_MM, LOWER_BEYOND_S_MM = 0.18, 0.195
"""How far the convention lies outside the visible inner edges, in diastole and in systole."""

_SMOOTH_S, _SMOOTH_MM = 0.001, 0.03
REACH_MM, _OVERLAP_MM = 0.35, 0.1
_BRIGHT_SHARE = 0.8  # of the wall's pixels within reach are darker than its bright echoes
_STEP_MM = 0.012
_BEHIND_MM = 0.08
_PASSES = 3  # what counts as the wall follows where its edge was seen
_LEAST_RISE_SD = 0.5
_FURTHEST_MM = 0.3
_LEAST_REACH_MM = 0.1
_PHASES, _FEWEST = 16, 6


@dataclass(frozen=True)
class ReadBorders:
    """Borders as they are read, mm, each float32 of shape (columns,)."""

    upper_mm: Curve
    upper_inner_mm: Curve
    lower_inner_mm: Curve
    lower_mm: Curve


def read_borders(
    grey: NDArray[np.float32],
    motion: Motion,
    in_sight: NDArray[np.bool_],
    mm_per_row: float,
    seconds_per_column: float,
) -> ReadBorders:
    """Read the borders off a finished picture whose motion is known.

    Parameters
    ----------
    grey : ndarray of float32, shape (rows, columns)
    motion : Motion
        Where the boundaries were drawn; what is read follows its movement.
    in_sight : ndarray of bool, shape (columns,)
        Where there is a lumen to be seen at all.
    mm_per_row, seconds_per_column : float
    """
    smooth_rows, smooth_columns = _SMOOTH_MM / mm_per_row, _SMOOTH_S / seconds_per_column
    smooth = gaussian_filter(grey, (smooth_rows, smooth_columns), mode="nearest")
    middle = 0.5 * (motion.upper_inner_mm + motion.lower_inner_mm)
    beneath = motion.lower_inner_mm + motion.tips_mm  # the posterior wall without its tips
    upper_inner, lower_inner = motion.upper_inner_mm, motion.lower_inner_mm
    typical_shift = np.zeros(middle.size)
    for _ in range(_PASSES):
        # what shines beyond a wall, the pericardium above all, is not the wall's echo
        above, below = upper_inner - _BEHIND_MM, lower_inner + _BEHIND_MM
        anterior = np.clip(above - motion.anterior_outer_mm, _LEAST_REACH_MM, REACH_MM)
        posterior = np.clip(motion.posterior_outer_mm - below, _LEAST_REACH_MM, REACH_MM)
        upper = visible_edge(smooth, middle, above, mm_per_row, anterior)
        lower = visible_edge(smooth, middle, below, mm_per_row, posterior)
        upper[~in_sight] = lower[~in_sight] = np.nan
        upper_inner = motion.upper_inner_mm + _by_phase(upper - motion.upper_inner_mm, motion.phase)
        lower_inner = motion.lower_inner_mm + _by_phase(lower - motion.lower_inner_mm, motion.phase)
        typical_shift = _by_phase(lower - beneath, motion.phase)

    systole = motion.contraction
    upper_beyond = UPPER_BEYOND_D_MM + (UPPER_BEYOND_S_MM - UPPER_BEYOND_D_MM) * systole
    lower_beyond = LOWER_BEYOND_D_MM + (LOWER_BEYOND_S_MM - LOWER_BEYOND_D_MM) * systole
    lower_inner = np.maximum(lower_inner, upper_inner + 0.06)
    upper_border = upper_inner - upper_beyond
    # between the tips and the wall behind them, a typical beat decides
    lower_border = np.maximum(beneath + typical_shift + lower_beyond, lower_inner + 0.04)
    curves = (upper_border, upper_inner, lower_inner, lower_border)
    return ReadBorders(*(np.asarray(curve, np.float32) for curve in curves))


def visible_edge(
    smooth: NDArray[np.float32],
    middle_mm: Curve,
    edge_mm: Curve,
    mm_per_row: float,
    reach_mm: Curve | float = REACH_MM,
) -> NDArray[np.float64]:
    """Depth at which the lumen is seen to end, mm, column by column.

    Parameters
    ----------
    smooth : ndarray of float32, shape (rows, columns)
        The picture, smoothed a little.
    middle_mm : ndarray, shape (columns,)
        A depth within the lumen.
    edge_mm : ndarray, shape (columns,)
        About where it ends, above the middle in every column or below it.
    mm_per_row : float
    reach_mm : ndarray or float
        How far beyond the edge the wall's echoes may lie.

    Returns
    -------
    ndarray of float64, shape (columns,)
        NaN where nothing rises from the lumen within half a millimetre of ``edge_mm``.
    """
    rows, columns = smooth.shape
    side = -1.0 if edge_mm[0] < middle_mm[0] else 1.0
    half = np.abs(edge_mm - middle_mm)
    steps = np.arange(0, float(half.max()) + REACH_MM, _STEP_MM)[:, None]
    at = np.clip((middle_mm + side * steps) / mm_per_row - 0.5, 0, rows - 1.001)
    whole = at.astype(np.int32)
    here = np.arange(columns)
    profile = smooth[whole, here] * (1 - (at - whole)) + smooth[whole + 1, here] * (at - whole)
    within = steps < np.maximum(0.7 * half, _STEP_MM)
    count = within.sum(0)
    lumen = (profile * within).sum(0) / count
    spread = np.sqrt(((profile - lumen) ** 2 * within).sum(0) / count)
    tissue = (steps >= half - _OVERLAP_MM) & (steps <= half + reach_mm)
    bright = _bright_of(np.where(tissue, profile, -np.inf))
    level = 0.5 * (lumen + bright)
    over = (profile >= level) & (steps >= 0.4 * half)
    first = np.clip(over.argmax(0), 1, steps.size - 1)
    before, after = profile[first - 1, here], profile[first, here]
    part = np.clip((level - before) / np.maximum(after - before, 1e-6), 0, 1)
    edge = middle_mm + side * (first - 1 + part) * _STEP_MM
    seen = over.any(0) & (bright - lumen > _LEAST_RISE_SD * spread + 3)
    return np.where(seen & (np.abs(edge - edge_mm) < _FURTHEST_MM), edge, np.nan)


def _bright_of(tissue: NDArray[np.floating]) -> NDArray[np.float64]:
    """What a wall's bright echoes are like, column by column; where there is none, -inf stands."""
    band = tissue.max(1) > -np.inf
    ascending = np.sort(tissue[band], axis=0)
    count = np.isfinite(ascending).sum(0)
    place = ascending.shape[0] - count + np.rint(_BRIGHT_SHARE * (count - 1)).astype(int)
    return np.asarray(ascending[np.minimum(place, len(ascending) - 1), np.arange(place.size)])


def _by_phase(shift_mm: NDArray[np.float64], phase: Curve) -> NDArray[np.float64]:
    """Median of a shift at each phase of the cycle, laid out over the columns; 0 if unseen."""
    there = np.isfinite(shift_mm)
    if there.sum() < _FEWEST:
        return np.zeros(phase.size)
    bins = np.minimum((phase * _PHASES).astype(int), _PHASES - 1)
    overall = float(np.median(shift_mm[there]))
    typical = np.full(_PHASES, overall)
    for index in range(_PHASES):
        some = shift_mm[there & (bins == index)]
        if some.size >= _FEWEST:
            typical[index] = np.median(some)
    typical = gaussian_filter1d(typical, 1.2, mode="wrap")
    centres = (np.arange(_PHASES) + 0.5) / _PHASES
    return np.interp(phase, centres, typical, period=1.0)
