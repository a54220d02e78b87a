import threading

import pytest

from app.jobs.store_watch import FRESH_S, TRUSTED_S, StoreWatch


class Store:
    """A store that can be broken, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.broken = False
        self.looked = threading.Semaphore(0)
        self.looks = 0
        self.watch = StoreWatch(self.check, clock=lambda: self.now_s)

    def check(self) -> None:
        self.looks += 1
        self.looked.release()
        if self.broken:
            raise OSError("full")

    def seen(self) -> None:
        """Wait until somebody has looked."""
        assert self.looked.acquire(timeout=30)


def settled(store: Store) -> None:
    """Wait until the look that goes on beside has been noted."""
    for thread in threading.enumerate():
        if thread.name == "store":
            thread.join(30)


def test_a_fresh_answer_is_used_again() -> None:
    store = Store()
    store.watch()
    store.now_s += 0.9 * FRESH_S
    store.watch()
    assert store.looks == 1


def test_what_is_broken_is_told_at_once_to_the_first_and_to_all_that_follow() -> None:
    store = Store()
    store.broken = True
    for _ in range(3):
        with pytest.raises(OSError, match="full"):
            store.watch()
    store.broken = False
    store.watch()


def test_an_older_answer_is_used_once_while_somebody_looks_beside() -> None:
    store = Store()
    store.watch()
    store.seen()
    store.broken = True
    store.now_s += 1.1 * FRESH_S
    store.watch()
    store.seen()
    settled(store)
    with pytest.raises(OSError, match="full"):
        store.watch()


def test_nobody_trusts_an_answer_that_is_too_old() -> None:
    store = Store()
    store.watch()
    store.broken = True
    store.now_s += 1.1 * TRUSTED_S
    with pytest.raises(OSError, match="full"):
        store.watch()
