"""Recordings damaged by chance, but along their own structure; the seed decides how."""

import io
import random
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_fragments
from pydicom.uid import AllTransferSyntaxes

from models.simulation.scanner import write_screens
from tests.layouts import CASES
from tests.strips import make_strip
from tests.wrappings import LOSSLESS, LOSSY

WRAPPINGS = (
    "explicit, RGB",
    "explicit, YBR_FULL_422",
    "explicit, RGB planar",
    "implicit, 16 bits",
    "deflated, MONOCHROME2",
    "big-endian, 8 of 16 bits",
    "explicit, palette",
    "RLE, RGB",
    "RLE, 16 bits",
    "JPEG baseline, YBR_FULL_422",
    "JPEG extended, MONOCHROME2",
)
NATIVE_WRAPPINGS = (
    "JPEG lossless SV1, 12 of 16 bits",
    "JPEG-LS, RGB",
    "JPEG 2000 lossless, MONOCHROME2",
    "JPEG extended, 12 bits",
    "JPEG 2000, YBR_ICT",
)
LAYOUTS = ("", "", "a sweep", "several M-modes", "one screen")

_NUMBERS = (0, 1, 2, 3, 7, 8, 12, 15, 16, 17, 32, 63, 64, 65, 255, 256, 430, 32_767, 65_535)
_SCALES = (0.0, -0.0, 1e-300, 1e300, 1e-6, 0.1, 1.0, -1.0, float("nan"), float("inf"), 8.3e-4)
_PHOTOMETRIC = (
    "RGB", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_RCT",
    "YBR_ICT", "YBR_PARTIAL_420", "ARGB", "", "RGB\\RGB", "MOUSE^MICKEY",
)  # fmt: skip
_PIXEL_KEYWORDS = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel",
    "PlanarConfiguration", "PixelRepresentation",
)  # fmt: skip
_CORNERS = (
    "RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1",
)  # fmt: skip

Damage = Callable[[random.Random, Dataset], None]


