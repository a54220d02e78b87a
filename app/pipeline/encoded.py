"""Compressed screens, decoded one at a time: run lengths, JPEG, and what GDCM reads."""

import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from app.pipeline.codestream import (
    END_OF_IMAGE,
    JPEG_2000,
    LOSSLESS,
    LOSSLESS_LS,
    SEQUENTIAL,
    Codestream,
    read_codestream,
)
from app.pipeline.encapsulation import Fragment, read_screen
from app.pipeline.errors import CorruptPixelData
from app.pipeline.grey import PixelFormat, Stored, ToGrey, luma
from app.pipeline.halt import Halt
from app.pipeline.jpeg import WholeJpeg
from app.pipeline.limits import Limits
from app.pipeline.native_decoder import DecoderFault, NativeDecoder
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
LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000})

_KINDS = {
    JPEGBaseline8Bit: SEQUENTIAL,
    JPEGExtended12Bit: SEQUENTIAL,
    JPEGLossless: {LOSSLESS},
    JPEGLosslessSV1: {LOSSLESS},
    JPEGLSLossless: {LOSSLESS_LS},
    JPEGLSNearLossless: {LOSSLESS_LS},
    JPEG2000Lossless: {JPEG_2000},
    JPEG2000: {JPEG_2000},
}
_MOST_LAST_ZEROS = 3  # that the code of an image may end with
_PADDING_PIXELS = 16  # that zeros behind run lengths may look like
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

    def regions(self, file: BinaryIO, region: Region, to_grey: ToGrey) -> Iterator[Stored]:
        """Yield the region of every screen, in grey."""
        with self._decoder(region, to_grey) as decode:
            for number, screen in enumerate(self.screens, start=1):
                encoded = read_screen(file, screen)
                try:
                    grey = decode(encoded)
                except (CorruptPixelData, DecoderFault):
                    self.halt.check()  # a decoder that was stopped answers as a damaged screen does
                    raise
                except Exception as error:  # whatever hostile bytes make a decoder raise
                    self.halt.check()
                    raise CorruptPixelData(_DAMAGED.format(number)) from error
                yield grey, None

    @contextmanager
    def _decoder(self, region: Region, to_grey: ToGrey) -> Iterator[_Decode]:
        uid, f = self.transfer_syntax_uid, self.format
        with ExitStack() as stack:
            native: NativeDecoder | None = None

            def by_native_code(encoded: bytes, code: Codestream) -> NDArray[Any]:
                nonlocal native
                if native is None:
                    said = _described(f, code.bits)
                    native = stack.enter_context(NativeDecoder(uid, said, self.limits))
                    stack.enter_context(self.halt.ending(native.stop))
                if native.bits != code.bits:
                    raise ValueError("the screens have different bits")
                return native.decode(encoded) if code.has_end else _ended(encoded, native)

            def run_lengths(encoded: bytes) -> NDArray[np.uint8]:
                return to_grey(_run_lengths(encoded, f, region))

            def jpeg(encoded: bytes) -> NDArray[np.uint8]:
                code = _read_code(encoded, uid, f)
                if not (code.is_one_scan and code.has_end):
                    by_native_code(encoded, code)  # says whether all of it is there
                return _jpeg(encoded, code, f, region, to_grey)

            def other(encoded: bytes) -> NDArray[np.uint8]:
                code = _read_code(encoded, uid, f)
                _check_samples(code, f)
                values = _cut(by_native_code(encoded, code), f, region)
                if not f.signed and int(values.max()) >> (f.high_bit + 1):
                    raise ValueError("the encoded image is brighter than the header allows")
                return to_grey(values)

            if uid == RLELossless:
                yield run_lengths
            else:
                yield jpeg if uid in _JPEG and f.bits_allocated == 8 else other


def _read_code(encoded: bytes, uid: str, pixel_format: PixelFormat) -> Codestream:
    f = pixel_format
    code = read_codestream(encoded)
    if code.kind not in _KINDS[UID(uid)] or (code.rows, code.columns) != (f.rows, f.columns):
        raise ValueError("the encoded image is not as the header says")
    return code


