"""JPEG 2000 in tiles: all of them are there, or the screen is refused.

A decoder leaves a missing tile dark without a word: such a screen would be measured in part.
"""

import io
import struct
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from app.pipeline.codestream import read_codestream
from app.pipeline.dicom import open_recording
from app.pipeline.errors import CorruptPixelData
from models.simulation.scanner import write_screens
from tests.strips import make_strip
from tests.wrappings import PIXELS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

WIDTH = 400
STRIP = make_strip(rows=64, columns=WIDTH)
SOT, SOD, PLT, EOC = (bytes((0xFF, second)) for second in (0x90, 0x93, 0x58, 0xD9))


@dataclass(frozen=True)
class Part:
    """A tile-part; an open one does not say its length, and goes on to the end."""

    tile: int
    number: int
    parts: int
    packets: tuple[bytes, ...]
    is_open: bool = False

    def __bytes__(self) -> bytes:
        body = SOD + b"".join(self.packets)
        size = 0 if self.is_open else 12 + len(body)
        return SOT + struct.pack(">HHIBB", 10, self.tile, size, self.number, self.parts) + body


def encoded(image: NDArray[np.uint8], **options: Any) -> bytes:
    out = io.BytesIO()
    settings = {"irreversible": False, "no_jp2": True, "tile_size": (128, 64), "plt": True}
    Image.fromarray(image).save(out, "JPEG2000", **settings | options)
    return out.getvalue()


def taken_apart(code: bytes) -> tuple[bytes, list[Part]]:
    """Split code of one part per tile into its header and its tiles, packet by packet."""
    at = code.index(SOT)
    head, parts = code[:at], []
    while code[at : at + 2] == SOT:
        _, tile, size, number, count = struct.unpack_from(">HHIBB", code, at + 2)
        segment, lengths, length = at + 12, [], 0
        while code[segment : segment + 2] != SOD:
            assert code[segment : segment + 2] == PLT
            (bytes_,) = struct.unpack_from(">H", code, segment + 2)
            for byte in code[segment + 5 : segment + 2 + bytes_]:  # seven bits each
                length = length << 7 | byte & 0x7F
                if byte < 0x80:
                    lengths.append(length)
                    length = 0
            segment += 2 + bytes_
        ends = np.cumsum([segment + 2, *lengths])
        assert ends[-1] == at + size
        packets = tuple(code[a:b] for a, b in pairwise(ends))
        parts.append(Part(tile, number, count, packets))
        at += size
    assert code[at:] == EOC
    return head, parts


def in_two(parts: Sequence[Part], said: tuple[int, int] = (2, 2)) -> list[Part]:
    """Two parts of every tile, the second ones behind all of the first."""
    return [
        replace(part, number=number, parts=said[number], packets=packets)
        for number in (0, 1)
        for part in parts
        for packets in [part.packets[:3] if number == 0 else part.packets[3:]]
    ]


def put_together(head: bytes, parts: Sequence[Part], end: bytes = EOC) -> bytes:
    return head + b"".join(map(bytes, parts)) + end


def in_boxes(code: bytes) -> bytes:
    """Put a codestream into the boxes of a JP2 file."""
    out = io.BytesIO()
    Image.new("L", Image.open(io.BytesIO(code)).size).save(out, "JPEG2000")
    boxes = out.getvalue()
    box = boxes.index(b"jp2c") - 4
    return boxes[:box] + struct.pack(">I", 8 + len(code)) + b"jp2c" + code


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> pydicom.Dataset:
    path = tmp_path_factory.mktemp("plain") / "recording.dcm"
    write_screens(STRIP, path, seconds_per_column=1e-3, mm_per_row=0.02, width=WIDTH, screens=1)
    data_set = pydicom.dcmread(path)
    PIXELS["MONOCHROME2"](data_set)
    data_set.file_meta.TransferSyntaxUID = JPEG2000Lossless
    return data_set


@pytest.fixture(scope="module")
def image(recording: pydicom.Dataset) -> NDArray[np.uint8]:
    shape = (recording.Rows, recording.Columns)
    return np.frombuffer(recording.PixelData, np.uint8, int(np.prod(shape))).reshape(shape)


