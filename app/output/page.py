"""A page to draw on: laid out in pixels from its top left corner, given out as a PNG file."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray
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

    def picture(self, box: Box, pixels: NDArray[np.uint8], axes: Axes | None = None) -> None:
        """Show a picture as it is, without resampling: under what axes show, or by itself.

        Parameters
        ----------
        box : Box
            Its top left corner, and the size of a frame around a picture without axes.
        pixels : ndarray of uint8, shape (rows, columns) or (rows, columns, 3)
            Of the page: grey or colour.
        axes : Axes, optional
        """
        left, bottom = round(box.left), round(self.height_px - box.top - box.height)
        shown = _Picture(left, bottom, pixels)
        if axes is not None:
            axes.add_artist(shown)
            return
        self._figure.add_artist(shown)
        frame = Rectangle(
            (box.left, self.height_px - box.top - box.height),
            box.width,
            box.height,
            fill=False,
            edgecolor=FAINT_INK,
            transform=IdentityTransform(),
        )
        self._figure.add_artist(frame)

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
        canvas = FigureCanvasAgg(self._figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        drawn = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        opaque = Image.fromarray(np.asarray(drawn)).convert("RGB")
        file = io.BytesIO()
        # a low level takes less than half the time of the usual one for a fifth more bytes
        opaque.save(file, "PNG", compress_level=2)
        return file.getvalue()


class _Picture(Artist):
    """Pixels that are copied to the page: matplotlib's own images are resampled in between."""

    zorder = 0

    def __init__(self, left: int, bottom: int, pixels: NDArray[np.uint8]) -> None:
        super().__init__()
        self._left, self._bottom = left, bottom
        rows, columns = pixels.shape[:2]
        self._rgba = np.full((rows, columns, 4), 255, np.uint8)
        self._rgba[..., :3] = (pixels[..., None] if pixels.ndim == 2 else pixels)[::-1]

    def draw(self, renderer: RendererBase) -> None:
        context = renderer.new_gc()
        renderer.draw_image(context, self._left, self._bottom, self._rgba)
        context.restore()
