"""Uploads and results appear whole or not at all, wherever they lie, and nothing is left over."""

import contextlib
import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import fsspec
import pytest

from app.storage import files as files_module
from app.storage import local_blobs
from app.storage.errors import StaleUploadError, StorageFullError, VolumeUnavailableError
from app.storage.files import ORPHAN_AGE_S, Files, Size
from app.storage.folder_lock import StoreInUseError, wait_until_free
from app.storage.serial import DOCUMENT

CONTENT = b"a recording"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PLACE = f"uploads/{SHA256[:2]}/{SHA256}"

Open = Callable[[], Files]


def open_alone(folder: Path) -> Files:
    return Files(folder / "data")


def open_shared(folder: Path) -> Files:
    return Files(folder / "data", shared=True)


def open_far_away(folder: Path) -> Files:
    return Files(folder / "data", url="memory://bucket/echo2pheno")


@pytest.fixture(params=[open_alone, open_shared, open_far_away])
def files(request: pytest.FixtureRequest, tmp_path: Path, memory: object) -> Iterator[Files]:
    """Files of each kind in turn."""
    yield from _opened(partial(request.param, tmp_path))


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Files]:
    yield from _opened(partial(open_alone, tmp_path))


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Files]:
    yield from _opened(partial(open_shared, tmp_path))


def _opened(open_files: Open) -> Iterator[Files]:
    opened = open_files()
    yield opened
    opened.close()


def listing(files: Files) -> list[str]:
    """List what is stored, on this machine or in the object store, without the lock."""
    if not (files.root / "uploads").exists():
        base = "/bucket/echo2pheno/"
        found = fsspec.filesystem("memory").find(base)
        return sorted(path.removeprefix(base) for path in found)
    paths = (path for path in files.root.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(files.root)) for path in paths if path.name != "lock")


def named(files: Files, *names: str) -> list[str]:
    """Add what says that a result is complete, where it is said."""
    return sorted([*names, "analyses/a1/complete"] if files.shared else names)


def keep(files: Files, id: str, content: bytes = CONTENT, sha256: str = SHA256) -> None:
    part = files.new_upload()
    part.write_bytes(content)
    files.keep_upload(part, id, sha256)


def put(name: str, content: str = "x") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(content)

    return write


def test_a_result_is_put_in_its_place(files: Files) -> None:
    assert not files.has_result("a1")
    files.write_result("a1", put(DOCUMENT, "numbers"))
    assert files.has_result("a1")
    assert listing(files) == named(files, f"analyses/a1/{DOCUMENT}")
    assert (files.result("a1") / DOCUMENT).read_text() == "numbers"
    assert files.file("a1", DOCUMENT).read_text() == "numbers"
    assert files.file_names("a1") - {"complete"} == {DOCUMENT}


def test_a_result_that_fails_leaves_nothing(files: Files) -> None:
    def write(folder: Path) -> None:
        (folder / "x.csv").write_text("x")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        files.write_result("a1", write)
    assert listing(files) == []


def test_a_later_attempt_replaces_an_earlier_one(files: Files) -> None:
    files.write_result("a1", put("old.csv"), attempt=1)
    files.write_result("a1", put("new.csv"), attempt=2)
    assert listing(files) == named(files, "analyses/a1/new.csv")


def test_files_are_added_to_a_result(files: Files) -> None:
    files.write_result("a1", put("x"))
    files.add_file("a1", "systole.png", b"first")
    assert files.file("a1", "systole.png").read_bytes() == b"first"
    files.add_file("a1", "systole.png", b"again")
    assert files.file("a1", "systole.png").read_bytes() == b"again"
    with pytest.raises(FileNotFoundError):
        files.file("a1", "diastole.png")


def test_a_file_cannot_be_added_to_a_dropped_result(files: Files) -> None:
    files.write_result("a1", put("x"))
    files.file("a1", "x")
    files.drop_result("a1")
    files.drop_result("a1")
    with pytest.raises(FileNotFoundError):
        files.add_file("a1", "y", b"")
    with pytest.raises(FileNotFoundError):
        files.file("a1", "x")
    assert files.file_names("a1") == set()
    assert listing(files) == []


