"""The screens of one scrolling M-mode to one strip."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.pipeline.dicom import Recording
from app.pipeline.errors import TooLarge, TooShort
from app.pipeline.limits import Limits
from app.pipeline.registration import Screen, find_shift
from app.pipeline.results import Strip, Warning

MIN_DURATION_S = 0.3
_MAX_WARNINGS = 10


def stitch(
    recording: Recording,
    limits: Limits = Limits(),
    progress: Callable[[float], None] = lambda fraction: None,
) -> Strip:
    """Join the screens of a recording; only columns that a screen adds are kept of it.

    Columns that the scanner had not drawn yet, black from top to bottom at the left of the first
    screens, are left out; the starts of those screens are negative.

    Parameters
    ----------
    recording : Recording
    limits : Limits
    progress : callable
        Called with the fraction of the screens done, after each; may raise to stop.

    Returns
    -------
    Strip
        With a warning ``screens_do_not_overlap`` wherever a screen was appended whole.

    Raises
    ------
    TooShort
        If the strip lasts less than 0.3 s.
    TooLarge
        If it has more columns than allowed.
    CorruptPixelData
        If a screen cannot be decoded.
    """
    growing = _GrowingStrip()
    for number, pixels in enumerate(recording.screens(), start=1):
        growing.add(Screen(pixels))
        if growing.columns > limits.max_strip_columns:
            raise TooLarge(
                f"The M-mode is longer than the {limits.max_strip_columns} columns that are read."
            )
        progress(number / recording.info.frames)
    pixels, starts = growing.finish()
    seconds_per_column = recording.region.seconds_per_column
    duration_s = pixels.shape[1] * seconds_per_column
    if duration_s < MIN_DURATION_S:
        raise TooShort(
            f"The recording holds {duration_s:.2f} s of M-mode; at least {MIN_DURATION_S} s are "
            "needed."
        )
    return Strip(
        pixels,
        recording.region,
        recording.info.frames,
        starts,
        (*recording.warnings, *_warnings(growing.joins, seconds_per_column)),
    )


class _GrowingStrip:
    """What has been joined so far; of the screens only the last one is held."""

    def __init__(self) -> None:
        self.columns = 0
        self.joins: list[tuple[int, int]] = []  # the screen, from 0, and the strip's column
        self._blocks: list[NDArray[np.uint8]] = []
        self._starts: list[int] = []
        self._last: Screen | None = None

    def add(self, screen: Screen) -> None:
        if self._last is None or self._is_blank:
            self._begin(screen)
        else:
            self._append(screen, find_shift(self._last, screen))
        self._last = screen

    def finish(self) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
        """Return pixels, shape (rows, columns), and the start of every screen."""
        if self._last is not None and self._is_blank:
            return self._last.pixels.copy(), (0,) * len(self._starts)
        return np.concatenate(self._blocks, axis=1), tuple(self._starts)

    @property
    def _is_blank(self) -> bool:
        """Whether so little has been drawn that no later screen could be found to overlap it."""
        last = self._last
        return (
            last is not None
            and len(self._blocks) == 1
            and last.undrawn_columns > 0
            and last.columns - last.undrawn_columns < last.min_overlap
        )

    def _begin(self, screen: Screen) -> None:
        undrawn = screen.undrawn_columns
        self._starts = [-screen.columns] * len(self._starts) + [-undrawn]
        self._blocks = [screen.pixels[:, undrawn:].copy()]
        self.columns = screen.columns - undrawn

    def _append(self, screen: Screen, shift: int | None) -> None:
        if shift is None:
            self.joins.append((len(self._starts), self.columns))
            self._starts.append(self.columns)
            self._blocks.append(screen.pixels)
            self.columns += screen.columns
            return
        self._starts.append(self._starts[-1] + shift)
        if shift:
            self._blocks.append(screen.pixels[:, -shift:].copy())
            self.columns += shift


def _warnings(joins: list[tuple[int, int]], seconds_per_column: float) -> list[Warning]:
    code = "screens_do_not_overlap"
    warnings = [
        Warning(
            code,
            f"Screens {screen} and {screen + 1} do not overlap. The strip was joined at "
            f"{column * seconds_per_column:.2f} s; time is missing there, and a beat across the "
            "join is not to be trusted.",
        )
        for screen, column in joins[:_MAX_WARNINGS]
    ]
    if len(joins) > _MAX_WARNINGS:
        more = len(joins) - _MAX_WARNINGS
        warnings.append(Warning(code, f"So it is at {more} more places."))
    return warnings
