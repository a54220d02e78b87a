"""Where analyses wait for a worker: the protocol, and a pool of threads in this process."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal, Protocol

from app.jobs.waiting import Waiting
from app.logs import request_id
from app.pipeline.halt import Halt

logger = logging.getLogger(__name__)

NOTICE_S = 2.0
"""How long an interrupted job may take to notice, in seconds."""

REMEMBERED = 1000
"""Ended jobs whose outcome can still be asked for: one may end before its caller waits."""


@dataclass(frozen=True)
class Progress:
    """How far a running analysis is: its stage, and the fraction 0..1 of the whole."""

    stage: str
    fraction: float


@dataclass(frozen=True)
class Outcome:
    """How an analysis ended; ``code`` and ``detail`` say why it failed."""

    status: Literal["succeeded", "failed", "cancelled"]
    code: str | None = None
    detail: str | None = None


class Control:
    """What a running job reports, and what it is told.

    Attributes
    ----------
    progress : Progress or None
    halt : Halt
        Ends what the job is doing; whoever requests that has said before why.
    """

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.halt = Halt()
        self.cancelled = threading.Event()
        self.interrupted = threading.Event()
        self.lost = threading.Event()

    @property
    def told(self) -> bool:
        """Whether it was told to end, in whatever way."""
        return self.cancelled.is_set() or self.interrupted.is_set() or self.lost.is_set()

    def cancel(self) -> None:
        """Have the job end for good."""
        self.cancelled.set()
        self.halt.request()

    def interrupt(self) -> None:
        """Have the job end now, to run again later."""
        self.interrupted.set()
        self.halt.request()

    def lose(self) -> None:
        """Have the job end and change nothing: it is somebody else's now."""
        self.lost.set()
        self.halt.request()


Run = Callable[[str, Control], Outcome | None]
"""Does one job, by its id. Gives None where it was interrupted and has to run again."""


class QueueUnavailableError(Exception):
    """What carries jobs to the workers does not answer."""


class JobQueue(Protocol):
    """Runs recorded analyses; only ids go through it."""

    @property
    def queued(self) -> int:
        """Jobs that wait."""

    @property
    def running(self) -> int:
        """Jobs that run."""

    def submit(
        self,
        id: str,
        *,
        owner: str | None = None,
        interactive: bool = False,
        alone: bool = False,
    ) -> None:
        """Have a recorded analysis run as soon as a worker is free and it is its turn.

        Parameters
        ----------
        id : str
        owner : str, optional
            Whose it is: owners take turns.
        interactive : bool
            Whether somebody waits for it: it then goes ahead of those that nobody waits for.
        alone : bool
            Whether it goes first, and nothing else runs beside it: what may have killed the service
            must not take others along.
        """

    def hasten(self, id: str) -> None:
        """Note that somebody waits for a job now."""

    def knows(self, id: str) -> bool:
        """Whether a job waits or runs."""

    def progress(self, id: str) -> Progress | None:
        """How far an analysis is; None where it does not run."""

    def cancel(self, id: str) -> bool:
        """Have a job stop, or never start; its record says already that it is cancelled.

        Returns
        -------
        bool
            Whether a worker has begun it, and so is the one to clear up after it.
        """

    async def wait(self, id: str, timeout_s: float | None = None) -> Outcome | None:
        """Wait until a job has ended; None after the time, or where the queue stopped first."""

    def check(self) -> str | None:
        """Say whether jobs get from here to a worker.

        Returns
        -------
        str or None
            What somebody has to look after, although it works.

        Raises
        ------
        QueueUnavailableError
            They do not.
        """

    @property
    def stopped(self) -> bool:
        """Whether nothing more is started."""

    def drain(self, grace_s: float) -> bool:
        """Start nothing more, let running jobs end, interrupt them after the grace.

        Returns
        -------
        bool
            Whether every worker has come to rest.
        """


@dataclass(eq=False)
class _Job:
    id: str
    request_id: str | None
    owner: str | None = None
    interactive: bool = False
    alone: bool = False
    control: Control = field(default_factory=Control)
    ended: Future[Outcome | None] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.ended.set_running_or_notify_cancel()  # a waiter that gives up cannot cancel it

    def end(self, outcome: Outcome | None) -> None:
        if not self.ended.done():
            self.ended.set_result(outcome)