def _check_samples(code: Codestream, pixel_format: PixelFormat) -> None:
    """Refuse samples that are not what the header says; they may be of more bits, left unused."""
    f = pixel_format
    if (
        code.components != f.samples
        or code.signed not in (None, f.signed)
        or not f.high_bit < code.bits <= f.bits_allocated
    ):
        raise ValueError("the encoded image has other samples than the header says")


def _ended(encoded: bytes, native: NativeDecoder) -> NDArray[Any]:
    """Decode an image of which no more is missing than the marker that ends it."""
    code = encoded.rstrip(b"\0")
    most_zeros = min(_MOST_LAST_ZEROS, len(encoded) - len(code))
    for zeros in range(most_zeros):  # which may be the last of the code, or fill up its length
        with suppress(CorruptPixelData):
            return native.decode(code + bytes(zeros) + END_OF_IMAGE)
    return native.decode(code + bytes(most_zeros) + END_OF_IMAGE)


def _described(pixel_format: PixelFormat, bits: int) -> PixelFormat:
    """Describe samples as their code does: native code tends to believe the description."""
    return replace(
        pixel_format, bits_allocated=8 if bits <= 8 else 16, bits_stored=bits, high_bit=bits - 1
    )


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
        _segment(encoded[start:end], f.rows, f.columns, region)
        for start, end in zip(offsets[:wanted], ends[:wanted], strict=True)
    ]
    if f.bytes_per_sample == 2:  # the more significant byte comes first
        pairs = zip(planes[::2], planes[1::2], strict=True)
        planes = [high.astype(np.uint16) << 8 | low for high, low in pairs]
    return planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)


def _segment(segment: bytes, rows: int, columns: int, region: Region) -> NDArray[np.uint8]:
    # TIFF's PackBits is DICOM's run-length code. Taking all rows for one also reads files
    # whose runs cross rows.
    plane = _unpack(segment, rows * columns)
    try:
        _unpack(segment, rows * columns + _PADDING_PIXELS)
    except ValueError:  # as it has to be: there are no more
        return np.asarray(plane).reshape(rows, columns)[
            region.y0 : region.y1, region.x0 : region.x1
        ]
    raise ValueError("more pixels than the header says")


def _unpack(segment: bytes, pixels: int) -> Image.Image:
    return Image.frombytes("L", (pixels, 1), segment, "packbits", "L")


def _jpeg(
    encoded: bytes, code: Codestream, pixel_format: PixelFormat, region: Region, to_grey: ToGrey
) -> NDArray[np.uint8]:
    f = pixel_format
    if code.has_end:
        image = WholeJpeg(encoded, code.end if code.is_one_scan else None)
    else:
        image = WholeJpeg(encoded + END_OF_IMAGE, None)
    if image.size != (f.columns, f.rows) or image.mode not in ("L", "RGB"):
        raise ValueError("the encoded image is not as the header says")
    draft, channel = _conversion(image, f)
    image.draft(draft, image.size)
    values = np.asarray(image)[region.y0 : region.y1, region.x0 : region.x1]
    if channel is not None:
        values = values[..., channel]
    elif draft != "L":
        return luma(values)
    return to_grey(values) if f.samples == 1 else np.ascontiguousarray(values)


def _conversion(image: WholeJpeg, pixel_format: PixelFormat) -> tuple[str, int | None]:
    """Choose what libjpeg is to convert to, and which channel of it is the luma.

    The markers of JFIF and Adobe say what the components are, and count for more than the file's
    header (PS3.5 section 8.2.1). Where there is none libjpeg guesses, by the components' names RGB
    and else luma and chroma; then the header decides. libjpeg converts to the mode that it takes
    the image for by leaving all values as they are.

    Returns
    -------
    draft : str
        A mode of Pillow; ``L`` is the luma of whatever libjpeg takes the image for.
    channel : int or None
        None for ``L``, and where the three channels are RGB.
    """
    f = pixel_format
    if image.mode != "RGB" or "jfif" in image.info or "adobe" in image.info:
        return "L", None
    taken_for_rgb = bytes(name for name, *_ in image.layer) == b"RGB"
    if taken_for_rgb:
        return ("RGB", 0) if f.has_luma_first else ("L", None)
    # Some writers leave RGB in the header: of their files the chroma is coarser than the luma.
    is_even = len({(across, down) for _, across, down, _ in image.layer}) == 1
    return ("YCbCr" if f.photometric == "RGB" and is_even else "L"), None
