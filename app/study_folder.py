"""The folder of a study on the user's disk: the recordings in it, and what is known of them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.samples import Sample, Sheet, clean_path, read_sheet

_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_INDEX = "DICOMDIR"
_MAC_FOLDER = "__MACOSX"
_PREAMBLE_BYTES, _MAGIC = 128, b"DICM"


@dataclass(frozen=True)
class LocalFile:
    """A recording on disk, under its name in the study."""

    name: str
    path: Path
    sample: Sample

    @property
    def sha256(self) -> str:
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class StudyFolder:
    """What a folder holds.

    Attributes
    ----------
    files : sequence of LocalFile
    skipped : sequence of str
        Files that do not look like recordings.
    missing : sequence of str
        Files that the sample sheet names and the folder lacks.
    """

    files: Sequence[LocalFile]
    skipped: Sequence[str]
    missing: Sequence[str]


def read_folder(folder: Path, sheet_path: Path | None, out: Path) -> StudyFolder:
    """Look for recordings in a folder and in those below it.

    A file is one if it is called like one (``.dcm``), begins like one, or stands in the sheet.
    Hidden files and folders are passed over.

    Parameters
    ----------
    folder : Path
    sheet_path : Path or None
    out : Path
        Where results go; what lies there is none.

    Raises
    ------
    SheetError
        The sample sheet cannot be used.
    OSError
        The folder or the sheet cannot be read.
    """
    sheet = Sheet({}) if sheet_path is None else read_sheet(sheet_path.read_bytes())
    not_ours = {out.resolve()} | ({sheet_path.resolve()} if sheet_path else set())
    paths = {
        clean_path(path.relative_to(folder).as_posix()): path for path in _walk(folder, not_ours)
    }
    chosen = [n for n, path in paths.items() if sheet.row_of(n) is not None or _is_recording(path)]
    samples = sheet.match(chosen)
    return StudyFolder(
        files=[LocalFile(name, paths[name], samples[name]) for name in chosen],
        skipped=[name for name in paths if name not in samples],
        missing=sheet.without_file(chosen),
    )


def _walk(folder: Path, not_ours: set[Path]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == _MAC_FOLDER or path.resolve() in not_ours:
            continue
        if path.is_dir():
            yield from _walk(path, not_ours)
        elif path.is_file():
            yield path


def _is_recording(path: Path) -> bool:
    if path.name == _INDEX:
        return False
    if path.suffix.lower() in _SUFFIXES:
        return True
    with path.open("rb") as stream:
        return stream.read(_PREAMBLE_BYTES + len(_MAGIC)).endswith(_MAGIC)
