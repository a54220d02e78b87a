"""Which part of the screen is the M-mode, and its calibration (DICOM PS3.3 C.8.5.5)."""

import math
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset

from app.pipeline.errors import NoCalibration, NoMModeRegion
from app.pipeline.results import Region, Warning

_M_MODE = 2  # Region Spatial Format
# Region Data Type: traces of Doppler, ECG, pulse, sound, areas and others, grey and colour bars.
_TRACES_AND_BARS = frozenset({*range(5, 15), 16, 17, 18})
_SECONDS, _CENTIMETRES = 4, 3  # Physical Units X and Y Direction
_MIN_ROWS = 16
# Far outside of what any scanner records; such values are damage, not calibration.
_SECONDS_PER_COLUMN = (1e-6, 0.1)
_MM_PER_ROW = (1e-4, 10.0)


def find_m_mode_region(
    regions: Iterable[Any], rows: int, columns: int
) -> tuple[Region, tuple[Warning, ...]]:
    """Choose the M-mode region among the items of a Sequence of Ultrasound Regions.

    The standard does not say whether the maximum corner belongs to the region. It is read as lying
    outside, as the scanner behind the published recordings writes it: where it does belong, one
    column and one row of the M-mode are lost, whereas the other mistake would put a column of the
    screen's frame between the screens. Scales are taken by magnitude, because the direction of
    an M-mode's axes is always the same.

    Parameters
    ----------
    regions : iterable of Dataset
        Items of (0018,6011).
    rows, columns : int
        Size of the screen in pixels.

    Returns
    -------
    Region
        The largest calibrated one, of those that are high enough.
    tuple of Warning
        ``several_m_mode_regions`` if there was a choice.

    Raises
    ------
    NoMModeRegion
        If no region has the spatial format M-mode, or it is too low to be one.
    NoCalibration
        If none of them says in seconds and centimetres how large a pixel is, or lies on the screen.
    """
    items = [(i, item) for i, item in enumerate(regions) if isinstance(item, Dataset)]
    m_modes = [(i, item) for i, item in items if _is_m_mode(item)]
    if not m_modes:
        raise NoMModeRegion(
            "No region of the image is marked as M-mode (Region Spatial Format 2). Export the "
            "M-mode recording from the scanner with its calibrated regions, not as a screen shot."
        )
    calibrated: list[Region] = []
    refusal: NoCalibration | None = None
    for index, item in m_modes:
        try:
            calibrated.append(_region(index, item, rows, columns))
        except NoCalibration as error:
            refusal = refusal or error
    if not calibrated:
        raise refusal or NoCalibration("The M-mode region has no calibration.")
    highest = max(region.y1 - region.y0 for region in calibrated)
    if highest < _MIN_ROWS:
        raise NoMModeRegion(f"The M-mode region is only {highest} rows high.")
    high = [region for region in calibrated if region.y1 - region.y0 >= _MIN_ROWS]
    region = max(high, key=lambda r: (r.x1 - r.x0) * (r.y1 - r.y0))
    if len(m_modes) == 1:
        return region, ()
    return region, (
        Warning(
            "several_m_mode_regions",
            f"The image has {len(m_modes)} M-mode regions; the largest one that is calibrated, "
            f"number {region.index + 1} in the file, was measured.",
        ),
    )


def _is_m_mode(item: Dataset) -> bool:
    """Whether a region is an M-mode, and no trace beside it that some scanners mark as one."""
    data_type = _integer(item, "RegionDataType")
    return _integer(item, "RegionSpatialFormat") == _M_MODE and data_type not in _TRACES_AND_BARS


def _region(index: int, item: Dataset, rows: int, columns: int) -> Region:
    units = _integer(item, "PhysicalUnitsXDirection"), _integer(item, "PhysicalUnitsYDirection")
    if units != (_SECONDS, _CENTIMETRES):
        raise NoCalibration(
            "The M-mode region is not calibrated in seconds across and centimetres down."
        )
    seconds_per_column = abs(_number(item, "PhysicalDeltaX"))
    mm_per_row = 10 * abs(_number(item, "PhysicalDeltaY"))
    if not _SECONDS_PER_COLUMN[0] <= seconds_per_column <= _SECONDS_PER_COLUMN[1]:
        raise NoCalibration("The M-mode region does not say how long a column lasts.")
    if not _MM_PER_ROW[0] <= mm_per_row <= _MM_PER_ROW[1]:
        raise NoCalibration("The M-mode region does not say how deep a row is.")
    corners = [
        _integer(item, f"RegionLocation{corner}") for corner in ("MinX0", "MinY0", "MaxX1", "MaxY1")
    ]
    x0, y0, x1, y1 = (-1 if corner is None else corner for corner in corners)
    if not (0 <= x0 < x1 <= columns + 1 and 0 <= y0 < y1 <= rows + 1):
        raise NoCalibration("The M-mode region lies outside of the image.")
    x1, y1 = min(x1, columns), min(y1, rows)
    if x0 >= x1 or y0 >= y1:
        raise NoCalibration("The M-mode region lies outside of the image.")
    return Region(index, x0, y0, x1, y1, seconds_per_column, mm_per_row)


def _integer(item: Dataset, keyword: str) -> int | None:
    try:
        value = item.get(keyword)
    except Exception:  # pydicom raises whatever a malformed value makes it raise
        return None
    return int(value) if isinstance(value, int) else None


def _number(item: Dataset, keyword: str) -> float:
    try:
        value = float(item.get(keyword))
    except Exception:  # absent, empty, several or malformed
        return math.nan
    return value
