"""What a network is shown of a part of the strip, in the grey that it wants."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.pipeline.cubic import cubic_resize
from app.pipeline.network_kinds import Grey
from app.pipeline.resample import (
    NETWORK_COLUMNS,
    NETWORK_ROWS,
    bright_grey,
    network_picture,
    normalised,
)
from app.pipeline.results import Strip

Floats = NDArray[np.float32]


class Box(NamedTuple):
    """A part of the strip, in its pixels; 0 is the outer edge of the first row or column."""

    left: float
    top: float
    right: float
    bottom: float


Show = Callable[[Box], Floats]


def viewer(strip: Strip, grey: Grey) -> Show:
    """Make the function that shows a network a part of a strip.

    Parameters
    ----------
    strip : Strip
    grey : {'scaled', 'unit'}
        'scaled': resampled with antialiasing, and scaled by the strip's bright end. 'unit': whole
        pixels, resized by cubic convolution, over 255.

    Returns
    -------
    callable
        ``show(box)``, float32 of shape (256, 256).
    """
    return _unit(strip) if grey == "unit" else _scaled(strip)


def _unit(strip: Strip) -> Show:
    def show(box: Box) -> Floats:
        left, top, right, bottom = (round(edge) for edge in box)
        part = strip.pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
        return cubic_resize(part, NETWORK_ROWS, NETWORK_COLUMNS) / np.float32(255)

    return show


def _scaled(strip: Strip) -> Show:
    picture = network_picture(strip.pixels, strip.seconds_per_column)
    bright = bright_grey(picture)
    image = Image.fromarray(picture)
    across, down = picture.shape[1] / strip.columns, NETWORK_ROWS / strip.rows

    def show(box: Box) -> Floats:
        inside = (box.left * across, box.top * down, box.right * across, box.bottom * down)
        size = (NETWORK_COLUMNS, NETWORK_ROWS)
        seen = image.resize(size, Image.Resampling.BILINEAR, box=inside)
        return normalised(np.asarray(seen), bright)

    return show
