"""Analysis → figures."""

import threading
from collections.abc import Callable, Mapping, Sequence

import matplotlib as mpl

from app.output.beat_figures import diastole, function, heart_rate, systole
from app.output.mice import Mouse
from app.output.overview import overview
from app.output.page import STYLE, Page
from app.output.strip_figures import echocardiogram, segmentation
from app.pipeline.results import Analysis

FIGURES: Mapping[str, Callable[[Analysis], Page]] = {
    "echocardiogram": echocardiogram,
    "segmentation": segmentation,
    "diastole": diastole,
    "systole": systole,
    "heart_rate": heart_rate,
    "function": function,
}

_drawing = threading.Lock()  # matplotlib's fonts and settings are shared by all threads


def draw(name: str, analysis: Analysis) -> bytes:
    """Draw one figure.

    Parameters
    ----------
    name : str
        One of ``names.FIGURE_NAMES``.
    analysis : Analysis

    Returns
    -------
    bytes
        A PNG file, 1600 pixels wide and at most a few thousand high, however long the recording.
        It holds nothing of the file's name or subject.

    Raises
    ------
    KeyError
        There is no figure of this name.
    """
    figure = FIGURES[name]
    return _draw(lambda: figure(analysis))


def draw_overview(name: str, mice: Sequence[Mouse]) -> bytes:
    """Draw the figure of a study.

    Parameters
    ----------
    name : str
        Of the study.
    mice : sequence of Mouse

    Returns
    -------
    bytes
        A PNG file, 1600 pixels wide.
    """
    return _draw(lambda: overview(name, mice))


def _draw(page: Callable[[], Page]) -> bytes:
    with _drawing, mpl.rc_context():
        mpl.rcdefaults()  # whatever the user's own matplotlib settings are
        mpl.rcParams.update(STYLE)
        return page().png()
