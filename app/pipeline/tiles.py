"""Whether every tile of a JPEG 2000 image (ITU-T T.800 annex A) is there, found without decoding.

Decoders leave a tile dark that is missing, and say no word of it.
"""

import struct
from collections import Counter

_MARKER = 0xFF  # the first byte of every marker
_TILE_PART = 0xFF90
_END_OF_CODE = b"\xff\xd9"
_PART_HEAD = struct.Struct(">HHIBB")  # length of the segment, tile, length, part of the tile, parts
_LEAST_PART_BYTES = 2 + _PART_HEAD.size
_MOST_TILES = 65_535  # that a tile-part can be numbered for


def end_of_tiles(encoded: bytes, header: int) -> int:
    """Follow the tile-parts from one to the next, and find all of every tile.

    Parameters
    ----------
    encoded : bytes
    header : int
        Where the size of the image stands: its marker, with which the codestream's header begins.

    Returns
    -------
    int
        Where the last tile-part ends; the marker that ends the image, if it is there, is behind it.

    Raises
    ------
    ValueError
        If a tile or a part of it is missing, is cut off or comes out of order.
    struct.error
        If the code ends within a header.
    """
    tiles = _count_tiles(encoded, header)
    if tiles * _LEAST_PART_BYTES > len(encoded):  # nothing is set up for what cannot be there
        raise ValueError("more tiles than there is code for")
    at = _end_of_header(encoded, header)
    found: Counter[int] = Counter()
    promised: dict[int, int] = {}
    while _marker(encoded, at) == _TILE_PART:
        _, tile, length, part, parts = _PART_HEAD.unpack_from(encoded, at + 2)
        if tile >= tiles or part != found[tile]:
            raise ValueError("a tile-part that is not the next one")
        found[tile] += 1
        promised[tile] = max(parts, promised.get(tile, 0))  # 0 where it is left open
        if not length:  # up to the end: the last one
            end = encoded.find(_END_OF_CODE, at + _LEAST_PART_BYTES)
            at = len(encoded) if end < 0 else end
            break
        if length < _LEAST_PART_BYTES or at + length > len(encoded):
            raise ValueError("a tile-part that is cut off")
        at += length
    if len(found) < tiles or any(found[tile] < parts for tile, parts in promised.items()):
        raise ValueError("tiles or parts of them are missing")
    return at


def _count_tiles(encoded: bytes, header: int) -> int:
    """Count the tiles that the grid cuts the image into (B.3)."""
    size: tuple[int, ...] = struct.unpack_from(">8I", encoded, header + 6)
    right, bottom, left, top, width, height, first_left, first_top = size
    if not (
        first_left <= left < first_left + width
        and first_top <= top < first_top + height
        and left < right
        and top < bottom
    ):
        raise ValueError("no image, or one that does not begin in its first tile")
    across = -(-(right - first_left) // width)
    down = -(-(bottom - first_top) // height)
    if across * down > _MOST_TILES:
        raise ValueError("more tiles than can be numbered")
    return across * down


def _end_of_header(encoded: bytes, at: int) -> int:
    while _marker(encoded, at) != _TILE_PART:
        (length,) = struct.unpack_from(">H", encoded, at + 2)
        if encoded[at] != _MARKER or length < 2:  # its own two bytes count
            raise ValueError("a header that is no row of segments")
        at += 2 + length
    return at


def _marker(encoded: bytes, at: int) -> int:
    """Two bytes that may be a marker; 0 where the code is over."""
    return int.from_bytes(encoded[at : at + 2]) if at + 2 <= len(encoded) else 0
