"""A bare strip through the pipeline, and a picture of what it found."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.pipeline.beats import find_beats
from app.pipeline.networks import Networks
from app.pipeline.quality import judge
from app.pipeline.results import Beat, Borders, QualityWindow, Region, Strip
from app.pipeline.segment import segment

Colours = tuple[tuple[int, int, int], tuple[int, int, int]]
FOUND: Colours = ((230, 159, 0), (86, 180, 233))
WHITE: Colours = ((255, 255, 255), (255, 255, 255))


def strip_of(pixels: NDArray[np.uint8], seconds_per_column: float, mm_per_row: float) -> Strip:
    """Wrap a bare image as a strip."""
    rows, columns = pixels.shape
    region = Region(0, 0, 0, columns, rows, seconds_per_column, mm_per_row)
    return Strip(pixels, region, 1, (0,))


def measure(
    strip: Strip, networks: Networks
) -> tuple[Borders, tuple[QualityWindow, ...], tuple[Beat, ...]]:
    """Run the pipeline from the strip on."""
    borders = segment(strip, networks)
    windows = judge(strip, borders, networks)
    beats, _ = find_beats(strip, borders, windows)
    return borders, windows, beats


def overlay(strip: Strip, *drawn: tuple[Borders, Colours] | tuple[int, int]) -> NDArray[np.uint8]:
    """Draw borders over a strip, brightened; a pair of numbers scales the picture to that size."""
    size = next((d for d in drawn if isinstance(d[0], int)), (strip.columns, strip.rows))
    picture = Image.fromarray(strip.pixels).resize(size, Image.Resampling.BILINEAR)
    grey = 255 * (np.asarray(picture) / 255) ** 0.6
    canvas = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    across = (np.arange(size[0]) + 0.5) * strip.columns / size[0] - 0.5
    for borders, colours in (d for d in drawn if isinstance(d[0], Borders)):
        for border, colour in zip((borders.upper_row, borders.lower_row), colours, strict=True):
            rows = (border[np.rint(across).astype(int)] + 0.5) * size[1] / strip.rows
            there = np.flatnonzero(np.isfinite(rows))
            canvas[np.clip(rows[there].astype(int), 0, size[1] - 1), there] = colour
    return canvas
