"""Diameters → volumes and function, beat by beat, and their summary over the accepted beats.

Volumes follow Teichholz as used in mice, V = 7·D³/(2.4 + D) with D in mm and V in µl.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from app.pipeline.results import FEATURE_NAMES, Beat, Summary


def teichholz_volume_ul(lvid_mm: float) -> float:
    """Left-ventricular volume in µl from the internal diameter in mm."""
    return 7 * lvid_mm**3 / (2.4 + lvid_mm)


def ejection_fraction_pct(volume_d_ul: float, volume_s_ul: float) -> float:
    """Share of the diastolic volume that is ejected, %."""
    return 100 * (volume_d_ul - volume_s_ul) / volume_d_ul


def fractional_shortening_pct(lvid_d_mm: float, lvid_s_mm: float) -> float:
    """Share of the diastolic diameter by which it shortens, %."""
    return 100 * (lvid_d_mm - lvid_s_mm) / lvid_d_mm


def cardiac_output_ml_per_min(stroke_volume_ul: float, heart_rate_bpm: float) -> float:
    """Volume ejected in a minute, ml."""
    return stroke_volume_ul * heart_rate_bpm / 1000


def summarise(values: Sequence[float]) -> Summary:
    """Median, mean, extremes and sample standard deviation; None where there are too few values."""
    if not values:
        return Summary(None, None, None, None, None, 0)
    array = np.asarray(values, np.float64)
    return Summary(
        median=float(np.median(array)),
        mean=float(array.mean()),
        min=float(array.min()),
        max=float(array.max()),
        sd=float(array.std(ddof=1)) if array.size > 1 else None,
        n=array.size,
    )


def features_of(beats: Sequence[Beat]) -> Mapping[str, Summary]:
    """Summarise each of ``FEATURE_NAMES`` over the accepted beats that have a value of it."""
    accepted = [beat for beat in beats if beat.accepted]
    return {
        name: summarise([v for b in accepted if (v := getattr(b, name)) is not None])
        for name in FEATURE_NAMES
    }
