"""The order in which waiting jobs begin: who is waited for first, and each caller in turn."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Job(Protocol):
    """What the order depends on.

    Attributes
    ----------
    owner : str or None
        Whose job it is.
    interactive : bool
        Whether somebody waits for it.
    alone : bool
        Whether nothing else may run beside it.
    """

    owner: str | None
    interactive: bool
    alone: bool


J = TypeVar("J", bound=Job)


class Waiting(Generic[J]):
    """Jobs that wait: those to run alone first, then the interactive ones, then all others.

    Among the interactive ones, and among the others, owners take turns; of one owner's jobs the
    first to come is the first to begin. Not safe to use from several threads at once.
    """

    def __init__(self) -> None:
        self._alone: deque[J] = deque()
        self._interactive: OrderedDict[str | None, deque[J]] = OrderedDict()
        self._bulk: OrderedDict[str | None, deque[J]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._alone or self._interactive or self._bulk)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[J]:
        yield from self._alone
        for lane in (self._interactive, self._bulk):
            for jobs in lane.values():
                yield from jobs

    @property
    def next_is_alone(self) -> bool:
        return bool(self._alone)

    def add(self, job: J) -> None:
        """Let a job wait for its turn."""
        if job.alone:
            self._alone.append(job)
        else:
            self._lane(job).setdefault(job.owner, deque()).append(job)

    def take(self) -> J:
        """Give the next job, which waits no longer.

        Raises
        ------
        IndexError
            None waits.
        """
        if self._alone:
            return self._alone.popleft()
        for lane in (self._interactive, self._bulk):
            if lane:
                owner, jobs = next(iter(lane.items()))
                job = jobs.popleft()
                if jobs:
                    lane.move_to_end(owner)
                else:
                    del lane[owner]
                return job
        raise IndexError("no job waits")

    def remove(self, job: J) -> bool:
        """Let a job wait no longer; whether it did."""
        lane = self._lane(job)
        jobs: deque[J] = self._alone if job.alone else lane.get(job.owner, deque())
        if job not in jobs:
            return False
        jobs.remove(job)
        if not jobs and not job.alone:
            del lane[job.owner]
        return True

    def clear(self) -> None:
        """Let none wait."""
        self._alone.clear()
        self._interactive.clear()
        self._bulk.clear()

    def _lane(self, job: J) -> OrderedDict[str | None, deque[J]]:
        return self._interactive if job.interactive else self._bulk
