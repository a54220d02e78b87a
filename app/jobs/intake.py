"""What happens to an analysis from outside: it is asked for, cancelled, removed or found again."""

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from app.jobs.queue import JobQueue
from app.jobs.render import Renderer
from app.metrics import Metrics
from app.storage.files import Files
from app.storage.records import Records, new_id
from app.storage.schema import Record, Request, SentKey

logger = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Intake:
    """Takes analyses in and out of records, files and queue, in the order that loses nothing.

    Parameters
    ----------
    identity : mapping
        What a result depends on besides the bytes and the options: networks, measuring settings
        and version.
    max_attempts : int
        How often an analysis may have been started.
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
    _recording: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    """Held so that nobody finds a record whose job the queue does not know yet."""

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
    ) -> tuple[Record, bool]:
        """Queue an analysis, unless the same one exists.

        Parameters
        ----------
        upload : Upload
        options : Options
        acknowledged : bool
            Whether the caller is told the id whatever becomes of the analysis.
        owner : str, optional
            Id of the caller's key. The same bytes from another owner are another analysis.
        study_only : bool
            Whether only a study asks for it.
        force : bool
            Whether it is analysed anew even where the same analysis exists.
        sent_as : str, optional
            What the caller calls this request; the same name again is the same analysis, whatever
            has become of it.

        Returns
        -------
        record : Record
        created : bool
            False where the same bytes with the same options were here before.

        Raises
        ------
        KeyReusedError
            `sent_as` came with other bytes or options before.
        OSError
            The upload cannot be stored.
        """
        fingerprint = self._fingerprint(upload.sha256, options, owner)
        sent = None if sent_as is None else _sent_key(sent_as, upload.sha256, options, owner)
        if not force:
            existing = self._existing(fingerprint)
            if existing is not None and sent is None:
                upload.path.unlink(missing_ok=True)
                if existing.study_only and not study_only:
                    self.records.claim(existing.id)
                return existing, False
        id = new_id()
        self.files.keep_upload(upload.path, id)
        if acknowledged:
            self.files.sync_upload(id)
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
        )
        try:
            with self._recording:
                record = self.records.add(id, request, force=force, sent=sent)
                if record.id == id:
                    self.queue.submit(id)
        except BaseException:
            self.files.drop_upload(id)
            raise
        if record.id != id:  # it was here before
            self.files.drop_upload(id)
            if not study_only:
                self.records.claim(record.id)
            return record, False
        return record, True

    def acknowledge(self, id: str) -> Record | None:
        """Make sure that an analysis outlives this process before its id is told."""
        self.files.sync_upload(id)
        return self.records.acknowledge(id)

    def remove(self, id: str) -> bool:
        """Cancel an unfinished analysis, remove a finished one; whether there was one."""
        with self._recording:
            cancelled = self.records.cancel(id) is not None
            never_started = cancelled and not self.queue.cancel(id)
        if never_started:
            self.files.drop_upload(id)
            self.metrics.count_analysis("cancelled", {})
        return cancelled or self._remove_finished(id)

    def expire(self, moment: datetime) -> int:
        """Remove the analyses that had ended before a moment, with their files; how many."""
        removed = sum(map(self._remove_finished, self.records.finished_before(moment)))
        if removed:
            logger.info("results expired", extra={"analyses": removed})
        return removed

    def _remove_finished(self, id: str) -> bool:
        if not self.records.remove(id):
            return False
        self.files.drop_upload(id)
        self.files.drop_result(id)
        return True

    def recover(self) -> None:
        """Take up what the last process left: queue the unfinished, delete what is nobody's."""
        for record in self.records.with_status("running"):
            self.records.requeue(record.id, counts=True)
        queued = [record for record in self.records.with_status("queued") if self._again(record)]
        done = self.records.with_status("succeeded")
        kept = [*done, *self.records.with_status("failed")] if self.keep_uploads else []
        self.files.tidy(
            uploads={record.id for record in [*queued, *kept]},
            results={record.id for record in done},
        )
        for record in queued:
            self.queue.submit(record.id)
        for record in done:
            if record.figures:
                self.renderer.draw_ahead(record.id)
        if queued:
            logger.info("unfinished analyses queued again", extra={"analyses": len(queued)})

    def _again(self, record: Record) -> bool:
        if record.attempts < self.max_attempts and self.files.upload(record.id).exists():
            return True
        self.records.fail(
            record.id,
            "internal_error",
            f"The service stopped {record.attempts} times during this analysis, which is not "
            "started again. Send the file once more if you want to try.",
        )
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


def _sent_key(name: str, sha256: str, options: Options, owner: str | None) -> SentKey:
    asked = json.dumps({"sha256": sha256, "options": vars(options)}, sort_keys=True)
    return SentKey(
        owner=owner or "",
        key_sha256=hashlib.sha256(name.encode()).hexdigest(),
        request_sha256=hashlib.sha256(asked.encode()).hexdigest(),
    )
