"""Compressed screens, decoded one at a time: run lengths, JPEG, and what GDCM reads."""

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from app.pipeline.encapsulation import Fragment, read_screen
from app.pipeline.errors import CorruptPixelData
from app.pipeline.grey import PixelFormat, ToGrey, luma
from app.pipeline.halt import Halt
from app.pipeline.limits import Limits
from app.pipeline.native_decoder import NativeDecoder
from app.pipeline.results import Region

_JPEG = frozenset((JPEGBaseline8Bit, JPEGExtended12Bit))
_NATIVE_CODE = frozenset(
    (
        JPEGExtended12Bit,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEGLSNearLossless,
        JPEG2000Lossless,
        JPEG2000,
    )
)
ENCAPSULATED = _JPEG | _NATIVE_CODE | {RLELossless}

_START_OF_SCAN = b"\xff\xda"
_MAX_SCANS = 8  # of a JPEG; one whose scans never end would take for ever
_DAMAGED = "Screen {} of the recording is damaged and cannot be decoded. Export it again."

_Decode = Callable[[bytes], NDArray[np.uint8]]


@dataclass(frozen=True)
class EncodedScreens:
    """Compressed screens: run lengths (PS3.5 annex G), JPEG, JPEG-LS and JPEG 2000 (annex A.4).

    Run lengths and JPEG of eight bits are decoded here; all else by native code in a child
    process, which lives as long as the screens are being read.
    """

    transfer_syntax_uid: str
    format: PixelFormat
    screens: tuple[tuple[Fragment, ...], ...]
    limits: Limits
    halt: Halt

    def regions(
        self, file: BinaryIO, region: Region, to_grey: ToGrey
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the region of every screen, shape (rows, columns)."""
        with self._decoder(region, to_grey) as decode:
            for number, screen in enumerate(self.screens, start=1):
                encoded = read_screen(file, screen)
                try:
                    grey = decode(encoded)
                except CorruptPixelData:
                    self.halt.check()  # a decoder that was stopped answers as a damaged screen does
                    raise
                except Exception as error:  # whatever hostile bytes make a decoder raise
                    raise CorruptPixelData(_DAMAGED.format(number)) from error
                yield grey

    @contextmanager
    def _decoder(self, region: Region, to_grey: ToGrey) -> Iterator[_Decode]:
        uid = self.transfer_syntax_uid
        if uid == RLELossless:
            yield lambda encoded: to_grey(_run_lengths(encoded, self.format, region))
        elif uid in _JPEG and self.format.bits_allocated == 8:
            yield lambda encoded: _jpeg(encoded, self.format, region, to_grey)
        else:
            decoder = NativeDecoder(uid, self.format, self.limits)
            with decoder as native, self.halt.ending(native.stop):
                yield lambda encoded: to_grey(_cut(native.decode(encoded), self.format, region))


def _cut(samples: NDArray[Any], pixel_format: PixelFormat, region: Region) -> NDArray[Any]:
    values = samples[region.y0 : region.y1, region.x0 : region.x1]
    return values[..., 0] if pixel_format.has_luma_first else values


def _run_lengths(encoded: bytes, pixel_format: PixelFormat, region: Region) -> NDArray[Any]:
    f = pixel_format
    count, *offsets = struct.unpack("<16I", encoded[:64])
    if count != f.samples * f.bytes_per_sample:
        raise ValueError("segments do not match the samples")
    ends = [*offsets[1:count], len(encoded)]
    wanted = f.bytes_per_sample * (1 if f.has_luma_first else f.samples)
    planes: list[NDArray[Any]] = [
        _segment(encoded[start:end], f.columns, region)
        for start, end in zip(offsets[:wanted], ends[:wanted], strict=True)
    ]
    if f.bytes_per_sample == 2:  # the more significant byte comes first
        pairs = zip(planes[::2], planes[1::2], strict=True)
        planes = [high.astype(np.uint16) << 8 | low for high, low in pairs]
    return planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)


def _segment(segment: bytes, columns: int, region: Region) -> NDArray[np.uint8]:
    # TIFF's PackBits is DICOM's run-length code. Taking all rows for one also reads files
    # whose runs cross rows, and what lies below the region is not decoded.
    plane = Image.frombytes("L", (region.y1 * columns, 1), segment, "packbits", "L")
    values = np.asarray(plane).reshape(region.y1, columns)
    return values[region.y0 :, region.x0 : region.x1]


def _jpeg(
    encoded: bytes, pixel_format: PixelFormat, region: Region, to_grey: ToGrey
) -> NDArray[np.uint8]:
    f = pixel_format
    if encoded.count(_START_OF_SCAN) > _MAX_SCANS:
        raise ValueError("more scans than an image of this kind has")
    # Opened without Image.open, which would warn of large images: their size is checked here.
    image = JpegImageFile(io.BytesIO(encoded))
    if image.size != (f.columns, f.rows) or image.mode not in ("L", "RGB"):
        raise ValueError("the encoded image is not as the header says")
    # Without a marker libjpeg takes three components for luma and chroma; DICOM knows better, but
    # for files whose writer left RGB in the header: of those the chroma is coarser than the luma.
    marked = "jfif" in image.info or "adobe" in image.info
    is_even = len({(across, down) for _, across, down, _ in image.layer}) == 1
    is_rgb = image.mode == "RGB" and f.photometric == "RGB" and not marked and is_even
    image.draft("YCbCr" if is_rgb else "L", image.size)
    values = np.asarray(image)[region.y0 : region.y1, region.x0 : region.x1]
    if is_rgb:
        return luma(values)
    return to_grey(values) if f.samples == 1 else np.ascontiguousarray(values)
