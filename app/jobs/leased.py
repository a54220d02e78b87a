"""What a worker process does: take whatever's turn it is, hold it under a lease, run it."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic

from sqlalchemy.exc import SQLAlchemyError

from app.jobs.queue import Control
from app.jobs.runner import Runner
from app.storage.leases import Leases
from app.storage.schema import Record

logger = logging.getLogger(__name__)

RENEW_EVERY_S = 0.5
"""How often leases are renewed, which is also how soon a cancelled analysis is noticed."""

_ANNOUNCE_EVERY_S = 10.0
_FORGET_AFTER_S = 3600.0
_REST_S = 2.0


@dataclass(eq=False)
class _Held:
    """An attempt that runs, or waits until it may run beside the others."""

    record: Record
    control: Control = field(default_factory=Control)
    renewed_at: float = field(default_factory=monotonic)


class LeasedWork:
    """Runs analyses that it takes from the records; safe to call from several threads.

    Parameters
    ----------
    runner : Runner
    leases : Leases
    worker : str
        This process's own name among all workers.
    slots : int
        Analyses that it runs at once.
    require : callable, optional
        Called before one is taken; raises where none could be run now.
    """

    def __init__(
        self,
        runner: Runner,
        leases: Leases,
        worker: str,
        slots: int,
        require: Callable[[], object] = lambda: None,
    ) -> None:
        self._runner = runner
        self._leases = leases
        self._worker = worker
        self._slots = slots
        self._require = require
        self._held: set[_Held] = set()
        self._changed = threading.Condition()
        self._running = 0
        self._to_run_alone = 0
        self._one_alone = False
        self._stopping = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)
        self._announced_at = -_ANNOUNCE_EVERY_S

    @property
    def busy(self) -> int:
        return len(self._held)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def start(self) -> None:
        """Say that this worker is there, and keep its leases from now on."""
        self._announce()
        self._thread.start()

    def __call__(self) -> bool:
        """Run the analysis whose turn it is; whether there was one that came to an end.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            The database does not answer.
        OSError
            So says `require`.
        """
        if self.stopping:
            return False
        self._require()
        record = self._leases.take(self._worker)
        if record is None:
            return False
        with self._holding(record) as control, self._beside(alone=record.attempts > 1):
            return self._runner.run(record, control) is not None

    @contextlib.contextmanager
    def _holding(self, record: Record) -> Iterator[Control]:
        held = _Held(record)
        with self._changed:
            self._held.add(held)
            if self.stopping:
                held.control.interrupt()
        try:
            yield held.control
        finally:
            with self._changed:
                self._held.remove(held)
                self._changed.notify_all()

    @contextlib.contextmanager
    def _beside(self, *, alone: bool) -> Iterator[None]:
        """Wait until it may run: what may have killed a worker takes no others along again."""
        with self._changed:
            if alone:  # nothing begins from here on, else its turn might never come
                self._to_run_alone += 1
                self._changed.wait_for(lambda: not self._running)
                self._to_run_alone -= 1
            else:
                self._changed.wait_for(lambda: not self._one_alone and not self._to_run_alone)
            self._running += 1
            self._one_alone = alone
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._one_alone = False
                self._changed.notify_all()

    def drain(self, grace_s: float, notice_s: float) -> bool:
        """Take nothing more, let what runs end, interrupt it after the grace.

        Returns
        -------
        bool
            Whether nothing runs any more.
        """
        self._stopping.set()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._held, grace_s):
                for held in self._held:
                    held.control.interrupt()
                self._changed.wait_for(lambda: not self._held, notice_s)
            return not self._held

    def close(self) -> None:
        """Keep no lease any more, and say that this worker is no longer there."""
        self._stopping.set()
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(_REST_S)
        with contextlib.suppress(SQLAlchemyError):
            self._leases.dismiss(self._worker)

    def _keep(self) -> None:
        while not self._closed.is_set():
            began = monotonic()
            with self._changed:
                held = list(self._held)
            for each in held:
                try:
                    self._renew(each)
                except Exception:  # whatever it is, the others have to be renewed, and this again
                    logger.warning("a lease was not renewed", exc_info=True)
            if not self.stopping and monotonic() > self._announced_at + _ANNOUNCE_EVERY_S:
                self._announce()
            self._closed.wait(max(0.05, began + RENEW_EVERY_S - monotonic()))

    def _renew(self, held: _Held) -> None:
        record, control, progress = held.record, held.control, held.control.progress
        stage, fraction = (None, None) if progress is None else (progress.stage, progress.fraction)
        try:
            hold = self._leases.renew(record.id, record.holder or "", stage, fraction)
        except Exception:
            if monotonic() > held.renewed_at + self._leases.lease_s:
                control.lose()  # by now another worker may have it
            raise
        if hold == "held":
            held.renewed_at = monotonic()
        elif hold == "cancelled":
            control.cancel()
        elif not control.told and held in self._held:  # else it has just ended
            control.lose()

    def _announce(self) -> None:
        self._announced_at = monotonic()
        try:
            self._leases.announce(self._worker, self._slots, self.busy)
            self._leases.dismiss("", silent_s=_FORGET_AFTER_S)
        except Exception as error:  # it is only counted
            reason = type(error).__name__
            logger.warning("the worker could not say that it is there", extra={"error": reason})
