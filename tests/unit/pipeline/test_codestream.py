"""Encoded screens of which a part is missing, or that are not what the file's header says.

Decoders make up what is missing: such a screen is refused, never measured in part.
"""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate, generate_fragments

from app.pipeline.codestream import read_codestream
from app.pipeline.dicom import open_recording
from app.pipeline.errors import CorruptPixelData
from models.simulation.scanner import write_screens
from tests.strips import make_strip
from tests.wrappings import LOSSLESS, LOSSY

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

WIDTH = 400
ALL = LOSSLESS | LOSSY
NAMES = (  # one of every kind of code
    "RLE, RGB",
    "RLE, 16 bits",
    "JPEG baseline, MONOCHROME2",
    "JPEG baseline, YBR_FULL_422",
    "JPEG baseline, RGB",
    "JPEG extended, YBR_FULL",
    "JPEG extended, 12 bits",
    "JPEG lossless, RGB",
    "JPEG lossless SV1, MONOCHROME2",
    "JPEG-LS, RGB",
    "JPEG 2000 lossless, MONOCHROME2",
    "JPEG 2000, YBR_ICT",
)
END = b"\xff\xd9"


def _pasted(code: bytes, share: float) -> bytes:
    return code[: int(share * len(code))] + END


def _blanked(code: bytes, share: float) -> bytes:
    kept = code[: int(share * len(code))]
    return kept + bytes(len(code) - len(kept)) + END


def _shortened(code: bytes, share: float) -> bytes:
    at = int(share * len(code))
    return code[:at] + code[at + 200 :]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "recording.dcm"
    # screens that end with the M-mode: what is missing at the end is missing there
    write_screens(
        make_strip(rows=64, columns=WIDTH), path, seconds_per_column=1e-3, mm_per_row=0.02,
        width=WIDTH, screens=1,
    )  # fmt: skip
    return path


def _region(path: Path) -> NDArray[np.uint8]:
    return next(open_recording(path).screens())


def _code_of(data_set: pydicom.Dataset) -> bytes:
    return list(generate_fragments(data_set.PixelData))[-1].rstrip(b"\0")


def _put(data_set: pydicom.Dataset, code: bytes, path: Path) -> None:
    data_set.PixelData = encapsulate([code + bytes(len(code) % 2)])
    data_set["PixelData"].VR = "OB"
    data_set.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("damage", [_pasted, _blanked, _shortened])
@pytest.mark.parametrize("name", [name for name in NAMES if "JPEG" in name])
def test_code_that_is_missing_is_refused(
    plain: Path, tmp_path: Path, name: str, damage: Callable[[bytes, float], bytes]
) -> None:
    path = Path(shutil.copy(plain, tmp_path))
    ALL[name](path)
    whole, data_set = _region(path), pydicom.dcmread(path)
    code = _code_of(data_set)

    _put(data_set, code, path)
    np.testing.assert_array_equal(_region(path), whole)
    for share in (0.3, 0.6):
        _put(data_set, damage(code, share), path)
        with pytest.raises(CorruptPixelData):
            _region(path)


@pytest.mark.parametrize("name", [name for name in NAMES if "JPEG" in name and "2000" not in name])
def test_the_last_of_the_code_is_missed(plain: Path, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copy(plain, tmp_path))
    ALL[name](path)
    data_set = pydicom.dcmread(path)

    _put(data_set, _code_of(data_set)[:-40] + END, path)

    with pytest.raises(CorruptPixelData):
        _region(path)


@pytest.mark.parametrize("name", [name for name in NAMES if "JPEG" in name])
def test_an_end_left_out_is_no_loss_and_code_left_out_is(
    plain: Path, tmp_path: Path, name: str
) -> None:
    path = Path(shutil.copy(plain, tmp_path))
    ALL[name](path)
    whole, data_set = _region(path), pydicom.dcmread(path)
    code = _code_of(data_set)
    assert code.endswith(END)
    unended = code.removesuffix(END)

    halves = () if "2000" in name else (unended + END[:1],)
    for ended in (unended, unended + b"\0", unended + bytes(9), *halves):
        _put(data_set, ended, path)
        np.testing.assert_array_equal(_region(path), whole)
    for missing in (2, 3, 40):  # the last byte may fill up to an even length
        _put(data_set, unended[:-missing], path)
        with pytest.raises(CorruptPixelData):
            _region(path)


