"""Sample sheets: which mouse a recording is of, and what it weighed, in CSV.

The columns are ``file_name,body_mass_g,mouse_id,sex,group``; all but the first may be missing, and
so may any of their cells.
"""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

MAX_SHEET_BYTES = 2**21
"""Largest sheet that is read: some 30 000 recordings."""

MAX_BODY_MASS_G = 200.0
MAX_WORD_LENGTH = 100
"""Longest ``mouse_id`` or ``group``, in characters."""

MAX_NAME_LENGTH = 255

_SHOWN_ERRORS = 10
_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class SheetError(Exception):
    """A sample sheet that cannot be used.

    Parameters
    ----------
    detail : str
        What is wrong and in which lines, in the words of whoever wrote the sheet.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True)
class Sample:
    """What is known of a recording besides its bytes; None where it is not.

    Attributes
    ----------
    body_mass_g : float or None
        Over 0, at most ``MAX_BODY_MASS_G``.
    mouse_id : str or None
    sex : {'F', 'M'} or None
    group : str or None
        Genotype, treatment or whatever the study compares.
    """

    body_mass_g: float | None = None
    mouse_id: str | None = None
    sex: str | None = None
    group: str | None = None

    def or_else(self, other: "Sample") -> "Sample":
        """Fill what is absent here from another sample."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return Sample(
            **{k: getattr(other, k) if value is None else value for k, value in named.items()}
        )


COLUMNS = ("file_name", *(field.name for field in fields(Sample)))


@dataclass(frozen=True)
class Sheet:
    """The rows of a sample sheet by the names of their files, which are in the form NFC."""

    rows: Mapping[str, Sample]

    def find(self, name: str) -> Sample:
        """Give what the sheet says of a file.

        Parameters
        ----------
        name : str
            With its folders. A row that names no folder holds for the file in any folder.

        Returns
        -------
        Sample
            An empty one where the sheet does not name the file.
        """
        row = self.row_of(name)
        return Sample() if row is None else self.rows[row]

    def row_of(self, name: str) -> str | None:
        """Give the name under which the sheet has a file; None where it does not."""
        name = _composed(clean_path(name))
        for row in (name, name.rsplit("/", 1)[-1]):
            if row in self.rows:
                return row
        return None

    def match(
        self, names: Iterable[str], other_names: Mapping[str, str] | None = None
    ) -> Mapping[str, Sample]:
        """Give each of some files its row.

        Parameters
        ----------
        names : iterable of str
        other_names : mapping of str to str, optional
            What a file may be called in the sheet that does not have it under its name.

        Raises
        ------
        SheetError
            A row fits several of the files.
        """
        others = other_names or {}
        found = {name: self.row_of(name) or self.row_of(others.get(name, name)) for name in names}
        counts = Counter(row for row in found.values() if row is not None)
        shared = [row for row, count in counts.items() if count > 1]
        if shared:
            raise SheetError(
                f"The sample sheet's {_listed(shared)} could be any of several files of that name: "
                "write their folders into the column file_name, or rename them."
            )
        return {n: Sample() if row is None else self.rows[row] for n, row in found.items()}

    def without_file(self, names: Iterable[str]) -> list[str]:
        """List the rows that none of these files has."""
        used = {self.row_of(name) for name in names}
        return [row for row in self.rows if row not in used]


