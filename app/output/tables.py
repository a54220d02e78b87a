"""Analysis → CSV tables. An empty cell is an absent value, never 0."""

from collections.abc import Iterator, Mapping
from itertools import chain

import numpy as np

from app.output.cells import cell, cells, table, write
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
ROWS_AT_ONCE = 10_000  # whose cells are held as texts: of ten minutes, all would take 0.3 GB
TRACE_COLUMNS = ("time_s", "upper_mm", "lower_mm", "lvid_mm", "quality_probability")


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
    return table(BEAT_COLUMNS, rows)


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
    return table(header, [[id, file_name, *asked, *statistics.values()]])


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
        probability[span] = [cell(window.probability)] * len(probability[span])
    time_s = np.arange(strip.columns) * strip.seconds_per_column

    def rows() -> Iterator[tuple[str, ...]]:
        for first in range(0, strip.columns, ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            curves = (time_s[some], upper[some], lower[some], lower[some] - upper[some])
            yield from zip(*map(cells, curves), probability[some], strict=True)

    return write(chain([TRACE_COLUMNS], rows()))