class InProcessQueue:
    """A pool of daemon threads; `Waiting` says whose turn it is.

    The threads are daemons because an executor's threads would be joined at the interpreter's
    exit, however long their analysis takes.

    Parameters
    ----------
    run : callable
        Does one job.
    workers : int
        Jobs that run at once.
    """

    def __init__(self, run: Run, workers: int) -> None:
        self._run = run
        self._waiting: Waiting[_Job] = Waiting()
        self._jobs: dict[str, _Job] = {}
        self._ended: deque[_Job] = deque()
        self._running: set[str] = set()
        self._one_alone = False
        self._stop_at: float | None = None
        self._changed = threading.Condition()
        for number in range(workers):
            threading.Thread(target=self._work, name=f"analysis-{number}", daemon=True).start()

    @property
    def queued(self) -> int:
        with self._changed:
            return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def stopped(self) -> bool:
        return self._stop_at is not None

    def submit(
        self,
        id: str,
        *,
        owner: str | None = None,
        interactive: bool = False,
        alone: bool = False,
    ) -> None:
        job = _Job(id, request_id.get(), owner, interactive, alone)
        with self._changed:
            self._jobs[id] = job
            if self._stop_at is not None:  # the record stays queued: the next start runs it
                job.end(None)
                return
            self._waiting.add(job)
            self._changed.notify_all()

    def hasten(self, id: str) -> None:
        with self._changed:
            job = self._jobs.get(id)
            if job is not None and not job.interactive and self._waiting.remove(job):
                job.interactive = True
                self._waiting.add(job)

    def check(self) -> None:
        """Nothing lies between a job and its worker."""

    def knows(self, id: str) -> bool:
        job = self._jobs.get(id)
        return job is not None and not job.ended.done()

    def progress(self, id: str) -> Progress | None:
        job = self._jobs.get(id)
        return None if job is None or job.ended.done() else job.control.progress

    def cancel(self, id: str) -> bool:
        with self._changed:
            job = self._jobs.get(id)
            if job is None:
                return False
            job.control.cancel()
            if self._waiting.remove(job):
                self._end(job, Outcome("cancelled"))
            return id in self._running

    async def wait(self, id: str, timeout_s: float | None = None) -> Outcome | None:
        job = self._jobs.get(id)
        if job is None:
            return None
        done, _ = await asyncio.wait({asyncio.wrap_future(job.ended)}, timeout=timeout_s)
        return done.pop().result() if done else None

    def drain(self, grace_s: float) -> bool:
        with self._changed:
            if self._stop_at is None:  # asked twice, the first grace counts
                self._stop_at = monotonic() + grace_s
            for job in self._waiting:
                job.end(None)
            self._waiting.clear()
            self._changed.notify_all()
            if not self._rest(self._stop_at):
                for id in self._running:
                    self._jobs[id].control.interrupt()
                self._rest(self._stop_at + NOTICE_S)
            for id in self._running:
                self._jobs[id].end(None)
            return not self._running

    def _rest(self, deadline: float) -> bool:
        while self._running and (left := deadline - monotonic()) > 0:
            self._changed.wait(left)
        return not self._running

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._may_begin() and self._stop_at is None:
                    self._changed.wait()
                if self._stop_at is not None:
                    return
                job = self._waiting.take()
                self._running.add(job.id)
                self._one_alone = job.alone
            outcome = self._do(job)
            with self._changed:
                self._running.discard(job.id)
                self._one_alone = False
                self._end(job, outcome)
                self._changed.notify_all()

    def _may_begin(self) -> bool:
        if not self._waiting or self._one_alone:
            return False
        return not (self._waiting.next_is_alone and self._running)

    def _end(self, job: _Job, outcome: Outcome | None) -> None:
        job.end(outcome)
        self._ended.append(job)
        if len(self._ended) > REMEMBERED:
            oldest = self._ended.popleft()
            if self._jobs.get(oldest.id) is oldest:
                del self._jobs[oldest.id]

    def _do(self, job: _Job) -> Outcome | None:
        token = request_id.set(job.request_id)
        try:
            return self._run(job.id, job.control)
        except Exception:
            logger.exception("a job could not be run", extra={"analysis_id": job.id})
            return None
        finally:
            request_id.reset(token)