@cache
def source(wrapping: str, layout: str) -> bytes:
    """Make a small recording that is whole."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recording.dcm"
        if layout:
            CASES[layout].write(path)
        else:
            write_screens(
                make_strip(rows=48, columns=500), path, seconds_per_column=1e-3, mm_per_row=0.02,
                width=400, screens=4, seed=1,
            )  # fmt: skip
        (LOSSLESS | LOSSY)[wrapping](path)
        return path.read_bytes()


def mutated(seed: int, native_share: float = 0.2) -> bytes:
    """Damage a recording.

    Parameters
    ----------
    seed : int
        The same gives the same bytes.
    native_share : float
        How many of the files are for the decoder in a child process, which is slow to start.
    """
    rng = random.Random(seed)
    wrappings = NATIVE_WRAPPINGS if rng.random() < native_share else WRAPPINGS
    content = source(rng.choice(wrappings), rng.choice(LAYOUTS))
    if rng.random() < 0.75:
        content = _damage_data_set(rng, content)
    if rng.random() < 0.4:
        content = _damage_bytes(rng, content)
    return content


# Damage to what a data set says


def _number(rng: random.Random) -> int:
    return rng.choice(_NUMBERS) if rng.random() < 0.8 else rng.randrange(1 << 16)


def _pixel_number(rng: random.Random, data_set: Dataset) -> None:
    setattr(data_set, rng.choice(_PIXEL_KEYWORDS), _number(rng))


def _frames(rng: random.Random, data_set: Dataset) -> None:
    data_set.NumberOfFrames = rng.choice((0, 1, 2, 3, 5, 100, 2_500, 2_501, 10**9, -1))


def _photometric(rng: random.Random, data_set: Dataset) -> None:
    data_set.PhotometricInterpretation = rng.choice(_PHOTOMETRIC)


def _transfer_syntax(rng: random.Random, data_set: Dataset) -> None:
    data_set.file_meta.TransferSyntaxUID = rng.choice((*AllTransferSyntaxes, "1.2.3", ""))


def _removal(rng: random.Random, data_set: Dataset) -> None:
    del data_set[rng.choice(list(data_set.keys()))]


def _other_type(rng: random.Random, data_set: Dataset) -> None:
    """Give an attribute a value representation and a value that it never has."""
    tag = rng.choice(list(data_set.keys()))
    kinds: tuple[tuple[str, Any], ...] = (
        ("UN", b"\xff" * 7), ("LO", "x" * 60), ("FD", [1.5, 2.5]), ("US", []), ("SQ", []),
        ("DS", "1e999"), ("IS", "12345678901"), ("OB", b""), ("AT", 0x00080018),
    )  # fmt: skip
    data_set.add_new(tag, *rng.choice(kinds))


def _region(rng: random.Random, data_set: Dataset) -> None:
    item = rng.choice(list(data_set.SequenceOfUltrasoundRegions))
    what = rng.randrange(4)
    if what == 0:
        setattr(item, rng.choice(_CORNERS), rng.choice((*_NUMBERS, 2**31, 2**32 - 1)))
    elif what == 1:
        keyword = rng.choice(("PhysicalDeltaX", "PhysicalDeltaY"))
        setattr(item, keyword, rng.choice(_SCALES))
    elif what == 2:
        keywords = ("RegionSpatialFormat", "PhysicalUnitsXDirection", "PhysicalUnitsYDirection")
        setattr(item, rng.choice(keywords), rng.randrange(7))
    else:
        del item[rng.choice(list(item.keys()))]


def _regions(rng: random.Random, data_set: Dataset) -> None:
    regions = data_set.SequenceOfUltrasoundRegions
    items = list(regions)
    data_set.SequenceOfUltrasoundRegions = rng.choice(
        (
            items[:1],
            items * rng.choice((2, 300 if len(items) < 10 else 1)),
            items[::-1],
            [Dataset(), *items],
            [],
        )
    )


def _pixels(rng: random.Random, data_set: Dataset) -> None:
    pixels = data_set.PixelData
    if not isinstance(pixels, bytes):  # damaged before
        return
    if not data_set.file_meta.TransferSyntaxUID.is_compressed:
        cut = rng.randrange(len(pixels))
        data_set.PixelData = rng.choice((pixels[:cut], pixels + bytes(cut), b"", pixels[:2]))
        return
    fragments = list(generate_fragments(pixels))
    at = rng.randrange(len(fragments))
    damaged = bytearray(fragments[at])
    what = rng.randrange(7)
    if what == 0:
        fragments[at] = bytes(damaged[: rng.randrange(len(damaged))])
    elif what == 1:
        del fragments[at]
    elif what == 2:
        fragments.insert(at, fragments[at])
    elif what == 3:
        fragments[at] = rng.randbytes(rng.randrange(200))
    elif what == 4:
        fragments[at] = bytes(damaged) * rng.choice((2, 50 if len(damaged) < 100_000 else 2))
    else:
        for _ in range(rng.choice((1, 3, 30))):
            # what a decoder reads first steers it: damage is likelier there
            end = min(len(damaged), rng.choice((40, 200, len(damaged))))
            damaged[rng.randrange(end)] = rng.randrange(256)
        fragments[at] = bytes(damaged)
    data_set.PixelData = encapsulate(fragments or [b""], has_bot=rng.random() < 0.5)


def _palette(rng: random.Random, data_set: Dataset) -> None:
    colour = rng.choice(("Red", "Green", "Blue"))
    descriptor = [_number(rng), _number(rng), rng.choice((8, 16, 12))]
    data_set.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", descriptor)
    table = rng.randbytes(rng.choice((0, 3, 256, 512)))
    data_set.add_new(f"{colour}PaletteColorLookupTableData", "OW", table)


_DAMAGES: tuple[Damage, ...] = (
    _pixel_number, _pixel_number, _frames, _photometric, _transfer_syntax, _removal, _other_type,
    _region, _region, _regions, _pixels, _pixels, _pixels, _palette,
)  # fmt: skip


def _damage_data_set(rng: random.Random, content: bytes) -> bytes:
    data_set = pydicom.dcmread(io.BytesIO(content))
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            rng.choice(_DAMAGES)(rng, data_set)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            continue  # what was to be damaged is gone, or pydicom does not take it
    out = io.BytesIO()
    try:
        # written as the original was, so that a transfer syntax may lie about it
        was = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
        claimed = data_set.file_meta.get("TransferSyntaxUID", "")
        data_set.file_meta.TransferSyntaxUID = was.file_meta.TransferSyntaxUID
        data_set.save_as(out, enforce_file_format=True)
    except Exception:  # some damage pydicom does not write: then the bytes have to do
        return _damage_bytes(rng, content)
    written, uid = out.getvalue(), was.file_meta.TransferSyntaxUID
    if claimed == uid:
        return written
    element = b"\x02\x00\x10\x00UI"
    at = written.index(element)
    length = struct.unpack_from("<H", written, at + 6)[0]
    value = claimed.encode() + b"\0" * (len(claimed) % 2)
    said = element + struct.pack("<H", len(value)) + value
    return written[:at] + said + written[at + 8 + length :]


# Damage to bytes


def _damage_bytes(rng: random.Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        # most of the structure lies in the header
        end = min(len(damaged), rng.choice((400, 2_000, 2_000, len(damaged))))
        at = rng.randrange(max(1, end))
        what = rng.randrange(6)
        if what == 0:
            damaged[at : at + 1] = bytes([rng.randrange(256)])
        elif what == 1:
            length = rng.choice((0, 1, 0x7FFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFF, rng.randrange(10**6)))
            damaged[at : at + 4] = struct.pack("<I", length)
        elif what == 2:
            del damaged[at : at + rng.choice((1, 4, 100))]
        elif what == 3:
            damaged[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
        elif what == 4:
            del damaged[rng.choice((at, rng.randrange(len(damaged) + 1))) :]
        else:
            other = rng.randrange(max(1, len(damaged)))
            damaged[at:at] = damaged[other : other + rng.choice((8, 64, 500))]
        if not damaged:
            break
    return bytes(damaged)
