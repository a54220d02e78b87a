"""What happens to an analysis from outside: it is asked for, cancelled, removed or found again."""

import hashlib
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from app.jobs.leftovers import given_up, tidy
from app.jobs.queue import JobQueue
from app.jobs.render import Renderer
from app.metrics import Metrics
from app.storage.files import Files
from app.storage.records import Records, new_id
from app.storage.schema import Record, Request, SentKey

logger = logging.getLogger(__name__)

NEEDS_MASS = (
    "The profile 'published' needs body_mass_g, the mouse's body mass in grams: its quality "
    "windows depend on it."
)
"""Why options are refused that name no body mass."""


@dataclass(frozen=True)
class Upload:
    """A recording that has arrived whole.

    Attributes
    ----------
    path : Path
        A file of ours; it is moved or deleted by whoever takes the upload.
    """

    path: Path
    size_bytes: int
    sha256: str
    file_name: str | None


@dataclass(frozen=True)
class Options:
    """What a caller may choose of an analysis."""

    body_mass_g: float | None
    profile: str
    figures: bool


class QueueFullError(Exception):
    """More analyses wait than may."""


class Line(NamedTuple):
    """Where an upload is going to wait.

    Attributes
    ----------
    interactive : bool
        Whether somebody waits for the result.
    owner : str or None
        Id of the caller's key.
    """

    interactive: bool
    owner: str | None


@dataclass(frozen=True)
class Room:
    """How much may wait, and what is left free.

    Attributes
    ----------
    queued : int
        Most analyses that wait: of those that somebody waits for, and of all others, each.
    queued_per_key : int
        The same for one caller's key.
    free_bytes : int
        What an upload leaves free on the disk, for results and records.
    """

    queued: int = 1000
    queued_per_key: int = 500
    free_bytes: int = 2**23


