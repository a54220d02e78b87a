"""What the store may refuse, as typed exceptions."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class KeyReusedError(Exception):
    """The name of a request stands for another one already."""


class StorageFullError(Exception):
    """There is no room left; what was there is kept."""


@contextmanager
def full_disk_noticed() -> Iterator[None]:
    """Raise `StorageFullError` in place of what the operating system says of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError from error
        raise
