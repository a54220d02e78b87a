"""The resize that the published networks were trained with.

Cubic convolution (Keys 1981, IEEE Trans. ASSP 29(6)) with a = −0.75: half-pixel centres, edges
replicated, no antialiasing, and nothing clipped.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

A = -0.75


def cubic_resize(picture: NDArray[Any], rows: int, columns: int) -> NDArray[np.float32]:
    """Resize a picture.

    Parameters
    ----------
    picture : ndarray, shape (any, any)
        Grey as it is.
    rows, columns : int
        The size wanted.

    Returns
    -------
    ndarray of float32, shape (rows, columns)
        May go a little beyond the range of ``picture``.
    """
    down, across = _weights(picture.shape[0], rows), _weights(picture.shape[1], columns)
    return np.asarray(down @ picture @ across.T, np.float32)


def _weights(before: int, after: int) -> NDArray[np.float64]:
    """Weight of every old pixel for every new one, shape (after, before); four a row."""
    at = (np.arange(after) + 0.5) * before / after - 0.5
    first = np.floor(at).astype(int)
    weights = np.zeros((after, before))
    for tap in range(-1, 3):
        old = np.clip(first + tap, 0, before - 1)
        np.add.at(weights, (np.arange(after), old), _kernel(np.abs(at - first - tap)))
    return weights


def _kernel(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((A + 2) * distance - (A + 3)) * distance**2 + 1
    far = A * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
