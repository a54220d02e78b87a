"""Figures drawn in threads of their own: ahead of time, or when somebody asks for one."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import PriorityQueue
from time import monotonic, perf_counter

from app.metrics import Metrics
from app.pipeline.results import Analysis
from app.storage.errors import StorageFullError, VolumeUnavailableError
from app.storage.files import Files
from app.storage.records import Records
from app.storage.serial import load_analysis

logger = logging.getLogger(__name__)

Draw = Callable[[str, Analysis], bytes]
"""Draws the figure of this name as a PNG file."""

_NOW, _AHEAD, _STOP = 0, 1, 2


class FigureUnavailableError(Exception):
    """A figure could not be drawn, or the service stopped before it was."""


class Renderer:
    """Draws figures, a few at a time; those that somebody waits for come first.

    Parameters
    ----------
    draw : callable
        Draws one figure.
    names : sequence of str
        All figures that there are.
    at_once : int
        How many are drawn at the same time.
    """

    def __init__(
        self,
        draw: Draw,
        names: Sequence[str],
        files: Files,
        records: Records,
        metrics: Metrics,
        *,
        at_once: int = 1,
    ) -> None:
        self.names = tuple(names)
        self._draw = draw
        self._files = files
        self._records = records
        self._metrics = metrics
        self._pending: dict[tuple[str, str], Future[Path | None]] = {}
        self._drawing: set[tuple[str, str]] = set()
        self._orders: PriorityQueue[tuple[int, int, tuple[str, str]]] = PriorityQueue()
        self._ordered = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._own = threading.local()
        self._threads = [
            threading.Thread(target=self._work, name=f"figures-{number}", daemon=True)
            for number in range(at_once)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def all_drawn(self, id: str) -> bool:
        """Whether every figure of an analysis is there."""
        return not self._missing(id)

    def draw_ahead(self, id: str) -> None:
        """Have all figures of an analysis drawn when there is time."""
        for name in self._missing(id):
            self._order(id, name, _AHEAD)

    async def figure(self, id: str, name: str) -> Path:
        """Wait until a figure of a succeeded analysis is drawn.

        Returns
        -------
        Path
            Its PNG file.

        Raises
        ------
        FigureUnavailableError
            Drawing broke, or the service is stopping.
        StorageFullError
        VolumeUnavailableError
        """
        path = await asyncio.to_thread(self._drawn, id, name)
        if path is not None:
            return path
        drawn = self._order(id, name, _NOW)
        done, _ = await asyncio.wait({asyncio.wrap_future(drawn)})
        result = done.pop().result()
        if result is None:
            raise FigureUnavailableError(name)
        return result

    def stop(self, timeout_s: float) -> bool:
        """Draw no more; whether the figures under way were finished in time."""
        self._stopped.set()
        deadline = monotonic() + timeout_s
        for _ in self._threads:
            self._orders.put((_STOP, 0, ("", "")))
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        with self._lock:
            for order in self._pending.values():
                if not order.done():
                    order.set_result(None)
            self._pending.clear()
        return not any(thread.is_alive() for thread in self._threads)

    def _missing(self, id: str) -> list[str]:
        there = self._files.file_names(id)
        return [name for name in self.names if _file(name) not in there]

    def _drawn(self, id: str, name: str) -> Path | None:
        """Where a figure lies; None where it is still to be drawn."""
        try:
            return self._files.file(id, _file(name))
        except FileNotFoundError:
            return None

    def _order(self, id: str, name: str, priority: int) -> Future[Path | None]:
        key = (id, name)
        with self._lock:
            order = self._pending.get(key)
            if order is None:
                order = self._pending[key] = Future()
                order.set_running_or_notify_cancel()  # a waiter that gives up cannot cancel it
            if self._stopped.is_set():
                del self._pending[key]
                order.set_result(None)
                return order
            self._ordered += 1
            self._orders.put((priority, self._ordered, key))
        return order

    def _work(self) -> None:
        while True:
            _, _, key = self._orders.get()
            if self._stopped.is_set():
                return
            with self._lock:  # ordered twice, it is drawn by one thread alone
                wanted = key in self._pending and key not in self._drawing
                if wanted:
                    self._drawing.add(key)
            if wanted:
                path, refusal = None, None
                try:
                    path = self._render(*key)
                except (StorageFullError, VolumeUnavailableError) as error:
                    refusal = error
                with self._lock:
                    self._drawing.remove(key)
                    order = self._pending.pop(key, None)
                if order is not None and refusal is not None:
                    order.set_exception(refusal)
                elif order is not None:
                    order.set_result(path)

    def _render(self, id: str, name: str) -> Path | None:
        milliseconds = 0.0
        try:
            path = self._drawn(id, name)
            if path is not None:
                return path
            self._records.begin_render(id)
            began = perf_counter()
            try:
                content = self._draw(name, self._load(id))
                milliseconds = 1000 * (perf_counter() - began)
            finally:
                self._records.end_render(id, milliseconds)
            self._files.add_file(id, _file(name), content)
            path = self._files.file(id, _file(name))
        except FileNotFoundError:  # the analysis was deleted meanwhile
            return None
        except (StorageFullError, VolumeUnavailableError) as error:
            logger.warning("figure not stored: %r", error, extra={"analysis_id": id})
            raise  # to whoever waits; it is drawn when somebody asks again
        except Exception:
            logger.exception("figure broke", extra={"analysis_id": id, "figure": name})
            return None
        self._metrics.observe_stage("render", milliseconds)
        return path

    def _load(self, id: str) -> Analysis:
        loaded: tuple[str, Analysis] | None = getattr(self._own, "loaded", None)
        if loaded is None or loaded[0] != id:
            # What another machine removes from a shared volume while it is mapped here would end
            # this process (SIGBUS).
            analysis = load_analysis(self._files.result(id), mapped=not self._files.shared)
            loaded = self._own.loaded = (id, analysis)
        return loaded[1]


def _file(name: str) -> str:
    return f"{name}.png"
