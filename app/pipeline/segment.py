"""Strip → Borders: the segmenter over the whole strip, decoded with a smoothness prior.

The segmenter says for every column where each border may lie, as a distribution over the rows.
Overlapping windows are cross-faded, and the path of highest total probability through the whole
strip that does not move faster than a wall can is the border; its sub-pixel place is the centre of
the distribution around that path.
"""

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from app.pipeline.measuring import BorderConvention
from app.pipeline.networks import BATCH, Networks, find_borders
from app.pipeline.resample import (
    NETWORK_COLUMNS,
    NETWORK_ROWS,
    SECONDS_PER_NETWORK_COLUMN,
    bright_grey,
    network_picture,
    normalised,
)
from app.pipeline.results import Borders, Strip

Floats = NDArray[np.float32]

CHANNELS: dict[BorderConvention, slice] = {"expert": slice(0, 2), "inner_edges": slice(2, 4)}
OVERLAP_COLUMNS = 64
STEEPEST_PAIRS_PER_COLUMN = 3
SLOPE_PENALTY = 0.03
SHARE_FLOOR = 1e-5
PIECE_COLUMNS = 256
PIECES_AT_ONCE = 128
CENTRE_ROWS = 7
NEAR_ROWS = 4
GUESS_SMOOTHING_COLUMNS = 4
IN_VIEW_SMOOTHING_S = 0.006
SHORTEST_VIEW_S = 0.03
LEAST_DIAMETER_ROWS = 3.0


def segment(
    strip: Strip,
    networks: Networks,
    convention: BorderConvention = "expert",
    progress: Callable[[float], None] = lambda fraction: None,
) -> Borders:
    """Find both borders of the lumen in every column of a strip.

    Parameters
    ----------
    strip : Strip
    networks : Networks
    convention : {'expert', 'inner_edges'}
        Which of the two pairs of borders that the segmenter knows.
    progress : callable
        Called with the fraction done, 0..1, after every batch; may raise to stop.

    Returns
    -------
    Borders
        Rows of the strip, sub-pixel, NaN where no ventricle is seen.
    """
    picture = network_picture(strip.pixels, strip.seconds_per_column)
    mm_per_row = strip.mm_per_row * strip.rows / NETWORK_ROWS
    share, (in_view, followable) = _over_whole_strip(
        picture, mm_per_row, networks, CHANNELS[convention], progress
    )
    rows, near = decode(share, lambda: progress(1.0))
    seen = _visible(in_view, rows)
    confidence = np.minimum(near[0], near[1]) * in_view * seen
    return _on_strip(strip, rows, confidence.astype(np.float32), followable * seen, seen)


def _over_whole_strip(
    picture: NDArray[np.uint8],
    mm_per_row: float,
    networks: Networks,
    channels: slice,
    progress: Callable[[float], None],
) -> tuple[Floats, Floats]:
    """Cross-faded answers for every network column.

    Returns
    -------
    share : ndarray of float32, shape (2, 256, width)
        Distribution over the rows of the upper and the lower border.
    seen : ndarray of float32, shape (2, width)
        Probability that a ventricle is in view, and that both its borders can be followed.
    """
    width = picture.shape[1]
    bright = bright_grey(picture)
    if width < NETWORK_COLUMNS:
        picture = np.pad(picture, ((0, 0), (0, NETWORK_COLUMNS - width)), mode="symmetric")
    padded = picture.shape[1]
    stride = NETWORK_COLUMNS - OVERLAP_COLUMNS
    starts = [*range(0, padded - NETWORK_COLUMNS, stride), padded - NETWORK_COLUMNS]
    share = np.zeros((2, NETWORK_ROWS, padded), np.float32)
    seen = np.zeros((2, padded), np.float32)
    weights = np.zeros(padded, np.float32)
    fade = _fade()
    for first in range(0, len(starts), BATCH):
        some = starts[first : first + BATCH]
        windows = np.stack([normalised(picture[:, s : s + NETWORK_COLUMNS], bright) for s in some])
        logits, columns = find_borders(networks, windows, mm_per_row)
        for start, border_logits, column_logits in zip(some, logits, columns, strict=True):
            here = slice(start, start + NETWORK_COLUMNS)
            chosen = border_logits[channels]
            raised = np.exp(chosen - chosen.max(1, keepdims=True))
            share[:, :, here] += raised * (fade / raised.sum(1, keepdims=True))
            seen[:, here] += fade / (1 + np.exp(-column_logits))
            weights[here] += fade
        progress(min(1.0, (first + BATCH) / len(starts)))
    return (share / weights)[:, :, :width], (seen / weights)[:, :width]


def _fade() -> Floats:
    """Weight of a window's columns: full in the middle, falling over the overlap to the edges."""
    ramp = (np.arange(OVERLAP_COLUMNS, dtype=np.float32) + 0.5) / OVERLAP_COLUMNS
    weight = np.ones(NETWORK_COLUMNS, np.float32)
    weight[:OVERLAP_COLUMNS], weight[-OVERLAP_COLUMNS:] = ramp, ramp[::-1]
    return weight


