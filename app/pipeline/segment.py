"""Strip → Borders: the segmenter over the whole strip, decoded with a smoothness prior.

The segmenter says for every column where each border may lie, as a distribution over the rows.
Overlapping windows are cross-faded, and the path of highest total probability through the whole
strip that does not move faster than a wall can is the border; its sub-pixel place is the centre of
the distribution around that path.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from app.pipeline.crew import in_order
from app.pipeline.measuring import BorderConvention
from app.pipeline.networks import Networks, find_borders
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
MARGIN_COLUMNS = 64
PIECES_AT_ONCE = 16
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
    seen_in: list[Floats] = []
    reached = 0.0

    def tell(fraction: float) -> None:
        nonlocal reached
        reached = fraction
        progress(fraction)

    def shares() -> Iterator[Floats]:
        for share, seen in _across(picture, mm_per_row, networks, CHANNELS[convention], tell):
            seen_in.append(seen)
            yield share

    rows, near = follow(shares(), lambda: progress(reached))
    in_view, followable = np.concatenate(seen_in, axis=1)
    seen = _visible(in_view, rows)
    confidence = np.minimum(near[0], near[1]) * in_view * seen
    return _on_strip(strip, rows, confidence.astype(np.float32), followable * seen, seen)


def _across(
    picture: NDArray[np.uint8],
    mm_per_row: float,
    networks: Networks,
    channels: slice,
    progress: Callable[[float], None],
) -> Iterator[tuple[Floats, Floats]]:
    """Cross-faded answers for every network column, from left to right.

    Yields
    ------
    share : ndarray of float32, shape (2, 256, columns)
        Distribution over the rows of the upper and the lower border.
    seen : ndarray of float32, shape (2, columns)
        Probability that a ventricle is in view, and that both its borders can be followed.
    """
    width = picture.shape[1]
    bright = bright_grey(picture)
    if width < NETWORK_COLUMNS:
        picture = np.pad(picture, ((0, 0), (0, NETWORK_COLUMNS - width)), mode="symmetric")
    padded = picture.shape[1]
    stride = NETWORK_COLUMNS - OVERLAP_COLUMNS
    starts = [*range(0, padded - NETWORK_COLUMNS, stride), padded - NETWORK_COLUMNS]
    fade = _fade()

    def ask(start: int) -> tuple[Floats, Floats]:
        window = normalised(picture[:, start : start + NETWORK_COLUMNS], bright)
        borders, columns = find_borders(networks, window[None], mm_per_row)
        chosen = borders[0, channels]
        raised = np.exp(chosen - chosen.max(1, keepdims=True))
        raised *= fade / raised.sum(1, keepdims=True)
        return raised, fade / (1 + np.exp(-columns[0]))

    # what is begun of the columns from `start` on
    share = np.zeros((2, NETWORK_ROWS, 0), np.float32)
    seen, weight = np.zeros((2, 0), np.float32), np.zeros(0, np.float32)
    with closing(in_order(networks.crew, ask, starts)) as answers:
        for index, (start, following, (raised, columns)) in enumerate(
            zip(starts, [*starts[1:], padded], answers, strict=True)
        ):
            begun = weight.size
            raised[..., :begun] += share
            columns[:, :begun] += seen
            sum_ = fade.copy()
            sum_[:begun] += weight
            ready = following - start
            done = slice(0, min(ready, width - start))
            yield raised[..., done] / sum_[done], columns[:, done] / sum_[done]
            share, seen, weight = raised[..., ready:], columns[:, ready:], sum_[ready:]
            progress((index + 1) / len(starts))


def _fade() -> Floats:
    """Weight of a window's columns: full in the middle, falling over the overlap to the edges."""
    ramp = (np.arange(OVERLAP_COLUMNS, dtype=np.float32) + 0.5) / OVERLAP_COLUMNS
    weight = np.ones(NETWORK_COLUMNS, np.float32)
    weight[:OVERLAP_COLUMNS], weight[-OVERLAP_COLUMNS:] = ramp, ramp[::-1]
    return weight


