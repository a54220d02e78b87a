"""One service at a time works in a data folder that is not shared."""

import fcntl
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

_LOCK = "lock"
_LOOK_EVERY_S = 0.1


class StoreInUseError(Exception):
    """Another service works in this data folder."""


def lock_folder(root: Path) -> IO[str]:
    """Keep other services out of a data folder until what is given back is closed.

    Raises
    ------
    StoreInUseError
    """
    lock = (root / _LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreInUseError("another service works in this data folder.") from error
    return lock


def wait_until_free(
    root: Path,
    limit_s: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait while another service works in a data folder.

    Parameters
    ----------
    root : Path
    limit_s : float
        How long at most.
    sleep, clock : callable, optional
        Wait for so many seconds, and tell them.

    Returns
    -------
    bool
        Whether none does, as far as can be seen.
    """
    deadline = clock() + limit_s
    while True:
        try:
            with (root / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock() >= deadline:
                return False
            sleep(_LOOK_EVERY_S)
        except OSError:  # whoever opens the folder says what is wrong with it
            return True
        else:
            return True
