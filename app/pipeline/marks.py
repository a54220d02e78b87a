"""Clocks, labels and lines on the screen, which lie in some of its rows alone.

A bar or a cursor changes a column from top to bottom, and a picture that scrolls changes all of
them. What changes in some rows alone, or alone does not, is written on the picture: those rows
tell nothing of how the picture moves.
"""

import numpy as np
from numpy.typing import NDArray

from app.pipeline.chance import chance_differences

_BANDS = 32  # of rows
_MOST_MARKED = 0.25  # share of the bands that marks may lie in
_MOST_STANDING = 0.5  # share of the rows that something else may stand in
_STANDING_COLUMNS = 0.1  # share of the columns that it covers at least
_STANDING = 0.02  # of what any two columns differ by: what stands still differs by no more
_COMPARED = 256  # columns are enough to see it
_LEAST_RANGE = 32  # of greys, in what is written on a picture
_LEAST_COLUMNS = 3  # that a mark changes; another beat may by chance look alike in fewer


def rows_with_marks(
    before: NDArray[np.uint8], after: NDArray[np.uint8], limit: float
) -> NDArray[np.bool_]:
    """Find the rows in which marks have changed.

    Parameters
    ----------
    before, after : ndarray of uint8, shape (rows, columns)
        The columns that have changed.
    limit : float
        The mean squared difference up to which what is shown is the same.

    Returns
    -------
    ndarray of bool, shape (rows,)
        None of them where most of the picture has changed.
    """
    rows, columns = before.shape
    if not columns or rows < _BANDS:
        return np.zeros(rows, bool)
    difference, chance = _differences(before, after)
    differs = difference > limit
    most = int(_MOST_MARKED * int((chance > limit).sum()))  # of those in which anything is seen
    by_mark = differs.sum(axis=0) <= most
    bands = differs[:, by_mark].sum(axis=1) >= _LEAST_COLUMNS
    return _rows_of(bands, rows, most)


def rows_that_stand(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find the rows of what stands still, such as a table of results, where the picture moves.

    Parameters
    ----------
    before, after : ndarray of uint8, shape (rows, columns)
        Two screens.

    Returns
    -------
    ndarray of bool, shape (rows,)
        None of them where most of the screen stands still.
    """
    rows, columns = before.shape
    if rows < _BANDS:
        return np.zeros(rows, bool)
    before, after = (pixels[:, :: -(-columns // _COMPARED)] for pixels in (before, after))
    edges, _ = _bands(rows)
    difference, chance = _differences(before, after)
    brightest = np.maximum.reduceat(after, edges, axis=0)
    ranges = brightest - np.minimum.reduceat(after, edges, axis=0)
    still = (difference <= _STANDING * chance[:, None]) & (ranges >= _LEAST_RANGE)
    bands = still.sum(axis=1) >= _STANDING_COLUMNS * after.shape[1]
    near = bands | np.append(bands[1:], False) | np.append(False, bands[:-1])  # its upper end, too
    return _rows_of(near, rows, _MOST_STANDING * len(bands))


def _rows_of(bands: NDArray[np.bool_], rows: int, most: float) -> NDArray[np.bool_]:
    """Mark the rows of the bands that are marked; none where those are more than the most."""
    if bands.sum() > most:
        return np.zeros(rows, bool)
    _, heights = _bands(rows)
    return np.repeat(bands, heights)


def _bands(rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the first row and the height of every band."""
    edges = np.linspace(0, rows, _BANDS + 1).astype(int)
    return edges[:-1], np.diff(edges)


def _differences(
    before: NDArray[np.uint8], after: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean squared difference of every band in every column, and by chance between any two."""
    edges, heights = _bands(len(before))
    squares = (before.astype(np.float32) - after) ** 2
    difference = np.add.reduceat(squares, edges, axis=0) / heights[:, None]
    chance = np.add.reduceat(chance_differences(before, after), edges) / heights
    return difference.astype(np.float32), chance.astype(np.float32)
