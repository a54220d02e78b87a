"""What an encoded screen says of itself, and whether all of it is there, found without decoding.

Decoders fill in what is missing, and take the size of an image from its code or from the file's
header as suits them. Only where both say the same are the pixels those that were recorded.
"""

import re
import struct
from dataclasses import dataclass

from app.pipeline.tiles import end_of_tiles

_START = b"\xff\xd8"
END_OF_IMAGE = b"\xff\xd9"
_J2K_START = b"\xff\x4f\xff\x51"  # start of codestream, and its size
_JP2_START = b"\x00\x00\x00\x0cjP  "  # the same in the boxes of a JP2 file
_MOST_BOX_BYTES = 4096
# In the code of a scan 0xFF is followed by a zero (a zero bit in JPEG-LS) or by a restart marker.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_MARKER_LS = re.compile(rb"\xff+([\x80-\xcf\xd8-\xfe])")
_END, _SCAN, _RESTART_INTERVAL = 0xD9, 0xDA, 0xDD
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_ALONE = frozenset({0x01, 0xD8})  # markers that no length follows, and that have no place here
_SIGNED = 0x80
_MOST_SEQUENTIAL_BITS = 12  # GDCM writes 16 where it means 12

SEQUENTIAL = frozenset({0xC0, 0xC1})  # kinds of JPEG by their start of frame
LOSSLESS = 0xC3
LOSSLESS_LS = 0xF7
JPEG_2000 = 0x51


@dataclass(frozen=True)
class Codestream:
    """An encoded image's own account of itself.

    Attributes
    ----------
    kind : int
        Second byte of the marker that starts the frame, or of JPEG 2000's size.
    rows, columns, components : int
    bits : int
        Per sample.
    signed : bool or None
        None where the code does not say.
    is_one_scan : bool
        Whether it is one run of code without restarts.
    end : int
        Where the code of the last scan or tile-part ends.
    has_end : bool
        Whether the marker that ends it is there; some writers leave it out.
    """

    kind: int
    rows: int
    columns: int
    components: int
    bits: int
    signed: bool | None
    is_one_scan: bool
    end: int
    has_end: bool


def read_codestream(encoded: bytes) -> Codestream:
    """Read the headers in a JPEG (ITU-T T.81), JPEG-LS (T.87) or JPEG 2000 (T.800) image.

    Parameters
    ----------
    encoded : bytes

    Raises
    ------
    ValueError
        If it is none of them, ends within its headers, or lacks the scan of a component or a tile.
    """
    try:
        if encoded.startswith(_START):
            return _jpeg(encoded, b"\xff\xf7" in encoded[: 2**16])
        return _jpeg_2000(encoded)
    except (struct.error, IndexError) as error:
        raise ValueError("the encoded image ends within its header") from error


def _jpeg(encoded: bytes, may_be_ls: bool) -> Codestream:
    marker_pattern = _MARKER_LS if may_be_ls else _MARKER
    frame: tuple[int, int, int, int] | None = None
    components: list[int] = []
    scanned: list[int] = []
    scans, interval, at = 0, 0, len(_START)
    while found := marker_pattern.search(encoded, at):
        marker, start = found[1][0], found.end()
        if marker == _END:
            break
        if marker in _ALONE:
            raise ValueError("an image within an image")
        (length,) = struct.unpack_from(">H", encoded, start)
        at = start + length
        if marker in _FRAMES:
            if frame is not None:
                raise ValueError("more than one frame")
            bits, rows, columns, count = struct.unpack_from(">BHHB", encoded, start + 2)
            frame = marker, bits, rows, columns
            components = [encoded[start + 8 + 3 * i] for i in range(count)]
        elif marker == _RESTART_INTERVAL:
            (interval,) = struct.unpack_from(">H", encoded, start + 2)
        elif marker == _SCAN:
            scans += 1
            scanned += [encoded[start + 3 + 2 * i] for i in range(encoded[start + 2])]
    if frame is None or sorted(scanned) != sorted(components):
        raise ValueError("the scans do not hold every component once")
    kind, bits, rows, columns = frame
    if kind in SEQUENTIAL:
        bits = min(bits, _MOST_SEQUENTIAL_BITS)
    return Codestream(
        kind, rows, columns, len(components), bits, None, scans == 1 and not interval,
        len(encoded) if found is None else found.start(), found is not None,
    )  # fmt: skip


def _jpeg_2000(encoded: bytes) -> Codestream:
    start = 0
    if encoded.startswith(_JP2_START):
        start = encoded.find(_J2K_START, 0, _MOST_BOX_BYTES)
    if start < 0 or not encoded.startswith(_J2K_START, start):
        raise ValueError("not the code of an image")
    size = struct.Struct(">8I H")
    right, bottom, left, top, *_, components = size.unpack_from(encoded, start + 8)
    described = struct.Struct("BBB").iter_unpack(
        encoded[start + 8 + size.size : start + 8 + size.size + 3 * components]
    )
    (alike,) = set(described)  # every component of the same depth, none of them coarser
    depth, across, down = alike
    if (across, down) != (1, 1):
        raise ValueError("components of another size than the image")
    end = end_of_tiles(encoded, start + 2)
    return Codestream(
        JPEG_2000, bottom - top, right - left, components, (depth & ~_SIGNED) + 1,
        bool(depth & _SIGNED), False, end, encoded.find(END_OF_IMAGE, end) >= 0,
    )  # fmt: skip
