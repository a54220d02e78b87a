"""The colours of all figures, told apart without red-green vision (after Okabe and Ito, 2008)."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

INK = "#1a1a1a"
FAINT_INK = "#5c5c5c"

LOW_QUALITY, UNDECIDED, HIGH_QUALITY = "#d55e00", "#cfcfcf", "#0072b2"
LOW_BACKGROUND, HIGH_BACKGROUND = "#fbdcc6", "#d6e9f6"
PROBABILITY_COLOURS = LinearSegmentedColormap.from_list(
    "quality", [LOW_QUALITY, UNDECIDED, HIGH_QUALITY], N=256
)
"""Colour of a probability of high quality, 0..1: the greyer, the less sure the classifier is."""

UPPER_BORDER, LOWER_BORDER = "#56b4e9", "#e69f00"
DIASTOLE, SYSTOLE = "#f0e442", "#ee9ac7"

DISPLAY_GAMMA = 0.7
DISPLAY_PERCENTILES = (1.0, 99.7)
SAMPLED_COLUMNS = 2000  # enough for percentiles, however long the strip


def display_table(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Work out how a strip is brightened: from the 1st to the 99.7th percentile, gamma 0.7.

    Ultrasound strips are dark, and the posterior wall is the faintest of what matters in them.
    Only the display is changed; nothing is measured on it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns)
        Not empty.

    Returns
    -------
    ndarray of uint8, shape (256,)
        The grey that is shown for each grey of the strip.
    """
    sample = pixels[:, :: max(1, pixels.shape[1] // SAMPLED_COLUMNS)]
    black, white = np.percentile(sample, DISPLAY_PERCENTILES)
    shades: NDArray[np.float64] = (np.arange(256) - black) / max(1.0, white - black)
    return np.round(255 * np.clip(shades, 0, 1) ** DISPLAY_GAMMA).astype(np.uint8)
