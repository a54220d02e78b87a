"""Strip → Borders with a segmenter that draws masks.

A mask's edges become, column by column, distributions over the rows of where each border lies, and
the smoothest path through them is followed as for any other segmenter. An edge counts by how much
more lumen lies on its inner side than on its outer one, so that holes and specks move no border.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.special import expit

from app.pipeline.networks import Networks, find_mask_logits
from app.pipeline.resample import (
    NETWORK_COLUMNS,
    NETWORK_ROWS,
    SECONDS_PER_NETWORK_COLUMN,
    network_width,
)
from app.pipeline.results import Borders, Strip
from app.pipeline.segment import IN_VIEW_SMOOTHING_S, LEAST_DIAMETER_ROWS, follow
from app.pipeline.view import Box, viewer

Floats = NDArray[np.float32]

OVERLAP_SHARE = 0.25
"""Of a window, cross-faded with the next."""
BESIDE_ROWS = 10
"""How far to either side an edge is looked at: holes and specks are thinner."""
LEAST_EDGE = 1e-3


def segment_by_mask(
    strip: Strip, networks: Networks, progress: Callable[[float], None] = lambda fraction: None
) -> Borders:
    """Find both borders of the lumen in every column of a strip.

    Parameters
    ----------
    strip : Strip
    networks : Networks
        With a segmenter of the kind 'mask'. It sees squares of the strip's whole depth.
    progress : callable
        Called with the fraction done, 0..1, after every window; may raise to stop.

    Returns
    -------
    Borders
        Rows of the strip, sub-pixel, NaN where no ventricle is seen.
    """
    share, in_view = _over_whole_strip(strip, networks, progress)
    rows, near = follow([share], lambda: progress(1.0))
    rows += np.array([[-0.5], [0.5]], np.float32)  # an edge lies outside the mask's last pixel
    smooth = gaussian_filter1d(in_view, IN_VIEW_SMOOTHING_S / SECONDS_PER_NETWORK_COLUMN)
    seen = (smooth >= 0.5) & (rows[1] - rows[0] >= LEAST_DIAMETER_ROWS)
    confidence = np.minimum(near[0], near[1]) * in_view

    width = rows.shape[1]
    at = _centres(strip.columns, width)
    grid = np.arange(width)
    there = seen[np.clip(np.rint(at).astype(int), 0, width - 1)]
    scale = strip.rows / NETWORK_ROWS
    upper, lower = ((np.interp(at, grid, border) + 0.5) * scale - 0.5 for border in rows)
    return Borders(
        upper_row=np.where(there, upper, np.nan).astype(np.float32),
        lower_row=np.where(there, lower, np.nan).astype(np.float32),
        confidence=np.where(there, np.interp(at, grid, confidence), 0).astype(np.float32),
    )


def edge_shares(probability: Floats) -> tuple[Floats, Floats]:
    """Turn the probability that a pixel is lumen into distributions of where it begins and ends.

    Parameters
    ----------
    probability : ndarray of float32, shape (rows, columns)

    Returns
    -------
    share : ndarray of float32, shape (2, rows, columns)
        Of the first and the last row of the lumen; sums to 1 over the rows, and is the same
        everywhere where there is no lumen.
    in_view : ndarray of float32, shape (columns,)
        Highest mean probability over a few rows that follow each other.
    """
    rows, columns = probability.shape
    padded = np.pad(probability, ((BESIDE_ROWS, BESIDE_ROWS), (0, 0)))
    sums = np.concatenate([np.zeros((1, columns)), np.cumsum(padded, 0, np.float64)])
    means = (sums[BESIDE_ROWS:] - sums[:-BESIDE_ROWS]) / BESIDE_ROWS  # of the rows from each on
    above, below = means[:rows], means[BESIDE_ROWS : BESIDE_ROWS + rows]
    begins = np.maximum(np.diff(probability, axis=0, prepend=0), 0)
    ends = np.maximum(-np.diff(probability, axis=0, append=0), 0)
    inner_above, outer_below = means[1 : rows + 1], means[BESIDE_ROWS + 1 :]
    edges = np.stack(
        [
            begins * np.maximum(below - above, 0),
            ends * np.maximum(inner_above - outer_below, 0),
        ]
    )
    total = edges.sum(1, keepdims=True)
    share = np.where(total > LEAST_EDGE, edges / np.maximum(total, LEAST_EDGE), 1 / rows)
    return share.astype(np.float32), means.max(0).astype(np.float32)


def _over_whole_strip(
    strip: Strip, networks: Networks, progress: Callable[[float], None]
) -> tuple[Floats, Floats]:
    """Cross-faded answers on the grid of 1.25 ms columns, as `edge_shares` gives them."""
    width = network_width(strip.columns, strip.seconds_per_column)
    centres = _centres(width, strip.columns)
    share = np.zeros((2, NETWORK_ROWS, width), np.float32)
    in_view, weights = np.zeros(width, np.float32), np.zeros(width, np.float32)
    show = viewer(strip, networks.segmenter.grey)
    side = min(strip.rows, strip.columns)
    stride = max(1, round((1 - OVERLAP_SHARE) * side))
    starts = [*range(0, strip.columns - side, stride), strip.columns - side]
    for index, start in enumerate(starts):
        window = show(Box(start, 0, start + side, strip.rows))
        edges, seen = edge_shares(expit(find_mask_logits(networks, window[None])[0]))
        first, last = np.searchsorted(centres, (start - 0.5, start + side - 0.5))
        at = _at(centres[first:last] - start, side)
        fade = np.minimum(at + 0.5, NETWORK_COLUMNS - 0.5 - at) / (OVERLAP_SHARE * NETWORK_COLUMNS)
        weight = np.clip(fade, 1e-3, 1).astype(np.float32)
        share[:, :, first:last] += weight * _between(edges, at)
        in_view[first:last] += weight * _between(seen, at)
        weights[first:last] += weight
        progress((index + 1) / len(starts))
    return share / weights, in_view / weights


def _centres(columns: int, of: int) -> NDArray[np.float64]:
    """Where the centres of ``columns`` columns lie among the ``of`` columns of another grid."""
    return _at(np.arange(columns), columns, of)


def _at(position: NDArray[Any], before: int, after: int = NETWORK_COLUMNS) -> NDArray[np.float64]:
    """Carry positions among ``before`` columns to a grid of ``after`` over the same width."""
    return np.asarray((position + 0.5) * after / before - 0.5, np.float64)


def _between(values: Floats, at: NDArray[np.float64]) -> Floats:
    """Interpolate along the last axis."""
    low = np.clip(np.floor(at).astype(int), 0, values.shape[-1] - 1)
    high = np.minimum(low + 1, values.shape[-1] - 1)
    share = np.clip(at - low, 0, 1).astype(np.float32)
    return np.asarray((1 - share) * values[..., low] + share * values[..., high])
