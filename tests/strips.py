"""Made-up M-mode strips for tests that need a picture but no anatomy."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter


def make_strip(
    rows: int = 96, columns: int = 1500, cycle_columns: int = 100, seed: int = 0
) -> NDArray[np.uint8]:
    """Draw two walls that beat with little change from beat to beat, and speckle.

    One beat looks much like the next, as in a real recording: the walls repeat exactly, two
    thirds of the speckle's power as well, and the rest is new in every column.
    """
    rng = np.random.default_rng(seed)
    across = np.arange(columns)
    swing = np.cos(2 * np.pi * across / cycle_columns)
    upper, lower = 0.3 * rows - 0.05 * rows * swing, 0.65 * rows + 0.12 * rows * swing
    down = np.arange(rows)[:, None]
    walls = 90.0 / (1 + np.exp(down - upper)) + 110.0 / (1 + np.exp(lower - down))
    beat = gaussian_filter(rng.standard_normal((rows, cycle_columns)), (1, 2), mode="wrap")
    repeated = np.tile(beat, columns // cycle_columns + 1)[:, :columns]
    fresh = gaussian_filter(rng.standard_normal((rows, columns)), (1, 2))
    speckle = 0.8 * repeated + 0.6 * fresh
    grey = (walls + 8) * (1 + 0.5 * speckle / speckle.std())
    return np.clip(grey, 1, 255).astype(np.uint8)