def read_sheet(content: bytes) -> Sheet:
    """Read a sample sheet.

    Parameters
    ----------
    content : bytes
        UTF-8 (or, as older spreadsheets write it, Windows-1252), with commas, semicolons or tabs
        between the cells. Where these are not commas, a comma may be the decimal mark.

    Returns
    -------
    Sheet

    Raises
    ------
    SheetError
        It is too large, lacks a column, or a line of it cannot be read; all such lines are named.
    """
    if len(content) > MAX_SHEET_BYTES:
        raise SheetError(f"The sample sheet is larger than {MAX_SHEET_BYTES:,} bytes.")
    lines = _decode(content).splitlines()
    separator = max(",;\t", key=(lines[0] if lines else "").count)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    errors: list[str] = []
    rows: dict[str, Sample] = {}
    first_lines: dict[str, int] = {}
    try:
        header = _header(next(reader, []))
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            line = reader.line_num
            if len(cells) > len(header):
                errors.append(f"line {line}: {len(cells)} cells under {len(header)} headings")
                continue
            given = dict(zip(header, (cell.strip() for cell in cells), strict=False))
            name = _composed(clean_path(given.pop("file_name", "")))
            if not name:
                errors.append(f"line {line}: no file_name")
            elif name in rows:
                errors.append(f"line {line}: {name} stands in line {first_lines[name]} already")
            else:
                rows[name], wrong = _sample(given, decimal_comma=separator != ",")
                first_lines[name] = line
                errors += (f"line {line}: {what}" for what in wrong)
    except csv.Error as error:
        raise SheetError(f"The sample sheet's line {reader.line_num}: {error}.") from None
    if errors:
        more = len(errors) - _SHOWN_ERRORS
        said = "; ".join(errors[:_SHOWN_ERRORS]) + (f"; {more} more" if more > 0 else "")
        raise SheetError(f"The sample sheet cannot be used: {said}.")
    return Sheet(rows)


def read_sample(given: Mapping[str, str]) -> Sample:
    """Read what is said of one recording, under the names of a sheet's columns.

    Raises
    ------
    SheetError
        A value is out of range.
    """
    sample, wrong = _sample(given, decimal_comma=False)
    if wrong:
        raise SheetError("; ".join(wrong).capitalize() + ".")
    return sample


def clean_path(name: str) -> str:
    """Keep of a file's name what can be shown and stored: relative, without control characters.

    Folders stay, with slashes between; where the whole is too long, its end stays.
    """
    parts = (_CONTROL.sub("", part).strip() for part in name.replace("\\", "/").split("/"))
    cleaned = "/".join(part for part in parts if part.strip("."))
    if len(cleaned) > MAX_NAME_LENGTH:  # where it is cut there may be a slash, a space or dots
        return clean_path(cleaned[-MAX_NAME_LENGTH:])
    return cleaned


def _composed(name: str) -> str:
    """Write letters with their accents in one way: macOS takes them apart in the names of files."""
    return unicodedata.normalize("NFC", name)


def _header(cells: list[str]) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    unknown = [name for name in header if name not in COLUMNS]
    twice = [name for name, count in Counter(header).items() if count > 1]
    if "file_name" not in header:
        raise SheetError("The sample sheet's line 1 has no column 'file_name'.")
    if unknown or twice:
        what = "has a column twice" if twice else f"has {_listed(unknown)}"
        raise SheetError(f"The sample sheet's line 1 {what}; its columns are {', '.join(COLUMNS)}.")
    return header


def _sample(given: Mapping[str, str], *, decimal_comma: bool) -> tuple[Sample, list[str]]:
    wrong: list[str] = []
    mass_g: float | None = None
    if text := given.get("body_mass_g", "").strip():
        try:
            mass_g = decimal(text.replace(",", ".") if decimal_comma else text)
        except ValueError:
            mass_g = 0.0
        if not 0 < mass_g <= MAX_BODY_MASS_G:
            wrong.append(f"body_mass_g is no mass over 0 and up to {MAX_BODY_MASS_G:g} g")
    sex = given.get("sex", "").strip().lower()
    if sex and sex not in _SEXES:
        wrong.append("sex is neither F nor M")
    words: dict[str, str | None] = {}
    for name in ("mouse_id", "group"):
        words[name] = _CONTROL.sub("", given.get(name, "")).strip() or None
        if len(words[name] or "") > MAX_WORD_LENGTH:
            wrong.append(f"{name} has more than {MAX_WORD_LENGTH} characters")
    return Sample(mass_g, words["mouse_id"], _SEXES.get(sex), words["group"]), wrong


def decimal(text: str) -> float:
    """Read a number as people write it.

    Raises
    ------
    ValueError
        It is none, or has an underscore in it: Python would take 2_5 for 25.
    """
    if "_" in text:
        raise ValueError(f"{text} is no number")
    return float(text)


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN_ERRORS
    listed = ", ".join(repr(name[:60]) for name in names[:_SHOWN_ERRORS])
    return listed + (f" and {more} more" if more > 0 else "")
