"""A page to draw on: laid out in pixels from its top left corner, given out as a PNG file."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from app.output.palette import FAINT_INK, INK

WIDTH_PX = 1600
DOTS_PER_INCH = 100
TITLE_TOP_PX, NOTE_TOP_PX, LEGEND_TOP_PX = 16, 56, 84
PLAIN_HEADER_PX, HEADER_PX = 92, 128  # without and with a legend

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 13,
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "text.color": INK,
    "axes.edgecolor": FAINT_INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 1.0,
    "path.simplify": True,
}
"""Set for the time of drawing, on top of matplotlib's own defaults."""


@dataclass(frozen=True)
class Box:
    """A rectangle of the page in pixels, from the top left."""

    left: float
    top: float
    width: float
    height: float


class Page:
    """One figure.

    Parameters
    ----------
    height_px : float
        The width is ``WIDTH_PX``.
    title : str
    note : str
        What a reader has to know to read the figure, in a line.
    """

    def __init__(self, height_px: float, title: str, note: str = "") -> None:
        self.height_px = round(height_px)
        size = (WIDTH_PX / DOTS_PER_INCH, self.height_px / DOTS_PER_INCH)
        self._figure = Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor="white")
        self.text(24, TITLE_TOP_PX, title, fontsize=19, fontweight="bold")
        self.text(24, NOTE_TOP_PX, note, fontsize=13, color=FAINT_INK)

    def axes(self, box: Box, **options: Any) -> Axes:
        """Add axes whose frame is this box."""
        bottom = self.height_px - box.top - box.height
        across, up = WIDTH_PX, self.height_px
        place = (box.left / across, bottom / up, box.width / across, box.height / up)
        return self._figure.add_axes(place, **options)

    def text(self, left: float, top: float, text: str, **options: Any) -> None:
        """Write a text; its top left corner lies here unless the options align it otherwise."""
        place = (left / WIDTH_PX, 1 - top / self.height_px)
        self._figure.text(*place, text, **({"va": "top"} | options))

    def legend(self, handles: Sequence[Artist], background: str | None = None) -> None:
        """Explain marks and colours in a row of its own, outside the data.

        On a dark background, for marks that are made to be seen on a strip, the text is white.
        """
        self._figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(24 / WIDTH_PX, 1 - LEGEND_TOP_PX / self.height_px),
            ncols=len(handles),
            frameon=background is not None,
            fancybox=False,
            framealpha=1,
            facecolor=background,
            edgecolor=background,
            labelcolor=None if background is None else "white",
            fontsize=12.5,
            handlelength=2.2,
            handletextpad=0.6,
            columnspacing=1.8,
            borderpad=0.35,
            borderaxespad=0,
        )

    def png(self) -> bytes:
        """Draw the page."""
        drawn, file = io.BytesIO(), io.BytesIO()
        self._figure.savefig(drawn, format="rgba")
        opaque = Image.frombytes("RGBA", (WIDTH_PX, self.height_px), drawn.getvalue()).convert(
            "RGB"
        )
        # a low level takes half the time of the usual one for a tenth more bytes
        opaque.save(file, "PNG", compress_level=3)
        return file.getvalue()
