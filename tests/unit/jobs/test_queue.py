"""Jobs run in order, can be waited for, cancelled and drained."""

import threading

import anyio
import pytest

from app.jobs.queue import Control, InProcessQueue, Outcome, Progress

pytestmark = pytest.mark.anyio
DONE = Outcome("succeeded")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Work:
    """Jobs that begin when they are told to end."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def __call__(self, id: str, control: Control) -> Outcome | None:
        self.order.append(id)
        control.progress = Progress("read", 0.1)
        self.begun.release()
        while not self.go_on.acquire(timeout=0.005):
            if control.cancelled.is_set():
                return Outcome("cancelled")
            if control.interrupted.is_set():
                return None
        return DONE


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def queue(work: Work):
    made = InProcessQueue(work, workers=1)
    yield made
    made.drain(0)


async def test_first_come_first_served(queue: InProcessQueue, work: Work) -> None:
    work.go_on.release(3)
    for id in "abc":
        queue.submit(id)
    assert [await queue.wait(id) for id in "abc"] == [DONE] * 3
    assert work.order == ["a", "b", "c"]


async def test_no_more_run_than_there_are_workers(work: Work) -> None:
    queue = InProcessQueue(work, workers=2)
    for id in "abc":
        queue.submit(id)
    work.begun.acquire()
    work.begun.acquire()
    assert (queue.running, queue.queued) == (2, 1)
    work.go_on.release(3)
    assert await queue.wait("c") == DONE
    assert queue.drain(5)


async def test_progress_is_told_while_it_runs(queue: InProcessQueue, work: Work) -> None:
    assert queue.progress("a") is None
    queue.submit("a")
    work.begun.acquire()
    assert queue.progress("a") == Progress("read", 0.1)
    work.go_on.release()
    await queue.wait("a")
    assert queue.progress("a") is None


async def test_waiting_ends_with_the_time_and_can_be_taken_up_again(queue, work: Work) -> None:
    queue.submit("a")
    assert await queue.wait("a", 0) is None
    work.go_on.release()
    assert await queue.wait("a", 60) == DONE
    assert await queue.wait("a", 0) == DONE, "the outcome is remembered"
    assert await queue.wait("unknown", 60) is None


async def test_a_waiter_that_gives_up_takes_nothing_along(queue, work: Work) -> None:
    queue.submit("a")
    with anyio.move_on_after(0):
        await queue.wait("a")
    work.go_on.release()
    assert await queue.wait("a") == DONE


async def test_cancelling(queue: InProcessQueue, work: Work) -> None:
    queue.submit("running")
    queue.submit("queued")
    work.begun.acquire()
    assert not queue.cancel("queued")
    assert queue.cancel("running"), "its worker clears up"
    assert not queue.cancel("unknown")
    assert await queue.wait("queued") == Outcome("cancelled")
    assert await queue.wait("running") == Outcome("cancelled")
    assert work.order == ["running"]


async def test_draining_lets_the_running_end_and_starts_nothing(queue, work: Work) -> None:
    queue.submit("running")
    queue.submit("queued")
    work.begun.acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, queue.drain, 60)
        assert await queue.wait("queued") is None  # its waiter does not wait for nothing
        work.go_on.release()
        assert await queue.wait("running") == DONE
    queue.submit("late")
    assert await queue.wait("late") is None
    assert work.order == ["running"]


async def test_draining_interrupts_after_the_grace(queue, work: Work) -> None:
    queue.submit("a")
    work.begun.acquire()
    assert await anyio.to_thread.run_sync(queue.drain, 0)
    assert await queue.wait("a") is None


async def test_a_job_that_breaks_does_not_take_its_worker_along(caplog) -> None:
    def broken(id: str, control: Control) -> Outcome:
        if id == "bad":
            raise RuntimeError
        return DONE

    queue = InProcessQueue(broken, workers=1)
    queue.submit("bad")
    queue.submit("good")
    assert await queue.wait("bad") is None
    assert await queue.wait("good") == DONE
    assert "a job could not be run" in caplog.text
    assert queue.drain(5)


async def test_somebody_who_comes_to_wait_moves_a_job_ahead(queue, work: Work) -> None:
    for id in ("running", "bulk", "wanted"):
        queue.submit(id)
    work.begun.acquire()
    queue.hasten("wanted")
    queue.hasten("running")
    queue.hasten("unknown")
    work.go_on.release(3)
    await queue.wait("bulk")
    assert work.order == ["running", "wanted", "bulk"]


async def test_what_may_kill_the_service_runs_alone(work: Work) -> None:
    queue = InProcessQueue(work, workers=2)
    queue.submit("before")
    work.begun.acquire()
    queue.submit("suspect", alone=True)
    queue.submit("after", interactive=True)
    assert (queue.running, queue.queued) == (1, 2), "it waits until nothing else runs"
    work.go_on.release()
    await queue.wait("before")
    work.begun.acquire()
    assert work.order == ["before", "suspect"]
    assert (queue.running, queue.queued) == (1, 1), "and nothing begins beside it"
    work.go_on.release()
    await queue.wait("suspect")
    work.go_on.release()
    assert await queue.wait("after") == DONE
    assert queue.drain(5)


async def test_it_knows_what_waits_or_runs(queue: InProcessQueue, work: Work) -> None:
    assert not queue.knows("a")
    queue.submit("a")
    queue.submit("b")
    work.begun.acquire()
    assert queue.knows("a")
    assert queue.knows("b")
    work.go_on.release(2)
    await queue.wait("b")
    assert not queue.knows("a")
    assert not queue.stopped
    queue.drain(0)
    assert queue.stopped
