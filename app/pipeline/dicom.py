"""A DICOM file to a Recording: what it says of itself, and its M-mode screens, read lazily."""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)

from app.pipeline.encapsulation import find_screens
from app.pipeline.encoded import ENCAPSULATED, LOSSY, EncodedScreens
from app.pipeline.errors import (
    CorruptPixelData,
    NoMModeRegion,
    NoPixelData,
    TooLarge,
    UnsupportedTransferSyntax,
)
from app.pipeline.frames import NATIVE, NativeScreens, open_pixels
from app.pipeline.grey import PixelFormat, Stored, ToGrey, grey_converter, read_pixel_format
from app.pipeline.halt import Halt
from app.pipeline.header import UNDEFINED_LENGTH, Header, PixelElement, read_header
from app.pipeline.limits import Limits
from app.pipeline.regions import find_m_mode_region
from app.pipeline.results import FileInfo, Region, Warning


@dataclass(frozen=True)
class Recording:
    """A file that can be measured, as far as its header and its size show.

    Attributes
    ----------
    info : FileInfo
    region : Region
        The M-mode region of its screens.
    warnings : tuple of Warning
    is_lossy : bool
        Whether its screens are, or are said to have been, compressed with losses.
    """

    info: FileInfo
    region: Region
    warnings: tuple[Warning, ...]
    is_lossy: bool
    _path: Path = field(repr=False)
    _decoder: NativeScreens | EncodedScreens = field(repr=False)
    _to_grey: ToGrey = field(repr=False)

    def screens(self) -> Generator[NDArray[np.uint8]]:
        """Decode the screens one at a time, in order.

        Yields
        ------
        ndarray of uint8, shape (rows, columns)
            Grey values of the M-mode region.

        Raises
        ------
        CorruptPixelData
            If a screen cannot be decoded.
        """
        for values, to_grey in self.stored_screens():
            yield values if to_grey is None else to_grey(values)

    def stored_screens(self) -> Generator[Stored]:
        """Decode the screens one at a time, and leave it to the caller to turn them into grey.

        Yields
        ------
        values : ndarray, shape (rows, columns) or (rows, columns, 3)
            Of the M-mode region.
        to_grey : callable or None
            Turns any columns of them into grey; None where they are grey.

        Raises
        ------
        CorruptPixelData
            If a screen cannot be decoded.
        """
        with open_pixels(self._path) as file:
            yield from self._decoder.regions(file, self.region, self._to_grey)


def open_recording(path: Path, limits: Limits = Limits(), halt: Halt | None = None) -> Recording:
    """Read the header of a DICOM file and check that it can be measured; nothing is decoded.

    Parameters
    ----------
    path : Path
    limits : Limits
    halt : Halt, optional
        Ends the decoding of a screen from another thread.

    Raises
    ------
    NotDicom, NoPixelData, NoMModeRegion, NoCalibration, UnsupportedTransferSyntax, TooLarge
    CorruptPixelData
        If the header contradicts itself, or the file is shorter, or by a screen longer, than its
        header says.
    """
    with path.open("rb") as file:
        header = read_header(file)
        pixels = header.pixels
        if pixels is None or pixels.length == 0:
            raise NoPixelData(
                "The file is a DICOMDIR, the list of what is on a disk. Send the recording itself."
                if header.is_directory
                else "The DICOM file holds no image, or was cut off before it. Export or copy the "
                "recording again, with its images."
            )
        regions = header.value("SequenceOfUltrasoundRegions")
        if not isinstance(regions, Sequence) or not regions:
            raise NoMModeRegion(
                "The image has no calibrated regions. Export the M-mode recording from the scanner "
                "as DICOM, not as a screen shot."
            )
        pixel_format = read_pixel_format(header)
        region, warnings = find_m_mode_region(regions, pixel_format.rows, pixel_format.columns)
        _check_limits(pixel_format, limits)
        _check_encoding(header.transfer_syntax_uid)
        decoder: NativeScreens | EncodedScreens
        if header.transfer_syntax_uid in NATIVE:
            decoder = _native(header, pixel_format, pixels, path.stat().st_size)
        else:
            if pixels.length != UNDEFINED_LENGTH:
                raise CorruptPixelData("The image data is not encoded in the way the file says.")
            decoder = EncodedScreens(
                header.transfer_syntax_uid,
                pixel_format,
                find_screens(
                    file, pixels.offset, pixel_format.frames, _most_encoded_bytes(pixel_format)
                ),
                limits,
                halt or Halt(),
            )
    info = FileInfo(header.transfer_syntax_uid, pixel_format.frames)
    # PS3.3 C.7.6.1.1.5: "01" stays with an image once it has been compressed with losses
    is_lossy = info.transfer_syntax_uid in LOSSY or header.text("LossyImageCompression") == "01"
    to_grey = grey_converter(header, pixel_format)
    return Recording(info, region, warnings, is_lossy, path, decoder, to_grey)


def _check_limits(pixel_format: PixelFormat, limits: Limits) -> None:
    f = pixel_format
    if f.frames > limits.max_frames:
        raise TooLarge(
            f"The recording has {f.frames} screens; at most {limits.max_frames} are read."
        )
    if f.rows * f.columns > limits.max_frame_pixels:
        raise TooLarge(
            f"A screen has {f.columns} by {f.rows} pixels; at most {limits.max_frame_pixels} "
            "are read."
        )
    pixels = f.rows * f.columns * f.frames
    if pixels > limits.max_decoded_pixels:
        raise TooLarge(
            f"The recording decodes to {pixels} pixels; at most {limits.max_decoded_pixels} are "
            "read."
        )


def _most_encoded_bytes(pixel_format: PixelFormat) -> int:
    """Bound what an encoded screen may take: far more than the least compressible noise does."""
    f = pixel_format
    return 2 * f.rows * f.columns * f.samples * f.bytes_per_sample + 2**20


def _check_encoding(syntax: str) -> None:
    if syntax in NATIVE or syntax in ENCAPSULATED:
        return
    # Only a registered name is quoted: what else stands in the file could be anything.
    name = UID(syntax).name
    if name == syntax:
        name = "an unknown transfer syntax"
    raise UnsupportedTransferSyntax(
        f"The images are encoded as {name}, which cannot be read here. Export them uncompressed, "
        "as RLE, or as JPEG, JPEG-LS or JPEG 2000."
    )


def _native(
    header: Header, pixel_format: PixelFormat, pixels: PixelElement, file_bytes: int
) -> NativeScreens:
    syntax = header.transfer_syntax_uid
    is_deflated = syntax == DeflatedExplicitVRLittleEndian
    screens = NativeScreens(pixel_format, pixels, syntax == ExplicitVRBigEndian, header.deflated_at)
    if pixels.length == UNDEFINED_LENGTH or pixels.length < screens.total_bytes:
        raise CorruptPixelData(
            f"The image data is shorter than {pixel_format.frames} screens of "
            f"{pixel_format.columns} by {pixel_format.rows} pixels need."
        )
    if screens.held > pixel_format.frames:  # less than a whole one is padding
        raise CorruptPixelData(
            f"The file promises {pixel_format.frames} screens, but holds {screens.held} of that "
            "size: its header is wrong. Export the recording again."
        )
    if not is_deflated and file_bytes < pixels.offset + screens.total_bytes:
        missing = 1 - (file_bytes - pixels.offset) / screens.total_bytes
        raise CorruptPixelData(
            f"The file was cut off: {missing:.0%} of its image data are missing. Export or copy "
            "the recording again."
        )
    return screens
