"""ZIP archives of recordings: judged by their directory, before anything is unpacked."""

import errno
import hashlib
import itertools
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.samples import clean_path

SHEET_NAME = "samples.csv"
"""What a sample sheet in an archive is called, in whatever folder."""

_BLOCK_BYTES = 2**20
_DIRECTORY_BYTES_PER_MEMBER = 512
_LOCAL_HEADER_BYTES = 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_MAC_FOLDER = "__MACOSX"
_CLUTTER = frozenset({".ds_store", "thumbs.db", "desktop.ini", "dicomdir"})


class ArchiveError(Exception):
    """An archive that is not unpacked, or a member of one that cannot be read.

    Parameters
    ----------
    code : {'too_large', 'corrupt_archive'}
    detail : str
        What is wrong, in the sender's words.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may hold.

    Attributes
    ----------
    members : int
        Most files in it.
    member_bytes, total_bytes : int
        Largest size of one, and of all, once unpacked.
    ratio : float
        How many times as large as the archive what is in it may be.
    """

    members: int
    member_bytes: int
    total_bytes: int
    ratio: float


@dataclass(frozen=True)
class Member:
    """A file in an archive, under its name with folders."""

    name: str
    size_bytes: int
    info: zipfile.ZipInfo


class Archive:
    """An archive that keeps within the limits.

    Attributes
    ----------
    members : sequence of Member
        What may be recordings, each under a name of its own.
    sheets : sequence of Member
        The sample sheets in it.
    ignored : sequence of str
        What operating systems and DICOM media leave beside recordings.
    """

    def __init__(self, file: zipfile.ZipFile, limits: ArchiveLimits) -> None:
        self._file = file
        self._limits = limits
        self.members: Sequence[Member] = ()
        self.sheets: Sequence[Member] = ()
        self.ignored: Sequence[str] = ()
        self._sort()

    def read(self, member: Member, limit: int) -> bytes:
        """Read a small member whole.

        Raises
        ------
        ArchiveError
            It is larger than the limit, or cannot be read.
        """
        if member.size_bytes > limit:
            raise ArchiveError("too_large", f"{member.name} is larger than {limit:,} bytes.")
        return b"".join(self._blocks(member))

    def extract(self, member: Member, target: Path) -> str:
        """Unpack a member into a file, and give its hexadecimal sha256.

        Raises
        ------
        ArchiveError
            It is too large, or cannot be read.
        OSError
            The file cannot be written.
        """
        if member.size_bytes > self._limits.member_bytes:
            limit = self._limits.member_bytes
            raise ArchiveError("too_large", f"It is larger than the {limit:,} bytes accepted here.")
        digest = hashlib.sha256()
        with target.open("wb") as stream:
            for block in self._blocks(member):
                stream.write(block)
                digest.update(block)
        return digest.hexdigest()

    def _blocks(self, member: Member) -> Iterator[bytes]:
        if member.info.flag_bits & _ENCRYPTED:
            raise ArchiveError("corrupt_archive", "It is encrypted; send it without a password.")
        if member.info.compress_type not in _METHODS:
            detail = "It is compressed in a way that is not read here; the usual one is (deflate)."
            raise ArchiveError("corrupt_archive", detail)
        with (
            _damage_noticed("It is damaged inside the archive."),
            self._file.open(member.info) as stream,
        ):
            # zipfile reads no more than the directory announced, and checks the sum at its end
            while block := stream.read(_BLOCK_BYTES):
                yield block

    def _sort(self) -> None:
        members: dict[str, Member] = {}
        sheets: list[Member] = []
        ignored: list[str] = []
        for info in self._file.infolist():
            name = clean_path(info.filename)
            parts = name.lower().split("/")
            if not name or info.is_dir():
                continue
            member = Member(name, info.file_size, info)
            if _MAC_FOLDER.lower() in parts or parts[-1] in _CLUTTER:
                ignored.append(name)
            elif parts[-1] == SHEET_NAME:
                sheets.append(member)
            else:
                free = (f"{name} ({n})" for n in itertools.count(2))
                unique = name if name not in members else next(n for n in free if n not in members)
                members[unique] = Member(clean_path(unique), info.file_size, info)
        self.members, self.sheets, self.ignored = tuple(members.values()), sheets, ignored


def is_archive(path: Path) -> bool:
    """Whether a file begins as a ZIP archive does; its end would say nothing of a recording."""
    with path.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


@contextmanager
def open_archive(path: Path, limits: ArchiveLimits) -> Iterator[Archive]:
    """Open an archive and judge it by its directory: nothing is unpacked yet.

    Raises
    ------
    ArchiveError
        ``too_large``: it holds too much, or unpacks to too much. ``corrupt_archive``: it is
        damaged, or parts of it overlap.
    """
    directory_bytes = max(2**17, limits.members * _DIRECTORY_BYTES_PER_MEMBER)
    with path.open("rb") as stream:
        with _damage_noticed("The ZIP archive is damaged."):
            file = zipfile.ZipFile(_Bounded(stream, directory_bytes))
        with file:
            _judge(file.infolist(), path.stat().st_size, limits)
            yield Archive(file, limits)


@contextmanager
def _damage_noticed(detail: str) -> Iterator[None]:
    """Raise `ArchiveError` in place of all that zipfile raises where bytes are not as they should.

    Beside its own errors these are those of text that is no UTF-8, of a header that is cut off and
    of a place before the file's beginning.
    """
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        ValueError,
        OverflowError,
    ):
        raise ArchiveError("corrupt_archive", detail) from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ArchiveError("corrupt_archive", detail) from None


def _judge(infos: Sequence[zipfile.ZipInfo], size_bytes: int, limits: ArchiveLimits) -> None:
    if len(infos) > limits.members:
        detail = f"The archive holds {len(infos):,} files, where {limits.members:,} are accepted."
        raise ArchiveError("too_large", f"{detail} Send it in parts.")
    total = sum(info.file_size for info in infos)
    if total > limits.total_bytes:
        raise ArchiveError(
            "too_large",
            f"The archive unpacks to {total:,} bytes, where {limits.total_bytes:,} are accepted. "
            "Send it in parts.",
        )
    if total > limits.ratio * size_bytes:
        raise ArchiveError(
            "too_large",
            f"The archive unpacks to {total / size_bytes:.0f} times its size, which no recordings "
            f"do; {limits.ratio:g} times is accepted. Send the files as they are.",
        )
    ordered = sorted(infos, key=lambda info: info.header_offset)
    starts = [info.header_offset for info in ordered]
    if not all(0 <= start < size_bytes for start in starts):
        raise ArchiveError("corrupt_archive", "The ZIP archive is damaged.")
    for info, (start, following) in zip(
        ordered, itertools.pairwise([*starts, size_bytes]), strict=True
    ):
        if start + _LOCAL_HEADER_BYTES + info.compress_size > following:
            raise ArchiveError("corrupt_archive", "Files in the archive overlap each other.")


class _Bounded:
    """A file of which nobody reads more at once than an archive's directory may take."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self.seek = stream.seek
        self.tell = stream.tell
        self.close = stream.close

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > self._limit:
            raise ArchiveError("too_large", "The archive's directory is too long.")
        content = self._stream.read(size if size >= 0 else self._limit + 1)
        if len(content) > self._limit:
            raise ArchiveError("too_large", "The archive's directory is too long.")
        return content
