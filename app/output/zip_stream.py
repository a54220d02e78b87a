"""A ZIP archive written as it is sent: nothing of it is kept on disk, and little in memory."""

import itertools
import re
import zipfile
from collections.abc import Container, Iterable, Iterator
from datetime import datetime
from pathlib import Path

_BLOCK_BYTES = 2**18
_MODE = 0o644 << 16
_NOT_EVERYWHERE = re.compile(r'[<>:"|?*]|[. ]+(?=/|$)')  # in names of files on Windows


class ZipStream:
    """An archive whose bytes are taken away as they come.

    Parameters
    ----------
    moment : datetime
        When its files were made.
    """

    def __init__(self, moment: datetime) -> None:
        self._taken = _Outlet()
        self._zip = zipfile.ZipFile(self._taken, "w")
        self._moment = moment.timetuple()[:6]

    def add(self, name: str, content: Iterable[bytes], *, compress: bool = True) -> Iterator[bytes]:
        """Add a file, and give the archive's next bytes.

        Parameters
        ----------
        name : str
            With its folders.
        content : iterable of bytes
        compress : bool
            Not worth the time for what is compressed already.
        """
        info = zipfile.ZipInfo(name, self._moment)
        info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        info.external_attr = _MODE
        with self._zip.open(info, "w") as member:
            for block in content:
                member.write(block)
                yield from self._taken.take()
        yield from self._taken.take()

    def end(self) -> Iterator[bytes]:
        """Give the last bytes: the archive's directory."""
        self._zip.close()
        yield from self._taken.take()


class _Outlet:
    """What zipfile writes to. It cannot be sought in, so sizes follow behind each file."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: what is written is taken away by others."""

    def close(self) -> None:
        """Do nothing, for the same reason."""

    def take(self) -> Iterator[bytes]:
        if self._written:
            content, self._written = bytes(self._written), bytearray()
            yield content


def portable(name: str, taken: Container[str]) -> str:
    """Make a relative name one that every system can unpack.

    Parameters
    ----------
    name : str
        With its folders.
    taken : container of str
        What else there is, in lower case: not all systems tell it from capitals.
    """
    plain = _NOT_EVERYWHERE.sub("_", name)
    numbered = itertools.chain([plain], (f"{plain} ({n})" for n in itertools.count(2)))
    return next(free for free in numbered if free.lower() not in taken)


def blocks_of(path: Path) -> Iterator[bytes]:
    """Read a file in blocks."""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield block
