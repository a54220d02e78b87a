"""The queue of a service whose workers are other processes: told by a broker, known by records."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from time import monotonic

from celery import Celery
from kombu.connection import Connection
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.broker import CONFIRM_LIMIT_S, CONNECT_LIMIT_S, LINES, TASK, TROUBLE, declare, lengths
from app.jobs.queue import Outcome, Progress, QueueUnavailableError
from app.jobs.watcher import Watcher
from app.metrics import QueueStateUnknownError
from app.storage.leases import Leases
from app.storage.records import Records
from app.storage.schema import Status

logger = logging.getLogger(__name__)

SEEN_WITHIN_S = 60.0
"""How long ago a worker may have been seen to count as there."""

_ASKED_EVERY_S = 2.0
_DISTRUST_S = 5.0

NO_WORKER = "No worker has been seen lately: analyses wait until one is started."


class CeleryQueue:
    """Tells workers through Celery's broker that there is work, and learns from records of its end.

    What is recorded as queued is run even if the broker loses every message: see
    `app.jobs.sweeper.Sweeper`. A message more than needed finds nothing to do.

    Parameters
    ----------
    celery : Celery
    records : Records
    leases : Leases
    """

    def __init__(self, celery: Celery, records: Records, leases: Leases) -> None:
        self._celery = celery
        self._records = records
        self._leases = leases
        self._watcher = Watcher(records)
        self._stopped = False
        self._declared = False
        self._trusted_at = 0.0
        self._checked_at = -_ASKED_EVERY_S

    @property
    def queued(self) -> int:
        return self._count("queued")

    @property
    def running(self) -> int:
        return self._count("running")

    def _count(self, status: Status) -> int:
        try:
            return self._records.count_by_status().get(status, 0)
        except SQLAlchemyError as error:
            raise QueueStateUnknownError from error

    @property
    def stopped(self) -> bool:
        return self._stopped

    def submit(
        self,
        id: str,
        *,
        owner: str | None = None,  # noqa: ARG002 - the record says so
        interactive: bool = False,
        alone: bool = False,  # noqa: ARG002 - a worker sees how often it was tried
    ) -> None:
        if not self.send(id, interactive=interactive):
            return  # a sweep sends it
        try:
            self._leases.note_sent(id)
        except SQLAlchemyError:  # it is sent once more then
            logger.warning("the database does not answer", extra={"analysis_id": id})

    def send(self, id: str, *, interactive: bool) -> bool:
        """Tell the broker of an analysis; whether it took the message.

        Where it does not, the analysis waits until it is told again. A broker that has just not
        answered is not asked for a while, lest every request waits for it in vain.
        """
        if monotonic() < self._trusted_at:
            return False
        name = LINES["interactive" if interactive else "bulk"]
        try:
            with self._celery.producer_or_acquire() as producer:
                try:
                    if not self._declared:
                        declare(producer.connection, self._celery)
                        self._declared = True
                    self._celery.send_task(
                        TASK,
                        (id,),
                        queue=name,
                        producer=producer,
                        retry=False,
                        confirm_timeout=CONFIRM_LIMIT_S,
                    )
                except TROUBLE:
                    producer.connection.collect(1.0)  # an answer that comes late is nobody's
                    raise
        except TROUBLE as error:
            self._declared = False
            self._trusted_at = monotonic() + _DISTRUST_S
            reason = type(error).__name__  # its text may hold the broker's address
            logger.warning("the broker does not answer", extra={"error": reason})
            return False
        return True

    def lengths(self) -> Mapping[str, int]:
        """Count the messages that wait, by line.

        Raises
        ------
        QueueUnavailableError
        """
        with self._connection() as connection:
            return lengths(connection)

    def hasten(self, id: str) -> None:
        if self._records.hasten(id):
            self.send(id, interactive=True)

    def knows(self, id: str) -> bool:
        record = self._records.get(id)
        return record is not None and not record.finished

    def progress(self, id: str) -> Progress | None:
        record = self._watcher.seen(id) or self._records.get(id)
        if record is None or record.status != "running" or record.stage is None:
            return None
        return Progress(record.stage, record.fraction or 0.0)

    def cancel(self, id: str) -> bool:
        record = self._records.get(id)
        return record is not None and record.holder is not None

    async def wait(self, id: str, timeout_s: float | None = None) -> Outcome | None:
        return await self._watcher.wait(id, timeout_s)

    def check(self) -> str | None:
        if monotonic() > self._checked_at + _ASKED_EVERY_S:
            with self._connection():
                self._checked_at = monotonic()
        return None if self._leases.load(SEEN_WITHIN_S).workers else NO_WORKER

    def drain(self, grace_s: float) -> bool:  # noqa: ARG002 - nothing runs here
        self._stopped = True
        self._watcher.stop()
        return True

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        connection: Connection = self._celery.connection_for_read(connect_timeout=CONNECT_LIMIT_S)
        try:
            connection.ensure_connection(max_retries=1, timeout=CONNECT_LIMIT_S)
            yield connection
        except TROUBLE as error:
            raise QueueUnavailableError("The broker does not answer.") from error
        finally:
            connection.release()
