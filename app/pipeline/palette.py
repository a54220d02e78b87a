"""Palettes (DICOM PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6), also as segments (C.7.9.2) or numbers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian

from app.pipeline.header import Header

_COLOURS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


@dataclass(frozen=True)
class Palette:
    """Colours by index.

    Attributes
    ----------
    first : int
        Value of a pixel that stands for the first entry; so does whatever is below it.
    entries : ndarray of int, shape (entries, 3)
        Red, green and blue, as they are stored; the last stands for whatever is above it.
    """

    first: int
    entries: NDArray[np.int64]

    def colours(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Look up pixels, shape (n,) to (n, 3)."""
        return self.entries[np.clip(values - self.first, 0, len(self.entries) - 1)]


def read_palette(header: Header, *, signed: bool) -> Palette:
    """Read the palette of a header.

    Parameters
    ----------
    header : Header
    signed : bool
        Whether pixels, and so the value that the first entry stands for, are.

    Raises
    ------
    ValueError
        If the tables are not as long as they are said to be, or said to be of different kinds.
    """
    said = [_descriptor(header, colour, signed=signed) for colour in _COLOURS]
    if len(set(said)) > 1:
        raise ValueError("the colours of a palette that differ in kind")
    entries, first, bits = said[0]
    tables = [_table(header, colour, entries, bits) for colour in _COLOURS]
    return Palette(first, np.stack(tables, axis=-1))


def _descriptor(header: Header, colour: str, *, signed: bool) -> tuple[int, int, int]:
    entries, first, bits = map(int, header.value(f"{colour}PaletteColorLookupTableDescriptor"))
    first &= 0xFFFF  # some writers take the other of the two representations
    return entries & 0xFFFF or 2**16, first - (first >> 15 << 16) * signed, bits


def _table(header: Header, colour: str, entries: int, bits: int) -> NDArray[np.int64]:
    name = f"{colour}PaletteColorLookupTableData"
    if f"Segmented{name}" in header.data_set:
        if bits not in (8, 16):
            raise ValueError("a palette of other bits")
        segments = _numbers(_stored(header, f"Segmented{name}"), bits // 8)
        return expand(segments, entries, bits // 8)
    stored = _stored(header, name)
    # The length counts: some writers say 16 and store 8, and some the other way round.
    if len(stored) == 2 * entries:
        return _numbers(stored, 2)
    if len(stored) == entries + entries % 2:
        return _numbers(stored, 1)[:entries]
    raise ValueError("a palette of another length than it is said to have")


def _stored(header: Header, keyword: str) -> bytes:
    """Give a table's bytes in the order of little-endian; it is words wherever it is not OB."""
    element = header.data_set[keyword]
    value = element.value
    if not isinstance(value, bytes):  # the numbers that it once was stored as
        return np.atleast_1d(np.asarray(value, dtype=np.int64)).astype("<u2").tobytes()
    value += bytes(len(value) % 2)
    if header.transfer_syntax_uid == ExplicitVRBigEndian and element.VR != "OB":
        return np.frombuffer(value, np.uint16).byteswap().tobytes()
    return value


def _numbers(stored: bytes, entry_bytes: int) -> NDArray[np.int64]:
    return np.frombuffer(stored, f"<u{entry_bytes}").astype(np.int64)


def expand(stored: NDArray[np.int64], entries: int, entry_bytes: int) -> NDArray[np.int64]:
    """Expand the segments of one colour.

    Parameters
    ----------
    stored : ndarray of int
        Of every segment its kind, its length and what follows.
    entries : int
        How many they have to give: no more are ever made.
    entry_bytes : int
        1 or 2; segments that stand for earlier ones name their offset in bytes.

    Raises
    ------
    ValueError
        If they give fewer or more, or are of no known kind.
    """
    palette, filled = np.empty(entries, np.int64), 0
    for kind, length, values in _segments(stored, 0, entry_bytes):
        if filled + length > entries:
            raise ValueError("more entries than the palette has")
        if kind == _LINEAR:
            if not filled:
                raise ValueError("a line that begins nowhere")
            line = np.linspace(palette[filled - 1], values[0], length + 1)[1:]
            values = np.round(line).astype(np.int64)
        palette[filled : filled + length] = values
        filled += length
    if filled < entries:
        raise ValueError("fewer entries than the palette has")
    return palette


def _segments(
    stored: NDArray[np.int64], at: int, entry_bytes: int, most: int | None = None
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Give kind, length and values of segments; for those that stand for others, the others."""
    while at + 2 < len(stored) and most != 0:  # what is left may be padding
        kind, length = int(stored[at]), int(stored[at + 1])
        following = {_DISCRETE: length, _LINEAR: 1, _INDIRECT: 4 // entry_bytes}.get(kind)
        at += 2
        if following is None or not length or at + following > len(stored):
            raise ValueError("a damaged segment")
        values = stored[at : at + following]
        at += following
        if kind != _INDIRECT:
            yield kind, length, values
        elif most is None:  # such a segment stands for none of its own kind
            # the less significant part comes first
            offset = sum(int(v) << 8 * entry_bytes * i for i, v in enumerate(values))
            yield from _segments(stored, offset // entry_bytes, entry_bytes, length)
        else:
            raise ValueError("a segment that stands for one that stands for others")
        most = None if most is None else most - 1
