"""Uploads on their way in and until they are analysed, and one folder per analysis."""

import errno
import hashlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from app.storage.blobs import COMPLETE, Blobs
from app.storage.errors import (
    StaleUploadError,
    StorageFullError,
    VolumeUnavailableError,
    volume_trouble_noticed,
)
from app.storage.folder_lock import lock_folder
from app.storage.local_blobs import LocalBlobs
from app.storage.object_blobs import ObjectBlobs
from app.storage.probe import Probe
from app.storage.serial import BORDERS, DOCUMENT, STRIP

ORPHAN_AGE_S = 3600.0
"""From what age on something that no record names is nobody's, where others may be writing it."""

PROBE_LIMIT_S = 5.0
"""How long a volume may take to show that it can be written to."""

_UPLOADS, _RESULTS, _TMP = "uploads", "analyses", "tmp"


class Size(NamedTuple):
    """What an analysis takes on disk, in bytes."""

    upload: int
    result: int

    @property
    def total(self) -> int:
        return self.upload + self.result


class Files:
    """The files of the service.

    ``uploads/`` holds recordings until they are analysed, each under the sha256 of its bytes and
    the id of the analysis that wants it, so that two analyses of the same bytes do not share a
    file. ``analyses/<id>/`` is what came of them, ``tmp/`` whatever is not complete.

    Parameters
    ----------
    root : Path
        The data folder; made for this user alone, with its parents, if it is missing.
    shared : bool
        Whether other processes, on this machine or others, have the same folder open. Then it is
        not locked, what they may be writing is left alone, and uploads are checked before they
        are read.
    url : str, optional
        Where uploads and results lie instead, as `fsspec` has it; shared in any case. The data
        folder then holds what is on its way, and copies.

    Raises
    ------
    StoreInUseError
        Another process has opened the same folder, which is not shared.
    OSError
        The folder cannot be made or written to.
    """

    def __init__(self, root: Path, *, shared: bool = False, url: str | None = None) -> None:
        self.root = root.resolve()
        self.shared = shared or url is not None
        self._tmp = self.root / _TMP
        self._mine = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}-"
        self._copies = self._tmp / f"{self._mine}copies"
        self._has_earlier_names = url is None
        self._alone = not shared
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (_TMP,) if url else (_UPLOADS, _RESULTS, _TMP):
            (self.root / name).mkdir(exist_ok=True)
        self._lock = lock_folder(self.root) if self._alone else None
        self._blobs: Blobs = (
            LocalBlobs(self.root, self._tmp, self._mine, mounted=shared)
            if url is None
            else ObjectBlobs(url, self._copies)
        )
        self._probe = Probe(self._write_and_read)

    def close(self) -> None:
        """Let another process open the folder."""
        shutil.rmtree(self._copies, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    @property
    def records_path(self) -> Path:
        return self.root / "echo2pheno.sqlite"

    @volume_trouble_noticed()
    def new_upload(self) -> Path:
        """Make an empty file for a body that is about to arrive."""
        handle, name = tempfile.mkstemp(prefix=self._mine, suffix=".part", dir=self._tmp)
        os.close(handle)
        return Path(name)

    def keep_upload(self, part: Path, id: str, sha256: str) -> None:
        """Move a complete upload to where its analysis looks for it.

        Parameters
        ----------
        part : Path
            Made by `new_upload`.
        id : str
            Of the analysis.
        sha256 : str
            Of the bytes, in hexadecimal digits.
        """
        self._blobs.put(part, _upload_key(id, sha256))

    @volume_trouble_noticed()
    def sync_part(self, part: Path) -> None:
        """Make sure that a body that has arrived survives a power cut."""
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sync_upload(self, id: str, sha256: str) -> None:
        """Make sure that an upload survives a power cut; nothing where it is gone already."""
        try:  # some file systems find room for it only now
            self._blobs.sync(_upload_key(id, sha256))
        except FileNotFoundError:
            return

    def has_upload(self, id: str, sha256: str) -> bool:
        """Whether the recording of an analysis is here."""
        return any(self._blobs.has(key) for key in self._upload_keys(id, sha256))

    def upload(self, id: str, sha256: str) -> Path:
        """Give the recording of an analysis to whoever reads it.

        Returns
        -------
        Path
            Not to be written to.

        Raises
        ------
        FileNotFoundError
            It is not here, and the volume is not shared.
        StaleUploadError
            As this machine sees a shared volume, it is not there, or is not what was sent.
        """
        for key in self._upload_keys(id, sha256):
            try:
                path = self._blobs.local(key)
            except FileNotFoundError:
                continue
            if self.shared:
                self._check(path, key, sha256)
            return path
        if self.shared:  # another machine has it, and this one may see it later
            raise StaleUploadError(errno.ENOENT, "the recording is not seen on the shared volume")
        raise FileNotFoundError(id)

    @volume_trouble_noticed()
    def _check(self, path: Path, key: str, sha256: str) -> None:
        try:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise StaleUploadError(error.errno, "the recording has just gone") from error
        if found != sha256:
            self._blobs.forget(key)
            raise StaleUploadError(
                errno.EIO, "the recording on the shared volume is not what was sent"
            )

    def drop_upload(self, id: str, sha256: str) -> None:
        """Delete the recording of an analysis."""
        for key in self._upload_keys(id, sha256):
            self._blobs.delete(key)

    def _upload_keys(self, id: str, sha256: str) -> tuple[str, ...]:
        now = _upload_key(id, sha256)
        return (now, f"{_UPLOADS}/{id}.dcm") if self._has_earlier_names else (now,)

    def result(self, id: str) -> Path:
        """Give a folder with the stored analysis, for `load_analysis` to read; it may be gone."""
        return self._blobs.local_folder(f"{_RESULTS}/{id}", (DOCUMENT, STRIP, BORDERS))

    def has_result(self, id: str) -> bool:
        """Whether there is a result of an analysis."""
        return self._blobs.has_folder(f"{_RESULTS}/{id}")

    def file(self, id: str, name: str) -> Path:
        """Give a file of a result to read from.

        Raises
        ------
        FileNotFoundError
            There is none, or no result any more.
        """
        return self._blobs.local(f"{_RESULTS}/{id}/{name}")

    def file_names(self, id: str) -> set[str]:
        """Name the files of a result; none where it is gone."""
        return self._blobs.names(f"{_RESULTS}/{id}")

    @volume_trouble_noticed()
    def write_result(self, id: str, write: Callable[[Path], None], *, attempt: int = 1) -> None:
        """Have a folder filled, and put it in its place in one step.

        Parameters
        ----------
        id : str
        write : callable
            Called with an empty folder. Where it raises, nothing is left behind.
        attempt : int
            Which attempt at the analysis this is. On a shared volume, one that was given up may
            still come to its end: it then leaves the result of a later one, or its own, as it is.

        Raises
        ------
        StorageFullError
        VolumeUnavailableError
        """
        key = f"{_RESULTS}/{id}"
        with tempfile.TemporaryDirectory(
            prefix=self._mine, dir=self._tmp, ignore_cleanup_errors=True
        ) as folder:
            filled = Path(folder) / id
            filled.mkdir()
            write(filled)
            if self.shared:
                (filled / COMPLETE).write_text(f"{attempt}\n", encoding="ascii")
            while not self._blobs.put_folder(filled, key):
                if self.shared and self._attempt(key) >= attempt:
                    return
                self._blobs.delete(key)  # of an attempt that did not end

    def _attempt(self, result: str) -> int:
        """Which attempt wrote a result; 0 where it does not say."""
        try:
            return int(self._blobs.read(f"{result}/{COMPLETE}"))
        except (FileNotFoundError, ValueError):
            return 0

    def add_file(self, id: str, name: str, content: bytes) -> None:
        """Put one more file, whole or not at all, into a result's folder.

        Raises
        ------
        FileNotFoundError
            The result was removed meanwhile.
        """
        self._blobs.add(content, f"{_RESULTS}/{id}", name)

    def drop_result(self, id: str) -> None:
        """Delete the result of an analysis; its folder disappears in one step."""
        self._blobs.delete(f"{_RESULTS}/{id}")

    def tidy(self, uploads: Collection[str], results: Collection[str]) -> None:
        """Delete what no analysis refers to.

        What others may be writing at this moment stays for `ORPHAN_AGE_S`.

        Parameters
        ----------
        uploads, results : collection of str
            Ids whose recording, or result, is still needed.
        """
        with volume_trouble_noticed():
            for path in self._tmp.iterdir():
                if path != self._copies and (self._alone or _age_s(path) > ORPHAN_AGE_S):
                    _delete(path)
        for blob in self._blobs.walk(_UPLOADS):
            if _id_of_upload(blob.key) not in uploads and self._is_nobodys(blob.modified_s):
                self._blobs.delete(blob.key)
        self._blobs.prune(_UPLOADS)
        for id in self._blobs.names(_RESULTS).difference(results):
            written_s = [blob.modified_s for blob in self._blobs.walk(f"{_RESULTS}/{id}")]
            if self._is_nobodys(max(written_s, default=0.0)):
                self.drop_result(id)

    def _is_nobodys(self, written_s: float) -> bool:
        return not self.shared or time.time() - written_s > ORPHAN_AGE_S

    def sizes_bytes(self) -> dict[str, Size]:
        """Measure what every analysis takes, by its id."""
        sizes: dict[str, Size] = {}
        for blob in self._blobs.walk(_UPLOADS):
            id = _id_of_upload(blob.key)
            size = sizes.get(id, Size(0, 0))
            sizes[id] = size._replace(upload=size.upload + blob.size_bytes)
        for blob in self._blobs.walk(_RESULTS):
            id = blob.key.split("/")[1]
            size = sizes.get(id, Size(0, 0))
            sizes[id] = size._replace(result=size.result + blob.size_bytes)
        return sizes

    def records_bytes(self) -> int:
        """Measure what the records take, with the log that belongs to them."""
        return sum(_bytes_of(path) for path in self.root.glob(f"{self.records_path.name}*"))

    @volume_trouble_noticed()
    def free_bytes(self) -> int:
        """Measure the room that is left where recordings arrive."""
        return shutil.disk_usage(self.root).free

    def check_room(self, needed_bytes: int) -> None:
        """Raise `StorageFullError` where the disk has not this much room."""
        if self.free_bytes() < needed_bytes:
            raise StorageFullError

    def check_writable(self, timeout_s: float = PROBE_LIMIT_S) -> None:
        """Write, read and delete a small file.

        Raises
        ------
        VolumeUnavailableError
            There is no room, the volume is away, or does not answer in this time.
        OSError
            It fails in another way.
        """
        self._probe.check(timeout_s)

    def _write_and_read(self) -> None:
        key, content = f"{_TMP}/{self._mine}{uuid4().hex[:8]}.probe", uuid4().bytes
        try:
            self._blobs.put_bytes(content, key)
            self._blobs.sync(key)
            seen = self._blobs.read(key)
            self._blobs.delete(key)
        except StorageFullError as error:
            raise VolumeUnavailableError(errno.ENOSPC, "there is no room left") from error
        if seen != content:
            raise VolumeUnavailableError(errno.EIO, "the volume gives back other bytes")


def _upload_key(id: str, sha256: str) -> str:
    return f"{_UPLOADS}/{sha256[:2]}/{sha256}/{id}"


def _id_of_upload(key: str) -> str:
    """Id of the analysis that an upload is of, also where an earlier version named it."""
    return key.rsplit("/", 1)[1].removesuffix(".dcm")


def _bytes_of(path: Path) -> int:
    """Measure a file; what has just gone counts nothing."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _age_s(path: Path) -> float:
    """Time since something was written last, for a folder also in what it holds."""
    inside = [Path(at, name) for at, folders, names in os.walk(path) for name in folders + names]
    written_s = 0.0
    for each in (path, *inside):
        try:
            written_s = max(written_s, each.stat().st_mtime)
        except FileNotFoundError:
            continue
    return time.time() - written_s


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
