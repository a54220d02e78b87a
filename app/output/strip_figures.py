"""The figures that show the strip itself: echocardiogram and segmentation."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray
from PIL import Image

from app.output.page import HEADER_PX, PLAIN_HEADER_PX, Box, Page
from app.output.palette import (
    DIASTOLE,
    INK,
    LOWER_BORDER,
    SYSTOLE,
    UPPER_BORDER,
    display_table,
)
from app.output.quality_marks import quality_band, quality_scale
from app.output.strip_rows import LEFT_PX, Row, Rows, arrange
from app.output.wording import beats_note, quality_note
from app.pipeline.measuring import LEAST_CONFIDENCE
from app.pipeline.results import Analysis, Borders, Strip

STRIP_WIDTH_PX = 1340
SCALE_LEFT_PX, SCALE_TOP_PX = LEFT_PX + STRIP_WIDTH_PX + 50, 30
SCALE_WIDTH_PX, SCALE_HEIGHT_PX = 26, 240
NUMBERS_PX, UNNUMBERED_PX = 24, 10
MINOR_TICKS_S = 0.05
LEGEND_BACKGROUND = "#3a3a3a"


def echocardiogram(analysis: Analysis) -> Page:
    """Draw the strip, and above it the probability of high quality window by window."""
    rows = arrange(
        analysis.strip,
        top_px=PLAIN_HEADER_PX,
        width_px=STRIP_WIDTH_PX,
        above_band_px=NUMBERS_PX,
    )
    note = f"{quality_note(analysis)} Grey is brightened for display."
    page = Page(rows.height_px, "M-mode echocardiogram", note)
    _draw_strip(page, rows, analysis, numbered=True)
    return page


def segmentation(analysis: Analysis) -> Page:
    """Draw the strip with both borders, and each beat's two diameters as callipers.

    Accepted beats have solid callipers with filled ends, rejected ones dotted with hollow ends.
    A border is thin and dim where the segmenter is too unsure of it for a beat to count.
    """
    rows = arrange(
        analysis.strip, top_px=HEADER_PX, width_px=STRIP_WIDTH_PX, above_band_px=UNNUMBERED_PX
    )
    unseen = "" if np.isfinite(analysis.borders.upper_row).any() else "No ventricle is seen. "
    page = Page(
        rows.height_px,
        "Segmentation",
        f"{unseen}{beats_note(analysis)} {quality_note(analysis)}",
    )
    page.legend(_handles(), background=LEGEND_BACKGROUND)
    for row, axes in zip(rows.rows, _draw_strip(page, rows, analysis), strict=True):
        _draw_borders(axes, analysis.borders, analysis.strip, row)
        _draw_callipers(axes, analysis, row)
    return page


def _draw_strip(
    page: Page, rows: Rows, analysis: Analysis, *, numbered: bool = False
) -> list[Axes]:
    """Draw rows of the strip with their bands, and the scale beside them."""
    strip = analysis.strip
    shown_as = display_table(strip.pixels)
    drawn = []
    for row in rows.rows:
        left_s, right_s = _edges_s(row, strip)
        quality_band(page, row.band, analysis.windows, (left_s, right_s), numbered=numbered)
        axes = page.axes(row.strip)
        picture = Image.fromarray(
            np.take(shown_as, strip.pixels[:, row.first_column : row.end_column])
        )
        size = (round(row.strip.width), round(row.strip.height))
        resized = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
        page.picture(row.strip, resized, axes)
        bottom_mm, top_mm = (strip.rows - 0.5) * strip.mm_per_row, -0.5 * strip.mm_per_row
        axes.set(xlim=(left_s, right_s), ylim=(bottom_mm, top_mm), ylabel="Depth (mm)")
        axes.xaxis.set_major_locator(MultipleLocator(0.2 if right_s - left_s > 1 else 0.1))
        _draw_minor_ticks(axes, left_s, right_s)
        drawn.append(axes)
    drawn[-1].set_xlabel("Time (s)")
    if rows.overview is not None:
        _draw_overview(page, rows.overview, rows, analysis)
    scale_top = rows.rows[0].band.top + SCALE_TOP_PX
    quality_scale(page, Box(SCALE_LEFT_PX, scale_top, SCALE_WIDTH_PX, SCALE_HEIGHT_PX))
    return drawn


def _draw_minor_ticks(axes: Axes, left_s: float, right_s: float) -> None:
    """Mark every 50 ms: one mark of many points, where matplotlib makes five artists a tick."""
    times_s = MINOR_TICKS_S * np.arange(np.ceil(left_s / MINOR_TICKS_S), right_s / MINOR_TICKS_S)
    axes.plot(
        times_s,
        np.zeros_like(times_s),
        linestyle="none",
        marker=TICKDOWN,
        markersize=2,
        markeredgewidth=0.6,
        color=INK,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        scalex=False,
        scaley=False,
    )


def _draw_overview(page: Page, box: Box, rows: Rows, analysis: Analysis) -> None:
    """Draw the quality of the whole of a long recording, and mark what is shown of it."""
    strip = analysis.strip
    quality_band(page, box, analysis.windows, (0, strip.duration_s))
    axes = page.axes(box, facecolor="none", xlim=(0, strip.duration_s), ylim=(0, 1), yticks=[])
    middles_s = [np.mean(_edges_s(row, strip)) for row in rows.rows]
    axes.plot(middles_s, [1.3] * len(middles_s), "v", color=INK, markersize=9, clip_on=False)
    label = f"Time (s) in the whole recording; {len(rows.rows)} evenly spaced stretches (▼) follow"
    axes.set_xlabel(label, labelpad=2)


def _draw_borders(axes: Axes, borders: Borders, strip: Strip, row: Row) -> None:
    shown = slice(row.first_column, row.end_column)
    time_s = np.arange(row.first_column, row.end_column) * strip.seconds_per_column
    unsure = borders.confidence[shown] < LEAST_CONFIDENCE
    for border, colour in ((borders.upper_row, UPPER_BORDER), (borders.lower_row, LOWER_BORDER)):
        depth_mm = border[shown] * strip.mm_per_row
        axes.plot(time_s, depth_mm, color=colour, linewidth=1.0, alpha=0.55)
        axes.plot(time_s, np.where(unsure, np.nan, depth_mm), color=colour, linewidth=2.2)


def _draw_callipers(axes: Axes, analysis: Analysis, row: Row) -> None:
    for accepted in (False, True):
        beats = [beat for beat in analysis.beats if beat.accepted is accepted]
        for columns, colour in (
            ([beat.diastole_column for beat in beats], DIASTOLE),
            ([b.systole_column for b in beats if b.systole_column is not None], SYSTOLE),
        ):
            inside = [c for c in columns if row.first_column <= c < row.end_column]
            upper, lower = _depths_mm(analysis, inside)
            time_s = np.array(inside) * analysis.strip.seconds_per_column
            axes.vlines(
                time_s,
                upper,
                lower,
                color=colour,
                linewidth=1.8 if accepted else 1.4,
                linestyle="solid" if accepted else (0, (1.2, 2.0)),
            )
            axes.plot(
                [*time_s, *time_s],
                [*upper, *lower],
                "o",
                color=colour,
                markersize=6,
                markerfacecolor=colour if accepted else "black",
                markeredgewidth=1.3,
            )


def _depths_mm(
    analysis: Analysis, columns: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depth of both borders at these columns, mm; NaN where they are absent."""
    borders, mm_per_row = analysis.borders, analysis.strip.mm_per_row
    at = np.array(columns, np.intp)
    upper, lower = borders.upper_row[at], borders.lower_row[at]
    return upper.astype(np.float64) * mm_per_row, lower.astype(np.float64) * mm_per_row


def _edges_s(row: Row, strip: Strip) -> tuple[float, float]:
    """Time at the outer edges of a row's columns: a column's time is that of its centre."""
    dt = strip.seconds_per_column
    return (row.first_column - 0.5) * dt, (row.end_column - 0.5) * dt


def _handles() -> list[Line2D]:
    def calliper(colour: str, label: str, *, accepted: bool) -> Line2D:
        return Line2D(
            [],
            [],
            color=colour,
            linestyle="solid" if accepted else (0, (1.2, 2.0)),
            marker="o",
            markerfacecolor=colour if accepted else "black",
            label=label,
        )

    return [
        Line2D([], [], color=UPPER_BORDER, linewidth=2.2, label="upper border"),
        Line2D([], [], color=LOWER_BORDER, linewidth=2.2, label="lower border"),
        Line2D([], [], color=LOWER_BORDER, linewidth=1, alpha=0.55, label="uncertain"),
        calliper(DIASTOLE, "diastole", accepted=True),
        calliper(DIASTOLE, "diastole, not counted", accepted=False),
        calliper(SYSTOLE, "systole", accepted=True),
        calliper(SYSTOLE, "systole, not counted", accepted=False),
    ]
