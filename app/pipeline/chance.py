"""How much any two columns differ by chance: what a difference between two has to be held to."""

import numpy as np
from numpy.typing import NDArray


def chance_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean squared difference between any column of `a` and any of `b`, shape (rows, columns)."""
    return float(chance_differences(a, b).mean())


def chance_differences(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give the same for every row."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    return np.asarray(
        (x**2).mean(axis=1) + (y**2).mean(axis=1) - 2 * x.mean(axis=1) * y.mean(axis=1)
    )
