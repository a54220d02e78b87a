"""What a worker process does with the analyses that it holds."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError

from app.jobs import leased
from app.jobs.leased import LeasedWork
from app.jobs.queue import Control, Outcome
from app.storage.errors import StorageFullError
from app.storage.leases import Leases
from app.storage.records import Records
from app.storage.schema import Record
from tests.unit.storage.test_records import request

WAIT_S = 20.0
DONE = Outcome("succeeded")


class Core:
    """Runs analyses until each is let go, and notes which run at the same time."""

    def __init__(self) -> None:
        self.begun: list[Record] = []
        self.controls: dict[str, Control] = {}
        self._gates: dict[str, threading.Event] = {}
        self._changed = threading.Condition()

    def run(self, record: Record, control: Control) -> Outcome | None:
        gate = threading.Event()
        with self._changed:
            self.begun.append(record)
            self.controls[record.id] = control
            self._gates[record.id] = gate
            self._changed.notify_all()
        while not gate.wait(0.01):
            if control.told:
                return None
        return DONE

    def until_begun(self, *ids: str) -> None:
        with self._changed:
            begun = self._changed.wait_for(lambda: set(ids) <= self._gates.keys(), WAIT_S)
        assert begun, f"{sorted(self._gates)} began, not {ids}"

    def end(self, id: str) -> None:
        self._gates[id].set()


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def work(records: Records, core: Core, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make workers of so many slots; `work.pool` runs what they are told to."""
    monkeypatch.setattr(leased, "RENEW_EVERY_S", 0.02)
    made: list[LeasedWork] = []
    pool = ThreadPoolExecutor(8)

    def make(slots: int = 2, leases: Any = None) -> LeasedWork:
        leases = leases or Leases(records.engine, 60)
        made.append(LeasedWork(cast(Any, core), leases, f"w{len(made)}", slots))
        made[-1].start()
        return made[-1]

    yield SimpleNamespace(make=make, pool=pool)
    for each in made:
        each.drain(0, WAIT_S)
        each.close()
    pool.shutdown()


def queue(records: Records, *ids: str, tried: tuple[str, ...] = ()) -> None:
    for id in ids:
        records.add(id, request(id))
    for id in tried:
        records.add(id, request(id))
        records.start(id)
        records.requeue(id, counts=True)


def until(happened: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        if happened():
            return
        pause.wait(0.01)
    pytest.fail("it did not happen")


def test_what_was_tried_before_runs_alone(records: Records, core: Core, work: Any) -> None:
    queue(records, tried=("killer",))
    queue(records, "a")
    worker = work.make(2)
    first = work.pool.submit(worker)
    core.until_begun("killer")
    second = work.pool.submit(worker)
    until(lambda: records.get("a").status == "running")
    assert [record.id for record in core.begun] == ["killer"], "the other one waits"
    core.end("killer")
    core.until_begun("a")
    core.end("a")
    assert first.result(WAIT_S)
    assert second.result(WAIT_S)


def test_what_has_to_run_alone_is_not_kept_waiting_by_those_that_come_later(
    records: Records, core: Core, work: Any
) -> None:
    queue(records, "a")
    worker = work.make(3)
    ends = [work.pool.submit(worker)]
    core.until_begun("a")
    queue(records, tried=("killer",))
    ends.append(work.pool.submit(worker))
    until(lambda: records.get("killer").status == "running")
    queue(records, "b")
    ends.append(work.pool.submit(worker))
    until(lambda: records.get("b").status == "running")
    core.end("a")
    core.until_begun("killer")
    assert [record.id for record in core.begun] == ["a", "killer"], "and not b before it"
    core.end("killer")
    core.until_begun("b")
    core.end("b")
    assert all(end.result(WAIT_S) for end in ends)


def test_a_cancelled_analysis_is_told(records: Records, core: Core, work: Any) -> None:
    queue(records, "a")
    end = work.pool.submit(work.make())
    core.until_begun("a")
    records.cancel("a")
    assert not end.result(WAIT_S)
    assert core.controls["a"].cancelled.is_set()


def test_an_attempt_that_lost_its_lease_ends_though_the_same_worker_has_the_next(
    records: Records, core: Core, work: Any
) -> None:
    queue(records, "a")
    worker = work.make(2)
    first = work.pool.submit(worker)
    core.until_begun("a")
    lost = core.controls["a"]
    Leases(records.engine, -1).renew("a", core.begun[0].holder, None, None)
    records.requeue("a", counts=False)  # as a sweep does in another process
    second = work.pool.submit(worker)
    assert first.result(WAIT_S) is False
    assert lost.lost.is_set()
    until(lambda: len(core.begun) == 2)
    now = core.controls["a"]
    assert now is not lost
    assert not now.told
    core.end("a")
    assert second.result(WAIT_S)


class Broken:
    """Leases whose renewals fail as long as there is an error to raise."""

    def __init__(self, leases: Leases, lease_s: float) -> None:
        self._leases = leases
        self.lease_s = lease_s
        self.error: Exception | None = None
        self.renewals = 0

    def renew(self, *asked: Any) -> Any:
        self.renewals += 1
        if self.error is not None:
            raise self.error
        return self._leases.renew(*asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._leases, name)


@pytest.mark.parametrize(
    "error", [OperationalError("", None, Exception()), StorageFullError(), RuntimeError("?")]
)
def test_leases_are_kept_on_after_a_renewal_has_failed(
    records: Records, core: Core, work: Any, error: Exception
) -> None:
    queue(records, "a")
    leases = Broken(Leases(records.engine, 60), 60)
    end = work.pool.submit(work.make(leases=leases))
    core.until_begun("a")
    leases.error = error
    seen = leases.renewals
    until(lambda: leases.renewals > seen + 2)
    leases.error = None
    seen = leases.renewals
    until(lambda: leases.renewals > seen + 2)
    assert not core.controls["a"].told
    core.end("a")
    assert end.result(WAIT_S)


def test_a_lease_that_could_not_be_renewed_in_time_is_lost(
    records: Records, core: Core, work: Any
) -> None:
    queue(records, "a")
    leases = Broken(Leases(records.engine, 60), 0.1)
    end = work.pool.submit(work.make(leases=leases))
    core.until_begun("a")
    leases.error = OperationalError("", None, Exception())
    assert not end.result(WAIT_S)
    assert core.controls["a"].lost.is_set()


def test_an_end_interrupts_what_does_not_come_to_its_own(
    records: Records, core: Core, work: Any
) -> None:
    queue(records, "a", "b")
    worker = work.make(2)
    ends = [work.pool.submit(worker) for _ in range(2)]
    core.until_begun("a", "b")
    core.end("a")
    done, rest = wait(ends, WAIT_S, FIRST_COMPLETED)
    assert [end.result() for end in done] == [True]
    assert worker.drain(0, WAIT_S)
    assert core.controls["b"].interrupted.is_set()
    assert [end.result(WAIT_S) for end in rest] == [False]
    queue(records, "c")
    assert not worker()
    assert records.get("c").status == "queued"