@dataclass(frozen=True)
class Intake:
    """Takes analyses in and out of records, files and queue, in the order that loses nothing.

    Parameters
    ----------
    identity : mapping
        What a result depends on besides the bytes and the options: networks, measuring settings
        and version.
    max_attempts : int
        How often an analysis may have been started, or a figure of it, before it is given up.
    keep_uploads : bool
        Whether the recording of an analysis that has ended stays as long as its record.
    """

    records: Records
    files: Files
    queue: JobQueue
    renderer: Renderer
    metrics: Metrics
    identity: Mapping[str, object]
    max_attempts: int
    keep_uploads: bool = False
    room: Room = Room()
    _arriving: Counter[Line] = field(default_factory=Counter, init=False, repr=False)
    _recording: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    """Held so that nobody finds a record whose job the queue does not know yet."""

    @contextmanager
    def arriving(self, line: Line) -> Iterator[None]:
        """Count an upload that has yet to arrive among those that wait."""
        with self._recording:
            self._arriving[line] += 1
        try:
            yield
        finally:
            with self._recording:
                self._arriving[line] -= 1
                if not self._arriving[line]:
                    del self._arriving[line]

    def check_room(self, needed_bytes: int, line: Line) -> None:
        """Say whether an upload can be taken, before it is: call it within `arriving`.

        Parameters
        ----------
        needed_bytes : int
            What it will take on disk; 0 where nobody said.
        line : Line

        Raises
        ------
        QueueFullError
            Too many wait already.
        StorageFullError
        """
        self.files.check_room(needed_bytes + self.room.free_bytes)
        with self._recording:
            mine = self._arriving[line]
            alike = (n for at, n in self._arriving.items() if at.interactive == line.interactive)
            arriving = sum(alike)
        waiting = self.records.count_queued(interactive=line.interactive)
        if waiting + arriving > self.room.queued:
            raise QueueFullError
        if line.owner is not None:
            waiting = self.records.count_queued(**line._asdict())
            if waiting + mine > self.room.queued_per_key:
                raise QueueFullError

    def admit(
        self,
        upload: Upload,
        options: Options,
        *,
        acknowledged: bool,
        owner: str | None = None,
        study_only: bool = False,
        force: bool = False,
        sent_as: str | None = None,
        keep: Callable[[str], bool] | None = None,
    ) -> tuple[Record, bool]:
        """Queue an analysis, unless the same one exists.

        Parameters
        ----------
        upload : Upload
        options : Options
        acknowledged : bool
            Whether the caller is told the id whatever becomes of the analysis: then nobody waits
            for it, and it comes after those that somebody waits for.
        owner : str, optional
            Id of the caller's key. The same bytes from another owner are another analysis.
        study_only : bool
            Whether only a study asks for it.
        force : bool
            Whether it is analysed anew even where the same analysis exists.
        sent_as : str, optional
            What the caller calls this request; the same name again is the same analysis, whatever
            has become of it.
        keep : callable, optional
            Makes sure that an analysis that was here before, by its id, stays for this caller;
            gives False where it has gone meanwhile. By default it stays whatever becomes of the
            studies that have it.

        Returns
        -------
        record : Record
        created : bool
            False where the same bytes with the same options were here before.

        Raises
        ------
        KeyReusedError
            `sent_as` came with other bytes or options before, `force` among them.
        StorageFullError
        OSError
            The upload cannot be stored.
        """
        fingerprint = self._fingerprint(upload.sha256, options, owner)
        sent = None
        if sent_as is not None:
            sent = _sent_key(sent_as, upload.sha256, options, owner, force=force)
        if not force:
            existing = self._existing(fingerprint)
            if existing is not None and sent is None and self._stays(existing, keep):
                upload.path.unlink(missing_ok=True)
                return existing, False
        id = new_id()
        request = Request(
            fingerprint=fingerprint,
            acknowledged=acknowledged,
            file_name=upload.file_name,
            size_bytes=upload.size_bytes,
            sha256=upload.sha256,
            body_mass_g=options.body_mass_g,
            profile=options.profile,
            figures=options.figures,
            owner=owner,
            study_only=study_only,
            interactive=not acknowledged,
        )
        try:
            self.files.keep_upload(upload.path, id, upload.sha256)
            if acknowledged:
                self.files.sync_upload(id, upload.sha256)
            with self._recording:
                record = self.records.add(id, request, force=force, sent=sent)
                while record.id != id and not self._stays(record, keep):
                    record = self.records.add(id, request, force=force, sent=sent)
                if record.id == id:
                    self.queue.submit(id, owner=owner, interactive=not acknowledged)
        except BaseException:
            self._drop_unrecorded(id, upload.sha256)
            raise
        if record.id != id:  # it was here before
            self.files.drop_upload(id, upload.sha256)
            return record, False
        return record, True

    def _stays(self, record: Record, keep: Callable[[str], bool] | None) -> bool:
        if keep is not None:
            return keep(record.id)
        return not record.study_only or self.records.claim(record.id)

    def _drop_unrecorded(self, id: str, sha256: str) -> None:
        """Delete an upload unless its analysis is recorded, or nobody can tell whether it is.

        A database that goes away just then may have recorded it, and would run it without.
        """
        try:
            recorded = self.records.get(id) is not None
        except SQLAlchemyError:
            return  # what turns out to be nobody's is tidied up later
        if not recorded:
            self.files.drop_upload(id, sha256)

    def acknowledge(self, id: str) -> Record | None:
        """Make sure that an analysis outlives this process before its id is told."""
        record = self.records.get(id)
        if record is not None:
            self.files.sync_upload(id, record.sha256)
        return self.records.acknowledge(id)

    def remove(self, id: str) -> bool:
        """Cancel an unfinished analysis, remove a finished one; whether there was one."""
        with self._recording:
            cancelled = self.records.cancel(id)
            never_started = cancelled is not None and not self.queue.cancel(id)
        if cancelled is None:
            return self._remove_finished(id)
        if never_started:
            self.files.drop_upload(id, cancelled.sha256)
            self.metrics.count_analysis("cancelled", {})
        return True

    def remove_orphan(self, id: str) -> bool:
        """Remove an analysis in any state that only studies asked for and none has; whether so."""
        with self._recording:
            removed = self.records.remove_orphan(id)
            begun = removed is not None and not removed.finished and self.queue.cancel(id)
        if removed is None:
            return False
        if begun and removed.status == "running":  # its worker still reads it, and clears up
            return True
        if not (removed.finished or begun):  # a worker that has just taken it counts it
            self.metrics.count_analysis("cancelled", {})
        self.files.drop_upload(id, removed.sha256)
        self.files.drop_result(id)
        return True

    def expire(self, moment: datetime) -> int:
        """Remove the analyses that had ended before a moment, with their files; how many."""
        removed = sum(map(self._remove_finished, self.records.finished_before(moment)))
        if removed:
            logger.info("results expired", extra={"analyses": removed})
        return removed

    def shrink(self, limit_bytes: int) -> int:
        """Remove the analyses that ended first, until what is on disk fits; how many.

        Parameters
        ----------
        limit_bytes : int
            For results and uploads together. The unfinished stay, even if they alone are more.
        """
        sizes = self.files.sizes_bytes()
        too_many = sum(size.total for size in sizes.values()) - limit_bytes
        removed = 0
        for id in self.records.finished_before(datetime.max.replace(tzinfo=UTC)):
            if too_many <= 0:
                break
            taken = sizes.get(id)
            if taken is not None and self._remove_finished(id):
                too_many -= taken.total
                removed += 1
        if removed:
            logger.info("results removed for want of room", extra={"analyses": removed})
        return removed

    def _remove_finished(self, id: str) -> bool:
        record = self.records.get(id)
        if record is None or not self.records.remove(id):
            return False
        self.files.drop_upload(id, record.sha256)
        self.files.drop_result(id)
        return True

    def recover(self) -> None:
        """Take up what the last process left: queue the unfinished, delete what is nobody's.

        What ran when that process died may have killed it, and runs alone now, lest it takes
        others along once more; what was tried least comes first.
        """
        for record in self.records.with_status("running"):
            self.records.requeue(record.id, counts=True)
        queued = [record for record in self.records.with_status("queued") if self._again(record)]
        tidy(self.records, self.files, keep_uploads=self.keep_uploads)
        for record in sorted(queued, key=lambda record: record.attempts):
            self._submit_again(record)
        for record in self.records.with_status("succeeded"):
            if record.figures and (record.render_attempts or 0) < self.max_attempts:
                self.renderer.draw_ahead(record.id)
        if queued:
            logger.info("unfinished analyses queued again", extra={"analyses": len(queued)})

    def take_up_stray(self) -> None:
        """Queue again what is recorded as unfinished, and was lost to the queue.

        So it may be where the disk was full when a worker was to record how far it is.
        """
        for record in self.records.with_status("queued", "running"):
            with self._recording:
                if self.queue.stopped or self.queue.knows(record.id):
                    continue
                now = self.records.get(record.id)
                if now is None or now.finished:
                    continue
                if now.status == "running":
                    now = self.records.requeue(record.id, counts=True)
                if now is not None and self._again(now):
                    logger.warning("a stray analysis", extra={"analysis_id": record.id})
                    self._submit_again(now)

    def _submit_again(self, record: Record) -> None:
        self.queue.submit(
            record.id,
            owner=record.owner,
            interactive=bool(record.interactive),
            alone=record.attempts > 0,
        )

    def _again(self, record: Record) -> bool:
        there = self.files.has_upload(record.id, record.sha256)
        if record.attempts < self.max_attempts and there:
            return True
        self.records.fail(record.id, *given_up(record))
        return False

    def _existing(self, fingerprint: str) -> Record | None:
        with self._recording:
            found = self.records.find(fingerprint)
        if found is None or found.status != "succeeded" or self.files.has_result(found.id):
            return found
        logger.warning("a result is gone from the data folder", extra={"analysis_id": found.id})
        self._remove_finished(found.id)  # else the same bytes could never be analysed again
        return None

    def _fingerprint(self, sha256: str, options: Options, owner: str | None) -> str:
        named: dict[str, object] = {
            "sha256": sha256,
            "options": vars(options),
            "identity": dict(self.identity),
        }
        if owner is not None:
            named["owner"] = owner
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _sent_key(
    name: str, sha256: str, options: Options, owner: str | None, *, force: bool
) -> SentKey:
    named: dict[str, object] = {"sha256": sha256, "options": vars(options)}
    if force:  # only then, so that names from before it counted stand for what they stood for
        named["force"] = True
    asked = json.dumps(named, sort_keys=True)
    return SentKey(
        owner=owner or "",
        key_sha256=hashlib.sha256(name.encode()).hexdigest(),
        request_sha256=hashlib.sha256(asked.encode()).hexdigest(),
    )
