"""Threads that all analyses share, so that one of them can use every core."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Items that are begun before the result of the first is taken: their results take memory."""


def in_order(
    crew: Executor | None, do: Callable[[Item], Result], items: Iterable[Item]
) -> Generator[Result]:
    """Do items side by side, and give the results in the order of the items.

    Parameters
    ----------
    crew : Executor or None
        None does one after the other in the calling thread.
    do : callable
        What it raises is raised where its result would have been given.
    items : iterable

    Yields
    ------
    Result
        Where the caller stops early, what has not begun is never done.
    """
    if crew is None:
        yield from map(do, items)
        return
    begun: deque[Future[Result]] = deque()
    try:
        for item in items:
            begun.append(crew.submit(do, item))
            if len(begun) >= AHEAD:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()