@pytest.fixture(scope="module")
def code(image: NDArray[np.uint8]) -> bytes:
    return encoded(image)


@pytest.fixture
def read(recording: pydicom.Dataset, tmp_path: Path) -> Callable[[bytes], NDArray[np.uint8]]:
    """Read the M-mode of a screen with this code."""

    def of(code: bytes) -> NDArray[np.uint8]:
        path = tmp_path / "recording.dcm"
        data_set = pydicom.Dataset(recording)
        data_set.file_meta = recording.file_meta
        data_set.PixelData = encapsulate([code + bytes(len(code) % 2)])
        data_set["PixelData"].VR = "OB"
        data_set.save_as(path, enforce_file_format=True)
        return next(open_recording(path).screens())

    return of


Read = Callable[[bytes], NDArray[np.uint8]]


@pytest.fixture
def whole(image: NDArray[np.uint8], code: bytes, read: Read) -> NDArray[np.uint8]:
    found = read(code)
    np.testing.assert_array_equal(found, STRIP)
    return found


def test_tiles_that_are_all_there_are_read(
    code: bytes, read: Read, whole: NDArray[np.uint8], image: NDArray[np.uint8]
) -> None:
    head, parts = taken_apart(code)
    assert len(parts) > 9
    last_open = [*parts[:-1], replace(parts[-1], is_open=True)]
    for way in (
        put_together(head, parts),
        put_together(head, parts, b""),
        put_together(head, last_open),
        put_together(head, in_two(parts)),
        put_together(head, in_two(parts, (0, 2))),  # how many there will be is said in the last
        put_together(head, in_two(parts, (0, 0))),  # or not at all
        put_together(head, sorted(in_two(parts), key=lambda part: (part.tile, part.number))),
        put_together(head, list(reversed(parts))),
        in_boxes(put_together(head, in_two(parts))),
        encoded(image, tile_size=(image.shape[1], image.shape[0])),
        encoded(image, tile_size=(image.shape[1] + 40, 50)),
    ):
        np.testing.assert_array_equal(read(way), whole)


@pytest.mark.parametrize("end", [EOC, b"", bytes(2)])
@pytest.mark.parametrize("wrap", [bytes, in_boxes])
def test_a_missing_tile_is_refused(
    code: bytes, read: Read, wrap: Callable[[bytes], bytes], end: bytes
) -> None:
    head, parts = taken_apart(code)
    half = len(parts) // 2
    for kept in (
        parts[:-1], parts[1:], parts[:1], parts[:half], parts[:half] + parts[half + 1 :], [],
        [*parts[: half - 1], replace(parts[half], is_open=True)],
        [*parts[:-1], parts[0]],
    ):  # fmt: skip
        with pytest.raises(CorruptPixelData):
            read(wrap(put_together(head, kept, end)))


@pytest.mark.parametrize(
    ("said", "which"),
    [((2, 2), "first"), ((2, 2), "second"), ((2, 0), "second"), ((0, 2), "first"),
     ((0, 0), "first")],
)  # fmt: skip
@pytest.mark.parametrize("end", [EOC, b""])
def test_a_missing_part_of_a_tile_is_refused(
    code: bytes, read: Read, said: tuple[int, int], which: str, end: bytes
) -> None:
    head, parts = taken_apart(code)
    for tile in (0, 3, len(parts) - 1):
        kept = in_two(parts, said)
        del kept[tile if which == "first" else len(parts) + tile]
        with pytest.raises(CorruptPixelData):
            read(put_together(head, kept, end))


def test_a_tile_part_that_is_cut_off_is_refused(code: bytes, read: Read) -> None:
    head, parts = taken_apart(code)
    for end in (b"", EOC):
        with pytest.raises(CorruptPixelData):
            read(put_together(head, parts, b"")[:-5] + end)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("ends", [EOC, b"", bytes(2)])
