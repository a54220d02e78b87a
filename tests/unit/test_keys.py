"""Keys are kept as salted hashes, changed in one step, and read again when they change."""

import json
import stat
import threading
from pathlib import Path

import pytest

from app.keys import KeyRing, KeysError, add_key, read_keys, remove_key, renew_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def ring(path: Path) -> KeyRing:
    made = KeyRing(path)
    made.load()
    return made


def test_a_key_opens_and_no_other_does(path: Path) -> None:
    secret = add_key(path, "lab", "analyse")
    boss = add_key(path, "boss", "admin")
    keys = ring(path)
    found = keys.find(secret)
    assert found is not None
    assert (found.name, found.role) == ("lab", "analyse")
    assert keys.find(boss).role == "admin"
    swapped = "_".join([*secret.split("_", 2)[:2], boss.split("_", 2)[2]])
    for other in ("", "lab", secret[:-1], secret + "x", secret.upper(), swapped, "e2p__", "ü" * 64):
        assert keys.find(other) is None


def test_the_file_holds_no_secret_and_is_the_owners_alone(path: Path) -> None:
    secrets = [add_key(path, f"lab{n}", "analyse") for n in range(3)]
    text = path.read_text()
    for secret in secrets:
        assert secret.split("_", 2)[2] not in text
    keys = read_keys(path)
    assert len({key.salt for key in keys}) == len({key.hash for key in keys}) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_renewed_key_stays_who_it_is(path: Path) -> None:
    old = add_key(path, "lab", "read-all")
    keys = ring(path)
    before = keys.find(old)
    new = renew_key(path, "lab")
    assert keys.find(old) is None
    after = keys.find(new)
    assert (after.id, after.name, after.role) == (before.id, "lab", "read-all")


def test_a_name_used_again_is_somebody_else(path: Path) -> None:
    old = add_key(path, "lab", "analyse")
    keys = ring(path)
    id = keys.find(old).id
    remove_key(path, "lab")
    assert keys.find(old) is None
    assert keys.find(add_key(path, "lab", "analyse")).id != id


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 65, "ü", "a\n", "../x"])
def test_names(path: Path, name: str) -> None:
    with pytest.raises(KeysError):
        add_key(path, name, "analyse")
    assert not path.exists()


def test_what_is_not_there_cannot_be_changed(path: Path) -> None:
    add_key(path, "lab", "analyse")
    with pytest.raises(KeysError, match="named lab already"):
        add_key(path, "lab", "admin")
    for change in (remove_key, renew_key):
        with pytest.raises(KeysError, match="no key named other"):
            change(path, "other")
    with pytest.raises(KeysError, match="no folder"):
        add_key(path.parent / "no" / "keys.json", "lab", "analyse")


def test_changes_at_the_same_time_lose_nothing(path: Path) -> None:
    threads = [
        threading.Thread(target=add_key, args=(path, f"lab{n}", "analyse")) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in read_keys(path)} == {f"lab{n}" for n in range(20)}


BROKEN = [
    b"",
    b"not JSON",
    b"[]",
    b"\xff\xfe",
    b'{"version": 2, "keys": []}',
    b'{"version": 1}',
    b'{"version": 1, "keys": [{}]}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_is_refused_at_the_start(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(KeysError):
        ring(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("role", "root"), ("id", ""), ("id", 7), ("salt", "xyz"), ("salt", "ab"), ("hash", ""),
     ("name", "a b"), ("extra", "x")],
)  # fmt: skip
def test_a_damaged_key_is_refused(path: Path, field: str, value: object) -> None:
    add_key(path, "lab", "admin")
    document = json.loads(path.read_text())
    document["keys"][0][field] = value
    path.write_text(json.dumps(document))
    with pytest.raises(KeysError):
        read_keys(path)


def test_the_same_key_twice_is_refused(path: Path) -> None:
    add_key(path, "lab", "admin")
    document = json.loads(path.read_text())
    document["keys"] *= 2
    path.write_text(json.dumps(document))
    with pytest.raises(KeysError):
        read_keys(path)


@pytest.mark.parametrize("content", [*BROKEN, None])
def test_a_file_that_breaks_leaves_the_keys_of_before(
    path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    secret = add_key(path, "lab", "analyse")
    keys = ring(path)
    good = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    for _ in range(3):
        assert keys.find(secret) is not None
        assert "keys of before" in keys.check()
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1, "it is said once"
    path.write_bytes(good)
    remove_key(path, "lab")
    assert keys.find(secret) is None
    assert keys.check() is None
