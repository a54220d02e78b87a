"""How the quality of the acquisition is shown: a band, its scale, and backgrounds."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Patch
from numpy.typing import NDArray

from app.output.page import Box, Page
from app.output.palette import (
    FAINT_INK,
    HIGH_BACKGROUND,
    LOW_BACKGROUND,
    PROBABILITY_COLOURS,
)
from app.pipeline.results import QualityWindow

NARROWEST_NUMBERED_PX = 42
PROBABILITY = Normalize(0, 1)


def quality_band(
    page: Page,
    box: Box,
    windows: Sequence[QualityWindow],
    span_s: tuple[float, float],
    *,
    numbered: bool = False,
) -> None:
    """Draw a band with the colour of each window's probability, over a span of time.

    Parameters
    ----------
    page, box
        Where the band lies; the numbers stand above it.
    windows : sequence of QualityWindow
    span_s : tuple of float
        Time at the left and the right end, s.
    numbered : bool
        Write the probability over each window that is wide enough for it.
    """
    shown = [w for w in windows if w.end_s > span_s[0] and w.start_s < span_s[1]]
    means = np.full(round(box.width), np.nan)
    if shown:
        means = _mean_probability(windows, np.linspace(*span_s, means.size + 1))
    page.picture(box, _colours(np.tile(means, (round(box.height), 1))))
    px_per_s = box.width / (span_s[1] - span_s[0])
    for window in shown if numbered else []:
        start, end = max(window.start_s, span_s[0]), min(window.end_s, span_s[1])
        if (end - start) * px_per_s >= NARROWEST_NUMBERED_PX:
            page.text(
                box.left + ((start + end) / 2 - span_s[0]) * px_per_s,
                box.top - 0.12 * box.height,
                f"{window.probability:.2f}",
                ha="center",
                va="bottom",
                fontsize=11,
                color=FAINT_INK,
            )


def quality_scale(page: Page, box: Box) -> None:
    """Draw the scale that maps colour to probability."""
    axes = page.axes(box)
    scale = np.linspace(1, 0, round(box.height))
    page.picture(box, _colours(np.tile(scale[:, None], (1, round(box.width)))), axes)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xticks=[],
        yticks=[0, 0.25, 0.5, 0.75, 1],
        ylabel="Probability of high quality",
    )
    axes.yaxis.set_label_position("right")
    axes.yaxis.tick_right()
    middle = box.left + box.width / 2
    page.text(middle, box.top - 8, "high", ha="center", va="bottom", fontsize=12)
    page.text(middle, box.top + box.height + 6, "low", ha="center", fontsize=12)


def _colours(probability: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colour of each probability, shape (rows, columns, 3); white where there is none."""
    colours = np.asarray(PROBABILITY_COLOURS(PROBABILITY(probability), bytes=True))[..., :3]
    return np.where(np.isnan(probability)[..., None], np.uint8(255), colours)


def quality_backgrounds(axes: Axes, windows: Sequence[QualityWindow]) -> None:
    """Tint the time in windows of high and of low quality."""
    for label, colour in (("high", HIGH_BACKGROUND), ("low", LOW_BACKGROUND)):
        axes.broken_barh(
            _stretches(windows, label),
            (0, 1),
            transform=axes.get_xaxis_transform(),
            facecolor=colour,
            edgecolor="none",
            zorder=0,
        )


def background_handles() -> list[Patch]:
    """Explain the backgrounds in a legend."""
    return [
        Patch(facecolor=HIGH_BACKGROUND, edgecolor=FAINT_INK, label="high quality"),
        Patch(facecolor=LOW_BACKGROUND, edgecolor=FAINT_INK, label="low quality"),
    ]


def _stretches(windows: Sequence[QualityWindow], label: str) -> list[tuple[float, float]]:
    """Start and duration, s, of the stretches of windows that follow each other with this label.

    One bar for each stretch: bars that only touch would show a seam.
    """
    return [
        (run[0].start_s, run[-1].end_s - run[0].start_s)
        for run_label, group in groupby(windows, key=lambda window: window.label)
        if run_label == label and (run := list(group))
    ]


def _mean_probability(
    windows: Sequence[QualityWindow], edges_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean probability between each edge and the next: of minutes, many windows share a pixel."""
    bounds_s = np.array([windows[0].start_s, *(w.end_s for w in windows)])
    probabilities = np.array([w.probability for w in windows])
    areas = np.concatenate([[0.0], np.cumsum(probabilities * np.diff(bounds_s))])
    covered_s = np.diff(np.clip(edges_s, bounds_s[0], bounds_s[-1]))
    area = np.diff(np.interp(edges_s, bounds_s, areas))
    mean = np.full(covered_s.size, np.nan)
    np.divide(area, covered_s, out=mean, where=covered_s > 0)
    return mean
