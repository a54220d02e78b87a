"""Made-up values that tests of several floors share, so that none needs a real pipeline."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from app.pipeline.measuring import MeasuringSettings
from app.pipeline.results import (
    FEATURE_NAMES,
    Analysis,
    Beat,
    Borders,
    FileInfo,
    NetworkInfo,
    QualityWindow,
    Region,
    Strip,
    Summary,
    Warning,
)

SECONDS_PER_COLUMN = 1 / 1200
MM_PER_ROW = 0.02
ROWS, COLUMNS = 300, 2400  # two seconds
WINDOW_COLUMNS = 258  # 0.215 s
CYCLE_COLUMNS = 105  # 686 bpm
WALL_ROW = 110.0  # the upper border in diastole
CLASSIFIER = NetworkInfo("classifier", "1.0.0", "c" * 64)
SEGMENTER = NetworkInfo("segmenter", "1.0.0", "5" * 64)


def volume_ul(diameter_mm: float) -> float:
    """Teichholz' volume of a mouse's left ventricle, mm to microlitres."""
    return 7 * diameter_mm**3 / (2.4 + diameter_mm)


def make_analysis(**overrides: Any) -> Analysis:
    """Make a plausible analysis of two seconds: 22 beats at 686 bpm, 2.7 mm and 1.1 mm.

    The first two windows are of low quality, so their beats are rejected; the last beat has no
    rate because no diastole follows. Borders are absent in the last 40 columns.
    """
    columns = np.arange(COLUMNS)
    phase = 2 * np.pi * (columns - 20) / CYCLE_COLUMNS
    diameter_mm = 1.9 + 0.8 * np.cos(phase)
    upper = WALL_ROW + 15 * (1 - np.cos(phase)) / 2
    lower = upper + diameter_mm / MM_PER_ROW
    upper[-40:] = lower[-40:] = np.nan
    confidence = np.where(np.isnan(upper), 0.0, 0.9)
    borders = Borders(
        upper.astype(np.float32), lower.astype(np.float32), confidence.astype(np.float32)
    )

    windows = make_windows()
    beats = make_beats(windows)
    analysis = Analysis(
        file=FileInfo(transfer_syntax_uid="1.2.840.10008.1.2.1", frames=15),
        strip=Strip(
            pixels=make_pixels(upper, lower),
            region=Region(2, 28, 112, 1052, 412, SECONDS_PER_COLUMN, MM_PER_ROW),
            frames=15,
            starts=tuple(range(0, 15 * 98, 98)),
        ),
        borders=borders,
        windows=windows,
        beats=beats,
        features={name: summarise(beats, name) for name in FEATURE_NAMES},
        warnings=(Warning("partly_low_quality", "The first 0.4 s were not measured."),),
        classifier=CLASSIFIER,
        segmenter=SEGMENTER,
        profile="robust",
        body_mass_g=25.0,
        measuring=MeasuringSettings(),
        timings_ms={"read": 1.0, "stitch": 2.0, "segment": 3.0, "classify": 4.0, "measure": 5.0},
    )
    return replace(analysis, **overrides)


def make_pixels(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Grey image of a dark lumen between two bright walls, uint8, shape (ROWS, len(upper))."""
    rows = np.arange(ROWS)[:, None]
    noise = np.random.default_rng(7).integers(0, 30, (ROWS, upper.size))
    lumen = (rows > upper) & (rows < lower)
    wall = np.abs(rows - upper) < 12
    wall |= np.abs(rows - lower) < 12
    return (noise + np.where(wall, 170, np.where(lumen, 5, 70))).astype(np.uint8)


def make_windows() -> tuple[QualityWindow, ...]:
    """Windows of 0.215 s that tile the strip; the first two are of low quality."""
    made = []
    for start in range(0, COLUMNS, WINDOW_COLUMNS):
        end = min(start + WINDOW_COLUMNS, COLUMNS)
        probability = 0.15 if start < 2 * WINDOW_COLUMNS else 0.93
        made.append(
            QualityWindow(
                start_column=start,
                end_column=end,
                start_s=start * SECONDS_PER_COLUMN,
                end_s=end * SECONDS_PER_COLUMN,
                probability=probability,
                label="high" if probability >= 0.5 else "low",
            )
        )
    return tuple(made)


def make_beats(windows: Sequence[QualityWindow]) -> tuple[Beat, ...]:
    """One beat per cycle, a little different from one to the next."""
    rng = np.random.default_rng(3)
    diastoles = list(range(20, COLUMNS - CYCLE_COLUMNS, CYCLE_COLUMNS))
    beats = []
    for i, diastole in enumerate(diastoles):
        systole = diastole + 52
        lvid_d, lvid_s = 2.7 + 0.05 * rng.standard_normal(), 1.1 + 0.05 * rng.standard_normal()
        vol_d, vol_s = volume_ul(lvid_d), volume_ul(lvid_s)
        rate = None if i == len(diastoles) - 1 else 60 / (CYCLE_COLUMNS * SECONDS_PER_COLUMN)
        quality = windows[systole // WINDOW_COLUMNS].probability
        beats.append(
            Beat(
                diastole_column=diastole,
                diastole_s=diastole * SECONDS_PER_COLUMN,
                lvid_d_mm=lvid_d,
                lv_vol_d_ul=vol_d,
                quality=quality,
                accepted=quality >= 0.5,
                rejected_because=None if quality >= 0.5 else "low_quality",
                systole_column=systole,
                systole_s=systole * SECONDS_PER_COLUMN,
                lvid_s_mm=lvid_s,
                lv_vol_s_ul=vol_s,
                heart_rate_bpm=rate,
                stroke_volume_ul=vol_d - vol_s,
                cardiac_output_ml_per_min=None if rate is None else (vol_d - vol_s) * rate / 1000,
                ejection_fraction_pct=100 * (vol_d - vol_s) / vol_d,
                fractional_shortening_pct=100 * (lvid_d - lvid_s) / lvid_d,
            )
        )
    return tuple(beats)


def summarise(beats: Sequence[Beat], name: str) -> Summary:
    """Summary of a feature over the accepted beats that have it."""
    values = [getattr(beat, name) for beat in beats if beat.accepted]
    present = np.array([value for value in values if value is not None])
    if not present.size:
        return Summary(None, None, None, None, None, 0)
    return Summary(
        median=float(np.median(present)),
        mean=float(present.mean()),
        min=float(present.min()),
        max=float(present.max()),
        sd=float(present.std(ddof=1)) if present.size > 1 else None,
        n=int(present.size),
    )
