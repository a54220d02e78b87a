"""Threads that a command need not wait for when it ends."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
_Task = tuple[Future[Any], Callable[[], Any]]


class BackgroundThreads:
    """Runs calls in a number of threads, as a ThreadPoolExecutor does, and is left at once.

    Those of an executor are waited for when the interpreter ends, even where one waits for an
    answer that does not come: Ctrl-C would then seem to do nothing.

    Parameters
    ----------
    count : int
    name : str
        What the threads are called.
    """

    def __init__(self, count: int, name: str) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._count = count
        for number in range(count):
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True).start()

    def submit(self, call: Callable[..., T], *given: Any) -> Future[T]:
        """Have a call made; its future knows how it ended."""
        future: Future[T] = Future()
        self._tasks.put((future, lambda: call(*given)))
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the threads end with what they are at; calls that have not begun are not made."""
        with suppress(Empty):
            while True:
                task = self._tasks.get_nowait()
                if task is not None:
                    task[0].cancel()
        for _ in range(self._count):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, call = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # whoever asks for the result gets it
                future.set_exception(error)