def test_uploads_are_kept_and_dropped(files: Files) -> None:
    assert not files.has_upload("a1", SHA256)
    keep(files, "a1")
    assert files.has_upload("a1", SHA256)
    assert files.upload("a1", SHA256).read_bytes() == CONTENT
    files.sync_upload("a1", SHA256)
    files.drop_upload("a1", SHA256)
    files.sync_upload("a1", SHA256)
    files.drop_upload("a1", SHA256)
    assert not files.has_upload("a1", SHA256)
    with pytest.raises(FileNotFoundError if not files.shared else StaleUploadError):
        files.upload("a1", SHA256)
    assert listing(files) == []


def test_the_same_bytes_are_there_for_each_analysis(files: Files) -> None:
    keep(files, "a1")
    keep(files, "a2")
    assert listing(files) == [f"{PLACE}/a1", f"{PLACE}/a2"]
    files.drop_upload("a1", SHA256)
    assert files.upload("a2", SHA256).read_bytes() == CONTENT


def test_uploads_of_an_earlier_version_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "uploads"
    folder.mkdir(parents=True)
    for id in ("kept", "lost"):
        (folder / f"{id}.dcm").write_bytes(CONTENT)
    for files in (open_alone(tmp_path), open_shared(tmp_path)):
        assert files.has_upload("kept", SHA256)
        assert files.upload("kept", SHA256).read_bytes() == CONTENT
        assert files.sizes_bytes()["kept"] == Size(upload=len(CONTENT), result=0)
        files.close()
    files = open_alone(tmp_path)
    files.tidy(uploads={"kept"}, results=())
    assert listing(files) == ["uploads/kept.dcm"]
    files.drop_upload("kept", SHA256)
    assert listing(files) == []
    assert folder.exists()
    files.close()


def test_sizes_are_measured_by_analysis(files: Files) -> None:
    keep(files, "a1")
    keep(files, "a2", b"longer than that", "f" * 64)
    files.write_result("a2", put("x", "123"))
    own = len("1\n") if files.shared else 0
    assert files.sizes_bytes() == {
        "a1": Size(upload=len(CONTENT), result=0),
        "a2": Size(upload=16, result=3 + own),
    }


def test_tidying_keeps_what_is_referred_to(alone: Files) -> None:
    for id in ("kept", "lost"):
        keep(alone, id)
        alone.write_result(id, put("x"))
    alone.new_upload()
    (alone.root / "uploads" / "ff" / ("f" * 64)).mkdir(parents=True)  # as after a crash
    alone.tidy(uploads={"kept"}, results={"kept"})
    assert listing(alone) == ["analyses/kept/x", f"{PLACE}/kept"]
    assert [path.name for path in (alone.root / "uploads").iterdir()] == [SHA256[:2]]


@pytest.mark.parametrize("open_files", [open_shared, open_far_away])
def test_what_others_may_be_writing_is_not_tidied(
    tmp_path: Path,
    memory: object,
    monkeypatch: pytest.MonkeyPatch,
    open_files: Callable[[Path], Files],
) -> None:
    files = open_files(tmp_path)
    for id in ("kept", "lost"):
        keep(files, id)
        files.write_result(id, put("x"))
    files.new_upload()
    there = listing(files)
    files.tidy(uploads={"kept"}, results={"kept"})
    assert listing(files) == there, "it may be on its way into the records"

    now = time.time
    monkeypatch.setattr(files_module.time, "time", lambda: now() + ORPHAN_AGE_S + 1)
    files.tidy(uploads={"kept"}, results={"kept"})
    kept = ["analyses/kept/complete", "analyses/kept/x", f"{PLACE}/kept"]
    assert listing(files) == kept
    files.close()


def test_two_services_cannot_have_a_folder_each_to_itself(alone: Files) -> None:
    with pytest.raises(StoreInUseError):
        Files(alone.root)