def decode(share: Floats, go_on: Callable[[], None] = lambda: None) -> tuple[Floats, Floats]:
    """Follow the most probable path of each border through distributions over the rows.

    Parameters
    ----------
    share : ndarray of float32, shape (borders, rows, columns)
        Sums to 1 over the rows, whose number is even.
    go_on : callable
        Called many times; may raise to stop.

    Returns
    -------
    rows : ndarray of float32, shape (borders, columns)
        Sub-pixel rows.
    near : ndarray of float32, shape (borders, columns)
        Share of the distribution within four rows of the path: how sure it is, 0..1.
    """
    pairs = share[:, 0::2] + share[:, 1::2]
    path = 2 * _smoothest_path(np.log(pairs + SHARE_FLOOR), go_on)
    rows = share.shape[1]
    # as far to either side of the pair of rows on the path
    offsets = np.arange(-CENTRE_ROWS, CENTRE_ROWS + 2)
    at = np.clip(path[:, None, :] + offsets[None, :, None], 0, rows - 1)
    around = np.take_along_axis(share, at, axis=1)
    centre = (around * at).sum(1) / np.maximum(around.sum(1), SHARE_FLOOR)
    beyond = CENTRE_ROWS - NEAR_ROWS
    near = around[:, beyond:-beyond].sum(1)
    # where the distribution has hardly more near the path than anywhere, the path is but a guess
    guess = gaussian_filter1d(path + 0.5, GUESS_SMOOTHING_COLUMNS, axis=1)
    weight = np.clip((near - 0.05) / 0.1, 0, 1)
    place = weight * centre + (1 - weight) * guess
    return place.astype(np.float32), np.minimum(near, 1).astype(np.float32)


def _smoothest_path(score: Floats, go_on: Callable[[], None]) -> NDArray[np.int64]:
    """Path of highest score with a quadratic penalty on its slope (Viterbi), per border.

    The strip is cut into overlapping pieces; after the overlap a path no longer depends on where
    its piece began. Some are found side by side, but not all at once: that would take gigabytes.
    """
    columns = score.shape[2]
    starts = np.arange(0, columns, PIECE_COLUMNS)
    some = [starts[i : i + PIECES_AT_ONCE] for i in range(0, len(starts), PIECES_AT_ONCE)]
    paths = []
    for begins in some:
        go_on()
        paths.append(_paths_of_pieces(score, begins))
    return np.concatenate(paths, axis=1)[:, :columns]


def _paths_of_pieces(score: Floats, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Paths of the pieces that begin at `starts`, one after the other."""
    borders, rows, columns = score.shape
    piece, margin = PIECE_COLUMNS, 64
    length = piece + 2 * margin
    at = np.clip(starts[:, None] - margin + np.arange(length)[None, :], 0, columns - 1)
    # (length, borders, pieces, rows): one contiguous slab a step
    pieces = np.ascontiguousarray(score[:, :, at].transpose(3, 0, 2, 1))
    steep = STEEPEST_PAIRS_PER_COLUMN
    moves = np.arange(-steep, steep + 1)
    penalty = (SLOPE_PENALTY * moves**2).astype(np.float32)
    # highest total score of a path that ends in a row, with room for moves over the edge
    total = np.full((length, *pieces.shape[1:-1], rows + 2 * steep), -np.inf, np.float32)
    total[0, ..., steep : steep + rows] = pieces[0]
    shifted = np.empty_like(pieces[0])
    for step in range(1, length):
        before, highest = total[step - 1], total[step, ..., steep : steep + rows]
        for move, cost in zip(moves, penalty, strict=True):
            np.subtract(before[..., steep + move : steep + move + rows], cost, out=shifted)
            np.maximum(highest, shifted, out=highest)
        highest += pieces[step]
    row = total[-1].argmax(-1)
    path = np.empty((length, *row.shape), np.int64)
    path[-1] = row - steep
    for step in range(length - 2, -1, -1):
        candidates = row[..., None] + moves
        inside = np.clip(candidates, 0, total.shape[-1] - 1)
        reached = np.take_along_axis(total[step], inside, -1) - penalty
        row = np.take_along_axis(inside, reached.argmax(-1)[..., None], -1)[..., 0]
        path[step] = row - steep
    middle = path[margin : margin + piece].transpose(1, 2, 0).reshape(borders, -1)
    return middle


def _visible(in_view: Floats, rows: Floats) -> NDArray[np.bool_]:
    """Columns in which a ventricle is seen: no shorter glimpses or blinks than 30 ms."""
    smooth = gaussian_filter1d(in_view, IN_VIEW_SMOOTHING_S / SECONDS_PER_NETWORK_COLUMN)
    seen = np.asarray(smooth >= 0.5)
    shortest = round(SHORTEST_VIEW_S / SECONDS_PER_NETWORK_COLUMN)
    edges = np.flatnonzero(np.diff(seen)) + 1
    bounds = [0, *edges.tolist(), seen.size]
    for start, end in itertools.pairwise(bounds):
        inside = start > 0 and end < seen.size
        if end - start < shortest and inside:
            seen[start:end] = not seen[start]
    return np.asarray(seen & (rows[1] - rows[0] >= LEAST_DIAMETER_ROWS))


def _on_strip(
    strip: Strip, rows: Floats, confidence: Floats, followable: Floats, seen: NDArray[np.bool_]
) -> Borders:
    """Carry rows and columns of the network's grid back to the strip's own."""
    width = rows.shape[1]
    at = (np.arange(strip.columns) + 0.5) * width / strip.columns - 0.5
    grid = np.arange(width)
    scale = strip.rows / NETWORK_ROWS
    upper, lower = ((np.interp(at, grid, border) + 0.5) * scale - 0.5 for border in rows)
    there = seen[np.clip(np.rint(at).astype(int), 0, width - 1)]
    sure, readable = (
        np.where(there, np.interp(at, grid, curve), 0).astype(np.float32)
        for curve in (confidence, followable)
    )
    return Borders(
        upper_row=np.where(there, upper, np.nan).astype(np.float32),
        lower_row=np.where(there, lower, np.nan).astype(np.float32),
        confidence=sure,
        followable=readable,
    )
