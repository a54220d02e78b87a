"""The folder of a study on the user's disk: the recordings in it, and what is known of them."""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.samples import MAX_NAME_LENGTH, Sample, Sheet, clean_path, read_sheet

_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_INDEX = "DICOMDIR"
_MAC_FOLDER = "__MACOSX"
_PREAMBLE_BYTES, _MAGIC = 128, b"DICM"
_NAMELESS = "recording"
_PART_BYTES = 255
"""Longest name of one file or folder that file systems take."""


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
class Unreadable:
    """A file or folder that may be, or hold, recordings, and why nobody knows."""

    name: str
    reason: str


@dataclass(frozen=True)
class StudyFolder:
    """What a folder holds.

    Attributes
    ----------
    files : sequence of LocalFile
        Each under a name of its own, see `name_apart`.
    skipped : sequence of str
        Files that do not look like recordings.
    missing : sequence of str
        Files that the sample sheet names and the folder lacks.
    unreadable : sequence of Unreadable
    renamed : mapping of str to str
        The names of files that could not keep their own, with what that was.
    """

    files: Sequence[LocalFile]
    skipped: Sequence[str]
    missing: Sequence[str]
    unreadable: Sequence[Unreadable] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


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
        The folder itself or the sheet cannot be read.
    """
    sheet = Sheet({}) if sheet_path is None else read_sheet(sheet_path.read_bytes())
    not_ours = {out.resolve()} | ({sheet_path.resolve()} if sheet_path else set())
    walk = _Walk(folder, not_ours)
    walk.go()
    paths, renamed = name_apart(folder, walk.files)
    unreadable = list(walk.unreadable)
    chosen = []
    for name, path in paths.items():
        try:
            in_sheet = sheet.row_of(name) or sheet.row_of(renamed.get(name, name))
            if in_sheet is not None or _is_recording(path):
                chosen.append(name)
        except OSError as error:
            unreadable.append(Unreadable(name, _reason(error)))
    samples = sheet.match(chosen, renamed)
    out_of_reach = {entry.name for entry in unreadable}
    there = [*chosen, *(renamed[name] for name in chosen if name in renamed), *out_of_reach]
    return StudyFolder(
        files=[LocalFile(name, paths[name], samples[name]) for name in chosen],
        skipped=[n for n in paths if n not in samples and n not in out_of_reach] + walk.skipped,
        missing=sheet.without_file(there),
        unreadable=unreadable,
        renamed={name: was for name, was in renamed.items() if name in samples},
    )


def name_apart(folder: Path, paths: Iterable[Path]) -> tuple[Mapping[str, Path], Mapping[str, str]]:
    """Give each of some files a name that can be sent and shown, and that no other has.

    Cleaning can make one name of two: of ``a.dcm`` and `` a.dcm``, of two long ones with the same
    end. The file that is really called so keeps it, or else the first; the others get a piece of a
    hash of their own path, the same in every run.

    Returns
    -------
    paths : mapping of str to Path
        In the order of the names on disk.
    renamed : mapping of str to str
        What the files that got another name would have been called.
    """
    plain = {path: shown(path.relative_to(folder)) for path in paths}
    exact = {path: path.relative_to(folder).as_posix() == name for path, name in plain.items()}
    named: dict[str, Path] = {}
    renamed: dict[str, str] = {}
    for path in sorted(plain, key=lambda path: not exact[path]):  # which keeps the order otherwise
        name = plain[path]
        if name in named:
            name = _distinct(name, os.fsencode(path.relative_to(folder)), named)
            renamed[name] = plain[path]
        named[name] = path
    names = {path: name for name, path in named.items()}
    return {names[path]: path for path in plain}, renamed


def shown(path: Path) -> str:
    """Write a path as a name in a study: text that can be sent, whatever bytes it is made of.

    What is no UTF-8 is read as Windows-1252, as older systems wrote it.
    """
    return clean_path("/".join(readable(part) for part in path.parts)) or _NAMELESS


def readable(text: str) -> str:
    """Decode anew what Python took from the file system without understanding its bytes."""
    raw = os.fsencode(text)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    return text.encode()[:_PART_BYTES].decode(errors="ignore")  # it has grown, and names a folder


def _distinct(name: str, real: bytes, taken: Mapping[str, Path]) -> str:
    digest = hashlib.sha256(real).hexdigest()
    folder, slash, last = name.rpartition("/")
    stem, dot, suffix = last.rpartition(".")
    if not stem:
        stem, dot, suffix = last, "", ""
    for length in range(8, len(digest)):
        mark = f" ({digest[:length]})"
        room = min(
            MAX_NAME_LENGTH - len(name) + len(stem.encode()), _PART_BYTES - len(dot + suffix)
        )
        cut = stem.encode()[: max(room - len(mark), 0)].decode(errors="ignore")
        own = clean_path(f"{folder}{slash}{cut}{mark}{dot}{suffix}")
        if own not in taken:
            break
    return own


class _Walk:
    """Goes through a folder and those below it, and notes what it cannot look into."""

    def __init__(self, folder: Path, not_ours: set[Path]) -> None:
        self._folder = folder
        self._not_ours = not_ours
        self.files: list[Path] = []
        self.skipped: list[str] = []
        self.unreadable: list[Unreadable] = []

    def go(self) -> None:
        """Look at everything.

        Raises
        ------
        OSError
            The folder itself cannot be read.
        """
        self._enter(sorted(self._folder.iterdir()), {self._folder.resolve()})

    def _enter(self, found: Iterable[Path], above: set[Path]) -> None:
        for path in found:
            if path.name.startswith(".") or path.name == _MAC_FOLDER:
                continue
            try:
                self._look_at(path, above)
            except OSError as error:
                why = _reason(error)
                if isinstance(error, FileNotFoundError) and path.is_symlink():
                    why = "It is a link to something that is not there."
                self.unreadable.append(Unreadable(self._name(path), why))

    def _look_at(self, path: Path, above: set[Path]) -> None:
        mode = path.stat().st_mode
        real = path.resolve()
        if real in self._not_ours:
            return
        if stat.S_ISREG(mode):
            self.files.append(path)
        elif not stat.S_ISDIR(mode) or real in above:  # a link to above it leads round and round
            self.skipped.append(self._name(path))
        else:
            self._enter(sorted(path.iterdir()), above | {real})

    def _name(self, path: Path) -> str:
        return shown(path.relative_to(self._folder))


def _reason(error: OSError) -> str:
    return f"It cannot be read: {error.strerror or type(error).__name__}."


def _is_recording(path: Path) -> bool:
    if path.name == _INDEX:
        return False
    if path.suffix.lower() in _SUFFIXES:
        return True
    with path.open("rb") as stream:
        return stream.read(_PREAMBLE_BYTES + len(_MAGIC)).endswith(_MAGIC)
