"""Displays that do not scroll: a bar sweeps over the screen and overwrites what it showed before.

Of two consecutive screens of a sweep all columns are the same but those that the bar has passed.
Those columns are new; they begin where the bar stood before. So a sweep tells itself from an
M-mode that scrolls, where every column moves, and from a picture that is frozen under a moving
cursor, where nothing new stands behind the cursor.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, label

from app.pipeline.registration import Screen, chance_difference

# Between the darkest and the brightest pixel of a column that shows something. A bar, a blank
# column or a cursor is of one grey, up to the noise of compression.
_PICTURE_RANGE = 16
# Of what any two columns differ by: the most that compression may make a column that stays the
# same differ by. It was 0.02 at 20:1; another beat's is beyond 0.05 in 19 of 20 columns.
_SAME = 0.05
_OFF_COLUMNS = 2
_SHARPNESS = 1.3  # how much worse columns that are that far off have to fit
_SCATTERED = 0.1  # share of the columns that marks elsewhere on the screen may change
_LEAST_OVERWRITTEN_COLUMNS = 8  # before a display counts as one that sweeps
BLURRED_COLUMNS = 8  # to either side of a cursor or bar may compression change what stands there
_CHANCE = np.ones(5, bool)


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
        How many of them showed another picture before; the others showed none.
    is_one_piece : bool
        Whether nothing but a few marks has changed elsewhere.
    is_small : bool
        Whether all of it could be a few marks.
    may_be_blur : bool
        Whether all of what is overwritten may have changed by compression alone.
    """

    start: int
    columns: int
    overwritten: int
    is_one_piece: bool
    is_small: bool
    may_be_blur: bool

    @property
    def shows_sweep(self) -> bool:
        return self.may_be_sweep and not self.may_be_blur

    @property
    def may_be_sweep(self) -> bool:
        return self.is_one_piece and self.overwritten >= _LEAST_OVERWRITTEN_COLUMNS


