"""Stops an analysis from another thread, in the middle of a network's run or of decoding."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import onnxruntime

from app.pipeline.errors import AnalysisCancelled
from app.pipeline.networks import Networks

_FATAL = 4  # a run that is ended on purpose is no error to log


class Halt:
    """What one analysis looks at between its steps, and whoever wants its end holds."""

    def __init__(self) -> None:
        self.run_options = onnxruntime.RunOptions()
        self.run_options.log_severity_level = _FATAL
        self._requested = threading.Event()
        self._lock = threading.Lock()
        self._acts: list[Callable[[], object]] = []

    def request(self) -> None:
        """Have the analysis end as soon as it can; safe to call from any thread, and again."""
        with self._lock:
            self._requested.set()
            self.run_options.terminate = True
            for act in self._acts:
                act()

    def check(self) -> None:
        """Go on, or end.

        Raises
        ------
        AnalysisCancelled
            The end was requested.
        """
        if self._requested.is_set():
            raise AnalysisCancelled

    @contextmanager
    def ending(self, act: Callable[[], object]) -> Iterator[None]:
        """Have a request for the end call this, as long as the context lasts.

        Raises
        ------
        AnalysisCancelled
            The end was requested before.
        """
        with self._lock:
            self.check()
            self._acts.append(act)
        try:
            yield
        finally:
            with self._lock:
                self._acts.remove(act)


class _HaltedSession:
    """An ONNX session whose runs end when that is requested."""

    def __init__(self, session: Any, halt: Halt) -> None:
        self._session = session
        self._halt = halt

    def run(self, names: list[str], inputs: dict[str, Any]) -> Any:
        self._halt.check()
        try:
            return self._session.run(names, inputs, self._halt.run_options)
        except Exception:
            self._halt.check()  # a run that was ended fails in one of several ways
            raise


def halted_by(networks: Networks, halt: Halt) -> Networks:
    """Give networks whose runs raise `AnalysisCancelled` once the end is requested."""
    return replace(
        networks,
        segmenter=replace(
            networks.segmenter, session=_HaltedSession(networks.segmenter.session, halt)
        ),
        classifier=replace(
            networks.classifier, session=_HaltedSession(networks.classifier.session, halt)
        ),
    )