def test_a_folder_is_waited_for_until_it_is_free(alone: Files, tmp_path: Path) -> None:
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def leave(_: float) -> None:
        alone.close()

    assert not wait_until_free(alone.root, 3.0, sleep=sleep, clock=lambda: now_s)
    assert now_s == pytest.approx(3.0, abs=0.2)
    assert wait_until_free(alone.root, 3.0, sleep=leave)
    Files(alone.root).close()
    assert wait_until_free(tmp_path / "not there yet", 3.0, sleep=leave)


def test_a_shared_folder_is_for_several(shared: Files) -> None:
    other = Files(shared.root, shared=True)
    keep(shared, "a1")
    assert other.upload("a1", SHA256).read_bytes() == CONTENT
    other.write_result("a1", put("x"))
    assert shared.has_result("a1")
    assert not (shared.root / "lock").exists()
    assert shared.new_upload().name.split("-")[:-1] != other.new_upload().name.split("-")[:-1]
    other.close()


def test_a_deleted_recording_is_gone_at_once_and_read_on(alone: Files) -> None:
    keep(alone, "a1")
    with alone.upload("a1", SHA256).open("rb") as stream:
        alone.drop_upload("a1", SHA256)
        assert not alone.has_upload("a1", SHA256)
        assert stream.read() == CONTENT
    alone.drop_upload("a1", SHA256)  # it may be deleted once more
    for thread in threading.enumerate():
        if thread.name == "unlink":
            thread.join()
    assert not any(SHA256 in held for held in open_files_of_this_process())


def open_files_of_this_process() -> list[str]:
    held = []
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            held.append(str(handle.readlink()))
    assert held
    return held


def test_an_object_store_is_for_several(tmp_path: Path, memory: fsspec.AbstractFileSystem) -> None:
    here, there = open_far_away(tmp_path / "1"), open_far_away(tmp_path / "2")
    here.write_result("a1", put("x", "first"), attempt=1)
    assert there.file("a1", "x").read_text() == "first"
    here.write_result("a1", put("x", "2nd"), attempt=2)
    assert there.file("a1", "x").read_text() == "2nd", "its copy is no longer the file"
    here.drop_result("a1")
    with pytest.raises(FileNotFoundError):
        there.file("a1", "x")
    here.close()
    there.close()
    assert not list((tmp_path / "1" / "data" / "tmp").iterdir()), "copies go with the process"


def test_a_folder_without_its_last_file_does_not_count(
    tmp_path: Path, memory: fsspec.AbstractFileSystem
) -> None:
    files = open_far_away(tmp_path)
    memory.pipe_file("/bucket/echo2pheno/analyses/a1/x", b"of an attempt that was killed")
    assert not files.has_result("a1")
    with pytest.raises(FileNotFoundError):
        files.result("a1")
    files.write_result("a1", put("x"))
    assert files.file("a1", "x").read_text() == "x"
    files.close()


@pytest.mark.parametrize("open_files", [open_shared, open_far_away])
def test_an_attempt_that_was_given_up_changes_nothing(
    tmp_path: Path, memory: object, open_files: Callable[[Path], Files]
) -> None:
    files = open_files(tmp_path)
    files.write_result("a1", put("x", "second"), attempt=2)
    files.add_file("a1", "systole.png", b"drawn")
    for attempt in (1, 2):
        files.write_result("a1", put("x", "zombie"), attempt=attempt)
        assert files.file("a1", "x").read_text() == "second"
        assert files.file("a1", "systole.png").read_bytes() == b"drawn"
    files.close()


def test_a_result_from_before_the_folder_was_shared_is_replaced(tmp_path: Path) -> None:
    alone = open_alone(tmp_path)
    alone.write_result("a1", put("x", "old"))
    alone.close()
    files = open_shared(tmp_path)
    files.write_result("a1", put("x", "new"))
    assert files.file("a1", "x").read_text() == "new"
    files.close()


