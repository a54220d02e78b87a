"""How well networks measure the real recordings of the reference data, which none is trained on."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import find_peaks

from app.pipeline.networks import Networks
from app.pipeline.results import Borders
from models.simulation.convention import visible_edge
from models.training.measure import FOUND, WHITE, measure, overlay, strip_of
from models.training.scores import dice

Floats = NDArray[np.float64]

SECONDS_PER_COLUMN = 1 / 1200
TRACED_MM_PER_ROW, STRIP_MM_PER_ROW = 0.0115, 0.020645
PIECE_COLUMNS = 1500


def evaluate_traced(
    networks: Networks, folder: Path, pictures: Path | None = None
) -> dict[str, Any]:
    """Score a real window against an expert's traces of both borders; perhaps draw it."""
    mm = TRACED_MM_PER_ROW
    pixels = np.asarray(Image.open(folder / "r1_image.png").convert("L"))
    traces = np.genfromtxt(folder / "r1_traces.csv", delimiter=",", skip_header=1)
    upper, lower = traces[:, 2], traces[:, 3]
    traced = np.isfinite(upper) & np.isfinite(lower)
    strip = strip_of(pixels, SECONDS_PER_COLUMN, mm)
    borders, _, _ = measure(strip, networks)
    if pictures:
        expert = Borders(upper, lower, np.ones(upper.size, np.float32))
        sheet = overlay(strip, (expert, WHITE), (borders, FOUND))
        Image.fromarray(sheet).save(pictures / "traced_window.png")
    found_upper = np.where(traced, borders.upper_row, np.nan).astype(float)
    found_lower = np.where(traced, borders.lower_row, np.nan).astype(float)
    overlap, total = dice(
        found_upper, found_lower, np.where(traced, upper, np.nan), np.where(traced, lower, np.nan)
    )
    diameter = np.interp(np.arange(lower.size), np.flatnonzero(traced), (lower - upper)[traced])
    diastoles, _ = find_peaks(diameter, distance=60, prominence=40)
    systoles, _ = find_peaks(-diameter, distance=60, prominence=40)
    ours = found_lower - found_upper

    def relative_pct(at: NDArray[np.int64]) -> float:
        both = at[np.isfinite(ours[at])]
        return float(100 * (ours[both].mean() / diameter[both].mean() - 1))

    def offset_mm(found: Floats, true: Floats) -> dict[str, float]:
        return {
            "diastole": float(np.nanmean((found - true)[diastoles]) * mm),
            "systole": float(np.nanmean((found - true)[systoles]) * mm),
        }

    at = np.arange(lower.size)
    expert_upper = np.interp(at, np.flatnonzero(np.isfinite(upper)), upper[np.isfinite(upper)])
    expert_lower = np.interp(at, np.flatnonzero(np.isfinite(lower)), lower[np.isfinite(lower)])
    return {
        "dice": overlap / total,
        "columns_without_border_pct": float(100 * np.isnan(ours[traced]).mean()),
        "lvid_error_per_column_pct_of_lvid_d": float(
            100 * np.nanmean(np.abs(ours - (lower - upper))) / diameter[diastoles].mean()
        ),
        "lvid_d_bias_pct": relative_pct(diastoles),
        "lvid_s_bias_pct": relative_pct(systoles),
        "upper_border_below_expert_mm": offset_mm(found_upper, upper),
        "lower_border_below_expert_mm": offset_mm(found_lower, lower),
        "expert_beyond_visible_edge_mm": beyond_visible_edges(
            pixels, expert_upper, expert_lower, mm, diastoles, systoles
        ),
    }


def evaluate_strip(
    networks: Networks, folder: Path, pictures: Path | None = None
) -> dict[str, Any]:
    """Measure the real strip whose heart rate was counted by hand (717 bpm); perhaps draw it."""
    pixels = np.asarray(Image.open(folder / "r4_strip.png").convert("L"))
    strip = strip_of(pixels, SECONDS_PER_COLUMN, STRIP_MM_PER_ROW)
    borders, windows, beats = measure(strip, networks)
    if pictures:
        sheet = overlay(strip, (borders, FOUND))
        pieces = -(-strip.columns // PIECE_COLUMNS)
        padded = np.pad(sheet, ((0, 0), (0, pieces * PIECE_COLUMNS - strip.columns), (0, 0)))
        Image.fromarray(np.vstack(np.split(padded, pieces, axis=1))).save(
            pictures / "real_strip.png"
        )
    counted = [b for b in beats if b.accepted]
    rates = [b.heart_rate_bpm for b in counted if b.heart_rate_bpm is not None]
    there = np.isfinite(borders.upper_row)
    upper, lower = (
        np.interp(np.arange(there.size), np.flatnonzero(there), border[there])
        for border in (borders.upper_row, borders.lower_row)
    )
    return {
        "lvid_d_mm_median": float(np.median([b.lvid_d_mm for b in counted])),
        "lvid_s_mm_median": float(np.median([b.lvid_s_mm for b in counted if b.lvid_s_mm])),
        "heart_rate_bpm_median": float(np.median(rates)),
        "beats_found": len(beats),
        "beats_accepted": len(counted),
        "borders_beyond_visible_edge_mm": beyond_visible_edges(
            pixels, upper, lower, STRIP_MM_PER_ROW,
            np.array([b.diastole_column for b in counted]),
            np.array([b.systole_column for b in counted if b.systole_column is not None]),
        ),
        "quality_probabilities": [round(w.probability, 3) for w in windows],
    }  # fmt: skip


def beyond_visible_edges(
    pixels: NDArray[np.uint8],
    upper: Floats,
    lower: Floats,
    mm_per_row: float,
    diastoles: NDArray[np.int64],
    systoles: NDArray[np.int64],
) -> dict[str, float]:
    """How far borders lie outside the edges that can be seen, mm; medians near the extremes."""
    smooth = gaussian_filter(
        pixels.astype(np.float32), (0.03 / mm_per_row, 0.001 / SECONDS_PER_COLUMN), mode="nearest"
    )
    upper_mm, lower_mm = (upper + 0.5) * mm_per_row, (lower + 0.5) * mm_per_row
    middle = 0.5 * (upper_mm + lower_mm)
    above = visible_edge(smooth, middle, upper_mm, mm_per_row) - upper_mm
    below = lower_mm - visible_edge(smooth, middle, lower_mm, mm_per_row)
    result = {}
    for phase, at in (("diastole", diastoles), ("systole", systoles)):
        near = np.clip(at[:, None] + np.arange(-4, 5)[None, :], 0, upper.size - 1).ravel()
        result[f"{phase}_upper"] = float(np.nanmedian(above[near]))
        result[f"{phase}_lower"] = float(np.nanmedian(below[near]))
    return result
