"""Finds what was lost on the way between records, broker and workers, and sets it going again."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic

from app.jobs.celery_queue import NO_WORKER, SEEN_WITHIN_S, CeleryQueue
from app.jobs.leftovers import given_up, tidy
from app.jobs.queue import QueueUnavailableError
from app.metrics import Metrics
from app.storage.files import Files
from app.storage.leases import Leases
from app.storage.records import Records
from app.storage.schema import Record

logger = logging.getLogger(__name__)

_UNTOLD_AT_ONCE = 200
_REFUSED_STAY_S = 60.0
_TIDY_EVERY_S = 3600.0


@dataclass
class Sweeper:
    """Sweeps in every service and worker; several at once do no harm.

    Parameters
    ----------
    max_attempts : int
        How often an analysis may have been started before it is given up.
    keep_uploads : bool
        Whether the recording of an analysis that has ended stays as long as its record.
    """

    records: Records
    leases: Leases
    queue: CeleryQueue
    files: Files
    metrics: Metrics
    max_attempts: int
    keep_uploads: bool = False
    _tidied_at: float = field(default_factory=monotonic, init=False)
    _missed_workers: bool = field(default=False, init=False)

    @property
    def every_s(self) -> float:
        """How often to sweep: with the lease, that bounds how long a dead worker's work lies."""
        return min(10.0, self.leases.lease_s / 4)

    def sweep(self) -> None:
        """Do everything once; what fails does not keep the rest from being done."""
        for act in (
            self.revive,
            self.send_again,
            self.forget_refused,
            self.warn_of_no_worker,
            self.tidy_now_and_then,
        ):
            try:
                act()
            except Exception:  # of the database, the broker or the volume
                logger.exception("a sweep broke off")

    def revive(self) -> None:
        """Queue again what a worker has left, or give it up after so many attempts."""
        for record in self.leases.expired():
            if record.attempts < self.max_attempts:
                again = self.leases.requeue_expired(record.id)
                if again is not None:
                    self.metrics.count_expired_lease()
                    logger.warning("a lease has expired", extra={"analysis_id": record.id})
                    self.queue.submit(record.id, interactive=bool(record.interactive))
            elif self._give_up(record):
                self.metrics.count_expired_lease()
                self.metrics.count_dead_letter()

    def _give_up(self, record: Record) -> bool:
        failed = self.leases.fail_expired(record.id, *given_up(record))
        if failed is None:
            return False
        logger.error("an analysis was given up", extra={"analysis_id": record.id})
        if not self.keep_uploads:
            self.files.drop_upload(record.id, record.sha256)
        return True

    def send_again(self) -> None:
        """Tell the broker of what it must have lost: of what waits while its queues are empty.

        Where they are not, a worker that takes any message takes whatever waits longest.
        """
        if not self.leases.waits(self.leases.lease_s):
            return
        try:
            if any(self.queue.lengths().values()):
                return
        except QueueUnavailableError:
            return  # it is asked again with the next sweep
        claimed = self.leases.claim_unsent(self.leases.lease_s, _UNTOLD_AT_ONCE)
        for n, (id, interactive) in enumerate(claimed):
            if not self.queue.send(id, interactive=interactive):
                self.leases.unclaim([id for id, _ in claimed[n:]])
                return

    def forget_refused(self) -> None:
        """Remove what failed while its caller waited, who has been told by now."""
        moment = datetime.now(UTC) - timedelta(seconds=_REFUSED_STAY_S)
        for record in self.records.forget_refused(moment):
            self.files.drop_upload(record.id, record.sha256)

    def warn_of_no_worker(self) -> None:
        """Say in the log, once, that nobody is there to work."""
        missed = not self.leases.load(SEEN_WITHIN_S).workers
        if missed and not self._missed_workers:
            logger.warning(NO_WORKER)
        self._missed_workers = missed

    def tidy_now_and_then(self) -> None:
        """Delete the files that no record refers to and that nobody can be writing."""
        if monotonic() < self._tidied_at + _TIDY_EVERY_S:
            return
        self._tidied_at = monotonic()
        tidy(self.records, self.files, keep_uploads=self.keep_uploads)
