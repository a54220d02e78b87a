"""Whether every tile of a JPEG 2000 image (ITU-T T.800 annex A) is there, found without decoding.

Decoders leave a tile dark that is missing, and take zeros for code that adds nothing; they say no
word of either.
"""

import struct
from collections import Counter

_MARKER = 0xFF  # the first byte of every marker
_TILE_PART = 0xFF90
_END_OF_CODE = b"\xff\xd9"
_PART_HEAD = struct.Struct(">HHIBB")  # length of the segment, tile, length, part of the tile, parts
_LEAST_PART_BYTES = 2 + _PART_HEAD.size
_MOST_TILES = 65_535  # that a tile-part can be numbered for
_SIZE = 0xFF51
_SIZE_HEAD = struct.Struct(">8IH")  # right, bottom, left, top, four numbers of tiles, components
_CODING_STYLE = 0xFF52
# Length, style, order, layers, transform, levels, width and height of a code-block.
_CODING_STYLE_HEAD = struct.Struct(">HBBHBBBB")
_OWN_PRECINCTS = 0x01
_PRECINCT = 2**15  # where they are not said: one covers that much
_PACKETS_CHANGED_BY = frozenset({0xFF53, 0xFF5F, 0xFF60, 0xFF61})  # coding elsewhere, order, heads
_START_OF_DATA = 0xFF93
_LONE_ZEROS = 64  # more than code itself has one after the other


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
        If a tile or a part of it is missing, is cut off, comes out of order or is blanked out.
    struct.error
        If the code ends within a header.
    """
    tiles = _count_tiles(encoded, header)
    if tiles * _LEAST_PART_BYTES > len(encoded):  # nothing is set up for what cannot be there
        raise ValueError("more tiles than there is code for")
    segments, at = _follow_header(encoded, header)
    most_zeros = _most_zeros(encoded, segments)
    found: Counter[int] = Counter()
    promised: dict[int, int] = {}
    while _marker(encoded, at) == _TILE_PART:
        _, tile, length, part, parts = _PART_HEAD.unpack_from(encoded, at + 2)
        if tile >= tiles or part != found[tile]:
            raise ValueError("a tile-part that is not the next one")
        found[tile] += 1
        promised[tile] = max(parts, promised.get(tile, 0))  # 0 where it is left open
        is_last = not length
        if is_last:  # up to the end
            end = encoded.find(_END_OF_CODE, at + _LEAST_PART_BYTES)
            length = (len(encoded) if end < 0 else end) - at
        if length < _LEAST_PART_BYTES or at + length > len(encoded):
            raise ValueError("a tile-part that is cut off")
        if most_zeros is not None and _is_blanked(encoded, at, at + length, most_zeros):
            raise ValueError("a tile-part whose end is blanked out")
        at += length
        if is_last:
            break
    if len(found) < tiles or any(found[tile] < parts for tile, parts in promised.items()):
        raise ValueError("tiles or parts of them are missing")
    return at


def _count_tiles(encoded: bytes, header: int) -> int:
    """Count the tiles that the grid cuts the image into (B.3)."""
    size: tuple[int, ...] = _SIZE_HEAD.unpack_from(encoded, header + 6)
    right, bottom, left, top, width, height, first_left, first_top, _ = size
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


def _follow_header(encoded: bytes, at: int) -> tuple[dict[int, int], int]:
    """Find where the segments of the header stand, by their markers, and where it ends."""
    segments: dict[int, int] = {}
    while (marker := _marker(encoded, at)) != _TILE_PART:
        (length,) = struct.unpack_from(">H", encoded, at + 2)
        if encoded[at] != _MARKER or length < 2:  # its own two bytes count
            raise ValueError("a header that is no row of segments")
        segments[marker] = at + 2
        at += 2 + length
    return segments, at


def _most_zeros(encoded: bytes, segments: dict[int, int]) -> int | None:
    """Count the zeros that the code of a tile may end in; None where the header leaves that open.

    Of a tile there is one packet of every layer, resolution and component (B.12), where precincts
    do not cut it further. An empty packet is a byte of zeros, and one to which a code-block adds
    nothing has a bit of zero for it (B.10).
    """
    if _CODING_STYLE not in segments or _PACKETS_CHANGED_BY & segments.keys():
        return None
    coding = _CODING_STYLE_HEAD.unpack_from(encoded, segments[_CODING_STYLE])
    _, style, _, layers, _, levels, block_width, block_height = coding
    right, bottom, left, top, *_, components = _SIZE_HEAD.unpack_from(encoded, segments[_SIZE] + 4)
    if style & _OWN_PRECINCTS or max(right, bottom) > _PRECINCT:
        return None
    area = (right - left) * (bottom - top)
    # Blocks at the edges of the bands are smaller; the exponents are stored less 2.
    blocks = 2 * (area >> (block_width + block_height + 4)) + 16 * (levels + 1)
    return int(_LONE_ZEROS + layers * components * (levels + 1 + blocks // 8))


def _is_blanked(encoded: bytes, start: int, end: int, most_zeros: int) -> bool:
    """Whether a tile-part ends in more zeros than that, and does not change how it is coded."""
    tail = end - most_zeros - 1
    if tail < start or any(encoded[tail:end]):
        return False
    at = start + _LEAST_PART_BYTES
    while (marker := _marker(encoded, at)) != _START_OF_DATA:
        if encoded[at : at + 1] != bytes([_MARKER]) or at >= end:
            return True  # it is blank from its header on
        if marker == _CODING_STYLE or marker in _PACKETS_CHANGED_BY:
            return False
        at += 2 + struct.unpack_from(">H", encoded, at + 2)[0]
    return True


def _marker(encoded: bytes, at: int) -> int:
    """Two bytes that may be a marker; 0 where the code is over."""
    return int.from_bytes(encoded[at : at + 2]) if at + 2 <= len(encoded) else 0
