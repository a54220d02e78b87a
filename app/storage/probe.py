"""Whether the volume answers, asked so that one that hangs does not hang whoever asks."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from app.storage.errors import VolumeUnavailableError


class Probe:
    """Calls something that may never return, in a thread of its own.

    A thread that hangs in a network file system can be neither interrupted nor waited for, not
    even at the end of the process. So there is one at most, and whoever asks meanwhile waits for
    the same answer.

    Parameters
    ----------
    call : callable
        Raises what is wrong.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._running: Future[None] | None = None

    def check(self, timeout_s: float) -> None:
        """Call it, or wait for the call that runs.

        Raises
        ------
        VolumeUnavailableError
            It takes longer than it may.
        Exception
            Whatever the call raises.
        """
        with self._lock:
            running = self._running
            if running is None:
                running = self._running = Future()
                threading.Thread(
                    target=self._run, args=(running,), name="volume probe", daemon=True
                ).start()
        try:
            running.result(timeout_s)
        except TimeoutError as error:
            if running.done():  # it is the call that raised it
                raise
            raise VolumeUnavailableError(None, "the volume does not answer in time") from error

    def _run(self, answer: Future[None]) -> None:
        try:
            self._call()
            error = None
        except BaseException as raised:
            error = raised
        with self._lock:
            self._running = None
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)
