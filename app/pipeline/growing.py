"""A strip that grows by what each screen adds to it."""

import numpy as np
from numpy.typing import NDArray

from app.pipeline.columns import bridged, find_bar, find_bars, is_picture
from app.pipeline.errors import SweepNotOrdered
from app.pipeline.registration import Screen, count_undrawn, find_shift
from app.pipeline.sweep import BLURRED_COLUMNS, Canvas, Change
from app.pipeline.undecided import Undecided

_FRONT_COLUMNS = 24  # how far from where the bar stood the columns that it has passed may begin
_NARROW_COLUMNS = 128  # of a screen, where compression leaves too little to tell how it works


class GrowingStrip:
    """What has been joined so far; of the screens only the last one is held.

    The screens may scroll, or be overwritten by a bar that sweeps over them. Which of the two it
    is shows as soon as something new comes; until then all that is known is the first screen.

    Parameters
    ----------
    is_lossy : bool
        Whether the screens are known to have been compressed with losses, so that a mark changes
        what is beside it.

    Attributes
    ----------
    columns : int
    joins : list of (int, int)
        Where a screen was appended whole: its number, from 0, and the strip's column.
    is_sweep : bool
        Whether a bar was seen to sweep over the screens.
    bars : list of (int, int)
        Where such a bar stands still on screens that never moved: the first of its columns in
        the strip, and the one after the last. Known once the strip is finished.
    """

    def __init__(self, is_lossy: bool = False) -> None:
        self._is_lossy = is_lossy
        self.columns = 0
        self.joins: list[tuple[int, int]] = []
        self.is_sweep = False
        self.bars: list[tuple[int, int]] = []
        self._blocks: list[NDArray[np.uint8]] = []
        self._starts: list[int] = []
        self._last: Screen | None = None
        self._canvas: Canvas | None = None  # until the screens scroll
        self._front = 0  # the column that the bar passes next
        self._scrolls = False
        self._undecided = Undecided()
        self._bars_at_joins: set[tuple[int, int]] = set()
        self._shift = 0  # of the last screen that moved: the next is likely to move as far

    def add(self, screen: Screen) -> None:
        """Take the next screen.

        Raises
        ------
        SweepNotOrdered
        """
        last = self._last
        if last is None or self._is_blank:
            self._begin(screen)
        elif np.array_equal(last.values, screen.values):
            self._repeat()
        elif self._canvas is None:
            self._append(screen, find_shift(last, screen, self._shift))
        elif self.is_sweep:
            self._sweep_on(self._canvas, screen)
        else:
            self._first_move(self._canvas, last, screen)
        self._last = screen

    def finish(self) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
        """Return pixels, shape (rows, columns), and the start of every screen.

        Raises
        ------
        SweepNotOrdered
        """
        last = self._last
        if last is not None and self._is_blank:
            return last.pixels.copy(), (0,) * len(self._starts)
        self._refuse_narrow()
        if self._canvas is not None and not self.is_sweep:
            self._settle(self._canvas)
        if self.is_sweep:
            self._trim()
        if not self.is_sweep and not self._scrolls:
            at = 0
            for block in self._blocks:
                self.bars += [(at + first, at + end) for first, end in find_bars(block)]
                at += block.shape[1]
        pixels = np.empty((self._blocks[0].shape[0], self.columns), np.uint8)
        at = 0
        self._blocks.reverse()
        while self._blocks:  # each is let go as soon as it is copied
            block = self._blocks.pop()
            pixels[:, at : at + block.shape[1]] = block
            at += block.shape[1]
        return pixels, tuple(self._starts)

    @property
    def _is_blurred(self) -> bool:
        """Whether the screens are known to have been compressed with losses, or look like it."""
        return self._is_lossy or (self._canvas is not None and self._canvas.is_blurred)

    @property
    def _is_blank(self) -> bool:
        """Whether so little has been drawn that no later screen could be found to overlap it."""
        last = self._last
        return (
            last is not None
            and len(self._blocks) == 1
            and last.undrawn_columns > 0
            # compression blurs the edge of what is drawn: that much more is needed
            and last.columns - last.undrawn_columns < 2 * last.min_overlap
        )

    def _begin(self, screen: Screen) -> None:
        undrawn = screen.undrawn_columns
        self._starts = [-screen.columns] * len(self._starts) + [-undrawn]
        self._blocks = [screen.pixels[:, undrawn:].copy()]
        self.columns = screen.columns - undrawn
        self._canvas = Canvas(screen, self._is_lossy)
        self._undecided = Undecided()

    def _repeat(self) -> None:
        self._starts.append(self._starts[-1])

    def _append(self, screen: Screen, shift: int | None) -> None:
        if shift is None:
            if not self._scrolls and self._last is not None:
                self._refuse_bar(self._last, screen)
            self.joins.append((len(self._starts), self.columns))
            self._starts.append(self.columns)
            self._blocks.append(screen.pixels)
            self.columns += screen.columns
            return
        self._scrolls |= shift > 0
        self._starts.append(self._starts[-1] + shift)
        if shift:
            self._shift = shift
            self._blocks.append(screen.last_columns(shift))
            self.columns += shift

    def _refuse_narrow(self) -> None:
        """Refuse narrow screens after compression that neither scroll nor stand, nor sweep.

        They may have been swept over by a bar of which compression has left nothing.
        """
        if self._scrolls or self.is_sweep or self._last is None or not self._is_blurred:
            return
        is_open = self._undecided.change is not None
        if self._last.columns < _NARROW_COLUMNS and (self.joins or is_open):
            raise SweepNotOrdered(
                "After compression with losses the screens are too narrow to tell how they follow "
                "one another. Export the recording without it, or with a wider M-mode."
            )

    def _refuse_bar(self, *screens: Screen) -> None:
        """Refuse screens that have nothing in common but a bar, which has moved."""
        for screen in screens:
            bar = find_bar(screen.pixels)
            if bar and any(_has_moved(before, bar) for before in self._bars_at_joins):
                raise _not_ordered()
            if bar:
                self._bars_at_joins.add(bar)

    def _first_move(self, canvas: Canvas, last: Screen, screen: Screen) -> None:
        """Tell from the first screens that differ how the display works."""
        change, shift = canvas.change(screen), None
        if change is None or not change.rules_out_scrolling:
            shift = find_shift(last, screen, self._shift)
            change = None if shift else change
        was_open = self._undecided.change
        if self._undecided.look_at(len(self._starts), change):
            self._repeat()
        elif change is not None and (change.shows_sweep or self._undecided.grows):
            self._unroll(canvas, change)
            self._advance(canvas, screen, change)
        elif change is None and not shift and canvas.hardly_precedes(screen):
            self._begin(screen)
        elif shift == 0 or (change is not None and change.is_one_piece):
            if change is None and find_shift(Screen(canvas.pixels), screen) != 0:
                raise _not_ordered()  # what stood there has gone little by little
            canvas.fill(screen)
            self._repeat()
        elif change is not None:
            raise _not_ordered()
        elif shift is None and was_open is not None and self._is_passed(last, screen, was_open):
            self._settle_as_sweep(canvas, last, was_open)
            self._sweep_on(canvas, screen)
        elif shift is None and was_open is not None and not was_open.is_blurred:
            raise _not_ordered()
        else:
            if shift is not None:
                canvas.fill(last)  # which may have waited
            self._stand(canvas)
            self._is_lossy |= canvas.is_blurred
            self._canvas = None
            self._append(screen, shift)

    def _settle(self, canvas: Canvas) -> None:
        """Decide at the end what no screen has decided."""
        last, change = self._last, self._undecided.change
        if last is None or change is None or change.is_blurred or not change.is_one_stretch:
            self._stand(canvas)
        else:
            self._settle_as_sweep(canvas, last, change)

    def _settle_as_sweep(self, canvas: Canvas, last: Screen, change: Change) -> None:
        """Take the last screen, which had left it open, for one of a sweep."""
        self._unroll(canvas, change)
        self._advance(canvas, last, change)
        self._starts.pop(-2)  # the same screen's

    def _is_passed(self, last: Screen, screen: Screen, change: Change) -> bool:
        """Whether a bar that had begun to sweep on the last screen is far ahead on the next.

        Since the first screen it has passed nearly all columns, but not since the last one.
        """
        since = Canvas(last, self._is_lossy).change(screen)
        return (
            since is not None
            and since.shows_sweep
            and abs(since.start + since.blurred_columns - change.end) <= _FRONT_COLUMNS
        )

    def _stand(self, canvas: Canvas) -> None:
        """Take what stands on the canvas, from left to right, for the strip so far."""
        first = count_undrawn(canvas.pixels)
        end = canvas.columns - count_undrawn(canvas.pixels[:, ::-1])
        if first >= end:
            first, end = 0, canvas.columns
        self._blocks = [canvas.pixels[:, first:end]]
        self.columns = end - first

    def _unroll(self, canvas: Canvas, change: Change) -> None:
        """Take what stood on the canvas before the bar moved, from behind the bar on."""
        self._front = (change.start + change.blurred_columns) % canvas.columns
        order = canvas.around(self._front, canvas.columns)
        blank = np.flatnonzero(~canvas.known[order[:_FRONT_COLUMNS]])
        order = order[int(blank[-1]) + 1 :] if len(blank) else order
        order = order[int(canvas.known[order].argmax()) :]
        self._blocks = [canvas.pixels[:, order]]
        self.columns = len(order)
        start = self.columns - canvas.columns
        self._starts = [start] * len(self._starts)
        for number, end in self._undecided.ends:
            passed = (end - change.start) % canvas.columns
            passed = passed if passed < change.columns else 0
            self._starts[number:] = [start + passed] * (len(self._starts) - number)
        self.is_sweep = True

    def _sweep_on(self, canvas: Canvas, screen: Screen) -> None:
        change = canvas.change(screen)
        if change is None or not change.is_one_piece:
            raise _not_ordered()
        self._advance(canvas, screen, change)

    def _advance(self, canvas: Canvas, screen: Screen, change: Change) -> None:
        """Append what the bar has passed since the last screen."""
        ahead = (change.start - self._front) % canvas.columns
        if change.columns and ahead >= canvas.columns - _FRONT_COLUMNS:
            # the bar itself was taken for a picture: what has replaced it comes in its place
            self._take_back(canvas.columns - ahead)
            self._front, ahead = change.start, 0
        passed = canvas.around(self._front, ahead + change.columns if change.columns else 0)
        between = passed[:ahead]
        if int(is_picture(screen.pixels[:, between]).sum()) > _FRONT_COLUMNS:
            if not change.is_small:
                raise _not_ordered()
            passed = passed[:0]  # a mark that has moved elsewhere
        passed = passed[: _before_bar(screen.pixels[:, passed], change.is_other[passed])]
        self._blocks.append(screen.pixels[:, passed])
        canvas.draw(screen, passed)
        self._front = (self._front + len(passed)) % canvas.columns
        self.columns += len(passed)
        self._starts.append(self.columns - canvas.columns)

    def _trim(self) -> None:
        """Remove the bar from the end of the strip, where compression has blurred its edge."""
        end = np.concatenate(self._blocks[-_FRONT_COLUMNS:], axis=1)[:, -_FRONT_COLUMNS:]
        blank = np.flatnonzero(~is_picture(end))
        if len(blank):
            self._take_back(end.shape[1] - int(blank[0]))

    def _take_back(self, columns: int) -> None:
        """Remove the last columns of the strip."""
        self.columns -= columns
        while columns:
            block = self._blocks.pop()
            if block.shape[1] > columns:
                self._blocks.append(block[:, :-columns])
            columns -= min(columns, block.shape[1])


def _before_bar(pixels: NDArray[np.uint8], is_other: NDArray[np.bool_]) -> int:
    """Count the columns before a bar that has nothing but its own blurred edge behind it."""
    shown = ~bridged(~is_picture(pixels))  # a column of the bar may have caught some noise
    blank = np.flatnonzero(~shown)
    if not len(blank) or int(is_other[blank[-1] + 1 :].sum()) > BLURRED_COLUMNS:
        return len(shown)
    before = np.flatnonzero(shown[: blank[-1]])
    return int(before[-1]) + 1 if len(before) else 0


def _has_moved(before: tuple[int, int], bar: tuple[int, int]) -> bool:
    """Whether two bars may be the same one in two places."""
    (was_first, was_end), (first, end) = before, bar
    wider = (end - first) - (was_end - was_first)
    return abs(first - was_first) > BLURRED_COLUMNS and abs(wider) <= BLURRED_COLUMNS


def _not_ordered() -> SweepNotOrdered:
    return SweepNotOrdered(
        "The screens do not scroll: a bar overwrites them from left to right, and too much "
        "between them is missing to put them in order. Export all screens of the recording, or a "
        "recording that scrolls."
    )
