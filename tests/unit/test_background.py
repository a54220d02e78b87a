"""Threads that are left, whatever they wait for."""

import threading
from concurrent.futures import CancelledError

import pytest

from app.background import BackgroundThreads


def test_calls_are_made_side_by_side_and_give_what_they_return() -> None:
    both = threading.Barrier(2)
    with BackgroundThreads(2, "test") as threads:
        arrived = [threads.submit(both.wait, 60) for _ in range(2)]
        assert sorted(future.result() for future in arrived) == [0, 1]
        assert threads.submit(divmod, 7, 2).result() == (3, 1)


def test_what_a_call_raises_is_its_result() -> None:
    with BackgroundThreads(1, "test") as threads:
        future = threads.submit(int, "x")
        with pytest.raises(ValueError, match="invalid literal"):
            future.result()


def test_a_call_that_does_not_end_is_left_and_the_next_is_not_made() -> None:
    begun, let_go = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        let_go.wait()

    with BackgroundThreads(1, "test") as threads:
        first, second = threads.submit(wait), threads.submit(int)
        begun.wait()
    assert not first.done()
    with pytest.raises(CancelledError):
        second.result()
    let_go.set()
    first.result()
