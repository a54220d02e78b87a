"""Sample sheets: what they may look like, and what is said of those that cannot be used."""

import pytest

from app.samples import MAX_SHEET_BYTES, Sample, SheetError, clean_path, read_sample, read_sheet

SHEET = """file_name,body_mass_g,mouse_id,sex,group
day 1/m1.dcm,25.3,M-1,F,wild type
m2.dcm,,M-2,male,
"""


def test_a_plain_sheet() -> None:
    sheet = read_sheet(SHEET.encode())

    assert sheet.rows == {
        "day 1/m1.dcm": Sample(25.3, "M-1", "F", "wild type"),
        "m2.dcm": Sample(None, "M-2", "M", None),
    }


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffFile_Name;Body_Mass_g;mouse_id\r\nm1.dcm;25,3;Ä1\r\n".encode(),
        "file_name\tbody_mass_g\tmouse_id\nm1.dcm\t25.3\tÄ1\n".encode(),
        "body_mass_g,mouse_id,file_name\n25.3,Ä1,m1.dcm\n\n,,\n".encode(),
        "file_name;body_mass_g;mouse_id\nm1.dcm;25,3;Ä1\n".encode("cp1252"),
    ],
)
def test_what_spreadsheets_write(content: bytes) -> None:
    assert read_sheet(content).rows == {"m1.dcm": Sample(25.3, "Ä1", None, None)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "line 1 has no column 'file_name'"),
        ("mouse_id\nx\n", "line 1 has no column 'file_name'"),
        ("file_name,weight\nm,2\n", "line 1 has 'weight'; its columns are file_name, body_mass_g"),
        ("file_name,sex,sex\nm,f,f\n", "line 1 has a column twice"),
        ("file_name,body_mass_g\nm,25\nn,heavy\n", "line 3: body_mass_g is no mass"),
        ("file_name,body_mass_g\nm,nan\n", "line 2: body_mass_g"),
        ("file_name,body_mass_g\nm,201\n", "line 2: body_mass_g"),
        ("file_name,body_mass_g\nm,2_5\n", "line 2: body_mass_g"),
        ("file_name,sex\nm,hen\n", "line 2: sex is neither F nor M"),
        ("file_name,sex\nm,f\n\nm,f\n", "line 4: m stands in line 2 already"),
        ("file_name,sex\n,f\n", "line 2: no file_name"),
        ("file_name,sex\nm,f,x\n", "line 2: 3 cells under 2 headings"),
        ('file_name,sex\n"m"x,f\n', "line 2"),
        (f"file_name,group\nm,{'g' * 101}\n", "line 2: group has more than 100 characters"),
        ("x" * (MAX_SHEET_BYTES + 1), "larger than"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(content: str, said: str) -> None:
    with pytest.raises(SheetError) as error:
        read_sheet(content.encode())

    assert said in error.value.detail


def test_all_wrong_lines_are_named_at_once() -> None:
    with pytest.raises(SheetError) as error:
        read_sheet(b"file_name,sex\n" + b"".join(b"m%d,x\n" % n for n in range(12)))

    for line in range(2, 12):
        assert f"line {line}: " in error.value.detail
    assert error.value.detail.endswith("; 2 more.")


def test_a_row_is_found_by_path_then_by_name() -> None:
    sheet = read_sheet(b"file_name,group\na/m.dcm,first\nm.dcm,second\n")

    assert sheet.find("a/m.dcm").group == "first"
    assert sheet.find("a\\m.dcm").group == "first"
    assert sheet.find("b/m.dcm").group == "second"
    assert sheet.find("n.dcm") == Sample()


def test_a_row_for_several_files_is_refused() -> None:
    sheet = read_sheet(b"file_name,group\nm.dcm,first\nn.dcm,second\n")

    assert sheet.match(["a/m.dcm", "x"]) == {"a/m.dcm": Sample(group="first"), "x": Sample()}
    assert sheet.without_file(["a/m.dcm", "x"]) == ["n.dcm"]
    with pytest.raises(SheetError, match=r"'m\.dcm' could be any of several files"):
        sheet.match(["a/m.dcm", "b/m.dcm"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/a//b\\c.dcm", "a/b/c.dcm"),
        ("a\x00b\u202e.dcm", "ab.dcm"),
        (".hidden", ".hidden"),
        ("..", ""),
        ("x" * 300 + ".dcm", "x" * 251 + ".dcm"),
    ],
)
def test_names_are_cleaned(given: str, kept: str) -> None:
    assert clean_path(given) == kept


def test_one_sample() -> None:
    assert read_sample({"sex": "Female", "body_mass_g": "20"}) == Sample(20.0, None, "F", None)
    filled = Sample(mouse_id="a").or_else(Sample(mouse_id="b", group="g"))
    assert filled == Sample(mouse_id="a", group="g")
    with pytest.raises(SheetError, match="Body_mass_g is no mass"):
        read_sample({"body_mass_g": "25,3"})
