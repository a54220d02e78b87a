"""A service of a command's own: on a free port of this machine, gone when the command is."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

READY = "Echo2Pheno ready on "
STOP_LIMIT_S = 300.0
PREFIX = "ECHO2PHENO_"


class PrivateServiceError(Exception):
    """The service did not start, or did not stop as it should."""


@contextmanager
def private_service(settings: Mapping[str, object], log: Path) -> Iterator[str]:
    """Run a service until the context ends, or this process does, however it does.

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
    with (
        log.open("a", encoding="utf-8") as stream,
        subprocess.Popen(
            [sys.executable, "-m", "app.private_service"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            start_new_session=True,  # Ctrl-C is for the command, which then stops its service
        ) as process,
    ):
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith(READY):
                raise PrivateServiceError("the service did not start")
            yield line.removeprefix(READY).strip()
        except BaseException:
            process.terminate()
            raise
        process.terminate()
        if process.wait(STOP_LIMIT_S) != 0:
            raise PrivateServiceError("the service did not stop as it should")


def _end_with_parent() -> None:
    sys.stdin.read()  # which ends when the process does that holds the other end
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Serve on a free port until standard input closes."""
    from app.server import serve
    from app.settings import Settings

    threading.Thread(target=_end_with_parent, daemon=True).start()
    return serve(Settings(host="127.0.0.1", port=0))


if __name__ == "__main__":
    sys.exit(main())
