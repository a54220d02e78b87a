"""Displays that do not scroll: a bar sweeps over the screen and overwrites what it showed before.

Of two consecutive screens of a sweep all columns are the same but those that the bar has passed.
Those columns are new; they begin where the bar stood before. So a sweep tells itself from an
M-mode that scrolls, where every column moves. On a picture that is frozen under a moving cursor
columns change, too, most of all where compression has blurred what stands beside it; but never
many of them, and they change back.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from app.pipeline.chance import chance_difference
from app.pipeline.columns import (
    is_faint,
    is_picture,
    longest_piece,
    longest_run,
    longest_stretch,
    without_specks,
)
from app.pipeline.marks import rows_with_marks
from app.pipeline.registration import Screen

# Of what any two columns differ by: the most that compression may make a column that stays the
# same differ by. It was 0.02 at 20:1; another beat's is beyond 0.05 in 19 of 20 columns.
_SAME = 0.05
_OFF_COLUMNS = 2
_SHARPNESS = 1.3  # how much worse columns that are that far off have to fit
_SCATTERED = 0.1  # share of the columns that marks elsewhere on the screen may change
_LEAST_OVERWRITTEN_COLUMNS = 8  # before a display counts as one that sweeps
_MOST_HIDDEN_COLUMNS = 36  # by cursors of 16 columns, four columns apart, on two screens
_ONE_STRETCH = 0.8  # share of what is overwritten; where a cursor stood and stands are two
_LEAST_GROWTH_COLUMNS = 12
_LEAST_SHOWN_AGAIN_COLUMNS = 3  # of a cursor's place; after compression two may be so by chance
_LEAST_BLURRED_COLUMNS = 2  # side by side, that another beat does not resemble so much by chance
BLURRED_COLUMNS = 8  # to either side of a cursor or bar may compression change what stands there

Rows = slice | NDArray[np.bool_]
"""All rows, or those that are marked."""


@dataclass(frozen=True)
class Change:
    """What a screen shows that its predecessors did not.

    Attributes
    ----------
    start : int
        First new column.
    columns : int
        Number of columns from there on, around the right edge of the screen.
    overwritten : int
        Length of the longest stretch of them that showed another picture before.
    is_one_stretch : bool
        Whether these are nearly all that showed another picture before.
    is_one_piece : bool
        Whether nothing but a few marks has changed elsewhere.
    is_small : bool
        Whether all of it could be a few marks.
    is_other, is_same : ndarray of bool, shape (columns,)
        For every column of the screen whether it shows another picture than before, and not the
        same after compression, or the same one. Columns that show nothing are neither.
    is_blurred : bool
        Whether compression may have changed what stands beside the new columns.
    """

    start: int
    columns: int
    overwritten: int
    is_one_stretch: bool
    is_one_piece: bool
    is_small: bool
    is_other: NDArray[np.bool_]
    is_same: NDArray[np.bool_]
    is_blurred: bool

    @property
    def rules_out_scrolling(self) -> bool:
        """Whether so much stays in its place that no M-mode scrolls beside it."""
        return self.is_one_piece and 2 * int(self.is_same.sum()) >= len(self.is_same)

    @property
    def shows_sweep(self) -> bool:
        """Whether more is overwritten than a cursor could have hidden before and hides now."""
        blurred = 2 * BLURRED_COLUMNS if self.is_blurred else 0
        return self.is_one_piece and self.overwritten > _MOST_HIDDEN_COLUMNS + blurred

    @property
    def may_be_sweep(self) -> bool:
        """Whether more is overwritten than the end of what was drawn can have blurred."""
        blurred = BLURRED_COLUMNS if self.is_blurred else 0
        return self.is_one_piece and self.overwritten >= _LEAST_OVERWRITTEN_COLUMNS + blurred

    def continues(self, overwritten: int) -> bool:
        """Whether more is overwritten, side by side, than so many columns before.

        What a cursor hides by and by may come to lie side by side, too, but not for long.
        """
        blurred = BLURRED_COLUMNS if self.is_blurred else 0
        growth = self.overwritten - overwritten
        return self.is_one_stretch and growth >= _LEAST_GROWTH_COLUMNS + blurred

    @property
    def end(self) -> int:
        """The column after the last new one."""
        return (self.start + self.columns) % len(self.is_other)

    @property
    def blurred_columns(self) -> int:
        """How many columns from the first on may have changed by compression alone."""
        piece = np.arange(self.start, self.start + self.columns) % len(self.is_other)
        return int(self.is_other[piece].argmax())

    def undoes(self, was_other: NDArray[np.bool_]) -> bool:
        """Whether something is shown again that had been hidden, as a bar never does.

        Parameters
        ----------
        was_other : ndarray of bool, shape (columns,)
            For every column whether it has shown another picture since.
        """
        again = was_other & self.is_same
        if not self.is_blurred:
            return bool(again.any())
        return longest_stretch(again) >= _LEAST_SHOWN_AGAIN_COLUMNS


class Canvas:
    """What a display has shown last in every column, whatever bar or cursor stands there now.

    Parameters
    ----------
    screen : Screen
        The first one.
    is_blurred : bool
        Whether the screens are known to have been compressed with losses. Where they are not, it
        is found out: columns that show nothing are not of one grey then, and columns beside those
        that change have changed a little.
    """

    def __init__(self, screen: Screen, is_blurred: bool) -> None:
        is_faint_run = longest_run(is_faint(screen.pixels)) >= _LEAST_BLURRED_COLUMNS
        self.is_blurred = is_blurred or is_faint_run
        self.pixels = screen.pixels.copy()
        self.known = is_picture(screen.pixels)

    @cached_property
    def columns(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def least_same_columns(self) -> int:
        """How many columns have to stay as they are before two screens count as related."""
        return max(8, min(32, self.columns // 4), self.columns // 16)

    def hardly_precedes(self, screen: Screen) -> bool:
        """Whether so little had been drawn that nothing is lost where a screen begins anew.

        A few more columns than that are little, too, if the screen shows them again: compression
        may leave too few of them sharp enough to relate the two.
        """
        drawn = int(self.known.sum())
        if self.least_same_columns <= drawn < 2 * self.least_same_columns:
            both = np.flatnonzero(self.known & is_picture(screen.pixels))
            same, *_ = self._compare(screen, both, slice(None))
            return 2 * int(same.sum()) >= drawn
        return drawn < self.least_same_columns

    def around(self, start: int, columns: int) -> NDArray[np.int64]:
        """Return column numbers from `start` on, around the right edge."""
        return np.arange(start, start + columns) % self.columns

    def draw(self, screen: Screen, columns: NDArray[np.int64]) -> None:
        """Take over the given columns of a screen."""
        self.pixels[:, columns] = screen.pixels[:, columns]
        self.known[columns] = True

    def fill(self, screen: Screen) -> None:
        """Take over the columns that are seen for the first time.

        Compression has blurred the end of what had been drawn before them: it is taken over, too.
        """
        shown = is_picture(screen.pixels)
        filled = ~self.known & shown
        stretches, count = label(~self.known)
        for (stretch,) in find_objects(stretches, count) if self.is_blurred else []:
            if filled[stretch].any():
                filled[max(0, stretch.start - BLURRED_COLUMNS) : stretch.start] = True
        self.draw(screen, np.flatnonzero(filled & shown))

    def change(self, screen: Screen) -> Change | None:
        """Compare a screen with what has been shown.

        Returns
        -------
        Change or None
            None where hardly any column stays as it was: the two have nothing to do with each
            other, or the M-mode scrolls.
        """
        shown = is_picture(screen.pixels)
        both = np.flatnonzero(shown & self.known)
        if len(both) < self.least_same_columns:
            return None
        rows: Rows = slice(None)
        same, changed, limit = self._compare(screen, both, rows)
        differs = both[~same[both]]
        marked = rows_with_marks(self.pixels[:, differs], screen.pixels[:, differs], limit)
        if marked.any():
            rows = ~marked
            same, changed, _ = self._compare(screen, both, rows)
        new = without_specks(shown & ~same)
        start, columns = longest_piece(new, same, max(4, self.columns // 16))
        piece = self.around(start, columns)
        stayed = same.copy()
        stayed[piece] = False
        if self._sharp(screen, np.flatnonzero(stayed), rows) < self.least_same_columns:
            return None
        other = new & (changed | ~self.known)
        if self.is_blurred and other[piece].any():
            # what is merely blurred behind them will be drawn yet, or stays as it was
            columns = int(np.flatnonzero(other[piece])[-1]) + 1
            piece = piece[:columns]
        over = (other & self.known)[piece]
        overwritten = longest_stretch(over)
        within, few = int(other[piece].sum()), _SCATTERED * int(shown.sum())
        return Change(
            start,
            columns,
            overwritten=overwritten,
            is_one_stretch=_ONE_STRETCH * int(over.sum()) <= overwritten,
            is_one_piece=int(other.sum()) - within <= few,
            is_small=within <= few,
            is_other=other,
            is_same=same,
            is_blurred=self.is_blurred,
        )

    def _compare(
        self, screen: Screen, columns: NDArray[np.int64], rows: Rows
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], float]:
        """Find which columns show the same, and which show what compression does not explain.

        Returns the mean squared difference as well up to which a column is the same.
        """
        difference = self._differences(screen, columns, 0, rows)
        checked = columns[np.linspace(0, len(columns) - 1, 128).astype(int)]
        chance = chance_difference(self.pixels[:, checked][rows], screen.pixels[:, checked][rows])
        alike = difference <= _SAME * chance
        noise = float(np.quantile(difference[alike], 0.75)) if alike.any() else 0.0
        same, changed, little = np.zeros((3, self.columns), bool)
        limit = min(max(1.0, 8 * noise), _SAME * chance)
        same[columns] = difference <= limit
        little[columns] = alike & (difference > 0)
        self.is_blurred |= longest_run(little) >= _LEAST_BLURRED_COLUMNS
        changed[columns] = ~alike if self.is_blurred else ~same[columns]
        return same, changed, limit

    def _sharp(self, screen: Screen, columns: NDArray[np.int64], rows: Rows) -> int:
        """Count the columns that fit best where they are, and not a little beside."""
        columns = columns[(columns >= _OFF_COLUMNS) & (columns < self.columns - _OFF_COLUMNS)]
        here = self._differences(screen, columns, 0, rows)
        beside = np.minimum(
            self._differences(screen, columns, -_OFF_COLUMNS, rows),
            self._differences(screen, columns, _OFF_COLUMNS, rows),
        )
        return int(((beside >= _SHARPNESS * here) & (beside > 0)).sum())

    def _differences(
        self, screen: Screen, columns: NDArray[np.int64], off: int, rows: Rows
    ) -> NDArray[np.float32]:
        """Mean squared difference of every column, in the given rows."""
        difference = self.pixels[:, columns + off][rows].astype(np.float32)
        difference -= screen.pixels[:, columns][rows]
        return np.asarray(np.einsum("ij,ij->j", difference, difference) / len(difference))
