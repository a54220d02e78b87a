"""One job from start to end: analyse, store, record, and say how it ended."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any, TypeVar

from app.jobs.queue import Control, Outcome, Progress
from app.jobs.render import Renderer
from app.metrics import Metrics
from app.output import published_tables, tables
from app.pipeline.analysis import Stage
from app.pipeline.errors import AnalysisCancelled, AnalysisTimedOut, RecordingError
from app.pipeline.halt import Halt
from app.pipeline.results import Analysis
from app.storage.errors import (
    DATABASE_AWAY,
    StaleUploadError,
    StorageFullError,
    VolumeUnavailableError,
)
from app.storage.files import Files
from app.storage.records import Records
from app.storage.schema import Record, Status
from app.storage.serial import save_analysis

logger = logging.getLogger(__name__)

Inspect = Callable[[Path], object]
"""Raises what is wrong with a recording as far as its header shows."""

Analyse = Callable[..., Analysis]
"""``app.pipeline.analysis.analyse`` with all but the file and what was asked of it bound."""

Done = TypeVar("Done")

BEATS, SUMMARY, TRACE = "beats.csv", "summary.csv", "trace.csv"
PUBLISHED_ALL, PUBLISHED_STATS = "published_all.csv", "published_stats.csv"


class LostLeaseError(Exception):
    """Another worker has the analysis meanwhile."""


@dataclass(frozen=True)
class Runner:
    """Runs recorded analyses, one per call; safe to call from several threads.

    Parameters
    ----------
    analyse : callable
        ``analyse(path, body_mass_g=, profile=, progress=, halt=)``.
    time_limit_s : float
        Longest time that an analysis may take.
    keep_uploads : bool
        Whether the recording stays, unless nobody can ask for its analysis any more.
    patience_s : float
        How long a database that does not answer is asked again.
    max_attempts : int
        How often an analysis may have been started before it is given up where its recording is
        not seen on a shared volume.
    """

    analyse: Analyse
    time_limit_s: float
    records: Records
    files: Files
    renderer: Renderer
    metrics: Metrics
    keep_uploads: bool = False
    patience_s: float = 0.0
    max_attempts: int = 1

    def __call__(self, id: str, control: Control) -> Outcome | None:
        record = self.records.start(id)
        if record is None:  # cancelled before it began
            self.metrics.count_analysis("cancelled", {})
            gone = self.records.get(id)
            if gone is not None and gone.status == "cancelled":
                self._drop_upload(gone)
            return Outcome("cancelled")
        return self.run(record, control)

    def run(self, record: Record, control: Control) -> Outcome | None:
        """Run an analysis that is recorded as running.

        Parameters
        ----------
        record : Record
            With its holder, where a worker holds it under a lease.
        control : Control

        Returns
        -------
        Outcome or None
            None where it has to run again, or where another worker has it now.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            The database did not answer for so long that another worker may have it.
        """
        try:
            outcome = self._finish(record, control)
        except AnalysisCancelled:
            if control.lost.is_set():
                self._lose(record)
                return None
            if control.interrupted.is_set() and not control.cancelled.is_set():
                self._give_back(record, "analysis interrupted", counts=False)
                return None
            outcome = Outcome("cancelled")
            if not control.cancelled.is_set():  # then it was the clock
                outcome = Outcome("failed", "time_limit", self._time_limit_detail())
        except RecordingError as error:
            outcome = Outcome("failed", error.code, error.detail)
        except AnalysisTimedOut:
            outcome = Outcome("failed", "time_limit", self._time_limit_detail())
        except StorageFullError:
            detail = "There is no room left to store the result. Send the file again later."
            outcome = Outcome("failed", "storage_full", detail)
        except StaleUploadError:
            if record.attempts < self.max_attempts:
                self._give_back(record, "the recording is not seen", counts=True)
                return None
            detail = "The recording is gone from the service's volume. Send the file once more."
            outcome = Outcome("failed", "internal_error", detail)
        except VolumeUnavailableError:
            self._give_back(record, "the volume is not there", counts=False)
            return None
        except LostLeaseError:
            self._lose(record)
            return None
        except DATABASE_AWAY as error:
            if record.holder is not None:  # its lease runs out, and it runs again
                raise
            outcome = self._fault(record.id, error)
        except Exception as error:
            outcome = self._fault(record.id, error)
        return self._end(record, outcome)

    def _end(self, record: Record, outcome: Outcome) -> Outcome | None:
        id = record.id
        kept = self.keep_uploads and outcome.status != "cancelled"
        if outcome.status == "failed":
            code, detail = outcome.code or "", outcome.detail or ""
            failed = self._insist(lambda: self.records.fail(id, code, detail, record.holder))
            if failed is None and record.holder is not None and not self._is_mine(record, "failed"):
                self._lose(record)
                return None
            kept = kept and failed is not None
        if outcome.status != "succeeded":
            self.metrics.count_analysis(outcome.status, {})
            logger.info(
                "analysis ended",
                extra={"analysis_id": id, "outcome": outcome.status, "code": outcome.code},
            )
        if not kept:
            self._drop_upload(record)
        return outcome

    def _give_back(self, record: Record, why: str, *, counts: bool) -> None:
        self._insist(lambda: self.records.requeue(record.id, counts=counts, holder=record.holder))
        logger.info(why, extra={"analysis_id": record.id})

    def _lose(self, record: Record) -> None:
        """Leave an analysis as it is: somebody else decides on it, or has already."""
        now = self.records.get(record.id)
        if now is None or now.status == "cancelled":
            self.files.drop_result(record.id)
            self._drop_upload(record)
        logger.warning("analysis lost to another worker", extra={"analysis_id": record.id})

    def _insist(self, act: Callable[[], Done]) -> Done:
        """Do something to the records, again for a while where the database does not answer."""
        deadline = monotonic() + self.patience_s
        while True:
            try:
                return act()
            except DATABASE_AWAY:
                if monotonic() > deadline:
                    raise
                logger.warning("the database does not answer")
                sleep(min(1.0, self.patience_s / 10))

    def _is_mine(self, record: Record, status: Status) -> bool:
        """Whether this attempt has been noted already, where no answer of the database said so."""
        now = self._insist(lambda: self.records.get(record.id))
        return now is not None and (now.status, now.holder) == (status, record.holder or ...)

    def _drop_upload(self, record: Record) -> None:
        try:
            self.files.drop_upload(record.id, record.sha256)
        except VolumeUnavailableError as error:  # how the analysis ended is recorded all the same
            logger.warning("an upload stays: %r", error, extra={"analysis_id": record.id})

    def _finish(self, record: Record, control: Control) -> Outcome:
        began = perf_counter()
        control.progress = Progress("read", 0.0)
        with _no_longer_than(self.time_limit_s, control.halt):
            try:
                analysis = self.analyse(
                    self.files.upload(record.id, record.sha256),
                    body_mass_g=record.body_mass_g,
                    profile=record.profile,
                    progress=self._watch(control),
                    halt=control.halt,
                )
            except RecordingError:
                # a shared volume that fails meanwhile looks like a damaged recording
                if self.files.shared:
                    self.files.upload(record.id, record.sha256)
                raise
            self.files.write_result(
                record.id,
                lambda folder: write_tables(folder, record, analysis, control.halt.check),
                attempt=record.attempts,
            )
        total_ms = 1000 * (perf_counter() - began)
        done = self._insist(lambda: self.records.succeed(record.id, total_ms, record.holder))
        if done is None and not self._is_mine(record, "succeeded"):
            now = self.records.get(record.id)
            if now is not None and now.status != "cancelled":
                raise LostLeaseError
            self.files.drop_result(record.id)
            return Outcome("cancelled")
        self._report(record.id, analysis, total_ms)
        if record.figures:
            self.renderer.draw_ahead(record.id)
        return Outcome("succeeded")

    def _watch(self, control: Control) -> Callable[[Stage, float], None]:
        deadline = monotonic() + self.time_limit_s

        def progress(stage: Stage, fraction: float) -> None:
            if control.told:
                raise AnalysisCancelled
            if monotonic() > deadline:
                raise AnalysisTimedOut
            control.progress = Progress(stage, min(1.0, max(0.0, fraction)))

        return progress

    def _report(self, id: str, analysis: Analysis, total_ms: float) -> None:
        timings: dict[str, Any] = dict(analysis.timings_ms) | {"total": total_ms}
        self.metrics.count_analysis("succeeded", timings)
        logger.info(
            "analysis ended",
            extra={
                "analysis_id": id,
                "outcome": "succeeded",
                "timings_ms": {stage: round(time, 1) for stage, time in timings.items()},
                "columns": analysis.strip.columns,
                "beats": len(analysis.beats),
            },
        )

    def _time_limit_detail(self) -> str:
        return (
            f"The analysis took longer than the {self.time_limit_s:g} seconds it may take. "
            "Send a shorter recording, or have the limit raised."
        )

    def _fault(self, id: str, error: Exception) -> Outcome:
        logger.error(
            "analysis broke", exc_info=error, extra={"analysis_id": id, "outcome": "failed"}
        )
        return Outcome(
            "failed", "internal_error", "The analysis broke: a fault of the service, not the file."
        )


@contextmanager
def _no_longer_than(limit_s: float, halt: Halt) -> Iterator[None]:
    """Request the end after a time, also of what reports no progress."""
    clock = threading.Timer(limit_s, halt.request)
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()


def write_tables(
    folder: Path,
    record: Record,
    analysis: Analysis,
    go_on: Callable[[], None] = lambda: None,
) -> None:
    """Write an analysis and its tables into a folder.

    Parameters
    ----------
    folder : Path
    record : Record
    analysis : Analysis
    go_on : callable
        Called before each table; may raise to stop.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    save_analysis(folder, analysis)
    name = record.file_name
    options = {
        "body_mass_g": record.body_mass_g,
        "profile": record.profile,
        "figures": record.figures,
    }
    contents: dict[str, Callable[[], str]] = {
        BEATS: lambda: tables.beats_csv(analysis),
        SUMMARY: lambda: tables.summary_csv(
            analysis, id=record.id, file_name=name, options=options
        ),
        TRACE: lambda: tables.trace_csv(analysis),
        PUBLISHED_ALL: lambda: published_tables.published_all_csv(analysis, file_name=name),
        PUBLISHED_STATS: lambda: published_tables.published_stats_csv(analysis, file_name=name),
    }
    for table, content in contents.items():
        go_on()
        (folder / table).write_text(content(), encoding="utf-8", newline="")
