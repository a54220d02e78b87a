"""What the store may refuse, as typed exceptions."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

DATABASE_AWAY = (exc.InterfaceError, exc.OperationalError, exc.TimeoutError)
"""What is raised where a database does not answer or is too busy, and may do so later."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_GONE_FOR_A_WHILE = frozenset(
    getattr(errno, name)
    for name in (
        "EIO",
        "EROFS",
        "EACCES",  # as a share says that is exported, or mounted, in another way for a while
        "EPERM",
        "ESTALE",
        "ETIMEDOUT",
        "ENOTCONN",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ECONNREFUSED",
        "ECONNRESET",
        "EREMOTEIO",  # of Linux alone
    )
    if hasattr(errno, name)
)


class KeyReusedError(Exception):
    """The name of a request stands for another one already."""


class StorageFullError(Exception):
    """There is no room left; what was there is kept."""


class VolumeUnavailableError(OSError):
    """The volume does not answer, answers with errors, or takes no writes; it may do so later."""


class StaleUploadError(VolumeUnavailableError):
    """An upload is not there, or not as it was sent, as this machine sees the volume."""


@contextmanager
def volume_trouble_noticed() -> Iterator[None]:
    """Raise the store's own errors in place of what the operating system says of its volume.

    Raises
    ------
    StorageFullError
        There is no room.
    VolumeUnavailableError
        The volume is read-only, stale, or not to be reached.
    """
    try:
        yield
    except VolumeUnavailableError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError from error
        if error.errno in _GONE_FOR_A_WHILE:
            raise VolumeUnavailableError(error.errno, error.strerror) from error
        if isinstance(error, TimeoutError | ConnectionError):  # of a store behind a network
            raise VolumeUnavailableError(error.errno, "the store does not answer") from error
        raise
