"""Palettes as they are stored: as segments (DICOM PS3.3 C.7.9.2), numbers, or in big-endian."""

from collections.abc import Iterator
from copy import copy

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from app.pipeline.header import Header

_COLOURS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


def with_plain_palette(header: Header) -> Dataset:
    """Give the attributes of a header with a palette that says every entry, in little-endian.

    Raises
    ------
    ValueError
        If the segments do not give as many entries as the palette is said to have.
    TypeError
        If the palette is missing.
    """
    data_set = copy(header.data_set)
    is_segmented = "SegmentedRedPaletteColorLookupTableData" in header.data_set
    for colour in _COLOURS:
        name = f"{colour}PaletteColorLookupTable"
        entries, _, bits = header.value(f"{name}Descriptor")
        stored = _little_endian(header, f"Segmented{name}Data" if is_segmented else f"{name}Data")
        if is_segmented:
            if bits not in (8, 16):
                raise ValueError("a palette of other bits")
            kind = np.dtype(f"<u{bits // 8}")
            values = np.frombuffer(stored, kind, count=len(stored) // kind.itemsize)
            plain = expand(values.astype(np.int64), entries or 2**16, kind.itemsize)
            stored = plain.astype(kind).tobytes()
        data_set[f"{name}Data"] = DataElement(f"{name}Data", "OW", stored)
    return data_set


def _little_endian(header: Header, keyword: str) -> bytes:
    """Give an attribute that is stored in words, or as the list of numbers that it once was."""
    stored = header.value(keyword)
    if not isinstance(stored, bytes):
        return np.array(stored).astype("<u2").tobytes()
    if header.transfer_syntax_uid == ExplicitVRBigEndian:  # entries of one byte are swapped, too
        return np.frombuffer(stored, ">u2", count=len(stored) // 2).astype("<u2").tobytes()
    return stored


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