def follow(
    shares: Iterable[Floats], go_on: Callable[[], None] = lambda: None
) -> tuple[Floats, Floats]:
    """Follow the most probable path of each border through distributions over the rows.

    Parameters
    ----------
    shares : iterable of ndarray of float32, shape (borders, rows, any)
        The distributions in parts, from left to right. They sum to 1 over the rows, whose number
        is even. No more than a few thousand columns are held at a time.
    go_on : callable
        Called many times; may raise to stop.

    Returns
    -------
    rows : ndarray of float32, shape (borders, columns)
        Sub-pixel rows.
    near : ndarray of float32, shape (borders, columns)
        Share of the distribution within four rows of the path: how sure it is, 0..1.
    """
    paths, centres, nears = [], [], []
    for share, columns, to_follow in _stretches(shares):
        go_on()
        path = 2 * _smoothest_path(share, columns, to_follow)
        inside = share[..., columns]
        # as far to either side of the pair of rows on the path
        offsets = np.arange(-CENTRE_ROWS, CENTRE_ROWS + 2)
        at = np.clip(path[:, None, :] + offsets[None, :, None], 0, share.shape[1] - 1)
        around = np.take_along_axis(inside, at, axis=1)
        centres.append((around * at).sum(1) / np.maximum(around.sum(1), SHARE_FLOOR))
        beyond = CENTRE_ROWS - NEAR_ROWS
        nears.append(around[:, beyond:-beyond].sum(1))
        paths.append(path)
    path, centre, near = (np.concatenate(parts, axis=1) for parts in (paths, centres, nears))
    # where the distribution has hardly more near the path than anywhere, the path is but a guess
    guess = gaussian_filter1d(path + 0.5, GUESS_SMOOTHING_COLUMNS, axis=1)
    weight = np.clip((near - 0.05) / 0.1, 0, 1)
    place = weight * centre + (1 - weight) * guess
    return place.astype(np.float32), np.minimum(near, 1).astype(np.float32)


def _stretches(shares: Iterable[Floats]) -> Iterator[tuple[Floats, slice, NDArray[np.int64]]]:
    """Cut parts into stretches of whole pieces.

    Yields
    ------
    share : ndarray of float32, shape (borders, rows, columns)
        With up to `MARGIN_COLUMNS` more at either side.
    columns : slice
        What is to be followed of it.
    starts : ndarray of int64
        Where the pieces begin in it.
    """
    held: list[Floats] = []
    width, before = 0, 0  # columns that are held, and how many of them have been followed
    stretch = PIECES_AT_ONCE * PIECE_COLUMNS
    for part in shares:
        held.append(part)
        width += part.shape[2]
        while width >= before + stretch + MARGIN_COLUMNS:
            share = np.concatenate(held, axis=2)
            held.clear()  # it is in there now
            end = before + stretch
            yield share, slice(before, end), np.arange(before, end, PIECE_COLUMNS)
            held = [share[..., end - MARGIN_COLUMNS :].copy()]
            width, before = held[0].shape[2], MARGIN_COLUMNS
    share = np.concatenate(held, axis=2)
    held.clear()
    if width > before:
        yield share, slice(before, width), np.arange(before, width, PIECE_COLUMNS)


def _smoothest_path(share: Floats, columns: slice, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Path of highest score with a quadratic penalty on its slope (Viterbi), per border.

    The strip is cut into overlapping pieces; after the overlap a path no longer depends on where
    its piece began. They are found side by side.
    """
    score = share[:, 0::2] + share[:, 1::2]
    score += SHARE_FLOOR
    np.log(score, out=score)
    paths = _paths_of_pieces(score, starts)
    return paths[:, : columns.stop - columns.start]


def _paths_of_pieces(score: Floats, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Paths of the pieces that begin at `starts`, one after the other."""
    borders, rows, columns = score.shape
    length = PIECE_COLUMNS + 2 * MARGIN_COLUMNS
    at = starts[:, None] - MARGIN_COLUMNS + np.arange(length)[None, :]
    # (length, borders, pieces, rows): one contiguous slab a step
    pieces = np.ascontiguousarray(score[:, :, np.clip(at, 0, columns - 1)].transpose(3, 0, 2, 1))
    steep = STEEPEST_PAIRS_PER_COLUMN
    moves = np.arange(-steep, steep + 1)
    penalty = (SLOPE_PENALTY * moves**2).astype(np.float32)
    # highest total score of a path that ends in a row, with room for moves over the edge
    total = np.full((length, *pieces.shape[1:-1], rows + 2 * steep), -np.inf, np.float32)
    total[0, ..., steep : steep + rows] = pieces[0]
    moved = np.empty_like(pieces[0])
    for step in range(1, length):
        before, highest = total[step - 1], total[step, ..., steep : steep + rows]
        highest[:] = before[..., steep : steep + rows]
        for by in range(1, steep + 1):
            up, down = steep - by, steep + by
            np.maximum(before[..., up : up + rows], before[..., down : down + rows], out=moved)
            moved -= penalty[down]
            np.maximum(highest, moved, out=highest)
        highest += pieces[step]
    flat = total.reshape(length, -1)
    row = total[-1].argmax(-1)
    first = total.shape[-1] * np.arange(row.size).reshape(row.shape)  # of each path's rows
    path = np.empty((length, *row.shape), np.int64)
    path[-1] = row - steep
    for step in range(length - 2, -1, -1):
        # the highest rows lie beyond `steep` from either end, so no move leaves the table
        reached = flat[step].take((first + row)[..., None] + moves)
        reached -= penalty
        row += reached.argmax(-1) - steep
        path[step] = row - steep
    return path[MARGIN_COLUMNS:-MARGIN_COLUMNS].transpose(1, 2, 0).reshape(borders, -1)


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
