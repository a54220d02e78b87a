"""The recordings of a study → its mice: several recordings of one are averaged over beats."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from app.output.cells import table
from app.output.study_tables import STATISTIC_COLUMNS, Recording
from app.output.tables import STATISTICS
from app.pipeline.features import summarise
from app.pipeline.results import FEATURE_NAMES, Summary

MICE_COLUMNS = (
    "mouse_id",
    "sex",
    "group",
    "body_mass_g",
    "recordings",
    *STATISTIC_COLUMNS,
    "file_names",
    "recordings_without_result",
)


@dataclass(frozen=True)
class Mouse:
    """One animal as it is in one group; a recording whose mouse is not named is a row of its own.

    Attributes
    ----------
    mouse_id, sex, group : str or None
    body_mass_g : float or None
        Mean over the recordings that have one.
    file_names : sequence of str
        Its recordings that were analysed.
    features : mapping of str to Summary
        Over the accepted beats of all its recordings together.
    without_result : int
        Its recordings that are not among them: refused, failed, removed or not analysed yet.
    """

    mouse_id: str | None
    sex: str | None
    group: str | None
    body_mass_g: float | None
    file_names: Sequence[str]
    features: Mapping[str, Summary]
    without_result: int = 0


@dataclass
class _Gathered:
    file_names: list[str] = field(default_factory=list)
    masses_g: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in FEATURE_NAMES}
    )

    def add(self, recording: Recording) -> None:
        self.file_names.append(recording.file_name)
        if recording.body_mass_g is not None:
            self.masses_g.append(recording.body_mass_g)
        beats = recording.analysis.beats if recording.analysis else ()
        for beat in beats:
            if beat.accepted:
                for name, values in self.values.items():
                    if (value := getattr(beat, name)) is not None:
                        values.append(value)


def mice_of(recordings: Iterable[Recording]) -> list[Mouse]:
    """Gather the analysed recordings of each mouse.

    Parameters
    ----------
    recordings : iterable of Recording
        Read once; the analyses are not kept.

    Returns
    -------
    list of Mouse
        By group, then by mouse, numbers in names as numbers. A mouse that is given in two groups,
        or with two sexes, is there twice: what contradicts itself is not averaged.
    """
    gathered: dict[tuple[str, str, str, str], _Gathered] = {}
    lacking: Counter[tuple[str, str, str, str]] = Counter()
    for recording in recordings:
        unnamed = "" if recording.mouse_id else recording.file_name
        words = (recording.group, recording.mouse_id, recording.sex)
        group, mouse_id, sex = (word or "" for word in words)
        key = (group, mouse_id, sex, unnamed)
        if recording.analysis is None:
            lacking[key] += 1
        else:
            gathered.setdefault(key, _Gathered()).add(recording)
    return [
        Mouse(
            mouse_id=mouse_id or None,
            sex=sex or None,
            group=group or None,
            body_mass_g=fmean(found.masses_g) if found.masses_g else None,
            file_names=found.file_names,
            features={name: summarise(values) for name, values in found.values.items()},
            without_result=lacking[group, mouse_id, sex, unnamed],
        )
        for (group, mouse_id, sex, unnamed), found in sorted(gathered.items(), key=_place)
    ]


def _place(item: tuple[tuple[str, ...], object]) -> list[tuple[bool, list[tuple[float, str]]]]:
    """Order numbers in names as numbers, and what has no name last."""
    return [
        (not word, [(float(part), "") if part.isdecimal() else (-1.0, part) for part in parts])
        for word, parts in ((word, re.split(r"(\d+)", word)) for word in item[0])
    ]


def mice_csv(mice: Iterable[Mouse]) -> str:
    """Tabulate mice.

    Returns
    -------
    str
        A header, ``MICE_COLUMNS``, and a row per mouse; ``n`` counts beats.
    """
    return table(
        MICE_COLUMNS,
        (
            [
                mouse.mouse_id,
                mouse.sex,
                mouse.group,
                mouse.body_mass_g,
                len(mouse.file_names),
                *(
                    getattr(mouse.features[name], statistic)
                    for name in FEATURE_NAMES
                    for statistic in STATISTICS
                ),
                "; ".join(mouse.file_names),
                mouse.without_result,
            ]
            for mouse in mice
        ),
    )