class Canvas:
    """What a display has shown last in every column, whatever bar or cursor stands there now.

    Parameters
    ----------
    screen : Screen
        The first one.
    blurred : bool
        Whether the screens were compressed with losses.
    """

    def __init__(self, screen: Screen, blurred: bool) -> None:
        self._blurred = blurred
        self.pixels = screen.pixels.copy()
        self.known = is_picture(screen.pixels)

    @cached_property
    def columns(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def least_same_columns(self) -> int:
        """How many columns have to stay as they are before two screens count as related."""
        return max(8, min(32, self.columns // 4), self.columns // 16)

    @property
    def is_nearly_blank(self) -> bool:
        return int(self.known.sum()) < self.least_same_columns

    def around(self, start: int, columns: int) -> NDArray[np.int64]:
        """Return column numbers from `start` on, around the right edge."""
        return np.arange(start, start + columns) % self.columns

    def draw(self, screen: Screen, columns: NDArray[np.int64]) -> None:
        """Take over the given columns of a screen."""
        self.pixels[:, columns] = screen.pixels[:, columns]
        self.known[columns] = True

    def fill(self, screen: Screen) -> None:
        """Take over the columns that are seen for the first time."""
        self.draw(screen, np.flatnonzero(~self.known & is_picture(screen.pixels)))

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
        same = np.zeros(self.columns, bool)
        same[both] = self._is_same(screen, both)
        new = _without_specks(shown & ~same)
        start, columns = _longest_piece(new, same, max(4, self.columns // 16))
        piece = self.around(start, columns)
        stayed = same.copy()
        stayed[piece] = False
        if self._sharp(screen, np.flatnonzero(stayed)) < self.least_same_columns:
            return None
        within, few = int(new[piece].sum()), _SCATTERED * int(shown.sum())
        overwritten = (new & self.known)[piece]
        return Change(
            start,
            columns,
            overwritten=int(overwritten.sum()),
            is_one_piece=int(new.sum()) - within <= few,
            is_small=within <= few,
            may_be_blur=self._blurred and _beyond_blur(overwritten) < _LEAST_OVERWRITTEN_COLUMNS,
        )

    def _is_same(self, screen: Screen, columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        difference = self._differences(screen, columns, 0)
        checked = columns[np.linspace(0, len(columns) - 1, 128).astype(int)]
        chance = chance_difference(self.pixels[:, checked], screen.pixels[:, checked])
        alike = difference[difference <= _SAME * chance]
        noise = float(np.quantile(alike, 0.75)) if len(alike) else 0.0
        return np.asarray(difference <= min(max(1.0, 8 * noise), _SAME * chance))

    def _sharp(self, screen: Screen, columns: NDArray[np.int64]) -> int:
        """Count the columns that fit best where they are, and not a little beside."""
        columns = columns[(columns >= _OFF_COLUMNS) & (columns < self.columns - _OFF_COLUMNS)]
        here = self._differences(screen, columns, 0)
        beside = np.minimum(
            self._differences(screen, columns, -_OFF_COLUMNS),
            self._differences(screen, columns, _OFF_COLUMNS),
        )
        return int(((beside >= _SHARPNESS * here) & (beside > 0)).sum())

    def _differences(
        self, screen: Screen, columns: NDArray[np.int64], off: int
    ) -> NDArray[np.float32]:
        """Mean squared difference of every column."""
        difference = self.pixels[:, columns + off].astype(np.float32)
        difference -= screen.pixels[:, columns]
        return np.asarray(np.einsum("ij,ij->j", difference, difference) / len(difference))


def is_picture(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """For every column whether it shows something, and not one grey from top to bottom."""
    return np.asarray(pixels.max(axis=0) - pixels.min(axis=0) > _PICTURE_RANGE)


def find_bars(pixels: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Find stretches of blank columns with a picture on both sides, as a sweep's bar leaves them.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns)

    Returns
    -------
    list of (int, int)
        First column of each, and the one after its last; of one eighth of the screen at most.
    """
    shown = np.flatnonzero(is_picture(pixels))
    gaps = np.flatnonzero(np.diff(shown) > 2)
    bars = [(int(shown[gap]) + 1, int(shown[gap + 1])) for gap in gaps]
    return [(a, b) for a, b in bars if b - a <= pixels.shape[1] // 8]


def _without_specks(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep what is marked together with most of its near neighbours, around the edge."""
    near = sum(np.roll(marked, by).astype(int) for by in (-2, -1, 0, 1, 2))
    return np.asarray(marked & (near >= 3))


def bridged(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark up to four columns between two that are marked, too: they are as they are by chance."""
    room = len(_CHANCE)
    return np.asarray(binary_closing(np.pad(marked, room), _CHANCE)[room:-room])


def _beyond_blur(overwritten: NDArray[np.bool_]) -> int:
    """Length of the longest stretch, less what a cursor in its middle may have blurred."""
    labels, count = label(bridged(overwritten))
    longest = int(np.bincount(labels)[1:].max()) if count else 0
    return max(0, longest - 2 * BLURRED_COLUMNS)


def _longest_piece(
    new: NDArray[np.bool_], same: NDArray[np.bool_], bridged: int
) -> tuple[int, int]:
    """Find the stretch with most new columns, around the edge, as its start and length.

    Up to `bridged` columns that have stayed the same, and any number of blank ones, may lie
    between two new ones of a stretch.
    """
    columns = len(new)
    at = np.flatnonzero(new)
    if not len(at):
        return 0, 0
    stayed = np.concatenate(([0], np.cumsum(np.concatenate((same, same)))))
    following = np.append(at[1:], at[0] + columns)
    breaks = np.flatnonzero(stayed[following] - stayed[at] > bridged)
    if not len(breaks):
        return int(at[0]), columns
    ends = at[breaks]  # last new column of every piece
    starts = following[np.roll(breaks, 1)] % columns
    lengths = (ends - starts) % columns + 1
    counts = [
        int(new[np.arange(s, s + n) % columns].sum()) for s, n in zip(starts, lengths, strict=True)
    ]
    best = int(np.argmax(counts))
    return int(starts[best]), int(lengths[best])
