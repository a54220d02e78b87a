"""Uncompressed screens, read one at a time, of each only the M-mode region."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from app.pipeline.errors import CorruptPixelData
from app.pipeline.grey import PixelFormat, Stored, ToGrey
from app.pipeline.header import PixelElement
from app.pipeline.results import Region

NATIVE = frozenset(
    (
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
    )
)
_CUT_OFF = "The file was cut off within its image data. Export it again."


class _Readable(Protocol):
    def seek(self, offset: int, /) -> int: ...
    def read(self, size: int, /) -> bytes: ...


class NativeScreens:
    """Reads uncompressed screens (PS3.5 section 8.1.1 and 8.2): of each the region's rows alone.

    Parameters
    ----------
    pixel_format : PixelFormat
    pixels : PixelElement
    big_endian : bool
    deflated_at : int or None
        Where the deflated data set begins; the pixels are then inflated on the way, in order.
    """

    def __init__(
        self,
        pixel_format: PixelFormat,
        pixels: PixelElement,
        big_endian: bool,
        deflated_at: int | None,
    ) -> None:
        self.format = pixel_format
        self.pixels = pixels
        self.deflated_at = deflated_at
        f = pixel_format
        pixels_per_frame = f.rows * f.columns
        full = pixels_per_frame * f.samples * f.bytes_per_sample
        # 4:2:2 stores two lumas, then the chromas that they share; some files say so of 4:4:4. What
        # is longer by a screen's lumas is more than padded: it may be further screens of 4:2:2.
        # Where columns are odd, the last of a row shares its chromas with one that is not shown.
        is_full = full * f.frames <= pixels.length < full * f.frames + pixels_per_frame
        self._halved = f.photometric == "YBR_FULL_422" and not (is_full and f.bits_allocated == 8)
        self._halved_row = 4 * ((f.columns + 1) // 2)
        halved = f.rows * self._halved_row * f.bytes_per_sample
        self._frame_bytes = halved if self._halved else full
        self._type = np.dtype(np.uint8 if f.bits_allocated == 8 else ">u2" if big_endian else "<u2")
        # Eight-bit samples in words of two bytes come in swapped pairs where words are big-endian.
        self._swapped = big_endian and pixels.is_words and f.bits_allocated == 8

    @property
    def held(self) -> int:
        """How many whole screens the pixel data is long enough for."""
        return self.pixels.length // self._frame_bytes

    @property
    def total_bytes(self) -> int:
        """How long the pixel data has to be."""
        return self._frame_bytes * self.format.frames

    def regions(self, file: BinaryIO, region: Region, to_grey: ToGrey) -> Iterator[Stored]:
        """Yield the region of every screen, as it is stored."""
        source: _Readable = file
        if self.deflated_at is not None:
            source = Inflated(file, self.deflated_at)
        for frame in range(self.format.frames):
            start = self.pixels.offset + frame * self._frame_bytes
            yield self._region(source, start, region), to_grey
        if self.deflated_at is not None:  # else the size of the file has told
            end = self.pixels.offset + self.total_bytes
            if source.seek(end) < end:
                raise CorruptPixelData(_CUT_OFF)

    def _region(self, source: _Readable, start: int, region: Region) -> NDArray[Any]:
        f = self.format
        if self._halved:
            values = self._rows(source, start, region, self._halved_row)
            quads = values.reshape(len(values), -1, 4)
            return quads[:, :, :2].reshape(len(values), -1)[:, region.x0 : region.x1]
        if not f.planar:
            values = self._rows(source, start, region, f.columns * f.samples)
            values = values.reshape(len(values), f.columns, f.samples)[:, region.x0 : region.x1]
            return values[..., 0] if f.samples == 1 or f.has_luma_first else values
        plane_bytes = f.rows * f.columns * f.bytes_per_sample
        planes = [
            self._rows(source, start + i * plane_bytes, region, f.columns)[:, region.x0 : region.x1]
            for i in range(1 if f.has_luma_first else f.samples)
        ]
        return planes[0] if f.has_luma_first else np.stack(planes, axis=-1)

    def _rows(
        self, source: _Readable, start: int, region: Region, samples_per_row: int
    ) -> NDArray[Any]:
        row_bytes = samples_per_row * self.format.bytes_per_sample
        offset, length = start + region.y0 * row_bytes, (region.y1 - region.y0) * row_bytes
        odd = (offset - self.pixels.offset) % 2 if self._swapped else 0
        source.seek(offset - odd)
        data = source.read(length + odd + (length + odd) % 2 * self._swapped)
        if len(data) < length + odd:
            raise CorruptPixelData(_CUT_OFF)
        if self._swapped:
            data = np.frombuffer(data, np.uint16).byteswap().tobytes()
        values = np.frombuffer(data, self._type, offset=odd, count=length // self._type.itemsize)
        return values.reshape(-1, samples_per_row)


class Inflated:
    """A deflated data set read forwards, holding no more than what is asked for."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        file.seek(start)
        self._file = file
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._at = 0

    def seek(self, offset: int, /) -> int:
        while self._at < offset:
            if not self.read(min(offset - self._at, 1 << 20)):
                break
        return self._at

    def read(self, size: int, /) -> bytes:
        parts = []
        while size > 0 and not self._inflate.eof:
            pending = self._inflate.unconsumed_tail or self._file.read(1 << 16)
            part = self._inflate.decompress(pending, size)  # which may have held some back
            if not (pending or part):
                break
            parts.append(part)
            size -= len(part)
            self._at += len(part)
        return b"".join(parts)


@contextmanager
def open_pixels(path: Path) -> Iterator[BinaryIO]:
    """Open a recording for decoding; what goes wrong in it is `CorruptPixelData`."""
    with path.open("rb") as file:
        try:
            yield file
        except (zlib.error, EOFError, ValueError) as error:
            raise CorruptPixelData("The image data is damaged. Export it again.") from error