def test_a_screen_that_ends_in_nothing_but_zeros_is_refused(
    image: NDArray[np.uint8], read: Read, ends: bytes, share: float
) -> None:
    noisy = image + np.random.default_rng(2).integers(0, 9, image.shape, np.uint8)
    code = encoded(noisy, tile_size=(image.shape[1], image.shape[0]), plt=False)
    blank = int(share * len(code))
    with pytest.raises(CorruptPixelData):
        read(code[: -2 - blank] + bytes(blank) + ends)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("layers", [[0], [200, 100, 50, 20, 10, 5, 2]])
@pytest.mark.parametrize("blocks", [(4, 4), (64, 64)])
@pytest.mark.parametrize("drawn", ["nothing", "a dot", "the left", "the top"])
def test_a_picture_of_hardly_anything_is_whole(
    drawn: str, blocks: tuple[int, int], layers: list[int], mode: str
) -> None:
    picture = np.zeros((300, 700), np.uint8)
    noise = np.random.default_rng(3).integers(1, 255, picture.shape, np.uint8)
    where = {
        "nothing": np.s_[:0],
        "a dot": (3, 5),
        "the left": np.s_[:, :350],
        "the top": np.s_[:40],
    }
    picture[where[drawn]] = noise[where[drawn]]
    out = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(
        out,
        "JPEG2000",
        codeblock_size=blocks,
        quality_mode="rates",
        quality_layers=layers,
        irreversible=len(layers) > 1,
        no_jp2=True,
    )
    assert read_codestream(out.getvalue()).columns == 700


def sized(code: bytes, **changes: int) -> bytes:
    """Change what the size of the image says."""
    names = ("right", "bottom", "left", "top", "width", "height", "first_left", "first_top")
    said = dict(zip(names, struct.unpack_from(">8I", code, 8), strict=True)) | changes
    return code[:8] + struct.pack(">8I", *said.values()) + code[40:]


@pytest.mark.parametrize(
    "changes",
    [
        {"right": 7000, "bottom": 7000},
        {"width": 1, "height": 1},
        {"right": 65_535, "bottom": 65_535, "width": 1, "height": 1},
        {"right": 2**32 - 1, "bottom": 2**32 - 1, "width": 1, "height": 1},
        {"width": 0},
        {"height": 0},
        {"first_left": 1},
        {"left": 500, "top": 500},
        {"left": 2**31, "right": 2},
    ],
    ids=str,
)
def test_a_size_that_lies_is_refused_at_once(code: bytes, changes: dict[str, int]) -> None:
    tracemalloc.start()
    begun = process_time()
    with pytest.raises(ValueError, match=r"tile|image"):
        read_codestream(sized(code, **changes))
    took, peak = process_time() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 0.5
    assert peak < 1_000_000


def test_tiles_are_counted_from_where_the_grid_begins(image: NDArray[np.uint8]) -> None:
    small = image[:100, :300]
    for offset, grid in (((0, 0), (0, 0)), ((70, 30), (60, 20)), ((127, 63), (0, 0))):
        code = encoded(small, offset=offset, tile_offset=grid)
        found = read_codestream(code)
        assert (found.rows, found.columns, found.has_end) == (100, 300, True)
        head, parts = taken_apart(code)
        with pytest.raises(ValueError, match="missing"):
            read_codestream(put_together(head, parts[:-1]))


@pytest.mark.parametrize("size", [0, 1, 11, 2**32 - 1])
def test_a_length_that_no_tile_part_has_is_refused(code: bytes, size: int) -> None:
    at = code.index(SOT) + 6
    with pytest.raises(ValueError, match="tile"):
        read_codestream(code[:at] + struct.pack(">I", size) + code[at + 4 :])


def test_an_end_within_a_header_is_refused(code: bytes) -> None:
    first = code.index(SOT)
    for kept in (first, first + 1, first + 5, first + 11):
        with pytest.raises(ValueError, match=r"tile|header"):
            read_codestream(code[:kept])


def test_the_end_is_not_looked_for_within_the_code(code: bytes) -> None:
    head, parts = taken_apart(code)
    comment = b"\xff\x64" + struct.pack(">HH", 4 + 2, 1) + EOC
    assert not read_codestream(put_together(head + comment, parts, b"")).has_end
    assert read_codestream(put_together(head + comment, parts)).has_end
