"""Files in an object store, or wherever `fsspec` reaches by an address, and copies of them here.

The store has to show an object whole or not at all, as those of the S3 kind do. Folders are not
renamed there: one counts from when its last file, `COMPLETE`, is there.
"""

import os
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from app.storage.blobs import COMPLETE, Blob
from app.storage.errors import VolumeUnavailableError, volume_trouble_noticed

COPIES_KEPT_S = 3600.0
"""How long a copy that nobody reads stays on this machine."""

_SWEPT_EVERY_S = 300.0
_WRITTEN = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
"""What file systems call the time at which a file was written."""
_TELLING = ("size", "ETag", "etag", "md5Hash", *_WRITTEN)
"""What tells a file from another one that took its place."""

_Info = Mapping[str, Any]


class ObjectBlobs:
    """Blobs under an address.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/echo2pheno``; what follows the scheme is `fsspec`'s to read.
    copies : Path
        Folder of this machine for copies, of this process alone; made where it is missing.
    """

    def __init__(self, url: str, copies: Path) -> None:
        # others write there, too: what was listed a moment ago may be wrong
        self._fs, self._base = url_to_fs(url, use_listings_cache=False)
        self._parts = copies / "parts"
        self._kept = copies / "kept"
        self._tags: dict[str, str] = {}
        self._swept_s = time.monotonic()
        self._lock = threading.Lock()

    @volume_trouble_noticed()
    def put(self, source: Path, key: str) -> None:
        self._fs.put_file(str(source), self._at(key))
        source.unlink()

    @volume_trouble_noticed()
    def put_bytes(self, content: bytes, key: str) -> None:
        self._fs.pipe_file(self._at(key), content)

    def put_folder(self, source: Path, key: str) -> bool:
        # Two that put the same folder at once may mix their files: `Files` sees to it that they
        # are the same.
        if self.has_folder(key):
            return False
        for path in sorted(source.iterdir(), key=lambda path: path.name == COMPLETE):
            self.put(path, f"{key}/{path.name}")
        return True

    def add(self, content: bytes, folder: str, name: str) -> None:
        key = f"{folder}/{name}"
        if self.has_folder(folder):
            self.put_bytes(content, key)
            if self.has_folder(folder):
                return
            self.delete(key)  # which came after the folder went
        raise FileNotFoundError(folder)

    def sync(self, key: str) -> None:
        """Do nothing: what the store has taken, it keeps."""

    def has(self, key: str) -> bool:
        # not by `exists` or `isfile`, for which an error means that there is none
        try:
            return bool(self._info(key)["type"] == "file")
        except FileNotFoundError:
            return False

    def has_folder(self, key: str) -> bool:
        return self.has(f"{key}/{COMPLETE}")

    def local(self, key: str) -> Path:
        return self._copy(key, self._info(key))

    def local_folder(self, key: str, names: Collection[str]) -> Path:
        there = self._list(key)
        if COMPLETE not in there:
            raise FileNotFoundError(key)
        for name in names:
            if name in there:
                self._copy(f"{key}/{name}", there[name])
        return self._kept / key

    @volume_trouble_noticed()
    def read(self, key: str) -> bytes:
        return bytes(self._fs.cat_file(self._at(key)))

    def names(self, folder: str) -> set[str]:
        return set(self._list(folder))

    def walk(self, folder: str) -> Iterator[Blob]:
        try:
            with volume_trouble_noticed():
                found: dict[str, _Info] = self._fs.find(self._at(folder), detail=True)
        except FileNotFoundError:
            return
        for path, info in found.items():
            key = path[len(self._base) :].lstrip("/")
            yield Blob(key, int(info.get("size") or 0), _written_s(info))

    @volume_trouble_noticed()
    def delete(self, key: str) -> None:
        for path, recursive in ((f"{key}/{COMPLETE}", False), (key, True)):
            try:
                self._fs.rm(self._at(path), recursive=recursive)
            except FileNotFoundError:
                continue
        self.forget(key)

    def prune(self, folder: str) -> None:
        """Do nothing: there are no folders but in the names of files."""

    def forget(self, key: str) -> None:
        """Delete the copies of a file, or of all files of a folder."""
        with self._lock:
            for kept in [kept for kept in self._tags if f"{kept}/".startswith(f"{key}/")]:
                del self._tags[kept]
                (self._kept / kept).unlink(missing_ok=True)

    def _at(self, key: str) -> str:
        return f"{self._base}/{key}"

    @volume_trouble_noticed()
    def _info(self, key: str) -> _Info:
        info: _Info = self._fs.info(self._at(key))
        return info

    @volume_trouble_noticed()
    def _list(self, folder: str) -> dict[str, _Info]:
        try:
            found: list[_Info] = self._fs.ls(self._at(folder), detail=True)
        except FileNotFoundError:
            return {}
        return {str(info["name"]).rstrip("/").rsplit("/", 1)[1]: info for info in found}

    @volume_trouble_noticed()
    def _copy(self, key: str, info: _Info) -> Path:
        """Give this machine's copy of a file, fetching it unless the same one is here."""
        copy = self._kept / key
        tag = repr([info.get(name) for name in _TELLING])
        with self._lock:
            if self._tags.get(key) == tag and copy.exists():
                os.utime(copy)  # it is in use
                return copy
        self._parts.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._parts)
        os.close(handle)
        part = Path(name)
        try:
            self._fs.get_file(self._at(key), str(part))
            if part.stat().st_size != info["size"]:
                raise VolumeUnavailableError(None, "the store gave less than the whole of a file")
            with self._lock:
                copy.parent.mkdir(parents=True, exist_ok=True)
                part.replace(copy)  # whoever reads the one before, reads on
                self._tags[key] = tag
        finally:
            part.unlink(missing_ok=True)
        self._sweep()
        return copy

    def _sweep(self) -> None:
        """Delete copies that have not been read for a while."""
        with self._lock:
            if time.monotonic() - self._swept_s < _SWEPT_EVERY_S:
                return
            self._swept_s = time.monotonic()
            for key in list(self._tags):
                copy = self._kept / key
                if not copy.exists() or time.time() - copy.stat().st_mtime > COPIES_KEPT_S:
                    del self._tags[key]
                    copy.unlink(missing_ok=True)


def _written_s(info: _Info) -> float:
    """When a file was written; now where nobody says, so that it never counts as old."""
    for name in _WRITTEN:
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()
