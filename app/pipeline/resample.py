"""The picture that the networks see: the strip on a grid that does not depend on the scanner.

The whole depth of the M-mode region becomes 256 rows, and a column lasts 1.25 ms, whatever the
scanner's own grid. Grey is scaled by the strip's own bright end, so that gain hardly matters.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NETWORK_ROWS = 256
NETWORK_COLUMNS = 256
SECONDS_PER_NETWORK_COLUMN = 1.25e-3
_BRIGHT_PERCENTILE = 99.0
_LEAST_BRIGHT_GREY = 40.0
_GAMMA = 0.6


def network_width(columns: int, seconds_per_column: float) -> int:
    """Columns of 1.25 ms that ``columns`` columns of the strip make, at least 1."""
    return max(1, round(columns * seconds_per_column / SECONDS_PER_NETWORK_COLUMN))


def network_picture(pixels: NDArray[np.uint8], seconds_per_column: float) -> NDArray[np.uint8]:
    """Resample a strip to the networks' grid, antialiased.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns)
    seconds_per_column : float

    Returns
    -------
    ndarray of uint8, shape (256, network_width(columns, seconds_per_column))
    """
    width = network_width(pixels.shape[1], seconds_per_column)
    picture = Image.fromarray(pixels).resize((width, NETWORK_ROWS), Image.Resampling.BILINEAR)
    return np.asarray(picture)


def bright_grey(picture: NDArray[np.uint8]) -> float:
    """Grey level that counts as bright in this strip, 40..255: its 99th percentile."""
    counts = np.zeros(256, np.int64)
    for row in picture:  # all at once would be widened to eight bytes a pixel
        counts += np.bincount(row, minlength=256)
    at = np.searchsorted(np.cumsum(counts), _BRIGHT_PERCENTILE / 100 * picture.size)
    return max(float(at), _LEAST_BRIGHT_GREY)


def normalised(picture: NDArray[np.uint8], bright: float) -> NDArray[np.float32]:
    """Grey 0..255 → the networks' input: 0 is black, 1 is ``bright``, dark tones lifted."""
    levels = (np.arange(256) / bright) ** _GAMMA
    return np.minimum(levels, 1.5).astype(np.float32)[picture]
