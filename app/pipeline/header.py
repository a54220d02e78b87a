"""The header of a DICOM file, read within bounds and without a word about its subject.

Files come from strangers. Only the attributes that the pipeline needs are kept, reading stops at
the pixel data, and the work is bounded by the number and the size of reads, whatever lengths the
file claims.
"""

import logging
import os
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, cast

from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from app.pipeline.errors import NotDicom

# A stranger's file may hold any value, and pydicom quotes values in what it warns and logs. Set
# once for the process, at import, because filters changed per call are not safe among threads.
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", category=UserWarning, module=r"(pydicom|PIL)(\.|$)")
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)

_KEYWORDS = (
    "SOPClassUID",
    "SequenceOfUltrasoundRegions",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "LossyImageCompression",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
)
_WANTED = frozenset(cast(int, tag_for_keyword(keyword)) for keyword in _KEYWORDS)
_MEDIA_STORAGE_SOP_CLASS = 0x00020002
_TRANSFER_SYNTAX = 0x00020010
_PIXEL_DATA = 0x7FE00010
_FLOAT_PIXEL_DATA = 0x7FE00008  # the first of the three elements that may hold pixels
_ARCHIVES = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
}
UNDEFINED_LENGTH = 0xFFFFFFFF

_MAX_READS = 300_000  # real headers take a few thousand
_MAX_READ_BYTES = 64 * 1024**2
_MAX_ELEMENT_BYTES = 256 * 1024  # of an element that is kept; the largest are palettes
_MAX_INFLATED_HEADER_BYTES = 4 * 1024**2


@dataclass(frozen=True)
class PixelElement:
    """Where the Pixel Data element lies.

    Attributes
    ----------
    offset : int
        Of the first byte of its value; in the inflated data set if that is deflated.
    length : int
        In bytes as the header claims, or ``UNDEFINED_LENGTH`` if encapsulated.
    is_words : bool
        Whether its value representation is OW.
    """

    offset: int
    length: int
    is_words: bool


@dataclass(frozen=True)
class Header:
    """What is needed of a data set.

    Attributes
    ----------
    data_set : Dataset
        The attributes of ``_KEYWORDS`` that the file has.
    transfer_syntax_uid : str
        Never anything but digits and dots; guessed where the file has none.
    deflated_at : int or None
        Where the deflated data set begins in the file.
    pixels : PixelElement or None
    is_directory : bool
        Whether it is a DICOMDIR, the list of what is on a medium.
    """

    data_set: Dataset
    transfer_syntax_uid: str
    deflated_at: int | None
    pixels: PixelElement | None
    is_directory: bool

    def value(self, keyword: str) -> Any:
        """Value of an attribute; None where it is absent, empty or cannot be read."""
        try:
            return self.data_set.get(keyword)
        except Exception:  # pydicom raises whatever a malformed value makes it raise
            return None

    def integer(self, keyword: str, default: int | None = None) -> int | None:
        """Value of an attribute as an integer; `default` where it is absent."""
        value = self.value(keyword)
        if value is None and keyword not in self.data_set:
            return default
        return int(value) if isinstance(value, int) else None

    def text(self, keyword: str) -> str:
        """Value of an attribute as text, empty where it is absent."""
        value = self.value(keyword)
        return value if isinstance(value, str) else ""


class _Bounded:
    """A file that refuses to be read for ever."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        at = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(at)
        self._reads = 0
        self._bytes = 0
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        # Asked for as many bytes as there are: more would be allocated before any is read.
        left = max(0, self._size - self.tell())
        size = left if size < 0 else min(size, left)
        self._reads += 1
        self._bytes += size
        if self._reads > _MAX_READS or self._bytes > _MAX_READ_BYTES:
            raise ValueError("header too long")
        return self._file.read(size)


def read_header(file: BinaryIO) -> Header:
    """Read a DICOM header (PS3.10 section 7.1) up to its pixel data.

    Parameters
    ----------
    file : binary file
        Seekable; its position is not kept.

    Raises
    ------
    NotDicom
        If it has no DICOM preamble and no data set that could hold an image either, or if what
        follows cannot be read.
    """
    file.seek(0)
    begins = file.read(132)
    has_preamble = begins[128:] == b"DICM"
    for signature, kind in _ARCHIVES.items():
        if begins.startswith(signature) and not has_preamble:
            raise NotDicom(f"The file is {kind}. Unpack it and send the DICOM file that is in it.")
    file.seek(132 if has_preamble else 0)
    try:
        header = _parse(cast(BinaryIO, _Bounded(file)))
    except Exception as error:  # whatever hostile bytes make the parser raise, it is not DICOM
        raise NotDicom(
            "The file begins like DICOM, but its header is damaged and cannot be read."
            if has_preamble
            else "The file is not a DICOM file. Export the recording as DICOM and send that."
        ) from error
    if not has_preamble and not (
        re.fullmatch(r"[0-9.]{5,64}", header.text("SOPClassUID")) and header.integer("Rows")
    ):
        raise NotDicom("The file is not a DICOM file. Export the recording as DICOM and send that.")
    is_empty = not header.data_set and not header.transfer_syntax_uid
    if has_preamble and is_empty and not header.is_directory:
        raise NotDicom("The file begins like DICOM, but there is nothing in it.")
    return header


def _parse(file: BinaryIO) -> Header:
    meta = read_dataset(
        file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2,
        specific_tags=[_TRANSFER_SYNTAX, _MEDIA_STORAGE_SOP_CLASS],
    )  # fmt: skip
    syntax = str(meta.get("TransferSyntaxUID", "") or "")
    if syntax and not re.fullmatch(r"[0-9.]{1,64}", syntax):
        raise ValueError("malformed transfer syntax")
    deflated_at = None
    if syntax == DeflatedExplicitVRLittleEndian:
        deflated_at = file.tell()
        compressed = file.read(_MAX_INFLATED_HEADER_BYTES)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        file = BytesIO(inflate.decompress(compressed, _MAX_INFLATED_HEADER_BYTES))
        file = cast(BinaryIO, _Bounded(file))
    is_implicit = syntax == ImplicitVRLittleEndian if syntax else not _looks_explicit(file)
    data_set, pixels = _read_data_set(file, is_implicit, syntax != ExplicitVRBigEndian)
    if not syntax and data_set:
        syntax = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    is_directory = meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage
    return Header(data_set, syntax, deflated_at, pixels, is_directory)


def _looks_explicit(file: BinaryIO) -> bool:
    start = file.tell()
    vr = file.read(6)[4:]
    file.seek(start)
    return len(vr) == 2 and vr.isalpha() and vr.isupper()


def _read_data_set(
    file: BinaryIO, is_implicit: bool, is_little_endian: bool
) -> tuple[Dataset, PixelElement | None]:
    pixels: PixelElement | None = None

    def stop_when(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal pixels
        if tag == _PIXEL_DATA:
            pixels = PixelElement(file.tell(), length, vr != "OB")
        too_large = length > _MAX_ELEMENT_BYTES and length != UNDEFINED_LENGTH
        return tag >= _FLOAT_PIXEL_DATA or (tag in _WANTED and too_large)

    wanted: Sequence[int] = sorted(_WANTED)
    data_set = read_dataset(
        file, is_implicit, is_little_endian, stop_when=stop_when, specific_tags=list(wanted)
    )
    return data_set, pixels
