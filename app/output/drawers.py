"""Draws figures in child processes: beside the analyses, and out of their interpreter's way.

matplotlib is never loaded in the service itself, which so starts sooner, and while a figure is
drawn every other thread of the service goes on.
"""

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from queue import LifoQueue

from app.output.drawing_child import DRAWN, GONE
from app.output.mice import Mouse
from app.output.sending import pack
from app.pipeline.results import Analysis

logger = logging.getLogger(__name__)

DRAWERS = 2
"""Most figures that are drawn at once: each takes a process of some 0.1 GB."""

_ROOT = Path(__file__).resolve().parents[2]
_STOP_S = 5.0
_TRIES = 2


class DrawingError(Exception):
    """A figure could not be drawn."""


class Drawers:
    """Some processes that draw, each started when it is first needed; safe to use from any thread.

    Parameters
    ----------
    count : int
        Figures that are drawn at the same time.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: LifoQueue[_Drawer] = LifoQueue()  # the one that drew last comes first
        self._all = [_Drawer() for _ in range(count)]
        for drawer in reversed(self._all):
            self._idle.put(drawer)

    def draw(self, name: str, analysis: Analysis) -> bytes:
        """Draw one figure of an analysis, as `figures.draw` does.

        Raises
        ------
        FileNotFoundError
            The files that the analysis is mapped from are gone.
        DrawingError
        """
        return self._have_drawn(pack(("figure", name, analysis)))

    def draw_overview(self, name: str, mice: Sequence[Mouse]) -> bytes:
        """Draw the figure of a study, as `figures.draw_overview` does.

        Raises
        ------
        DrawingError
        """
        return self._have_drawn(pack(("overview", name, list(mice))))

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for drawer in self._all:
            drawer.end()

    def _have_drawn(self, request: bytes) -> bytes:
        drawer = self._idle.get()
        try:
            for _ in range(_TRIES):
                answer = drawer.ask(request)
                if answer is not None:
                    break
                logger.warning("a process that draws figures has died")
                drawer.end()
            else:
                raise DrawingError("the process that draws figures died")
        finally:
            self._idle.put(drawer)
        went, content = answer
        if went == GONE:
            raise FileNotFoundError
        if went != DRAWN:
            logger.error("a figure broke", extra={"trace": content.decode().splitlines()})
            raise DrawingError("the figure broke")
        return content


class _Drawer:
    """One process, begun anew where it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes) -> tuple[bytes, bytes] | None:
        """Send a request and wait for the answer; None where the process died."""
        process = self._process = self._process or _start()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes
        with contextlib.suppress(BrokenPipeError, ValueError):  # it ended, or was ended
            process.stdin.write(len(request).to_bytes(8, "little"))
            process.stdin.write(request)
            process.stdin.flush()
            head = process.stdout.read(9)
            content = process.stdout.read(int.from_bytes(head[1:], "little"))
            if len(head) == 9 and len(content) == int.from_bytes(head[1:], "little"):
                return head[:1], content
        return None

    def end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(_STOP_S)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what is left unsent stays unsent
                    pipe.close()


def _start() -> subprocess.Popen[bytes]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("ECHO2PHENO_")}
    return subprocess.Popen(
        [sys.executable, "-m", "app.output.drawing_child"],
        cwd=_ROOT,
        # drawing does no algebra: threads for it would only take memory
        env=ours | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # an interrupt at the terminal is for the service alone
    )
