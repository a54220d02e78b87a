"""The encoded screens of encapsulated pixel data (DICOM PS3.5 A.4), found without decoding."""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from app.pipeline.errors import CorruptPixelData

_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0"
# No code holds these within: JPEG and JPEG-LS, JPEG 2000, and the same in a JP2 file.
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
_MOST_START_BYTES = max(map(len, _STARTS))
_MAX_FRAGMENTS = 200_000


@dataclass(frozen=True)
class Fragment:
    """A piece of an encoded screen: where its bytes lie in the file."""

    offset: int
    length: int


def find_screens(
    file: BinaryIO, offset: int, frames: int, most_bytes: int
) -> tuple[tuple[Fragment, ...], ...]:
    """Find the fragments of every encoded screen.

    A fragment is a screen; where there are more fragments than screens, a screen begins where the
    code of an image does. The Basic Offset Table, often wrong, decides where that cannot be seen.

    Parameters
    ----------
    file : binary file
    offset : int
        Of the first item of the pixel data.
    frames : int
        How many screens the header promises.
    most_bytes : int
        What an encoded screen of that size may take.

    Raises
    ------
    CorruptPixelData
        If the pixel data is cut off or does not hold that many screens, or one is too large.
    """
    items = _items(file, offset)
    if not items:
        raise CorruptPixelData("The image data is damaged: it holds no screen.")
    table, fragments = items[0], [item for item in items[1:] if item.length]
    screens = _by_count(fragments, frames) or _by_start(file, fragments)
    if len(screens) < frames:
        screens = _by_table(_offset_table(file, table), fragments, frames) or screens
    if len(screens) != frames:
        raise CorruptPixelData(
            f"The file promises {frames} screens, but holds {len(screens)}: it was cut off or "
            "damaged. Export or copy the recording again."
        )
    if any(sum(part.length for part in screen) > most_bytes for screen in screens):
        raise CorruptPixelData(
            "A screen takes more bytes than its size can need: the image data is damaged. Export "
            "the recording again."
        )
    return tuple(screens)


def read_screen(file: BinaryIO, screen: Sequence[Fragment]) -> bytes:
    """Read the encoded bytes of one screen."""
    parts = []
    for fragment in screen:
        file.seek(fragment.offset)
        parts.append(file.read(fragment.length))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _items(file: BinaryIO, offset: int) -> list[Fragment]:
    size = file.seek(0, os.SEEK_END)
    items: list[Fragment] = []
    while True:
        file.seek(offset)
        head = file.read(8)
        tag, length = head[:4], int.from_bytes(head[4:], "little")
        offset += 8
        if tag == _END or (not head and items):  # some writers leave the end out
            return items
        if len(head) < 8 or tag != _ITEM or len(items) > _MAX_FRAGMENTS:
            raise CorruptPixelData("The image data is damaged. Export the recording again.")
        if offset + length > size:
            raise CorruptPixelData(
                "The file was cut off within its image data. Export or copy the recording again."
            )
        items.append(Fragment(offset, length))
        offset += length


def _offset_table(file: BinaryIO, item: Fragment) -> tuple[int, ...]:
    if item.length % 4 or item.length > 4 * _MAX_FRAGMENTS:
        return ()
    file.seek(item.offset)
    return struct.unpack(f"<{item.length // 4}I", file.read(item.length))


def _by_table(
    table: tuple[int, ...], fragments: list[Fragment], frames: int
) -> list[tuple[Fragment, ...]]:
    if len(table) != frames or not fragments:
        return []
    first = fragments[0].offset
    position = {fragment.offset - first: i for i, fragment in enumerate(fragments)}
    starts = [position.get(offset, -1) for offset in table]
    if starts[0] != 0 or -1 in starts or any(b <= a for a, b in pairwise(starts)):
        return []
    ends = [*starts[1:], len(fragments)]
    return [tuple(fragments[a:b]) for a, b in zip(starts, ends, strict=True)]


def _by_count(fragments: list[Fragment], frames: int) -> list[tuple[Fragment, ...]]:
    return [(fragment,) for fragment in fragments] if len(fragments) <= frames else []


def _by_start(file: BinaryIO, fragments: list[Fragment]) -> list[tuple[Fragment, ...]]:
    screens: list[list[Fragment]] = []
    for fragment in fragments:
        file.seek(fragment.offset)
        if not screens or file.read(_MOST_START_BYTES).startswith(_STARTS):
            screens.append([])
        screens[-1].append(fragment)
    return [tuple(screen) for screen in screens]
