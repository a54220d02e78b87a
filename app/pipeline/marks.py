"""Clocks, labels and lines on the screen, which change in a few rows and nowhere else.

A bar or a cursor changes a column from top to bottom. What changes it in some of its rows alone is
written on the picture: those rows tell nothing of how the picture moves.
"""

import numpy as np
from numpy.typing import NDArray

from app.pipeline.registration import chance_differences

_BANDS = 32  # of rows
_MOST_MARKED = 0.25  # share of the bands that marks may lie in
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
    marked = np.zeros(rows, bool)
    edges = np.unique(np.linspace(0, rows, _BANDS + 1).astype(int))[:-1]
    if not columns or len(edges) < _BANDS:
        return marked
    squares = (before.astype(np.float32) - after) ** 2
    heights = np.diff(np.append(edges, rows))
    differs = np.add.reduceat(squares, edges, axis=0) / heights[:, None] > limit
    chance = np.add.reduceat(chance_differences(before, after), edges) / heights
    most = int(_MOST_MARKED * int((chance > limit).sum()))  # of those in which anything is seen
    by_mark = differs.sum(axis=0) <= most
    bands = differs[:, by_mark].sum(axis=1) >= _LEAST_COLUMNS
    if int(bands.sum()) <= most:
        marked[np.flatnonzero(np.repeat(bands, heights))] = True
    return marked
