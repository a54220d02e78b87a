"""Strips, borders and windows made by hand, with known truth."""

import numpy as np
from numpy.typing import NDArray

from app.pipeline.results import Borders, QualityWindow, Region, Strip


def make_strip(
    pixels: NDArray[np.uint8], *, seconds_per_column: float = 1e-3, mm_per_row: float = 0.02
) -> Strip:
    rows, columns = pixels.shape
    region = Region(0, 0, 0, columns, rows, seconds_per_column, mm_per_row)
    return Strip(pixels=pixels, region=region, frames=1, starts=(0,))


def blank_strip(columns: int, *, seconds_per_column: float = 1e-3) -> Strip:
    return make_strip(
        np.zeros((300, columns), np.uint8), seconds_per_column=seconds_per_column, mm_per_row=0.02
    )


def borders_of(diameter_mm: NDArray[np.float64], strip: Strip, confidence: float = 1.0) -> Borders:
    """Borders around the middle of the strip, ``diameter_mm`` apart (NaN where absent)."""
    half = diameter_mm / strip.mm_per_row / 2
    return Borders(
        upper_row=(strip.rows / 2 - half).astype(np.float32),
        lower_row=(strip.rows / 2 + half).astype(np.float32),
        confidence=np.where(np.isfinite(half), confidence, 0).astype(np.float32),
    )


def windows_of(strip: Strip, probabilities: list[float]) -> tuple[QualityWindow, ...]:
    """Windows of equal length that tile the strip."""
    bounds = np.linspace(0, strip.columns, len(probabilities) + 1).astype(int).tolist()
    return tuple(
        QualityWindow(
            start_column=start,
            end_column=end,
            start_s=start * strip.seconds_per_column,
            end_s=end * strip.seconds_per_column,
            probability=probability,
            label="high" if probability >= 0.5 else "low",
        )
        for start, end, probability in zip(bounds[:-1], bounds[1:], probabilities, strict=True)
    )


def beating(
    duration_s: float,
    seconds_per_column: float,
    *,
    rate_bpm: float = 600.0,
    largest_mm: float = 3.0,
    smallest_mm: float = 1.2,
) -> NDArray[np.float64]:
    """A diameter that is largest at 0, one period, two periods ... and smallest halfway."""
    seconds = np.arange(round(duration_s / seconds_per_column)) * seconds_per_column
    swing = 0.5 + 0.5 * np.cos(2 * np.pi * rate_bpm / 60 * seconds)
    return smallest_mm + (largest_mm - smallest_mm) * swing
