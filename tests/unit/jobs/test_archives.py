"""ZIP archives: what is refused before it is unpacked, and what is made of the rest."""

import hashlib
import io
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.jobs.archives import Archive, ArchiveError, ArchiveLimits, is_archive, open_archive

LIMITS = ArchiveLimits(members=20, member_bytes=10_000, total_bytes=50_000, ratio=50)


def write(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def refused(path: Path, **limits: Any) -> ArchiveError:
    with (
        pytest.raises(ArchiveError) as error,
        open_archive(path, ArchiveLimits(**vars(LIMITS) | limits)),
    ):
        pass
    return error.value


def extracted(archive: Archive, name: str, target: Path) -> bytes:
    (member,) = [member for member in archive.members if member.name == name]
    assert archive.extract(member, target) == hashlib.sha256(target.read_bytes()).hexdigest()
    return target.read_bytes()


def test_members_keep_their_folders_and_clutter_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    files = {
        "study/day 1/m1.dcm": b"one",
        "..\\..\\m2.dcm": b"two",
        "/study/./notes.txt": b"no recording",
        "study/samples.csv": b"file_name\n",
        "__MACOSX/study/day 1/._m1.dcm": b"fork",
        "study/.DS_Store": b"x",
        "DICOMDIR": b"x",
        "folder/": b"",
    }
    with open_archive(write(path, files), LIMITS) as archive:
        assert [member.name for member in archive.members] == [
            "study/day 1/m1.dcm",
            "m2.dcm",
            "study/notes.txt",
        ]
        assert [member.name for member in archive.sheets] == ["study/samples.csv"]
        assert archive.read(archive.sheets[0], 100) == b"file_name\n"
        assert archive.ignored == ["__MACOSX/study/day 1/._m1.dcm", "study/.DS_Store", "DICOMDIR"]
        assert extracted(archive, "m2.dcm", tmp_path / "x") == b"two"


def test_two_members_of_one_name_are_both_there(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("m.dcm", b"one")
        archive.writestr("./m.dcm", b"two")
    with open_archive(tmp_path / "a.zip", LIMITS) as opened:
        assert [member.name for member in opened.members] == ["m.dcm", "m.dcm (2)"]
        assert extracted(opened, "m.dcm", tmp_path / "x") == b"one"
        assert extracted(opened, "m.dcm (2)", tmp_path / "x") == b"two"


def test_a_bomb_is_refused_by_its_directory(tmp_path: Path, monkeypatch: Any) -> None:
    path = write(tmp_path / "a.zip", {"m.dcm": bytes(40_000)})
    many = write(tmp_path / "b.zip", {f"{n}": b"" for n in range(21)})
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was unpacked"))

    assert path.stat().st_size < 400
    for error in (
        refused(path),
        refused(path, ratio=1e6, total_bytes=39_999),
        refused(many),
    ):
        assert error.code == "too_large"
    assert "times its size" in refused(path).detail


def test_the_sum_counts_not_the_single_file(tmp_path: Path) -> None:
    noise = hashlib.shake_256(b"x").digest(9_000)
    path = write(tmp_path / "a.zip", {f"{n}.dcm": noise for n in range(6)})

    assert "unpacks to 54,000 bytes" in refused(path).detail


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"a": b"1" * 100, "b": b"2" * 100}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    second = content.rindex(b"PK\x01\x02")
    struct.pack_into("<L", content, second + 42, 10)  # its data begin within the first one's
    path.write_bytes(content)

    assert refused(path).code == "corrupt_archive"


def test_an_endless_directory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    directory = (b"PK\x01\x02" + bytes(42)) * 20_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 20, 20, len(directory), 0, 0)
    path.write_bytes(directory + end)

    assert refused(path).detail == "The archive's directory is too long."


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(10), b"x" * 1000])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)

    assert refused(tmp_path / "a.zip").code == "corrupt_archive"


def test_a_damaged_or_lying_member_is_found_out_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"a": b"1" * 100, "b": b"2" * 100, "c": b"3" * 10_001})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x03\x04") + 33] ^= 0xFF
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    struct.pack_into("<L", content, second + 24, 90)  # says that it is shorter than it is
    path.write_bytes(content)

    with open_archive(path, LIMITS) as archive:
        for member, code in zip(
            archive.members, ("corrupt_archive", "corrupt_archive", "too_large"), strict=True
        ):
            with pytest.raises(ArchiveError) as error:
                archive.extract(member, tmp_path / "x")
            assert error.value.code == code, member.name
            assert not (tmp_path / "x").exists() or (tmp_path / "x").stat().st_size <= 100


def test_a_member_whose_own_name_is_no_text_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"é.dcm": b"1" * 100, "b.dcm": b"2"})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff", 1))

    with open_archive(path, LIMITS) as archive:
        first, second = archive.members
        with pytest.raises(ArchiveError) as error:
            archive.extract(first, tmp_path / "x")
        assert error.value.code == "corrupt_archive"
        assert extracted(archive, second.name, tmp_path / "y") == b"2"


@pytest.mark.parametrize("offset", [10**6, 2**40, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_member_that_begins_behind_the_end_is_refused(tmp_path: Path, offset: int) -> None:
    path = write(tmp_path / "a.zip", {"a": b"1" * 100})
    content = bytearray(path.read_bytes())
    entry, end = content.rindex(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    long = struct.pack("<HHQ", 1, 8, offset)
    struct.pack_into("<H", content, entry + 30, len(long))
    struct.pack_into("<L", content, entry + 42, 0xFFFFFFFF)  # it stands in the extra field
    struct.pack_into("<L", content, end + 12, end - entry + len(long))
    content[end:end] = long
    path.write_bytes(content)

    assert refused(path).code == "corrupt_archive"


def test_a_member_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"q": b"1", "b.dcm": b"2"})
    path.write_bytes(path.read_bytes().replace(b"q", b"\0"))  # where a name ends

    with open_archive(path, LIMITS) as archive:
        assert [member.name for member in archive.members] == ["b.dcm"]


def test_encrypted_and_oddly_compressed_members_say_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"a": b"1" * 100})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    odd = write(tmp_path / "b.zip", {"a": b"1" * 100}, zipfile.ZIP_LZMA)

    for file, word in ((path, "encrypted"), (odd, "deflate")):
        with (
            open_archive(file, LIMITS) as archive,
            pytest.raises(ArchiveError, match=word),
        ):
            archive.extract(archive.members[0], tmp_path / "x")


def test_an_archive_is_known_by_its_beginning(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a", b"")
    for content, expected in (
        (inner.getvalue(), True),
        (b"PK\x05\x06" + bytes(18), True),
        (bytes(128) + b"DICM" + inner.getvalue(), False),
    ):
        (tmp_path / "f").write_bytes(content)
        assert is_archive(tmp_path / "f") is expected


def test_whatever_is_damaged_is_said_to_be(tmp_path: Path) -> None:
    path, target = tmp_path / "a.zip", tmp_path / "x"
    whole = write(path, {"a.dcm": b"one" * 50, "é.dcm": b"two" * 50}).read_bytes()
    rng, seen = random.Random(1), set()
    for _ in range(3000):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(4, len(content))] = rng.choice((0, 1, 0x80, 0xFF))
        path.write_bytes(content[: rng.choice((len(content), rng.randrange(5, len(content))))])
        try:
            with open_archive(path, LIMITS) as archive:
                for member in archive.members:
                    archive.extract(member, target)
        except ArchiveError as error:  # nothing else may come
            seen.add(error.detail)
    assert {"The ZIP archive is damaged.", "It is damaged inside the archive."} <= seen
