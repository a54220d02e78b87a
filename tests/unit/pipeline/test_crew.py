import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.pipeline.crew import AHEAD, in_order


@pytest.fixture
def crew():
    with ThreadPoolExecutor(2) as crew:
        yield crew


def test_results_come_in_the_order_of_the_items(crew) -> None:
    first_may_end = threading.Event()

    def do(item: int) -> int:
        if item == 0:
            assert first_may_end.wait(30)
        elif item == 1:
            first_may_end.set()  # the second runs while the first does
        return item * item

    assert list(in_order(crew, do, range(20))) == [n * n for n in range(20)]


def test_without_a_crew_each_is_done_when_it_is_asked_for() -> None:
    done: list[int] = []
    results = in_order(None, done.append, range(5))
    next(results)
    assert done == [0]


def test_it_does_not_run_far_ahead(crew) -> None:
    begun: list[int] = []
    results = in_order(crew, begun.append, range(100))
    next(results)
    assert len(begun) <= AHEAD


def test_what_has_not_begun_when_one_fails_is_never_done() -> None:
    done: list[int] = []

    def do(item: int) -> None:
        if item == 1:
            raise ValueError(item)
        done.append(item)

    with ThreadPoolExecutor(1) as crew, pytest.raises(ValueError, match="1"):
        list(in_order(crew, do, range(100)))
    assert 0 in done
    assert max(done) <= 1 + AHEAD
