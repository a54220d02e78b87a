"""The recordings of a study → CSV tables over all of them, a recording at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.output.cells import cell, table, write
from app.output.published_tables import (
    ALL_COLUMNS,
    STATS_COLUMNS,
    published_all_csv,
    published_stats_csv,
)
from app.output.tables import BEAT_COLUMNS, OPTION_COLUMNS, STATISTICS
from app.pipeline.results import FEATURE_NAMES, Analysis

SAMPLE_COLUMNS = ("id", "file_name", "mouse_id", "sex", "group")
STUDY_BEAT_COLUMNS = (*SAMPLE_COLUMNS, "body_mass_g", *BEAT_COLUMNS)
STATISTIC_COLUMNS = tuple(f"{name}_{kind}" for name in FEATURE_NAMES for kind in STATISTICS)
STUDY_SUMMARY_COLUMNS = (
    *SAMPLE_COLUMNS,
    *OPTION_COLUMNS,
    "status",
    *STATISTIC_COLUMNS,
    "error_code",
    "error_detail",
)


@dataclass(frozen=True)
class Recording:
    """One recording of a study.

    Attributes
    ----------
    id : str or None
        Of its analysis; None where it was refused.
    file_name : str
        With its folders.
    mouse_id, sex, group : str or None
    body_mass_g : float or None
    profile : str
    figures : bool
    status : str
        That of the analysis, or ``removed`` where it is no longer there.
    error_code, error_detail : str or None
        Why there is no analysis.
    analysis : Analysis or None
        Where it has succeeded.
    """

    id: str | None
    file_name: str
    mouse_id: str | None
    sex: str | None
    group: str | None
    body_mass_g: float | None
    profile: str
    figures: bool
    status: str
    error_code: str | None = None
    error_detail: str | None = None
    analysis: Analysis | None = None

    @property
    def sample(self) -> tuple[object, ...]:
        """The values of ``SAMPLE_COLUMNS``."""
        return (self.id, self.file_name, self.mouse_id, self.sex, self.group)


def beats_csv(recordings: Iterable[Recording]) -> Iterator[str]:
    """Tabulate all beats of all recordings, accepted or not.

    Yields
    ------
    str
        The header, ``STUDY_BEAT_COLUMNS``; then the rows of each recording.
    """
    yield table(STUDY_BEAT_COLUMNS, ())
    for recording, analysis in _analysed(recordings):
        start = [cell(value) for value in (*recording.sample, recording.body_mass_g)]
        yield write(
            [*start, *(cell(getattr(beat, name)) for name in BEAT_COLUMNS)]
            for beat in analysis.beats
        )


def summary_csv(recordings: Iterable[Recording]) -> Iterator[str]:
    """Tabulate the features of all recordings, and why others have none.

    Yields
    ------
    str
        The header, ``STUDY_SUMMARY_COLUMNS``; then one row per recording, whatever became of it.
    """
    yield table(STUDY_SUMMARY_COLUMNS, ())
    for recording in recordings:
        asked = (getattr(recording, name) for name in OPTION_COLUMNS)
        error = (recording.error_code, recording.error_detail)
        row = [*recording.sample, *asked, recording.status, *_statistics(recording), *error]
        yield write([[cell(value) for value in row]])


def published_all(recordings: Iterable[Recording]) -> Iterator[str]:
    """Tabulate the beats that count in the columns of the published scripts.

    Yields
    ------
    str
        The header; then the rows of each recording.
    """
    yield table(ALL_COLUMNS, ())
    for recording, analysis in _analysed(recordings):
        yield _without_header(published_all_csv(analysis, file_name=recording.file_name))


def published_stats(recordings: Iterable[Recording]) -> Iterator[str]:
    """Tabulate statistics over what counts in the columns of the published scripts.

    Yields
    ------
    str
        The header; then one row per recording.
    """
    yield table(STATS_COLUMNS, ())
    for recording, analysis in _analysed(recordings):
        yield _without_header(published_stats_csv(analysis, file_name=recording.file_name))


def _analysed(recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Analysis]]:
    for recording in recordings:
        if recording.analysis is not None:
            yield recording, recording.analysis


def _statistics(recording: Recording) -> list[object]:
    if recording.analysis is None:
        return [None] * len(STATISTIC_COLUMNS)
    features = recording.analysis.features
    return [getattr(features[name], kind) for name in FEATURE_NAMES for kind in STATISTICS]


def _without_header(text: str) -> str:
    return text.partition("\r\n")[2]
