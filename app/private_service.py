"""A service of a command's own: on a free port of this machine, gone when the command is."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

READY = "Echo2Pheno ready on "
STOP_LIMIT_S = 300.0
MOST_RESTARTS = 100
"""A recording may kill the service as often as it is tried; a service that always dies is lost."""
PREFIX = "ECHO2PHENO_"


class PrivateServiceError(Exception):
    """The service did not start, or did not stop as it should."""


@contextmanager
def private_service(settings: Mapping[str, object], log: Path) -> Iterator[str]:
    """Run a service until the context ends, or this process does, however it does.

    Where it dies by itself it is started again at the same address: a recording that kills it must
    not end the work on all the others.

    Parameters
    ----------
    settings : mapping
        Its settings by their names in the environment, of which it sees no others.
    log : Path
        What it says goes there.

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
        service = _Service(environment, stream)
        try:
            yield service.address
        except BaseException:
            service.end()
            raise
        if service.end() != 0:
            raise PrivateServiceError("the service did not stop as it should")


class _Service:
    """The process of a service, and the thread that starts another where it dies."""

    def __init__(self, environment: Mapping[str, str], log: TextIO) -> None:
        self._environment = environment
        self._log = log
        self._lock = threading.Lock()
        self._ending = False
        self._process, self.address = self._start(port=0)
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> int | None:
        """Stop it; returns the status that it exits with, None where it does not exit in time."""
        with self._lock:
            self._ending = True
            process = self._process
        process.terminate()
        try:
            return process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return None
        finally:
            _close(process)

    def _watch(self) -> None:
        for _ in range(MOST_RESTARTS):
            self._process.wait()
            _close(self._process)
            with self._lock:
                if self._ending:
                    return
                try:
                    self._process, _ = self._start(urlsplit(self.address).port or 0)
                except PrivateServiceError:
                    return  # the client says that it cannot be reached

    def _start(self, port: int) -> tuple["subprocess.Popen[str]", str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.private_service"],
            env={**self._environment, f"{PREFIX}PORT": str(port)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # Ctrl-C is for the command, which then stops its service
        )
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith(READY):
                raise PrivateServiceError("the service did not start")
        except BaseException:
            process.terminate()
            process.wait(STOP_LIMIT_S)
            _close(process)
            raise
        return process, line.removeprefix(READY).strip()


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

    threading.Thread(target=_end_with_parent, daemon=True).start()
    return serve(Settings(host="127.0.0.1"))


if __name__ == "__main__":
    sys.exit(main())
