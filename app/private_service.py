"""A service of a command's own: on a free port of this machine, gone when the command is."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

READY = "Echo2Pheno ready on "
STOP_LIMIT_S = 300.0
MOST_RESTARTS = 100
"""How often a service that dies is started again, if nobody says how much it has to do."""

START_TRIES = 6
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
"""A start may fail for a moment: another program has the port, or there is no memory."""

START_LIMIT_S = 300.0
"""How long a start may take; one that hangs has failed."""

HANDOVER_LIMIT_S = 20.0
"""How long the service of a command that was killed may take to leave the data folder."""

COMMAND = (sys.executable, "-m", "app.private_service")
PREFIX = "ECHO2PHENO_"


class PrivateServiceError(Exception):
    """The service did not start, or did not stop as it should."""


@contextmanager
def private_service(
    settings: Mapping[str, object],
    log: Path,
    *,
    restarts: int = MOST_RESTARTS,
    give_up: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Run a service until the context ends, or this process does, however it does.

    Where it dies by itself it is started again at the same address: a recording that kills it must
    not end the work on all the others.

    Parameters
    ----------
    settings : mapping
        Its settings by their names in the environment, of which it sees no others.
    log : Path
        What it says goes there.
    restarts : int
        How often it may die. A recording may kill it as often as it is tried, so this should grow
        with the number of recordings.
    give_up : callable
        Called, in a thread, where it is not started again: it will not be back.

    Yields
    ------
    str
        Its address.

    Raises
    ------
    PrivateServiceError
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    environment |= {name: str(value) for name, value in settings.items()}
    with log.open("a", encoding="utf-8") as stream:
        service = _Service(environment, stream, restarts, give_up)
        try:
            yield service.address
        except BaseException:
            service.end()
            raise
        if service.end() != 0:
            raise PrivateServiceError("the service did not stop as it should")


class _Service:
    """The process of a service, and the thread that starts another where it dies."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: TextIO,
        restarts: int,
        give_up: Callable[[], None],
    ) -> None:
        self._environment = environment
        self._log = log
        self._restarts = restarts
        self._give_up = give_up
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._process, self.address = self._start(port=0)
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> int | None:
        """Stop it; returns the status that it exits with, None where it does not exit in time."""
        with self._lock:
            self._ending.set()
            process = self._process
        return _stop(process)

    def _watch(self) -> None:
        died = 0
        while True:
            self._process.wait()
            _close(self._process)
            died += 1
            if died > self._restarts or not self._start_again():
                break
        if not self._ending.is_set():
            self._give_up()

    def _start_again(self) -> bool:
        pause_s = FIRST_PAUSE_S
        for _ in range(START_TRIES):
            with self._lock:
                if self._ending.is_set():
                    return False
                try:
                    self._process, _ = self._start(urlsplit(self.address).port or 0)
                except (PrivateServiceError, OSError):
                    pass  # the log says why
                else:
                    return True
            if self._ending.wait(pause_s):
                return False
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return False

    def _start(self, port: int) -> tuple["subprocess.Popen[str]", str]:
        process = subprocess.Popen(  # noqa: S603 - a module of ours
            COMMAND,
            env={**self._environment, f"{PREFIX}PORT": str(port)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the command, which then stops its service
        )
        clock = threading.Timer(START_LIMIT_S, process.kill)
        clock.daemon = True
        clock.start()
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith(READY):
                raise PrivateServiceError("the service did not start")
        except BaseException:
            _stop(process)
            raise
        finally:
            clock.cancel()
        return process, line.removeprefix(READY).strip()


def _stop(process: "subprocess.Popen[str]") -> int | None:
    """End a process; returns the status that it exits with, None where it does not in time."""
    process.terminate()
    try:
        return process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return None
    finally:
        _close(process)


def _close(process: "subprocess.Popen[str]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _end_with_parent() -> None:
    sys.stdin.read()  # which ends when the process does that holds the other end
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Serve on the port of the environment, 0 for any that is free, until standard input closes."""
    from app.server import serve
    from app.settings import Settings
    from app.storage.folder_lock import wait_until_free

    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = Settings(host="127.0.0.1")
    wait_until_free(settings.data_dir, HANDOVER_LIMIT_S)
    return serve(settings)


if __name__ == "__main__":
    sys.exit(main())
