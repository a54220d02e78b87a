"""One job from start to end: analyse, store, record, and say how it ended."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

from app.jobs.queue import Control, Outcome, Progress
from app.jobs.render import Renderer
from app.metrics import Metrics
from app.output import published_tables, tables
from app.pipeline.analysis import Stage
from app.pipeline.errors import AnalysisCancelled, AnalysisTimedOut, RecordingError
from app.pipeline.halt import Halt
from app.pipeline.results import Analysis
from app.storage.errors import StorageFullError, VolumeUnavailableError
from app.storage.files import Files
from app.storage.records import Records
from app.storage.schema import Record
from app.storage.serial import save_analysis

logger = logging.getLogger(__name__)

Inspect = Callable[[Path], object]
"""Raises what is wrong with a recording as far as its header shows."""

Analyse = Callable[..., Analysis]
"""``app.pipeline.analysis.analyse`` with all but the file and what was asked of it bound."""

BEATS, SUMMARY, TRACE = "beats.csv", "summary.csv", "trace.csv"
PUBLISHED_ALL, PUBLISHED_STATS = "published_all.csv", "published_stats.csv"


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
    """

    analyse: Analyse
    time_limit_s: float
    records: Records
    files: Files
    renderer: Renderer
    metrics: Metrics
    keep_uploads: bool = False

    def __call__(self, id: str, control: Control) -> Outcome | None:
        record = self.records.start(id)
        if record is None:  # cancelled before it began
            self.metrics.count_analysis("cancelled", {})
            gone = self.records.get(id)
            if gone is not None and gone.status == "cancelled":
                self._drop_upload(gone)
            return Outcome("cancelled")
        try:
            outcome = self._finish(record, control)
        except AnalysisCancelled:
            if control.interrupted.is_set() and not control.cancelled.is_set():
                self.records.requeue(id, counts=False)
                logger.info("analysis interrupted", extra={"analysis_id": id})
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
        except Exception as error:
            outcome = self._fault(id, error)
        kept = self.keep_uploads and outcome.status != "cancelled"
        if outcome.status == "failed":
            failed = self.records.fail(id, outcome.code or "", outcome.detail or "")
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
        if self.records.succeed(record.id, total_ms) is None:
            self.files.drop_result(record.id)
            return Outcome("cancelled")
        self._report(record.id, analysis, total_ms)
        if record.figures:
            self.renderer.draw_ahead(record.id)
        return Outcome("succeeded")

    def _watch(self, control: Control) -> Callable[[Stage, float], None]:
        deadline = monotonic() + self.time_limit_s

        def progress(stage: Stage, fraction: float) -> None:
            if control.cancelled.is_set() or control.interrupted.is_set():
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
