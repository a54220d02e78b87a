"""Analysis → CSV tables in the columns of the published scripts, for what reads those downstream.

Numbers have all their digits here, as the scripts write them.
"""

from collections.abc import Iterable, Sequence

from app.output.cells import defused, write
from app.pipeline.results import Analysis, Beat

ALL_COLUMNS = (
    "file",
    "lvid;d",
    "lvid;d time",
    "lvid;s",
    "lvid;s time",
    "heart rate",
    "heart rate time",
)
_FEATURES = {"diastole": "lvid_d_mm", "systole": "lvid_s_mm", "heartrate": "heart_rate_bpm"}
_STATISTICS = {"median": "median", "avg": "mean", "max": "max", "min": "min"}
STATS_COLUMNS = (
    "file",
    *(f"{statistic}_{feature}" for statistic in _STATISTICS for feature in _FEATURES),
)

Row = Sequence[str | float | None]


def published_all_csv(analysis: Analysis, *, file_name: str | None) -> str:
    """Tabulate the beats that count: diameters in mm, times in s, rates per minute.

    Parameters
    ----------
    analysis : Analysis
        Of the profile 'published', the table stops where the first of the lists of diastoles,
        systoles and rates that count ends. Of 'robust', a cell is empty where a value is absent.
    file_name : str or None
        As the caller named the file; what a spreadsheet would run as a formula is defused.

    Returns
    -------
    str
        A header, ``ALL_COLUMNS``, and a row per beat.
    """
    beats = [beat for beat in analysis.beats if beat.accepted]
    if analysis.profile == "published":
        beats = [b for b in beats if b.lvid_s_mm is not None and b.heart_rate_bpm is not None]
    return _csv(ALL_COLUMNS, ([file_name, *_values(beat)] for beat in beats))


def published_stats_csv(analysis: Analysis, *, file_name: str | None) -> str:
    """Tabulate median, mean, extremes of diameters and rate over what counts.

    Parameters
    ----------
    analysis : Analysis
        Of the profile 'published', a statistic of nothing is 0; of 'robust', its cell is empty.
    file_name : str or None

    Returns
    -------
    str
        A header, ``STATS_COLUMNS``, and one row.
    """
    none = 0.0 if analysis.profile == "published" else None
    values = [
        none if (value := getattr(analysis.features[feature], statistic)) is None else value
        for statistic in _STATISTICS.values()
        for feature in _FEATURES.values()
    ]
    return _csv(STATS_COLUMNS, [[file_name, *values]])


def _values(beat: Beat) -> Row:
    rate_s = None if beat.heart_rate_bpm is None else beat.diastole_s
    return (
        beat.lvid_d_mm,
        beat.diastole_s,
        beat.lvid_s_mm,
        beat.systole_s,
        beat.heart_rate_bpm,
        rate_s,
    )


def _csv(header: Sequence[str], rows: Iterable[Row]) -> str:
    return write([header, *([_cell(value) for value in row] for row in rows)])


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return defused(value) if isinstance(value, str) else repr(float(value))
