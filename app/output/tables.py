"""Analysis → CSV tables. An empty cell is an absent value, never 0."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.pipeline.results import FEATURE_NAMES, Analysis

BEAT_COLUMNS = (
    "diastole_s",
    "systole_s",
    "lvid_d_mm",
    "lvid_s_mm",
    "heart_rate_bpm",
    "lv_vol_d_ul",
    "lv_vol_s_ul",
    "ejection_fraction_pct",
    "fractional_shortening_pct",
    "quality",
    "accepted",
    "rejected_because",
)
OPTION_COLUMNS = ("body_mass_g", "profile", "figures")
STATISTICS = ("median", "mean", "min", "max", "sd", "n")
TRACE_COLUMNS = ("time_s", "upper_mm", "lower_mm", "lvid_mm", "quality_probability")

DECIMALS = 6  # a microsecond, a nanometre: finer than any scanner, and no binary noise


def beats_csv(analysis: Analysis) -> str:
    """Tabulate the beats, accepted or not, in order of time.

    Parameters
    ----------
    analysis : Analysis

    Returns
    -------
    str
        A header, ``BEAT_COLUMNS``, and a row per beat.
    """
    rows = ([getattr(beat, name) for name in BEAT_COLUMNS] for beat in analysis.beats)
    return _csv(BEAT_COLUMNS, rows)


def summary_csv(
    analysis: Analysis, *, id: str, file_name: str | None, options: Mapping[str, object]
) -> str:
    """Tabulate the features of one recording in a single row.

    Parameters
    ----------
    analysis : Analysis
    id : str
        Of the analysis.
    file_name : str or None
        As the caller named the file; what a spreadsheet would run as a formula is defused.
    options : mapping of str to object
        What the caller asked for, under the names of ``OPTION_COLUMNS``.

    Returns
    -------
    str
        A header and one row: id, file name, options, then the statistics of each feature.
    """
    statistics = {
        f"{feature}_{statistic}": getattr(analysis.features[feature], statistic)
        for feature in FEATURE_NAMES
        for statistic in STATISTICS
    }
    asked = [options[name] for name in OPTION_COLUMNS]
    header = ("id", "file_name", *OPTION_COLUMNS, *statistics)
    return _csv(header, [[id, file_name, *asked, *statistics.values()]])


def trace_csv(analysis: Analysis) -> str:
    """Tabulate borders, diameter and quality of every column of the strip.

    Parameters
    ----------
    analysis : Analysis

    Returns
    -------
    str
        A header, ``TRACE_COLUMNS``, and a row per column. Depths are in mm below the top row of
        the M-mode region; column 0 is at 0 s.
    """
    strip, borders = analysis.strip, analysis.borders
    upper = borders.upper_row.astype(np.float64) * strip.mm_per_row
    lower = borders.lower_row.astype(np.float64) * strip.mm_per_row
    probability = [""] * strip.columns
    for window in analysis.windows:
        span = slice(window.start_column, window.end_column)
        probability[span] = [_cell(window.probability)] * len(probability[span])
    columns = (
        _cells(np.arange(strip.columns) * strip.seconds_per_column),
        _cells(upper),
        _cells(lower),
        _cells(lower - upper),
        probability,
    )
    return _write(TRACE_COLUMNS, zip(*columns, strict=True))


def _csv(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    return _write(header, ([_cell(value) for value in row] for row in rows))


def _write(header: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)  # lines end as RFC 4180 has it
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _cell(value: object) -> str:
    """Write a value as a cell: None and NaN empty, a number with at most six decimals."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return _number(float(value))
    return defused(str(value))


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ""
    rounded = round(value, DECIMALS) + 0.0  # which makes -0.0 a plain zero
    return f"{rounded:.{DECIMALS}f}".rstrip("0").rstrip(".")


def _cells(values: NDArray[np.floating[Any]]) -> list[str]:
    """Write a long array of numbers, with all decimals; NaN becomes an empty cell."""
    cells = list(map(f"%.{DECIMALS}f".__mod__, values.tolist()))
    for index in np.flatnonzero(~np.isfinite(values)).tolist():
        cells[index] = ""
    return cells


def defused(text: str) -> str:
    """Keep a spreadsheet from running a text as a formula (OWASP, CSV injection)."""
    starts_formula = text.lstrip().startswith(("=", "+", "-", "@"))
    return f"'{text}" if starts_formula or text.startswith(("\t", "\r", "\n")) else text
