"""What a run of a study leaves in its folder, and what the next one reads of it."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.client import Json, ServiceError, Shape, checked
from app.output.cells import table

STATE = "study.json"
RESULT_TABLES = ("beats", "trace")
FAILURES = "failures.csv"
NOT_FINISHED = "not_finished"
"""Code of a file of which nobody knows what would have come: the service was lost before."""

ANALYSIS: Shape = {"links": {**{f"{name}_csv": str for name in RESULT_TABLES}, "figures": dict}}
"""What is needed of the result of an analysis."""


class StudyStateError(Exception):
    """The folder of results belongs to another study."""


@dataclass(frozen=True)
class Failure:
    """A file without a result, and why."""

    file_name: str
    code: str
    detail: str


def read_state(path: Path) -> Json:
    """Read which study a folder holds the results of.

    Raises
    ------
    StudyStateError
        The file is not what a run leaves behind.
    """
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(known["id"], str) and (known["server"] is None or str(known["server"])):
            return dict(known)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # said below
    raise StudyStateError(
        f"{path} is not what a run leaves behind; remove it, or say with --out where results go."
    )


def read_result(path: Path, id: str) -> Json | None:
    """Read the result of an analysis that an earlier run fetched; None where it is another's."""
    try:
        analysis = checked(json.loads(path.read_text(encoding="utf-8")), {"id": str, **ANALYSIS})
        return analysis if analysis["id"] == id else None
    except (FileNotFoundError, ValueError, RecursionError, ServiceError):
        return None


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all, also where the power fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def earlier_reasons(folder: Path) -> Mapping[str, tuple[str, str]]:
    """Read why files had no result at the end of the run before, by names as they are written.

    They hold where the service is lost before it has said anything of the files.
    """
    try:
        with (folder / FAILURES).open(encoding="utf-8", newline="") as stream:
            return {
                row["file_name"]: (row["code"], row["detail"])
                for row in csv.DictReader(stream)
                if row["code"] != NOT_FINISHED
            }
    except (OSError, ValueError, KeyError, csv.Error):  # none, or not as it was left
        return {}


def write_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """Write why files have no result."""
    rows = ((f.file_name, f.code, f.detail) for f in failures)
    write_whole(folder / FAILURES, table(("file_name", "code", "detail"), rows))
