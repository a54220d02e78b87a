"""Beats as marks: filled where they count, hollow where they do not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from app.output.palette import INK, PROBABILITY_COLOURS
from app.output.quality_marks import PROBABILITY
from app.output.ranges import Range
from app.pipeline.results import Beat

MEDIAN_STYLE: dict[str, Any] = {"color": INK, "linewidth": 1.4, "linestyle": (0, (6, 3))}


@dataclass(frozen=True)
class Points:
    """Beats that have both values, as arrays of equal length."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    quality: NDArray[np.float64]
    accepted: NDArray[np.bool_]


def points_of(
    beats: Sequence[Beat],
    x_of: Callable[[Beat], float | None],
    y_of: Callable[[Beat], float | None],
) -> Points:
    """Collect two values of the beats that have both."""
    there = [(x, y, b) for b in beats if (x := x_of(b)) is not None and (y := y_of(b)) is not None]
    return Points(
        x=np.array([x for x, _, _ in there], np.float64),
        y=np.array([y for _, y, _ in there], np.float64),
        quality=np.array([beat.quality for _, _, beat in there], np.float64),
        accepted=np.array([beat.accepted for _, _, beat in there], np.bool_),
    )


def draw_points(axes: Axes, points: Points, shown: Range) -> None:
    """Draw accepted beats filled, rejected ones hollow, those beyond the axis at its edge."""
    size = _marker_size(points.x.size)
    beyond = (points.y > shown.high) | (points.y < shown.low)
    for chosen, marker, fill in (
        (~points.accepted & ~beyond, "o", "white"),
        (points.accepted & ~beyond, "o", INK),
        (points.y > shown.high, "^", "white"),
        (points.y < shown.low, "v", "white"),
    ):
        axes.plot(
            points.x[chosen],
            shown.clip(points.y[chosen]),
            marker,
            color=INK,
            markersize=size,
            markerfacecolor=fill,
            markeredgewidth=_edge_width(points.x.size),
            clip_on=False,
            zorder=3,
        )


def draw_coloured_points(axes: Axes, points: Points, across: Range, shown: Range) -> None:
    """Draw beats in the colour of their quality; those beyond an axis lie on its edge."""
    count = points.x.size
    colours = PROBABILITY_COLOURS(PROBABILITY(points.quality))
    x, y = across.clip(points.x), shown.clip(points.y)
    for chosen, fill, edge, width in (
        (~points.accepted, "none", colours, _edge_width(count)),
        (points.accepted, colours, INK, _edge_width(count) / 2),
    ):
        axes.scatter(
            x[chosen],
            y[chosen],
            _marker_size(count) ** 2,
            facecolors=fill if isinstance(fill, str) else fill[chosen],
            edgecolors=edge if isinstance(edge, str) else edge[chosen],
            linewidths=width,
            clip_on=False,
            zorder=3,
        )


def _marker_size(count: int) -> float:
    """Diameter of a marker in points: smaller where thousands share the axis."""
    return 7.0 if count <= 150 else 4.5 if count <= 800 else 2.5


def _edge_width(count: int) -> float:
    """Width of a marker's outline in points."""
    return 1.4 if count <= 800 else 0.6


def beat_handles() -> list[Line2D]:
    """Explain the marks in a legend."""

    def marker(shape: str, fill: str, label: str) -> Line2D:
        return Line2D(
            [],
            [],
            linestyle="none",
            marker=shape,
            color=INK,
            markersize=7,
            markerfacecolor=fill,
            markeredgewidth=1.4,
            label=label,
        )

    return [
        marker("o", INK, "beat that counts"),
        marker("o", "white", "not counted"),
        marker("^", "white", "beyond the axis"),
        Line2D([], [], **MEDIAN_STYLE, label="median of those that count"),
    ]
