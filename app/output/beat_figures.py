"""The figures that show what was measured, beat by beat, against time and against rate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from app.output.beat_marks import (
    MEDIAN_STYLE,
    beat_handles,
    draw_coloured_points,
    draw_points,
    points_of,
)
from app.output.page import HEADER_PX, Box, Page
from app.output.quality_marks import (
    background_handles,
    quality_backgrounds,
    quality_band,
    quality_scale,
)
from app.output.ranges import Range, range_of
from app.output.wording import beats_note, quality_note
from app.pipeline.results import Analysis, Beat

LEFT_PX, PANEL_WIDTH_PX, PANEL_HEIGHT_PX, GAP_PX = 110, 1330, 320, 30
BELOW_PX = 72
BAND_PX = 24


@dataclass(frozen=True)
class Quantity:
    """A value of a beat: its feature's name, its axis, the least span that its axis shows."""

    feature: str
    label: str
    unit: str
    least_span: float

    @property
    def axis(self) -> str:
        return f"{self.label} ({self.unit})"


LVID_D = Quantity("lvid_d_mm", "LVID in diastole", "mm", 0.8)
LVID_S = Quantity("lvid_s_mm", "LVID in systole", "mm", 0.8)
VOLUME_D = Quantity("lv_vol_d_ul", "LV volume in diastole", "µl", 12)
VOLUME_S = Quantity("lv_vol_s_ul", "LV volume in systole", "µl", 6)
RATE = Quantity("heart_rate_bpm", "Heart rate", "bpm", 120)
EF = Quantity("ejection_fraction_pct", "Ejection fraction", "%", 20)
FS = Quantity("fractional_shortening_pct", "Fractional shortening", "%", 20)


def diastole(analysis: Analysis) -> Page:
    """Draw diameter and volume in diastole over time, on good and bad backgrounds."""
    return _over_time(analysis, "Diastole", (LVID_D, VOLUME_D), lambda beat: beat.diastole_s)


def systole(analysis: Analysis) -> Page:
    """Draw diameter and volume in systole over time, on good and bad backgrounds."""
    return _over_time(analysis, "Systole", (LVID_S, VOLUME_S), lambda beat: beat.systole_s)


def function(analysis: Analysis) -> Page:
    """Draw ejection fraction and fractional shortening over time."""
    return _over_time(analysis, "Systolic function", (EF, FS), lambda beat: beat.diastole_s)


def heart_rate(analysis: Analysis) -> Page:
    """Draw the rate over time under the quality band, and both volumes against the rate."""
    below_top = HEADER_PX + BAND_PX + 4 + PANEL_HEIGHT_PX + BELOW_PX + 14
    page = Page(below_top + PANEL_HEIGHT_PX + BELOW_PX, "Heart rate", _note(analysis))
    page.legend([*beat_handles(), *background_handles()])
    span_s = (0.0, analysis.strip.duration_s)
    band = Box(LEFT_PX, HEADER_PX, PANEL_WIDTH_PX, BAND_PX)
    quality_band(page, band, analysis.windows, span_s)
    over_time = Box(LEFT_PX, HEADER_PX + BAND_PX + 4, PANEL_WIDTH_PX, PANEL_HEIGHT_PX)
    axes = _time_panel(page, over_time, analysis, RATE, lambda beat: beat.diastole_s)
    axes.set_xlabel("Time (s)")

    width = (PANEL_WIDTH_PX - 230) / 2
    for index, volume in enumerate((VOLUME_D, VOLUME_S)):
        box = Box(LEFT_PX + index * (width + 90), below_top, width, PANEL_HEIGHT_PX)
        _against_rate(page.axes(box), analysis, volume)
    scale_left = LEFT_PX + PANEL_WIDTH_PX - 80
    quality_scale(page, Box(scale_left, below_top + 30, 26, PANEL_HEIGHT_PX - 60))
    return page


def _over_time(
    analysis: Analysis,
    title: str,
    quantities: Sequence[Quantity],
    time_s: Callable[[Beat], float | None],
) -> Page:
    height_px = HEADER_PX + len(quantities) * (PANEL_HEIGHT_PX + GAP_PX) - GAP_PX + BELOW_PX
    page = Page(height_px, title, _note(analysis))
    page.legend([*beat_handles(), *background_handles()])
    top = HEADER_PX
    for index, quantity in enumerate(quantities):
        box = Box(LEFT_PX, top, PANEL_WIDTH_PX, PANEL_HEIGHT_PX)
        axes = _time_panel(page, box, analysis, quantity, time_s)
        if index == len(quantities) - 1:
            axes.set_xlabel("Time (s)")
        else:
            axes.tick_params(labelbottom=False)
        top += PANEL_HEIGHT_PX + GAP_PX
    return page


def _time_panel(
    page: Page,
    box: Box,
    analysis: Analysis,
    quantity: Quantity,
    time_s: Callable[[Beat], float | None],
) -> Axes:
    axes = page.axes(box)
    quality_backgrounds(axes, analysis.windows)
    axes.set_xlim(0, analysis.strip.duration_s)
    points = points_of(analysis.beats, time_s, lambda beat: getattr(beat, quantity.feature))
    shown = range_of(points.y, points.accepted, quantity.least_span)
    draw_points(axes, points, shown)
    _draw_median(axes, analysis, quantity)
    _finish(axes, quantity.axis, shown, points.y.size)
    return axes


def _against_rate(axes: Axes, analysis: Analysis, volume: Quantity) -> None:
    points = points_of(
        analysis.beats,
        lambda beat: beat.heart_rate_bpm,
        lambda beat: getattr(beat, volume.feature),
    )
    across = range_of(points.x, points.accepted, RATE.least_span)
    shown = range_of(points.y, points.accepted, volume.least_span)
    draw_coloured_points(axes, points, across, shown)
    axes.set_xlim(across.low, across.high)
    axes.set_xlabel(RATE.axis)
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    _finish(axes, volume.axis, shown, points.y.size)


def _draw_median(axes: Axes, analysis: Analysis, quantity: Quantity) -> None:
    median = analysis.features[quantity.feature].median
    if median is None:
        return
    axes.axhline(median, **MEDIAN_STYLE, zorder=2)
    decimals = 2 if abs(median) < 10 else 1 if abs(median) < 100 else 0
    axes.annotate(
        f"median\n{median:.{decimals}f} {quantity.unit}",
        (1, median),
        xycoords=axes.get_yaxis_transform(),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=12.5,
    )


def _finish(axes: Axes, label: str, shown: Range, count: int) -> None:
    axes.set_ylabel(label)
    axes.set_ylim(shown.low, shown.high)
    if not count:
        axes.grid(visible=False)
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "no values", transform=axes.transAxes, ha="center", va="center", fontsize=16
        )


def _note(analysis: Analysis) -> str:
    return f"{beats_note(analysis)} {quality_note(analysis)}"