@pytest.mark.parametrize("open_files", [open_shared, open_far_away])
def test_an_upload_that_is_not_what_was_sent_is_not_read(
    tmp_path: Path, memory: fsspec.AbstractFileSystem, open_files: Callable[[Path], Files]
) -> None:
    files = open_files(tmp_path)
    keep(files, "a1", CONTENT[:-1])
    with pytest.raises(StaleUploadError):
        files.upload("a1", SHA256)
    keep(files, "a1")
    assert files.upload("a1", SHA256).read_bytes() == CONTENT, "once it is whole"
    files.close()


def test_same_bytes_come_and_go_at_once(shared: Files) -> None:
    # whoever drops the last one removes the folder that another one is about to move into
    failures: list[BaseException] = []

    def come_and_go(id: str) -> None:
        try:
            for _ in range(200):
                keep(shared, id)
                assert shared.upload(id, SHA256).read_bytes() == CONTENT
                shared.drop_upload(id, SHA256)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=come_and_go, args=(f"a{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert listing(shared) == []
    assert not list((shared.root / "uploads").iterdir())


def test_all_of_the_way_to_an_upload_is_synced(
    alone: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        local_blobs, "_sync", lambda path: synced.append(str(path.relative_to(alone.root)))
    )
    keep(alone, "a1")
    alone.sync_upload("a1", SHA256)
    assert synced == [f"{PLACE}/a1", PLACE, f"uploads/{SHA256[:2]}", "uploads"]
    synced.clear()
    alone.write_result("a1", put("x"))
    folder = Path(synced[1])
    assert [Path(path).name for path in synced] == ["x", "a1", "analyses"]
    assert folder.parts[0] == "tmp", "it is whole on the disk before it is moved"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EROFS, VolumeUnavailableError),
        (errno.ESTALE, VolumeUnavailableError),
        (errno.EIO, VolumeUnavailableError),
        (errno.ENOSPC, StorageFullError),
    ],
)
def test_trouble_of_the_volume_has_a_name(
    files: Files, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    keep(files, "a1")
    files.write_result("a1", put("x"))
    part = files.new_upload()
    part.write_bytes(CONTENT)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("replace", "rename", "stat", "unlink"):
        monkeypatch.setattr(Path, name, fail)
    for name in ("put_file", "pipe_file", "info", "rm"):
        monkeypatch.setattr(fsspec.get_filesystem_class("memory"), name, fail)
    for attempt in (
        lambda: files.keep_upload(part, "a2", SHA256),
        lambda: files.upload("a1", SHA256),
        lambda: files.has_upload("a1", SHA256),
        lambda: files.has_result("a1"),
        lambda: files.file("a1", "x"),
        lambda: files.drop_upload("a1", SHA256),
        lambda: files.drop_result("a1"),
    ):
        with pytest.raises(expected):
            attempt()
    with pytest.raises(VolumeUnavailableError):
        files.check_writable()
    monkeypatch.undo()
    assert files.upload("a1", SHA256).read_bytes() == CONTENT
    assert files.file("a1", "x").read_text() == "x"


def test_a_volume_is_writable_only_if_it_gives_back_what_it_took(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.check_writable()
    assert listing(files) == [], "nothing is left of it"
    monkeypatch.setattr(type(files._blobs), "read", lambda *_: b"something else")
    with pytest.raises(VolumeUnavailableError, match="other bytes"):
        files.check_writable()


def test_copies_that_nobody_reads_are_deleted(
    tmp_path: Path, memory: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = open_far_away(tmp_path)
    for id in ("a1", "a2"):
        files.write_result(id, put("x", id))
    copy = files.file("a1", "x")
    seconds = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: seconds() + 400)
    assert files.file("a2", "x").exists()
    assert copy.exists(), "it was read a moment ago"
    os.utime(copy, (0, 0))
    monkeypatch.setattr(time, "monotonic", lambda: seconds() + 800)
    files.drop_result("a2")
    files.write_result("a2", put("x", "again"))
    assert files.file("a2", "x").read_text() == "again"
    assert not copy.exists()
    assert files.file("a1", "x").read_text() == "a1", "it is fetched again"
    files.close()
