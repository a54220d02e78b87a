"""Analyses so plain that every pixel of a figure can be told beforehand."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.output.figures import draw
from app.pipeline.results import (
    FEATURE_NAMES,
    Analysis,
    Beat,
    Borders,
    QualityWindow,
    Region,
    Strip,
    Summary,
)
from tests.factories import make_analysis

Pixels = NDArray[np.int16]

ROWS, COLUMNS, SECONDS_PER_COLUMN, MM_PER_ROW = 300, 1200, 1 / 1000, 0.02
NOTHING = {name: Summary(None, None, None, None, None, 0) for name in FEATURE_NAMES}


def decode(name: str, analysis: Analysis) -> Pixels:
    """Draw a figure and read its pixels back: red, green and blue, shape (height, width, 3)."""
    with Image.open(io.BytesIO(draw(name, analysis))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image).astype(np.int16)


def has_colour(pixels: Pixels, colour: Sequence[float], tolerance: int = 6) -> NDArray[np.bool_]:
    """Where the pixels have this colour, 0..255 each."""
    return np.asarray(np.abs(pixels - np.asarray(colour)).max(axis=-1) <= tolerance)


def plain_analysis(
    pixels: NDArray[np.uint8] | None = None,
    *,
    upper_row: float = 100,
    lower_row: float = 200,
    probabilities: Sequence[float] = (0.9,),
    beats: Sequence[Beat] = (),
) -> Analysis:
    """Make a black strip of 1.2 s with level borders, and windows of equal length."""
    if pixels is None:
        pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    columns = pixels.shape[1]
    return make_analysis(
        strip=Strip(
            pixels=pixels,
            region=Region(2, 0, 0, 1024, ROWS, SECONDS_PER_COLUMN, MM_PER_ROW),
            frames=1,
            starts=(0,),
        ),
        borders=Borders(
            np.full(columns, upper_row, np.float32),
            np.full(columns, lower_row, np.float32),
            np.full(columns, 0.9, np.float32),
        ),
        windows=plain_windows(probabilities, columns),
        beats=tuple(beats),
        features=NOTHING,
    )


def plain_windows(probabilities: Sequence[float], columns: int) -> tuple[QualityWindow, ...]:
    """Windows of equal length that tile a strip."""
    bounds = np.linspace(0, columns, len(probabilities) + 1).round().astype(int).tolist()
    return tuple(
        QualityWindow(
            start_column=start,
            end_column=end,
            start_s=start * SECONDS_PER_COLUMN,
            end_s=end * SECONDS_PER_COLUMN,
            probability=probability,
            label="high" if probability >= 0.5 else "low",
        )
        for start, end, probability in zip(bounds[:-1], bounds[1:], probabilities, strict=True)
    )


def plain_beat(
    column: int, *, accepted: bool = True, quality: float = 0.9, **values: float
) -> Beat:
    """One beat whose systole follows 50 columns after its diastole."""
    return Beat(
        **{
            "diastole_column": column,
            "diastole_s": column * SECONDS_PER_COLUMN,
            "systole_column": column + 50,
            "systole_s": (column + 50) * SECONDS_PER_COLUMN,
            "lvid_d_mm": 2.0,
            "lvid_s_mm": 1.0,
            "lv_vol_d_ul": 12.0,
            "lv_vol_s_ul": 2.0,
            "heart_rate_bpm": 600.0,
            "ejection_fraction_pct": 83.0,
            "fractional_shortening_pct": 50.0,
            "quality": quality,
            "accepted": accepted,
            "rejected_because": None if accepted else "low_quality",
        }
        | values
    )
