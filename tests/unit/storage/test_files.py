"""Results appear whole or not at all, and nothing is left lying about."""

from pathlib import Path

import pytest

from app.storage.files import Files, StoreInUseError


@pytest.fixture
def files(tmp_path: Path):
    store = Files(tmp_path / "data")
    yield store
    store.close()


def listing(files: Files) -> list[str]:
    return sorted(
        str(path.relative_to(files.root)) for path in files.root.rglob("*") if path.is_file()
    )


def test_a_result_is_put_in_its_place(files: Files) -> None:
    place = files.write_result("a1", lambda folder: _touch(folder / "x.csv"))
    assert place == files.result("a1")
    assert listing(files) == ["analyses/a1/x.csv", "lock"]


def test_a_result_that_fails_leaves_nothing(files: Files) -> None:
    def write(folder: Path) -> None:
        _touch(folder / "x.csv")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        files.write_result("a1", write)
    assert listing(files) == ["lock"]


def test_a_second_attempt_replaces_the_first(files: Files) -> None:
    files.write_result("a1", lambda folder: _touch(folder / "old.csv"))
    files.write_result("a1", lambda folder: _touch(folder / "new.csv"))
    assert listing(files) == ["analyses/a1/new.csv", "lock"]


def test_uploads_are_kept_and_dropped(files: Files) -> None:
    part = files.new_upload()
    part.write_bytes(b"bytes")
    assert files.keep_upload(part, "a1").read_bytes() == b"bytes"
    files.sync_upload("a1")
    files.drop_upload("a1")
    files.sync_upload("a1")
    assert listing(files) == ["lock"]


def test_tidying_keeps_what_is_referred_to(files: Files) -> None:
    for id in ("kept", "lost"):
        files.keep_upload(files.new_upload(), id)
        files.write_result(id, lambda folder: _touch(folder / "x"))
    files.new_upload()
    files.tidy(uploads={"kept"}, results={"kept"})
    assert listing(files) == ["analyses/kept/x", "lock", "uploads/kept.dcm"]


def test_a_file_cannot_be_added_to_a_dropped_result(files: Files) -> None:
    files.write_result("a1", lambda folder: _touch(folder / "x"))
    files.drop_result("a1")
    files.drop_result("a1")
    with pytest.raises(FileNotFoundError):
        files.write_file(files.result("a1") / "y", b"")
    assert listing(files) == ["lock"]


def test_two_services_cannot_share_a_folder(files: Files) -> None:
    with pytest.raises(StoreInUseError):
        Files(files.root)


def _touch(path: Path) -> None:
    path.write_text("x")
