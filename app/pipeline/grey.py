"""Stored pixel values to grey of eight bits (DICOM PS3.3 C.7.6.3.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.pipeline.errors import CorruptPixelData, UnsupportedTransferSyntax
from app.pipeline.header import Header
from app.pipeline.palette import read_palette

ToGrey = Callable[[NDArray[Any]], NDArray[np.uint8]]

Stored = tuple[NDArray[Any], ToGrey | None]
"""Values of a picture, and what turns columns of them into grey; None where they are grey."""

_SAMPLES = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,  # JPEG 2000's own two: its decoders give RGB
    "YBR_RCT": 3,
}
# ITU-R BT.601 luma, 0.299 R + 0.587 G + 0.114 B, in 65536ths; they add up, so grey stays grey.
_LUMA = (19_595, 38_470, 7_471)


@dataclass(frozen=True)
class PixelFormat:
    """The Image Pixel attributes (PS3.3 C.7.6.3), checked.

    Attributes
    ----------
    rows, columns, frames : int
    samples : int
        1 or 3 per pixel.
    photometric : str
        One of ``_SAMPLES``.
    planar : bool
        Whether the samples of native pixels stand plane by plane.
    bits_allocated : int
        8 or 16.
    bits_stored, high_bit : int
    signed : bool
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: bool
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def bytes_per_sample(self) -> int:
        return self.bits_allocated // 8

    @property
    def has_luma_first(self) -> bool:
        """Whether the first sample is luma, and the others can be left alone."""
        return self.photometric in ("YBR_FULL", "YBR_FULL_422")


def read_pixel_format(header: Header) -> PixelFormat:
    """Check the Image Pixel attributes of a header.

    Raises
    ------
    CorruptPixelData
        If they are missing or contradict each other.
    UnsupportedTransferSyntax
        If the pixels are of a kind that cannot be read here.
    """
    rows, columns = header.integer("Rows"), header.integer("Columns")
    frames = header.integer("NumberOfFrames", default=1)
    if not rows or not columns or min(rows, columns) < 1:
        raise CorruptPixelData("The file does not say how many rows and columns its image has.")
    if frames is None or frames < 1:
        raise CorruptPixelData("The file does not say how many screens it holds.")
    samples = header.integer("SamplesPerPixel", default=1)
    photometric = header.text("PhotometricInterpretation").strip()
    if not photometric:
        photometric = "RGB" if samples == 3 else "MONOCHROME2"
    if photometric not in _SAMPLES:
        raise UnsupportedTransferSyntax(
            "The image's colours are stored in a way that cannot be read here; export it as RGB "
            "or greyscale."
        )
    if samples != _SAMPLES[photometric]:
        raise CorruptPixelData("The file contradicts itself on how its colours are stored.")
    allocated = header.integer("BitsAllocated", default=8)
    if allocated not in (8, 16):
        raise UnsupportedTransferSyntax("Only images of 8 or 16 bits per sample can be read.")
    stored = header.integer("BitsStored", default=allocated)
    high_bit = header.integer("HighBit", default=(stored or allocated) - 1)
    if stored is None or high_bit is None or not 1 <= stored <= high_bit + 1 <= allocated:
        raise CorruptPixelData("The file contradicts itself on the bits of a pixel.")
    return PixelFormat(
        rows=rows,
        columns=columns,
        frames=frames,
        samples=samples,
        photometric=photometric,
        planar=samples == 3 and header.integer("PlanarConfiguration", default=0) == 1,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        signed=header.integer("PixelRepresentation", default=0) == 1,
    )


def grey_converter(header: Header, pixel_format: PixelFormat) -> ToGrey:
    """Make the function that turns stored values into grey.

    It takes unsigned values of shape (rows, columns), or (rows, columns, 3) for RGB; of YBR the
    luma alone. It returns uint8 of shape (rows, columns), 0 black and 255 white: all of the stored
    range is spread over the 256 greys.

    Raises
    ------
    CorruptPixelData
        If the palette is missing or damaged.
    """
    table = _table(header, pixel_format)

    def to_grey(values: NDArray[Any]) -> NDArray[np.uint8]:
        grey = values if table is None else table[values]
        return luma(grey) if values.ndim == 3 else np.ascontiguousarray(grey, dtype=np.uint8)

    return to_grey


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey of RGB, shape (rows, columns, 3) to (rows, columns), rounded to nearest."""
    total = rgb[..., 0] * np.uint32(_LUMA[0])
    total += rgb[..., 1] * np.uint32(_LUMA[1])
    total += rgb[..., 2] * np.uint32(_LUMA[2])
    total += np.uint32(1 << 15)
    total >>= np.uint32(16)
    return total.astype(np.uint8)


def _table(header: Header, pixel_format: PixelFormat) -> NDArray[np.uint8] | None:
    """Grey for every value that an allocated sample can take; None if it is the value itself."""
    plain = (8, 8, 7, False)
    f = pixel_format
    kind = (f.bits_allocated, f.bits_stored, f.high_bit, f.signed)
    if kind == plain and f.photometric not in ("MONOCHROME1", "PALETTE COLOR"):
        return None
    stored = (np.arange(1 << f.bits_allocated) >> (f.high_bit + 1 - f.bits_stored)) & (
        (1 << f.bits_stored) - 1
    )
    if f.photometric == "PALETTE COLOR":
        beyond = stored >> (f.bits_stored - 1) << f.bits_stored  # of two's complement
        return _palette(header, stored - beyond if f.signed else stored, signed=f.signed)
    if f.signed:
        stored ^= 1 << (f.bits_stored - 1)  # two's complement to offset binary
    white = (1 << f.bits_stored) - 1
    if f.photometric == "MONOCHROME1":
        stored = white - stored
    if f.bits_stored >= 8:
        # The eight most significant bits: whether eight bits were widened by a shift or by a
        # factor, they come back as they were.
        return (stored >> (f.bits_stored - 8)).astype(np.uint8)
    return np.round(stored * (255 / white)).astype(np.uint8)


def _palette(header: Header, values: NDArray[Any], *, signed: bool) -> NDArray[np.uint8]:
    try:
        colours = read_palette(header, signed=signed).colours(values)
        if colours.max() > 255:  # some writers fill only the lower half of sixteen bits
            colours = colours >> 8
        return luma(colours.astype(np.uint8))
    except Exception as error:  # whatever a damaged palette makes it raise
        raise CorruptPixelData("The image's colour palette is missing or damaged.") from error
