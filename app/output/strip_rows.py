"""Which stretches of a strip are shown under each other, so that no figure needs a scroll bar."""

import math
from dataclasses import dataclass

from app.output.page import Box
from app.pipeline.results import Strip

LONGEST_ROW_S, SHORTEST_ROW_S = 1.75, 0.8
MOST_ROWS = 8
EXCERPTS = 6

LEFT_PX = 92
NUMBERS_PX, BAND_PX, BAND_GAP_PX, AXIS_PX = 24, 24, 3, 42
TIME_LABEL_PX = 36
OVERVIEW_PX, OVERVIEW_BAND_TOP_PX = 116, 30
PX_PER_MM = 40
LOWEST_STRIP_PX, TALLEST_STRIP_PX = 240, 420


@dataclass(frozen=True)
class Row:
    """One stretch of the strip and where it lies on the page."""

    first_column: int
    end_column: int
    band: Box
    strip: Box


@dataclass(frozen=True)
class Rows:
    """All rows of a figure.

    Attributes
    ----------
    rows : tuple of Row
    height_px : float
        Of the whole page.
    excerpts : bool
        Whether they are only samples of a long recording, evenly spaced.
    overview : Box or None
        Where the whole of a long recording is summarised.
    """

    rows: tuple[Row, ...]
    height_px: float
    excerpts: bool
    overview: Box | None


def arrange(strip: Strip, *, top_px: float, width_px: float, above_band_px: float) -> Rows:
    """Lay a strip out in rows of at most 1.75 s, all on one time scale.

    A recording of up to 14 s is shown whole. A longer one is sampled in six evenly spaced rows, so
    that the figure of ten minutes is no larger than that of ten seconds.

    Parameters
    ----------
    strip : Strip
    top_px : float
        Where the first row begins.
    width_px : float
        Of the longest row.
    above_band_px : float
        Room above each band.
    """
    columns, seconds_per_column = strip.columns, strip.seconds_per_column
    duration_s, depth_mm = strip.duration_s, strip.rows * strip.mm_per_row
    excerpts = duration_s > MOST_ROWS * LONGEST_ROW_S
    count = EXCERPTS if excerpts else max(1, math.ceil(duration_s / LONGEST_ROW_S - 1e-9))
    row_s = LONGEST_ROW_S if excerpts else max(SHORTEST_ROW_S, duration_s / count)
    row_columns = max(1, min(columns, math.ceil(row_s / seconds_per_column)))
    spread = (columns - row_columns) / max(1, count - 1) if excerpts else row_columns
    strip_px = min(max(PX_PER_MM * depth_mm, LOWEST_STRIP_PX), TALLEST_STRIP_PX)
    px_per_column = width_px * seconds_per_column / row_s

    rows = []
    top = top_px + (OVERVIEW_PX if excerpts else 0)
    for index in range(count):
        first = round(index * spread)
        end = min(columns, first + row_columns)
        across = min(width_px, (end - first) * px_per_column)
        band = Box(LEFT_PX, top + above_band_px, across, BAND_PX)
        strip_top = band.top + BAND_PX + BAND_GAP_PX
        rows.append(Row(first, end, band, Box(LEFT_PX, strip_top, across, strip_px)))
        top = strip_top + strip_px + AXIS_PX
    overview = Box(LEFT_PX, top_px + OVERVIEW_BAND_TOP_PX, width_px, BAND_PX) if excerpts else None
    return Rows(tuple(rows), top + TIME_LABEL_PX, excerpts, overview)
