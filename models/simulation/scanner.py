"""Plays the scanner: a strip in, the DICOM file of scrolling screens that a scanner exports out.

The layout of a screen, from top to bottom: a band with two small two-dimensional previews at the
left (region format 1, centimetres both ways); the M-mode itself (format 2, seconds across,
centimetres down) with a depth ruler to its left and a grey bar to its right; below it a time
ruler and the green line of an electrocardiogram. Of all but the M-mode only the electrocardiogram
moves. With `Layout()` a screen with 344 rows and 1024 columns of M-mode has 520 rows and 1104
columns.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

Encoding = Literal["raw", "rle", "jpeg"]

_TWO_D, _M_MODE = 1, 2  # Region Spatial Format, PS3.3 C.8.5.5.1.1
_CENTIMETRES, _SECONDS = 3, 4  # Physical Units, C.8.5.5.1.15
_PREVIEWS = ((60, 10, 220, 110), (260, 10, 420, 110))  # x0, y0, x1, y1
_GREY, _GREEN = 70, (0, 160, 0)


@dataclass(frozen=True)
class Layout:
    """Where the M-mode lies on the screen, and how the file says so.

    Attributes
    ----------
    top, left, bottom, right : int
        Pixels of the screen around the M-mode; at least 112, 8, 24 and 0.
    m_mode_index : int
        Position of the M-mode among the three regions, 0 to 2.
    inclusive_corners : bool
        Whether the maximum corner is the last pixel of a region rather than the one after it.
    """

    top: int = 120
    left: int = 52
    bottom: int = 56
    right: int = 28
    m_mode_index: int = 1
    inclusive_corners: bool = False


def scrolling_starts(columns: int, screens: int, width: int) -> NDArray[np.int64]:
    """Columns at which evenly scrolling screens begin; the last one ends with the strip.

    The step is the same but for the last, which may be shorter.
    """
    step = -(-(columns - width) // max(1, screens - 1))
    return np.minimum(np.arange(screens) * step, columns - width)


def write_screens(
    strip: NDArray[np.uint8],
    path: Path,
    *,
    seconds_per_column: float,
    mm_per_row: float,
    screens: int = 49,
    width: int = 1024,
    starts: Sequence[int] | NDArray[np.int64] | None = None,
    encoding: Encoding = "raw",
    jpeg_quality: int = 90,
    layout: Layout = Layout(),
    seed: int | None = None,
) -> tuple[int, ...]:
    """Write an Ultrasound Multi-frame Image of an M-mode that scrolls from right to left.

    Parameters
    ----------
    strip : ndarray of uint8, shape (rows, columns)
    path : Path
    seconds_per_column, mm_per_row : float
    screens : int
        Number of them; ignored where `starts` are given.
    width : int
        Columns of M-mode that a screen shows; all of the strip if that is shorter.
    starts : sequence of int, optional
        Column of the strip at which each screen begins. Columns before the strip are black, as on
        a scanner that has not drawn them yet.
    encoding : {'raw', 'rle', 'jpeg'}
    jpeg_quality : int
        As Pillow's.
    layout : Layout
    seed : int, optional
        Makes the file's identifiers, and so the file, the same every time.

    Returns
    -------
    tuple of int
        The starts.
    """
    width = min(width, strip.shape[1])
    if starts is None:
        starts = scrolling_starts(strip.shape[1], screens, width)
    chrome = _chrome(strip.shape[0], width, layout)
    frames = [_screen(strip, int(start), width, chrome, layout) for start in starts]

    data_set = _data_set(seed)
    data_set.NumberOfFrames, (data_set.Rows, data_set.Columns) = len(frames), chrome.shape[:2]
    scale = seconds_per_column, mm_per_row / 10
    data_set.SequenceOfUltrasoundRegions = _regions(strip.shape[0], width, scale, layout)
    if encoding == "jpeg":
        data_set.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        data_set.PhotometricInterpretation = "YBR_FULL_422"
        data_set.LossyImageCompression = "01"
        data_set.PixelData = encapsulate([_jpeg(frame, jpeg_quality) for frame in frames])
        data_set["PixelData"].VR = "OB"
    else:
        data_set.PixelData = b"".join(frame.tobytes() for frame in frames)
        data_set["PixelData"].VR = "OB"
        if encoding == "rle":
            data_set.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    data_set.save_as(path, enforce_file_format=True)
    return tuple(int(start) for start in starts)


def _data_set(seed: int | None) -> Dataset:
    def uid(of: str) -> str:
        return generate_uid(entropy_srcs=None if seed is None else [of, str(seed)])

    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPClassUID = UltrasoundMultiFrameImageStorage
    data_set.SOPInstanceUID = uid("instance")
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = uid("study"), uid("series")
    data_set.Modality = "US"
    data_set.PatientName, data_set.PatientID = "SIMULATED^MOUSE", "SIMULATED"
    data_set.FrameTime = "100"
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 3, "RGB"
    data_set.PlanarConfiguration, data_set.PixelRepresentation = 0, 0
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 8, 8, 7
    return data_set


def _regions(rows: int, width: int, scale: tuple[float, float], layout: Layout) -> list[Dataset]:
    regions = [_region(box, _TWO_D, _CENTIMETRES, (0.01, 0.01), layout) for box in _PREVIEWS]
    box = (layout.left, layout.top, layout.left + width, layout.top + rows)
    regions.insert(layout.m_mode_index, _region(box, _M_MODE, _SECONDS, scale, layout))
    return regions


def _region(
    box: tuple[int, int, int, int],
    spatial_format: int,
    units_across: int,
    scale: tuple[float, float],
    layout: Layout,
) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial_format, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box[:2]
    last = int(layout.inclusive_corners)
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box[2] - last, box[3] - last
    item.PhysicalUnitsXDirection, item.PhysicalUnitsYDirection = units_across, _CENTIMETRES
    item.PhysicalDeltaX, item.PhysicalDeltaY = scale
    return item


def _chrome(rows: int, width: int, layout: Layout) -> NDArray[np.uint8]:
    """Draw what stays in place, shape (rows, columns, 3)."""
    top, left = layout.top, layout.left
    bottom, right = top + rows, left + width
    screen = np.zeros((bottom + layout.bottom, right + layout.right, 3), np.uint8)
    for x0, y0, x1, y1 in _PREVIEWS:
        y, x = np.mgrid[0 : y1 - y0, 0 : x1 - x0]
        sector = np.abs(x - (x1 - x0) / 2) < 0.4 * y
        screen[y0:y1, x0:x1] = (sector * _GREY)[:, : screen[y0:y1, x0:x1].shape[1], None]
    screen[top:bottom:20, left - 6 : left - 2] = 200
    screen[top:bottom, right + 6 : right + 12] = 120
    screen[bottom + 2 : bottom + 6, left:right:60] = 200
    return screen


def _screen(
    strip: NDArray[np.uint8], start: int, width: int, chrome: NDArray[np.uint8], layout: Layout
) -> NDArray[np.uint8]:
    screen = chrome.copy()
    rows, columns = strip.shape
    if start + width > columns or start + width < 0:
        raise ValueError(f"a screen from column {start} does not lie on the strip")
    undrawn = max(0, -start)
    shown = screen[layout.top : layout.top + rows, layout.left + undrawn : layout.left + width]
    shown[:] = strip[:, start + undrawn : start + width, None]
    across = np.arange(width)
    wave = 14 + np.round(5 * np.sin((start + across) * (2 * np.pi / 100))).astype(int)
    screen[layout.top + rows + wave, layout.left + across] = _GREEN
    return screen


def _jpeg(screen: NDArray[np.uint8], quality: int) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(screen).save(encoded, "JPEG", quality=quality, subsampling="4:2:2")
    return encoded.getvalue()
