"""How the process takes memory from the system."""

import ctypes
import sys
from contextlib import suppress

_ARENA_MAX = -8  # M_ARENA_MAX of <malloc.h>
_ARENAS = 2


def take_little_memory() -> None:
    """Have all threads share two of glibc's arenas; nothing where there is another library.

    By default every thread takes memory from an arena of its own, and what it has freed is of no
    use to the others: some 0.1 GB in a service that has many threads and large arrays.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library than glibc
            ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)
