"""Screens in fragments, with tables that are right, wrong or not there (DICOM PS3.5 A.4)."""

import io
import struct
from collections.abc import Sequence

import pytest

from app.pipeline.encapsulation import find_screens, read_screen
from app.pipeline.errors import CorruptPixelData

JPEG = (b"\xff\xd8\xff\xdb12345678", b"2345678901", b"345678\xff\xd9")
JPEG_2000 = (b"\xff\x4f\xff\x51345678", b"2345678901", b"345678\xff\xd9")
RUNS = (b"\1\0\0\0\x40\0\0\0", b"2345678901", b"34567890")


def _item(content: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(content)) + content


def _table(screens: Sequence[Sequence[bytes]], first: int = 0) -> bytes:
    offsets = [first]
    for screen in screens[:-1]:
        offsets.append(offsets[-1] + sum(8 + len(part) for part in screen))
    return struct.pack(f"<{len(offsets)}I", *offsets)


def _found(fragments: Sequence[bytes], frames: int, table: bytes = b"") -> list[bytes]:
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    file = io.BytesIO(b"".join(map(_item, [table, *fragments])) + end)
    return [read_screen(file, screen) for screen in find_screens(file, 0, frames, 10_000)]


@pytest.mark.parametrize("screen", [JPEG, JPEG_2000])
@pytest.mark.parametrize(
    "table",
    [
        b"",
        _table([JPEG, JPEG]),
        _table([JPEG, JPEG], first=16),  # counted from elsewhere
        _table([JPEG[:1], JPEG]),  # to where no screen begins
        struct.pack("<2I", 0, 0),
        struct.pack("<I", 0),
        b"odd",
    ],
)
def test_screens_are_found_by_where_images_begin(screen: tuple[bytes, ...], table: bytes) -> None:
    assert _found([*screen, *screen], 2, table) == [b"".join(screen)] * 2


@pytest.mark.parametrize("ending", [b"345678", b"345678\xff\xd9" + bytes(20)])
def test_how_a_screen_ends_does_not_matter(ending: bytes) -> None:
    screen = (*JPEG[:2], ending)

    assert _found([*screen, *screen], 2) == [b"".join(screen)] * 2


def test_an_empty_fragment_is_none() -> None:
    assert _found([JPEG[0], b"", JPEG[0], b""], 2) == [JPEG[0]] * 2


def test_a_table_decides_where_beginnings_cannot_be_seen() -> None:
    assert _found([*RUNS, *RUNS], 2, _table([RUNS, RUNS])) == [b"".join(RUNS)] * 2
    assert _found(RUNS, 1) == [b"".join(RUNS)]
    with pytest.raises(CorruptPixelData):
        _found([*RUNS, *RUNS], 2)


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("has_table", [True, False])
def test_more_or_fewer_screens_than_promised_are_refused(frames: int, has_table: bool) -> None:
    # of one promised screen of three, the first would be measured and the others never missed
    table = _table([JPEG] * 3) if has_table else b""

    with pytest.raises(CorruptPixelData, match="but holds 3"):
        _found(JPEG * 3, frames, table)
