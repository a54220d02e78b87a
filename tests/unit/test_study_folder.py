"""Which files of a folder are taken for recordings."""

import errno
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from app.samples import Sample, SheetError, clean_path
from app.study_folder import read_folder

DICOM = bytes(128) + b"DICM"


def fill(folder: Path, **files: bytes) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dcm", ".dcm").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_recordings_are_known_by_their_name_or_beginning(tmp_path: Path) -> None:
    fill(
        tmp_path,
        a__m1_dcm=b"anything",
        a__m2=DICOM,
        b_txt=b"notes",
        DICOMDIR=DICOM,
        results__x_dcm=DICOM,
    )
    (tmp_path / ".hidden.dcm").write_bytes(DICOM)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "m.dcm").write_bytes(DICOM)
    found = read_folder(tmp_path, None, tmp_path / "results")

    assert [file.name for file in found.files] == ["a/m1.dcm", "a/m2"]
    assert list(found.skipped) == ["DICOMDIR", "b.txt"]
    assert [file.path.read_bytes() for file in found.files] == [b"anything", DICOM]


def test_the_sheet_names_further_ones_and_some_that_are_missing(tmp_path: Path) -> None:
    fill(tmp_path, m1_dcm=b"1", m2_txt=b"2", m3_txt=b"3")
    sheet = tmp_path / "samples.csv"
    sheet.write_text("file_name,mouse_id\nm1.dcm,M1\nm2.txt,M2\nm4.dcm,M4\n")
    found = read_folder(tmp_path, sheet, tmp_path / "out")

    assert {file.name: file.sample for file in found.files} == {
        "m1.dcm": Sample(mouse_id="M1"),
        "m2.txt": Sample(mouse_id="M2"),
    }
    assert list(found.skipped) == ["m3.txt"]
    assert list(found.missing) == ["m4.dcm"]


def test_a_sheet_that_cannot_tell_two_files_apart(tmp_path: Path) -> None:
    fill(tmp_path, a__m_dcm=b"1", b__m_dcm=b"2")
    sheet = tmp_path / "samples.csv"
    sheet.write_text("file_name,mouse_id\nm.dcm,M\n")
    with pytest.raises(SheetError, match="several files"):
        read_folder(tmp_path, sheet, tmp_path / "out")


def named(folder: Path, **options: Path) -> dict[str, bytes]:
    found = read_folder(folder, options.get("sheet"), folder / "out")
    return {file.name: file.path.read_bytes() for file in found.files}


@pytest.mark.parametrize(
    "names",
    [
        [" lead.dcm", "lead.dcm", "lead.dcm ", "\x01lead.dcm"],
        ["b/x.dcm", "b\\x.dcm"],
        [f"{top}/{'x' * 90}/{'y' * 90}/{'z' * 90}/m.dcm" for top in "pq"],
        [f"{top}/{'x' * 90}/{'y' * 90}/{'z' * 90}" for top in "pq"],
        [f"{'ä' * 125}.dcm", f" {'ä' * 125}.dcm"],
        ["\x01", "\x02"],
    ],
)
def test_files_whose_names_are_cleaned_to_the_same_are_all_there(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(DICOM + name.encode())
    found = named(tmp_path)

    assert sorted(found.values()) == sorted(DICOM + name.encode() for name in names)
    for name, content in found.items():
        assert clean_path(name) == name, "the service knows it by the same name"
        assert all(len(part.encode()) <= 255 for part in name.split("/"))
        if name in names:
            assert content == DICOM + name.encode(), "what is really called so keeps its name"
    assert named(tmp_path) == found


def test_a_name_apart_is_not_one_that_is_taken(tmp_path: Path) -> None:
    for name in ("m.dcm", " m.dcm"):
        (tmp_path / name).write_bytes(name.encode())
    (apart,) = named(tmp_path).keys() - {"m.dcm"}
    (tmp_path / apart).write_bytes(b"another")

    assert len(named(tmp_path)) == 3
    assert named(tmp_path)[apart] == b"another"


def test_a_name_that_is_no_unicode_can_be_sent(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"m\xfcller.dcm")).write_bytes(b"old")
    (tmp_path / os.fsdecode(b"\xfc" * 251)).write_bytes(DICOM)
    assert named(tmp_path)["müller.dcm"] == b"old"
    assert all(len(name.encode()) <= 255 for name in named(tmp_path))

    (tmp_path / "müller.dcm").write_bytes(b"new")
    found = named(tmp_path)
    assert found["müller.dcm"] == b"new"
    assert b"old" in found.values()


