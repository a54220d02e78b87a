"""What the store asks of the place where its files lie.

Keys are names joined by slashes. Whatever is put is there whole or not at all for whoever looks,
on this machine or another one.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

COMPLETE = "complete"
"""File of a folder that says that all of it is there; where it is needed, `Files` writes it."""


class Blob(NamedTuple):
    """A file of the store.

    Attributes
    ----------
    key : str
    size_bytes : int
    modified_s : float
        When it was written, in seconds since 1970 by the clock of the volume.
    """

    key: str
    size_bytes: int
    modified_s: float


class Blobs(Protocol):
    """Files under keys; folders are what keys have in common.

    Every method raises `StorageFullError` or `VolumeUnavailableError` where the volume is full or
    away, and `FileNotFoundError` where it is said.
    """

    def put(self, source: Path, key: str) -> None:
        """Move a file of this machine's temporary folder to a key, in place of what was there."""

    def put_bytes(self, content: bytes, key: str) -> None:
        """Write a file."""

    def put_folder(self, source: Path, key: str) -> bool:
        """Move a folder to a key; False, and nothing is changed, where a whole one is there."""

    def add(self, content: bytes, folder: str, name: str) -> None:
        """Write one more file of a folder; FileNotFoundError where the folder is gone."""

    def sync(self, key: str) -> None:
        """Have a file survive a power cut; FileNotFoundError where it is gone."""

    def has(self, key: str) -> bool:
        """Whether there is such a file."""

    def has_folder(self, key: str) -> bool:
        """Whether there is such a folder, whole."""

    def local(self, key: str) -> Path:
        """Give a file to read from, which nobody may write to; FileNotFoundError without it."""

    def local_folder(self, key: str, names: Collection[str]) -> Path:
        """Give a folder to read these files from, as far as they exist, and perhaps others."""

    def read(self, key: str) -> bytes:
        """Read a file; FileNotFoundError without it."""

    def names(self, folder: str) -> set[str]:
        """Name what lies in a folder, files and folders, without what is below; may be empty."""

    def walk(self, folder: str) -> Iterator[Blob]:
        """Go through all files below a folder; what disappears meanwhile is left out."""

    def delete(self, key: str) -> None:
        """Delete a file or a folder, whose files disappear together; nothing where it is gone."""

    def prune(self, folder: str) -> None:
        """Remove what lies below a folder and holds no file."""

    def forget(self, key: str) -> None:
        """Read a file anew when it is asked for next, where a copy of it is kept."""
