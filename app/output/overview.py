"""The figure of a study: how each feature is distributed, group by group, a point per mouse."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from app.output.beat_figures import EF, FS, LVID_D, LVID_S, RATE, VOLUME_D, VOLUME_S, Quantity
from app.output.mice import Mouse
from app.output.page import HEADER_PX, WIDTH_PX, Box, Page
from app.output.palette import INK
from app.output.ranges import range_of

STROKE = Quantity("stroke_volume_ul", "Stroke volume", "µl", 12)
OUTPUT = Quantity("cardiac_output_ml_per_min", "Cardiac output", "ml/min", 6)
PANELS = (LVID_D, LVID_S, RATE, VOLUME_D, VOLUME_S, STROKE, OUTPUT, EF, FS)

MOST_GROUPS = 12  # more do not fit side by side; the others are gathered under one name
NO_GROUP, OTHER_GROUPS = "no group", "other groups"

_ACROSS, _LEFT_PX, _GAP_PX, _RIGHT_PX = 3, 96, 108, 24
_PANEL_HEIGHT_PX = 300
_LABEL_PX_PER_LETTER, _LONGEST_LABEL = 9.5, 18
_FLAT_LABELS_PX = 40
_SPREAD = 0.28  # of the distance between two groups: how far points of one stand apart
_MARKS = {"F": ("o", "#0072b2"), "M": ("^", "#d55e00"), None: ("s", "#5c5c5c")}
_SEXES = {"F": "female", "M": "male", None: "sex not given"}


def overview(name: str, mice: Sequence[Mouse]) -> Page:
    """Draw the distribution of each feature over the mice of each group.

    Parameters
    ----------
    name : str
        Of the study.
    mice : sequence of Mouse
        A point is the mean over a mouse's accepted beats; mice without one are counted only.
    """
    groups = _groups(mice)
    letters = max((len(_short(group)) for group in groups), default=0)
    width = (WIDTH_PX - _LEFT_PX - _RIGHT_PX - (_ACROSS - 1) * _GAP_PX) / _ACROSS
    turned = letters * _LABEL_PX_PER_LETTER > width / max(1, len(groups))
    below = letters * _LABEL_PX_PER_LETTER + 30 if turned else _FLAT_LABELS_PX + 12
    rows = -(-len(PANELS) // _ACROSS)
    page = Page(HEADER_PX + rows * (_PANEL_HEIGHT_PX + below), _title(name), _note(mice))
    page.legend(_handles(mice))
    for index, quantity in enumerate(PANELS):
        row, column = divmod(index, _ACROSS)
        left = _LEFT_PX + column * (width + _GAP_PX)
        top = HEADER_PX + row * (_PANEL_HEIGHT_PX + below)
        axes = page.axes(Box(left, top, width, _PANEL_HEIGHT_PX))
        _panel(axes, quantity, groups, turned=turned)
    return page


def _groups(mice: Sequence[Mouse]) -> dict[str, list[Mouse]]:
    groups: dict[str, list[Mouse]] = {}
    for mouse in mice:
        label = NO_GROUP if mouse.group is None else mouse.group
        if label not in groups and len(groups) >= MOST_GROUPS - 1:
            label = OTHER_GROUPS
        groups.setdefault(label, []).append(mouse)
    return groups


def _panel(axes: Axes, quantity: Quantity, groups: dict[str, list[Mouse]], *, turned: bool) -> None:
    values: list[float] = []
    for place, members in enumerate(groups.values()):
        found = [(m, v) for m in members if (v := m.features[quantity.feature].mean) is not None]
        drawn = np.array([value for _, value in found], np.float64)
        values += drawn.tolist()
        offsets = _offsets(drawn)
        for sex, (mark, colour) in _MARKS.items():
            chosen = np.array([mouse.sex == sex for mouse, _ in found], np.bool_)
            axes.plot(
                place + offsets[chosen],
                drawn[chosen],
                mark,
                color=colour,
                markersize=6 if drawn.size <= 40 else 4,
                markeredgecolor="white",
                markeredgewidth=0.5,
                zorder=3,
            )
        if drawn.size:
            _box(axes, place, drawn)
    array = np.array(values, np.float64)
    shown = range_of(array, np.ones(array.shape, np.bool_), quantity.least_span)
    axes.set_ylim(shown.low, shown.high)
    axes.set_xlim(-0.6, max(len(groups), 1) - 0.4)
    axes.set_ylabel(quantity.axis)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xticks(
        range(len(groups)),
        [_literal(_short(group)) for group in groups],
        rotation=90 if turned else 0,
    )
    if not values:
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "no values", transform=axes.transAxes, ha="center", va="center", fontsize=16
        )


def _box(axes: Axes, place: float, values: np.ndarray) -> None:
    """Draw the quartiles behind the points, and the median across them."""
    low, middle, high = (float(end) for end in np.percentile(values, (25, 50, 75)))
    axes.bar(place, high - low, 0.72, low, facecolor="#ececec", edgecolor="#9a9a9a", zorder=1)
    axes.hlines(middle, place - 0.36, place + 0.36, color=INK, linewidth=2, zorder=2)


def _offsets(values: np.ndarray) -> np.ndarray:
    """Move points sideways, by rank and the same way each time, so that equals do not hide."""
    steps: np.ndarray = (np.arange(values.size) * 0.618_034) % 1  # spreads any number evenly
    offsets = np.empty(values.size)
    offsets[np.argsort(values, kind="stable")] = _SPREAD * (2 * steps - 1)
    return offsets if values.size > 1 else np.zeros(values.size)


def _handles(mice: Sequence[Mouse]) -> list[Line2D]:
    sexes = [sex for sex in _MARKS if any(mouse.sex == sex for mouse in mice)]
    marks = [
        Line2D([], [], linestyle="none", marker=mark, color=colour, markersize=7, label=_SEXES[sex])
        for sex, (mark, colour) in ((sex, _MARKS[sex]) for sex in sexes)
    ]
    return [
        *marks,
        Line2D([], [], color=INK, linewidth=2, label="median"),
        Line2D([], [], color="#dcdcdc", linewidth=9, label="middle half"),
    ]


def _note(mice: Sequence[Mouse]) -> str:
    recordings = sum(len(mouse.file_names) for mouse in mice)
    # one that is in two groups, or has two sexes, is two points, and one mouse
    named = len({mouse.mouse_id for mouse in mice if mouse.mouse_id is not None})
    unnamed = sum(mouse.mouse_id is None for mouse in mice)
    counting = [mouse for mouse in mice if any(summary.n for summary in mouse.features.values())]
    without = named - len({mouse.mouse_id for mouse in counting if mouse.mouse_id is not None})
    without += unnamed - sum(mouse.mouse_id is None for mouse in counting)
    point = "mouse (mean over its beats that count)" if named else "recording (mean over its beats)"
    note = f"A point is a {point}. {_counted(recordings, 'recording')}"
    note += f" of {_counted(named, 'mouse', 'mice')}" if named else ""
    if named and unnamed:
        note += f", {unnamed} more without a mouse's name"
    return f"{note}; {without} without a beat that counts." if without else f"{note}."


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _title(name: str) -> str:
    return _literal(name if len(name) <= 90 else f"{name[:89]}…")


def _short(text: str) -> str:
    """Leave out the middle of a long name: names of groups often differ at their end."""
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 11]}…{text[-10:]}"


def _literal(text: str) -> str:
    """Keep matplotlib from reading dollar signs as mathematics."""
    return text.replace("$", r"\$")