def test_the_sheet_knows_files_by_the_name_that_they_had(tmp_path: Path) -> None:
    for name in ("b\\x.dcm", "b/x.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    sheet = tmp_path / "samples.csv"
    sheet.write_text("file_name,mouse_id\nb/x.dcm,M\n")
    with pytest.raises(SheetError, match="several files"):
        read_folder(tmp_path, sheet, tmp_path / "out")
    (apart,) = named(tmp_path).keys() - {"b/x.dcm"}
    sheet.write_text(f"file_name,mouse_id\nb/x.dcm,M\n{apart},N\n")
    found = read_folder(tmp_path, sheet, tmp_path / "out")

    assert {file.name: file.sample.mouse_id for file in found.files} == {"b/x.dcm": "M", apart: "N"}
    assert found.renamed == {apart: "b/x.dcm"}
    assert not found.missing


@pytest.mark.parametrize(("on_disk", "in_sheet"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_are_the_same_however_they_are_written(
    tmp_path: Path, on_disk: str, in_sheet: str
) -> None:
    (tmp_path / unicodedata.normalize(on_disk, "Mäuse.dcm")).write_bytes(b"1")
    sheet = tmp_path / "samples.csv"
    row = unicodedata.normalize(in_sheet, "Mäuse.dcm,M1")
    sheet.write_text(f"file_name,mouse_id\n{row}\n", "utf-8")
    found = read_folder(tmp_path, sheet, tmp_path / "out")

    assert [file.sample.mouse_id for file in found.files] == ["M1"]
    assert not found.missing


def test_what_cannot_be_read_is_named_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, good_dcm=b"1", dark=DICOM, locked__m_dcm=b"2", unlisted__m_dcm=b"3")
    (tmp_path / "broken.dcm").symlink_to("nowhere.dcm")
    (tmp_path / "itself").symlink_to("itself")
    refused = {tmp_path / name for name in ("dark", "locked/m.dcm", "unlisted")}

    def refusing(name: str) -> None:
        """Refuse, as a file system does to whoever is not root, what is not to be read."""
        real = getattr(Path, name)

        def call(path: Path, *given: Any, **named: Any) -> Any:
            if path in refused and (name != "stat" or path.name == "m.dcm"):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path, *given, **named)

        monkeypatch.setattr(Path, name, call)

    for name in ("open", "iterdir", "stat"):
        refusing(name)
    sheet = tmp_path / "samples.csv"
    sheet.write_text("file_name,mouse_id\ngood.dcm,M\nbroken.dcm,N\n")
    found = read_folder(tmp_path, sheet, tmp_path / "out")

    assert [file.name for file in found.files] == ["good.dcm"]
    reasons = {entry.name: entry.reason for entry in found.unreadable}
    assert reasons.keys() == {"broken.dcm", "dark", "itself", "locked/m.dcm", "unlisted"}
    assert reasons["dark"] == "It cannot be read: Permission denied."
    assert "link to something that is not there" in reasons["broken.dcm"]
    assert not found.missing, "it is there, if only in name"


def test_links_that_lead_round_are_followed_once(tmp_path: Path) -> None:
    fill(tmp_path, a__m_dcm=b"1", b__n_dcm=b"2")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(".")
    found = read_folder(tmp_path, None, tmp_path / "out")

    assert [file.name for file in found.files] == ["a/m.dcm", "b/n.dcm"]
    assert list(found.skipped) == ["a/up", "b/self"]
