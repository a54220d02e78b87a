"""Plays a display that does not scroll: a bar sweeps over it and overwrites what stood there."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def sweep(
    strip: NDArray[np.uint8], width: int, ends: Sequence[int], bar: int = 8, grey: int = 0
) -> NDArray[np.uint8]:
    """Show a strip on a sweeping display.

    Parameters
    ----------
    strip : ndarray of uint8, shape (rows, columns)
    width : int
        Of the display.
    ends : sequence of int
        For every screen the number of columns of the strip that have been drawn.
    bar, grey : int
        Width of the bar, and its grey.

    Returns
    -------
    ndarray of uint8, shape (screens, rows, width)
    """
    screens = np.zeros((len(ends), strip.shape[0], width), np.uint8)
    for screen, end in zip(screens, ends, strict=True):
        drawn = np.arange(max(0, end - width), end)
        screen[:, drawn % width] = strip[:, drawn]
        screen[:, np.arange(end, end + bar) % width] = grey
    return screens
