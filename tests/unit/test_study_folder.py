"""Which files of a folder are taken for recordings."""

from pathlib import Path

import pytest

from app.samples import Sample, SheetError
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
