"""Files on a volume that is mounted here: this machine's disk, or one shared by several.

`fsspec` has a file system for that, too, which is not used: it neither syncs what it writes nor
renames folders in one step, and what has been accepted has to survive a power cut.
"""

import errno
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.storage.blobs import Blob
from app.storage.errors import volume_trouble_noticed

_TRIES = 100
"""How often a folder may disappear just before something is moved into it."""


class LocalBlobs:
    """Blobs under a folder.

    Only what network file systems promise, too, is relied on: renaming is atomic, also over a file
    and over an empty folder. Nothing is locked or linked.

    Parameters
    ----------
    root : Path
        Existing folder.
    tmp : Path
        Folder on the same file system for what is not complete.
    prefix : str
        How names in `tmp` begin.
    mounted : bool
        Whether the folder may be another machine's: there a file that is still open when it is
        deleted lives on under another name, and keeps its folder.
    """

    def __init__(self, root: Path, tmp: Path, prefix: str, *, mounted: bool = True) -> None:
        self._root = root
        self._tmp = tmp
        self._prefix = prefix
        self._unlink = _unlink if mounted else _unlink_beside

    @volume_trouble_noticed()
    def put(self, source: Path, key: str) -> None:
        _move_under_new_folders(source, self._root / key)

    @volume_trouble_noticed()
    def put_bytes(self, content: bytes, key: str) -> None:
        with self._written(content) as part:
            self.put(part, key)

    @volume_trouble_noticed()
    def put_folder(self, source: Path, key: str) -> bool:
        for path in (*source.rglob("*"), source):
            _sync(path)
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        _sync(target.parent)
        return True

    @volume_trouble_noticed()
    def add(self, content: bytes, folder: str, name: str) -> None:
        with self._written(content) as part:
            part.replace(self._root / folder / name)

    @volume_trouble_noticed()
    def sync(self, key: str) -> None:
        path = self._root / key
        _sync(path)
        while path.parent != self._root:  # the folders above may be as new as the file
            path = path.parent
            _sync(path)

    @volume_trouble_noticed()
    def has(self, key: str) -> bool:
        return _is(stat.S_ISREG, self._root / key)

    @volume_trouble_noticed()
    def has_folder(self, key: str) -> bool:
        return _is(stat.S_ISDIR, self._root / key)

    @volume_trouble_noticed()
    def local(self, key: str) -> Path:
        path = self._root / key
        path.stat()
        return path

    def local_folder(self, key: str, names: Collection[str]) -> Path:  # noqa: ARG002
        return self._root / key

    @volume_trouble_noticed()
    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    @volume_trouble_noticed()
    def names(self, folder: str) -> set[str]:
        try:
            return set(os.listdir(self._root / folder))  # noqa: PTH208 - names are asked for
        except FileNotFoundError:
            return set()

    def walk(self, folder: str) -> Iterator[Blob]:
        for name in self.names(folder):
            key = f"{folder}/{name}"
            try:
                with volume_trouble_noticed():
                    status = (self._root / key).stat()
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self.walk(key)
            else:
                yield Blob(key, status.st_size, status.st_mtime)

    @volume_trouble_noticed()
    def delete(self, key: str) -> None:
        path = self._root / key
        if _is(stat.S_ISDIR, path):
            doomed = Path(tempfile.mkdtemp(prefix=self._prefix, dir=self._tmp))
            try:
                path.replace(doomed / path.name)  # all of it disappears in one step
            except FileNotFoundError:
                pass
            finally:
                shutil.rmtree(doomed, ignore_errors=True)
        else:
            self._unlink(path)
        for parent in path.parents:
            if parent.parent in (self._root, parent):
                return
            try:
                parent.rmdir()
            except OSError:  # something else lies there
                return

    def prune(self, folder: str) -> None:
        below = self._root / folder
        for at, _, _ in os.walk(below, topdown=False):
            if Path(at) != below:
                with suppress(OSError):  # something lies there
                    Path(at).rmdir()

    def forget(self, key: str) -> None:
        """Do nothing: what is read is the file itself."""

    @contextmanager
    def _written(self, content: bytes) -> Iterator[Path]:
        handle, name = tempfile.mkstemp(prefix=self._prefix, dir=self._tmp)
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            part.chmod(0o644)
            yield part
        finally:
            part.unlink(missing_ok=True)


def _move_under_new_folders(source: Path, target: Path) -> None:
    """Move a file although others delete folders that have become empty."""
    for tries_left in reversed(range(_TRIES)):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        except (FileNotFoundError, FileExistsError):  # it went before, or just after, it was made
            source.stat()  # raises where it is this one that is missing
            if not tries_left:
                raise
        else:
            return


def _is(kind: Callable[[int], bool], path: Path) -> bool:
    """Whether there is a file of a kind; unlike `Path.exists`, an error of the volume is one."""
    try:
        return kind(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _unlink_beside(path: Path) -> None:
    """Delete a file at once, and have its blocks given back beside: of a large one that takes."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        path.unlink(missing_ok=True)
    finally:
        try:
            threading.Thread(target=os.close, args=(handle,), name="unlink").start()
        except RuntimeError:  # there are too many threads, or the process is at its end
            os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
