"""What a worker process does: take whatever's turn it is, hold it under a lease, run it."""

import contextlib
import logging
import threading
from collections.abc import Iterator
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


class LeasedWork:
    """Runs analyses that it takes from the records; safe to call from several threads.

    Parameters
    ----------
    runner : Runner
    leases : Leases
    holder : str
        This process's own name among all workers.
    slots : int
        Analyses that it runs at once.
    """

    def __init__(self, runner: Runner, leases: Leases, holder: str, slots: int) -> None:
        self._runner = runner
        self._leases = leases
        self.holder = holder
        self._slots = slots
        self._held: dict[str, Control] = {}
        self._renewed: dict[str, float] = {}
        self._changed = threading.Condition()
        self._running = 0
        self._one_alone = False
        self._stopping = threading.Event()
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
        """
        if self.stopping:
            return False
        record = self._leases.take(self.holder)
        if record is None:
            return False
        control = Control()
        with self._holding(record, control), self._beside(alone=record.attempts > 1):
            return self._runner.run(record, control) is not None

    @contextlib.contextmanager
    def _holding(self, record: Record, control: Control) -> Iterator[None]:
        with self._changed:
            self._held[record.id] = control
            self._renewed[record.id] = monotonic()
            if self.stopping:
                control.interrupt()
        try:
            yield
        finally:
            with self._changed:
                del self._held[record.id], self._renewed[record.id]
                self._changed.notify_all()

    @contextlib.contextmanager
    def _beside(self, *, alone: bool) -> Iterator[None]:
        """Wait until it may run: what may have killed a worker takes no others along again."""
        with self._changed:
            self._changed.wait_for(lambda: not self._one_alone and not (alone and self._running))
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
                for control in self._held.values():
                    control.interrupt()
                self._changed.wait_for(lambda: not self._held, notice_s)
            return not self._held

    def close(self) -> None:
        """Say that this worker is no longer there."""
        self._stopping.set()
        with contextlib.suppress(SQLAlchemyError):
            self._leases.dismiss(self.holder)

    def _keep(self) -> None:
        while True:
            began = monotonic()
            with self._changed:
                held = dict(self._held)
            for id, control in held.items():
                self._renew(id, control)
            if not self.stopping and monotonic() > self._announced_at + _ANNOUNCE_EVERY_S:
                self._announce()
            threading.Event().wait(max(0.05, began + RENEW_EVERY_S - monotonic()))

    def _renew(self, id: str, control: Control) -> None:
        progress = control.progress
        stage, fraction = (None, None) if progress is None else (progress.stage, progress.fraction)
        try:
            hold = self._leases.renew(id, self.holder, stage, fraction)
        except SQLAlchemyError:
            if monotonic() > self._renewed.get(id, monotonic()) + self._leases.lease_s:
                control.lose()  # by now another worker may have it
            return
        if hold == "held":
            with self._changed:
                if id in self._renewed:
                    self._renewed[id] = monotonic()
        elif hold == "cancelled":
            control.cancel()
        elif not control.told and id in self._held:  # else it has just ended
            control.lose()

    def _announce(self) -> None:
        self._announced_at = monotonic()
        try:
            self._leases.announce(self.holder, self._slots, self.busy)
            self._leases.dismiss("", silent_s=_FORGET_AFTER_S)
        except SQLAlchemyError:
            logger.warning("the database does not answer")
