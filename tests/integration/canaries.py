"""A recording with a canary in everything that could tell of a patient."""

import io
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

CANARY = "CANARY"
DATE, TIME, UID, AGE = "18881111", "012233.987", "2.25.777000777", "777Y"
NEEDLES = (CANARY, DATE, "1888-11-11", "11.11.1888", TIME, "01:22:33", UID)

_TEXT = {"LO": 64, "SH": 16, "LT": 64, "ST": 64, "UT": 64, "UC": 64, "AE": 16, "CS": 16}
_STRUCTURAL_GROUPS = {0x0002, 0x0028, 0x7FE0}
_STRUCTURAL_TAGS = {0x00080005, 0x00080016}  # the character set and the kind of object


def hide_canaries(data_set: Dataset) -> int:
    """Put canaries into every attribute of text, date, time or identifier; how many there are."""
    count = 0
    for tag, (vr, _, _, _, _) in DicomDictionary.items():
        group = tag >> 16
        if group in _STRUCTURAL_GROUPS or tag in _STRUCTURAL_TAGS or group < 8 or group & 1:
            continue
        value = _canary(vr, count)
        if value is not None:
            data_set[tag] = DataElement(tag, vr, value)
            count += 1
    data_set.PatientAge = AGE
    other = Dataset()
    other.PatientID, other.PatientBirthDate = f"{CANARY}-OTHER", DATE
    data_set.OtherPatientIDsSequence = [other]
    for group in (0x0009, 0x0011, 0x0029, 0x7FE1):
        block = data_set.private_block(group, f"{CANARY} {group:04X}", create=True)
        block.add_new(0x01, "LO", f"{CANARY} PRIVATE")
        block.add_new(0x02, "OB", f"{CANARY} PRIVATE BYTES ".encode())
        block.add_new(0x03, "PN", f"{CANARY}^PRIVATE")
        block.add_new(0x04, "UN", f"{CANARY} UNKNOWN ".encode())
    _overlay(data_set)
    meta = data_set.file_meta
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    meta.ImplementationVersionName = f"{CANARY}-META"
    meta.SourceApplicationEntityTitle = f"{CANARY}-AE"
    meta.PrivateInformationCreatorUID = f"{UID}.9"
    meta.PrivateInformation = f"{CANARY} META ".encode()
    data_set.preamble = f"{CANARY} PREAMBLE".encode().ljust(128, b"\0")
    return count


def _canary(vr: str, number: int) -> str | None:
    if vr in _TEXT:
        return f"{CANARY}{number}"[: _TEXT[vr]]
    return {
        "PN": f"{CANARY}{number}^PATIENT",
        "DA": DATE,
        "TM": TIME,
        "DT": DATE + TIME,
        "UI": f"{UID}.{number}",
        "UR": f"urn:{CANARY}{number}",
    }.get(vr)


def _overlay(data_set: Dataset) -> None:
    drawn = (f"{CANARY} OVERLAY " * 100).encode()
    for tag, vr, value in (
        (0x60000010, "US", 64),
        (0x60000011, "US", len(drawn) * 8 // 64),
        (0x60000022, "LO", f"{CANARY} OVERLAY"),
        (0x60000040, "CS", "G"),
        (0x60000050, "SS", [1, 1]),
        (0x60000100, "US", 1),
        (0x60000102, "US", 0),
        (0x60001500, "LO", f"{CANARY} LABEL"),
        (0x60003000, "OW", drawn),
    ):
        data_set[tag] = DataElement(tag, vr, value)


def burn_in(data_set: Dataset, box: tuple[int, int, int, int]) -> None:
    """Write over all that lies outside a box (x0, y0, x1, y1) of an uncompressed recording."""
    frames = data_set.NumberOfFrames, data_set.Rows, data_set.Columns, 3
    pixels: NDArray[np.uint8] = np.frombuffer(data_set.PixelData, np.uint8).reshape(frames).copy()
    written = Image.new("RGB", frames[2:0:-1])
    draw = ImageDraw.Draw(written)
    for y in range(0, frames[1], 12):
        draw.text((y % 30, y), f"{CANARY} PATIENT NAME {DATE} " * 12, fill=(255, 255, 255))
    outside = np.ones(frames[1:3], bool)
    outside[box[1] : box[3], box[0] : box[2]] = False
    pixels[:, outside] = np.asarray(written)[outside]
    data_set.PixelData = pixels.tobytes()


def spoilt(data_set: Dataset) -> Iterator[bytes]:
    """Make what cannot be measured of a recording, a canary where it goes wrong."""
    for tag, vr, value in (
        (0x00280008, "LO", f"{CANARY} FRAMES"),
        (0x00280004, "CS", f"{CANARY}COLOUR"),
        (0x00280010, "LO", f"{CANARY} ROWS"),
        (0x00186011, "LO", f"{CANARY} REGIONS"),
        (0x7FE00010, "OB", f"{CANARY} PIXELS ".encode()),
    ):
        spoiled = deepcopy(data_set)
        spoiled[tag] = DataElement(tag, vr, value)
        yield to_bytes(spoiled)
    for name in ("PixelData", "SequenceOfUltrasoundRegions"):
        spoiled = deepcopy(data_set)
        delattr(spoiled, name)
        yield to_bytes(spoiled)
    whole = to_bytes(data_set)
    for cut in (600, 5_000, 30_000, len(whole) // 2):
        yield whole[:cut]
    yield f"{CANARY} is not DICOM".encode()
    yield bytes(128) + b"DICM" + f"{CANARY} is not DICOM, either".encode()


def to_bytes(data_set: Dataset) -> bytes:
    written = io.BytesIO()
    pydicom.dcmwrite(written, data_set, enforce_file_format=False)
    return written.getvalue()


def read(path: Path) -> Dataset:
    return pydicom.dcmread(path)