Edit = dict[str, Any]
_DEPTH_16: Edit = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
_DEPTH_8: Edit = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
EDITS: dict[str, Callable[[pydicom.Dataset], Edit]] = {
    "a row less": lambda d: {"Rows": d.Rows - 1},
    "a row more": lambda d: {"Rows": d.Rows + 1},
    "fewer columns": lambda d: {"Columns": d.Columns - 2},
    "other depth": lambda d: _DEPTH_16 if d.BitsAllocated == 8 else _DEPTH_8,
    "grey": lambda d: {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"},
}


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        (name, edit)
        for name in NAMES
        for edit in EDITS
        # of colours only those can be told from grey where all samples would be read
        if edit != "grey"
        or name in ("RLE, RGB", "JPEG lossless, RGB", "JPEG-LS, RGB", "JPEG 2000, YBR_ICT")
    ],
)
def test_a_header_that_says_otherwise_is_refused(
    plain: Path, tmp_path: Path, name: str, edit: str
) -> None:
    path = Path(shutil.copy(plain, tmp_path))
    ALL[name](path)
    data_set = pydicom.dcmread(path)
    for keyword, value in EDITS[edit](data_set).items():
        setattr(data_set, keyword, value)
    for item in data_set.SequenceOfUltrasoundRegions:
        item.RegionLocationMaxX1 = min(item.RegionLocationMaxX1, data_set.Columns)
        item.RegionLocationMaxY1 = min(item.RegionLocationMaxY1, data_set.Rows)
    data_set.save_as(path, enforce_file_format=True)

    with pytest.raises(CorruptPixelData):
        _region(path)


@pytest.mark.parametrize(
    "name",
    [
        "JPEG lossless SV1, MONOCHROME2",
        "JPEG-LS, MONOCHROME2",
        "JPEG-LS, RGB",
        "JPEG 2000 lossless, MONOCHROME2",
    ],
)
def test_eight_bits_kept_in_sixteen_are_read(plain: Path, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copy(plain, tmp_path))
    ALL[name](path)
    whole, data_set = _region(path), pydicom.dcmread(path)
    data_set.BitsAllocated = 16
    data_set.save_as(path, enforce_file_format=True)

    np.testing.assert_array_equal(_region(path), whole)


@pytest.mark.parametrize("blocks", [1, 10])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_restarts_are_read_and_their_code_is_needed_too(
    plain: Path, tmp_path: Path, mode: str, blocks: int
) -> None:
    path = Path(shutil.copy(plain, tmp_path))
    name = "MONOCHROME2" if mode == "L" else "YBR_FULL_422"
    ALL[f"JPEG baseline, {name}"](path)
    whole, data_set = _region(path), pydicom.dcmread(path)
    image = Image.open(io.BytesIO(_code_of(data_set)))
    out = io.BytesIO()
    # quantised by the tables of before, so that nothing more is lost
    image.save(out, "JPEG", qtables=image.quantization, subsampling="4:2:2" if mode == "RGB" else 0,
               restart_marker_blocks=blocks)  # fmt: skip
    code = out.getvalue()
    assert not read_codestream(code).is_one_scan

    _put(data_set, code, path)
    assert np.abs(_region(path).astype(int) - whole).mean() < 1
    _put(data_set, _shortened(code, 0.5), path)
    with pytest.raises(CorruptPixelData):
        _region(path)


def test_scans_that_refine_each_other_are_not_baseline(plain: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(plain, tmp_path))
    ALL["JPEG baseline, MONOCHROME2"](path)
    data_set = pydicom.dcmread(path)
    out = io.BytesIO()
    Image.open(io.BytesIO(_code_of(data_set))).save(out, "JPEG", progressive=True)
    _put(data_set, out.getvalue(), path)

    with pytest.raises(CorruptPixelData):
        _region(path)


def test_runs_may_be_padded_and_nothing_more(plain: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(plain, tmp_path))
    LOSSLESS["RLE, MONOCHROME2"](path)
    whole, data_set = _region(path), pydicom.dcmread(path)
    code = list(generate_fragments(data_set.PixelData))[-1]

    _put(data_set, code + bytes(4), path)
    np.testing.assert_array_equal(_region(path), whole)
    _put(data_set, code + bytes(200), path)
    with pytest.raises(CorruptPixelData):
        _region(path)


@pytest.mark.parametrize(
    "code", [b"", b"\xff\xd8", b"\xff\xd8" + END, b"\xff\xd8\xff\xc0\x00", b"\xff\x4f\xff\x51\0"]
)
def test_what_is_no_image_has_no_headers(code: bytes) -> None:
    with pytest.raises(ValueError, match=r"image|scans"):
        read_codestream(code)
