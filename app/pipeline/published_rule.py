"""The published measurement rule: extremes of the diameter, and which of them count.

Diameters are read off as they are, peaks are 85 columns apart whatever a column lasts, and a column
without lumen measures 0 mm. Extremes are not paired when they are found: the i-th diastole that
counts stands beside the i-th systole that counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.pipeline.features import (
    cardiac_output_ml_per_min,
    ejection_fraction_pct,
    fractional_shortening_pct,
    summarise,
    teichholz_volume_ul,
)
from app.pipeline.peaks import find_peaks
from app.pipeline.quality import HIGH_QUALITY
from app.pipeline.results import FEATURE_NAMES, Beat, QualityWindow, Summary, Warning

CLOSEST_COLUMNS = 85

Columns = NDArray[np.intp]


@dataclass(frozen=True)
class Measurement:
    """What the rule finds in a strip, before it is paired.

    Attributes
    ----------
    seconds_per_column : float
    lvid_mm, quality : ndarray of float64, shape (columns,)
        Diameter, and the probability of the window that labels the column.
    diastoles, systoles : ndarray of int
        Columns of all largest and smallest diameters.
    """

    seconds_per_column: float
    lvid_mm: NDArray[np.float64]
    quality: NDArray[np.float64]
    diastoles: Columns
    systoles: Columns

    @property
    def heart_rates_bpm(self) -> NDArray[np.float64]:
        """Rate from each diastole to the next: one fewer than there are diastoles."""
        return np.asarray(60 / (np.diff(self.diastoles) * self.seconds_per_column))

    @property
    def counted_diastoles(self) -> Columns:
        return self.diastoles[self._counts(self.diastoles)]

    @property
    def counted_systoles(self) -> Columns:
        return self.systoles[self._counts(self.systoles)]

    @property
    def counted_heart_rates_bpm(self) -> NDArray[np.float64]:
        return self.heart_rates_bpm[self._counts(self.diastoles[:-1])]

    def _counts(self, columns: Columns) -> NDArray[np.bool_]:
        return np.asarray(self.quality[columns] >= HIGH_QUALITY)


def measure(
    pixels_in_column: NDArray[np.integer[Any]],
    mm_per_row: float,
    seconds_per_column: float,
    windows: Sequence[QualityWindow],
) -> Measurement:
    """Find the extremes of the diameter.

    Of extremes that are equally large and nearer than 85 columns, the one that scipy keeps depends
    on how numpy sorts equal numbers, which is not the same on every processor (AVX2, AVX-512).

    Parameters
    ----------
    pixels_in_column : ndarray of int, shape (columns,)
        How many pixels of the mask each column has.
    mm_per_row, seconds_per_column : float
    windows : sequence of QualityWindow
        Tile the strip.
    """
    lvid_mm = pixels_in_column.astype(np.float64) * mm_per_row
    diastoles = find_peaks(lvid_mm, distance=CLOSEST_COLUMNS)
    systoles = find_peaks(-lvid_mm, distance=CLOSEST_COLUMNS)
    quality = np.zeros(lvid_mm.size)
    for window in windows:
        quality[window.start_column : window.end_column] = window.probability
    return Measurement(seconds_per_column, lvid_mm, quality, diastoles, systoles)


def features_of(measurement: Measurement, beats: Sequence[Beat]) -> Mapping[str, Summary]:
    """Summarise diastoles, systoles and rates, each by itself, over those that count.

    What needs several of them (stroke volume, cardiac output, EF, FS) is summarised over the
    accepted beats, which pair them as the published table does.
    """
    lvid_d = measurement.lvid_mm[measurement.counted_diastoles].tolist()
    lvid_s = measurement.lvid_mm[measurement.counted_systoles].tolist()
    values: dict[str, list[float]] = {
        "lvid_d_mm": lvid_d,
        "lvid_s_mm": lvid_s,
        "heart_rate_bpm": measurement.counted_heart_rates_bpm.tolist(),
        "lv_vol_d_ul": [teichholz_volume_ul(lvid) for lvid in lvid_d],
        "lv_vol_s_ul": [teichholz_volume_ul(lvid) for lvid in lvid_s],
    }
    accepted = [beat for beat in beats if beat.accepted]
    for name in FEATURE_NAMES:
        if name not in values:
            values[name] = [v for beat in accepted if (v := getattr(beat, name)) is not None]
    return {name: summarise(values[name]) for name in FEATURE_NAMES}


def beats_of(measurement: Measurement) -> tuple[Beat, ...]:
    """Pair diastoles, systoles and rates to beats, in order of the diastoles.

    The i-th diastole that counts is accepted, with the i-th systole and rate that count, as far as
    there are any. A diastole that does not count stands beside the systole before the next
    diastole, if that does not count either.
    """
    diastoles, systoles = measurement.counted_diastoles, measurement.counted_systoles
    rates = measurement.counted_heart_rates_bpm
    beats = [
        _beat(
            measurement,
            int(diastole),
            int(systoles[index]) if index < systoles.size else None,
            float(rates[index]) if index < rates.size else None,
            accepted=True,
        )
        for index, diastole in enumerate(diastoles)
    ]
    others = np.setdiff1d(measurement.systoles, systoles)
    all_rates = measurement.heart_rates_bpm
    for index, diastole in enumerate(measurement.diastoles):
        if diastole in diastoles:
            continue
        last = index + 1 == measurement.diastoles.size
        end = measurement.lvid_mm.size if last else measurement.diastoles[index + 1]
        own = others[(others > diastole) & (others < end)]
        beats.append(
            _beat(
                measurement,
                int(diastole),
                int(own[0]) if own.size else None,
                None if last else float(all_rates[index]),
                accepted=False,
            )
        )
    return tuple(sorted(beats, key=lambda beat: beat.diastole_column))


def warnings_of(measurement: Measurement) -> tuple[Warning, ...]:
    """Warn where there is nothing to measure."""
    if not measurement.lvid_mm.any():
        return (Warning("no_ventricle", "No left ventricle was found in the recording."),)
    if not measurement.diastoles.size:
        return (Warning("no_beats", "A ventricle is seen, but its diameter has no maximum."),)
    return ()


def _beat(
    measurement: Measurement,
    diastole: int,
    systole: int | None,
    rate_bpm: float | None,
    *,
    accepted: bool,
) -> Beat:
    dt, quality = measurement.seconds_per_column, measurement.quality
    lvid_d = float(measurement.lvid_mm[diastole])
    volume_d = teichholz_volume_ul(lvid_d)
    lvid_s = volume_s = stroke = output = None
    if systole is not None:
        lvid_s = float(measurement.lvid_mm[systole])
        volume_s = teichholz_volume_ul(lvid_s)
        stroke = volume_d - volume_s
        output = None if rate_bpm is None else cardiac_output_ml_per_min(stroke, rate_bpm)
    columns = [diastole] if systole is None else [diastole, systole]
    return Beat(
        diastole_column=diastole,
        diastole_s=diastole * dt,
        systole_column=systole,
        systole_s=None if systole is None else systole * dt,
        lvid_d_mm=lvid_d,
        lvid_s_mm=lvid_s,
        heart_rate_bpm=rate_bpm,
        lv_vol_d_ul=volume_d,
        lv_vol_s_ul=volume_s,
        stroke_volume_ul=stroke,
        cardiac_output_ml_per_min=output,
        ejection_fraction_pct=None
        if volume_s is None
        else ejection_fraction_pct(volume_d, volume_s),
        fractional_shortening_pct=None
        if lvid_s is None
        else fractional_shortening_pct(lvid_d, lvid_s),
        quality=float(quality[columns].min()),
        accepted=accepted,
        rejected_because=None if accepted else "low_quality",
    )
