"""Files on disk: uploads on their way in, and one folder per analysis, written atomically."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from app.storage.errors import StorageFullError, full_disk_noticed


class StoreInUseError(Exception):
    """Another service works in this data folder."""


class Size(NamedTuple):
    """What an analysis takes on disk, in bytes."""

    upload: int
    result: int

    @property
    def total(self) -> int:
        return self.upload + self.result


class Files:
    """The folders under the data folder.

    ``uploads/`` holds recordings until they are analysed, ``analyses/<id>/`` what came of them,
    ``tmp/`` whatever is not complete.

    Parameters
    ----------
    root : Path
        The data folder; made for this user alone, with its parents, if it is missing.

    Raises
    ------
    StoreInUseError
        Another process has opened the same folder.
    OSError
        The folder cannot be made or written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._uploads = self.root / "uploads"
        self._analyses = self.root / "analyses"
        self._tmp = self.root / "tmp"
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._uploads, self._analyses, self._tmp):
            folder.mkdir(exist_ok=True)
        self._lock = (self.root / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StoreInUseError("another service works in this data folder.") from error

    def close(self) -> None:
        """Let another process open the folder."""
        self._lock.close()

    @property
    def records_path(self) -> Path:
        return self.root / "echo2pheno.sqlite"

    def new_upload(self) -> Path:
        """Make an empty file for a body that is about to arrive."""
        with full_disk_noticed():
            handle, name = tempfile.mkstemp(suffix=".part", dir=self._tmp)
        os.close(handle)
        return Path(name)

    def upload(self, id: str) -> Path:
        """Where the recording of an unfinished analysis lies."""
        return self._uploads / f"{id}.dcm"

    def keep_upload(self, part: Path, id: str) -> Path:
        """Move a complete upload to where its analysis looks for it."""
        target = self.upload(id)
        with full_disk_noticed():
            part.replace(target)
        return target

    def sync_part(self, part: Path) -> None:
        """Make sure that a body that has arrived survives a power cut."""
        with full_disk_noticed():
            _sync(part)

    def sync_upload(self, id: str) -> None:
        """Make sure that an upload survives a power cut; nothing where it is gone already."""
        try:
            with full_disk_noticed():  # some file systems find room for it only now
                _sync(self.upload(id))
                _sync(self._uploads)
        except FileNotFoundError:
            return

    def drop_upload(self, id: str) -> None:
        """Delete the recording of an analysis."""
        self.upload(id).unlink(missing_ok=True)

    def result(self, id: str) -> Path:
        """Where the result of an analysis lies."""
        return self._analyses / id

    def has_result(self, id: str) -> bool:
        """Whether there is a result of an analysis."""
        return self.result(id).is_dir()

    def write_result(self, id: str, write: Callable[[Path], None]) -> Path:
        """Have a folder filled, and put it in its place in one step.

        Parameters
        ----------
        id : str
        write : callable
            Called with an empty folder. Where it raises, nothing is left behind.

        Returns
        -------
        Path
            The folder's place.

        Raises
        ------
        StorageFullError
        """
        target = self.result(id)
        with (
            full_disk_noticed(),
            tempfile.TemporaryDirectory(dir=self._tmp, ignore_cleanup_errors=True) as folder,
        ):
            filled = Path(folder) / id
            filled.mkdir()
            write(filled)
            for path in (*filled.rglob("*"), filled):
                _sync(path)
            shutil.rmtree(target, ignore_errors=True)  # of an attempt that did not end
            filled.replace(target)
        _sync(self._analyses)
        return target

    def write_file(self, target: Path, content: bytes) -> None:
        """Put one more file, whole or not at all, into a result's folder.

        Raises
        ------
        FileNotFoundError
            The result was removed meanwhile.
        """
        handle, name = tempfile.mkstemp(dir=self._tmp)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(name).chmod(0o644)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def drop_result(self, id: str) -> None:
        """Delete the result of an analysis; its folder disappears in one step."""
        try:
            doomed = Path(tempfile.mkdtemp(dir=self._tmp)) / id
            self.result(id).replace(doomed)
        except FileNotFoundError:
            return
        finally:
            shutil.rmtree(doomed.parent, ignore_errors=True)

    def tidy(self, uploads: Collection[str], results: Collection[str]) -> None:
        """Delete what no analysis refers to.

        Parameters
        ----------
        uploads, results : collection of str
            Ids whose recording, or result, is still needed.
        """
        for path in self._tmp.iterdir():
            _delete(path)
        for path in self._uploads.iterdir():
            if path.stem not in uploads:
                _delete(path)
        for path in self._analyses.iterdir():
            if path.name not in results:
                _delete(path)

    def sizes_bytes(self) -> dict[str, Size]:
        """Measure what every analysis takes, by its id."""
        results = {path.name: _bytes_of(path) for path in self._analyses.iterdir()}
        uploads = {path.stem: _bytes_of(path) for path in self._uploads.iterdir()}
        return {
            id: Size(upload=uploads.get(id, 0), result=results.get(id, 0))
            for id in results.keys() | uploads.keys()
        }

    def records_bytes(self) -> int:
        """Measure what the records take, with the log that belongs to them."""
        return sum(_bytes_of(path) for path in self.root.glob(f"{self.records_path.name}*"))

    def check_room(self, needed_bytes: int) -> None:
        """Raise `StorageFullError` where the disk has not this much room."""
        if shutil.disk_usage(self.root).free < needed_bytes:
            raise StorageFullError

    def check_writable(self) -> None:
        """Raise OSError where no file can be written."""
        with tempfile.TemporaryFile(dir=self._tmp) as stream:
            stream.write(b"\0")
            stream.flush()


def _bytes_of(path: Path) -> int:
    """Sum up the files of a folder, or measure one file; what has just gone counts nothing."""
    try:
        if path.is_dir():
            return sum(_bytes_of(inner) for inner in path.iterdir())
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
