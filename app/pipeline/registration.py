"""How far the M-mode has moved from one screen to the next.

Lossless screens agree in every pixel, so a row tells where. The others most often move as far as
the one before. Where neither holds, coarse signatures of two screens are compared at all shifts at
once, without the rows of what stands still; the best candidates are then checked on whole columns,
where a true overlap is the same picture up to the noise of compression. Where none is one, a mark
may have outweighed the picture; then the columns that fit worst at a shift are left out, which
takes longer.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.pipeline.chance import chance_difference
from app.pipeline.grey import ToGrey
from app.pipeline.marks import rows_that_stand, rows_with_marks

_BANDS = 16  # of rows, in a signature
_MIN_OVERLAP_COLUMNS = 32  # of a narrow screen a quarter of its columns
_CANDIDATES = 6  # shifts that are checked on whole columns
_CHECKED_COLUMNS = 128
_COMPARED_COLUMNS = 256  # of a signature, where the worst are left out at every shift
_CHECKED_ROWS = 48  # of lossless screens, for whether their columns show anything
_FAINT = 16  # that part of the greatest spread of grey in a column is no picture in another
_BLURRED_GREY = 48  # what stands beside the M-mode may leave that much in its outermost pixels
_BLOCK = 8  # JPEG compresses squares of that many pixels, and blurs no farther
# Share of the checked columns that may differ: cursors and other marks that do not scroll.
_OUTLIERS = 0.1
_FEW_COLUMNS = 5  # may differ even where that is more of them: a cursor on both screens
_MOST_OUTLIERS = 0.25
# What tells a true overlap from another beat that merely looks alike, measured on a real and on
# simulated recordings, uncompressed to JPEG of quality 40. A true overlap differs by at most 0.09
# of what any two columns differ by, another beat by at least 0.24; and two columns off a true
# overlap is at least 4 times worse, another beat at most 1.5 times. The second is asked less
# of, because smooth pictures change little over two columns.
_LIKENESS = 0.15
_SAME = 0.02  # of that as well: what has not moved at all differs by no more
_OFF_COLUMNS = 2
_SHARPNESS = 1.3


class Screen:
    """The M-mode region of one screen, with what registration needs of it.

    Parameters
    ----------
    values : ndarray, shape (rows, columns) or (rows, columns, 3)
        As stored.
    to_grey : callable, optional
        Turns columns of them into grey; left out where they are grey.
    """

    def __init__(self, values: NDArray[Any], to_grey: ToGrey | None = None) -> None:
        self.values = values
        self._to_grey = to_grey
        self.columns = int(values.shape[1])
        self.min_overlap = max(1, min(_MIN_OVERLAP_COLUMNS, self.columns // 4))

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """Grey, shape (rows, columns)."""
        return self.values if self._to_grey is None else self._to_grey(self.values)

    def without(self, rows: NDArray[np.bool_]) -> "Screen":
        """Leave out some rows."""
        return Screen(self.pixels[~rows])

    def last_columns(self, columns: int) -> NDArray[np.uint8]:
        """Give the grey of the last columns, in memory of their own."""
        values = self.values[:, -columns:]
        return values.copy() if self._to_grey is None else self._to_grey(values)

    @cached_property
    def undrawn_columns(self) -> int:
        """Number of columns at the left that are black from top to bottom."""
        return count_undrawn(self.pixels)

    @cached_property
    def informative(self) -> NDArray[np.bool_]:
        """For every column whether it holds a picture, and not one grey with noise on it."""
        spread = self.pixels.max(axis=0) - self.pixels.min(axis=0)
        return np.asarray(spread > spread.max() // _FAINT)

    @cached_property
    def signature(self) -> NDArray[np.float64]:
        """Mean grey of every band of rows, shape (bands, columns)."""
        rows = self.pixels.shape[0]
        edges = np.linspace(0, rows, min(_BANDS, rows) + 1).astype(int)
        sums = np.add.reduceat(self.pixels, edges[:-1], axis=0, dtype=np.uint32)
        means: NDArray[np.float64] = sums / np.diff(edges)[:, None]
        return means

    @cached_property
    def spectrum(self) -> NDArray[np.complex128]:
        """Fourier transform of the signature, padded so that shifts do not wrap around."""
        length = 1 << (2 * self.columns - 1).bit_length()
        return np.fft.rfft(self.signature, length, axis=1)


def count_undrawn(pixels: NDArray[np.uint8]) -> int:
    """Count the columns at the left that are black from top to bottom.

    Compression may have blurred what stands around the M-mode into the first of them, and into
    the ends of all; then most of those up to the first bright one have to be black in between.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns)
    """
    brightest = pixels.max(axis=0)
    if not brightest.any():
        return len(brightest)
    undrawn = int((brightest > (_BLURRED_GREY if brightest[0] else 0)).argmax())
    black = ~inner_rows(pixels[:, :undrawn]).any(axis=0)
    return undrawn if 2 * int(black.sum()) >= undrawn else 0


def inner_rows(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Leave out the rows that compression may have blurred with what stands above and below.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns)
        All of them are given back where there are few.
    """
    return pixels[_BLOCK:-_BLOCK] if len(pixels) >= 4 * _BLOCK else pixels


def find_shift(previous: Screen, screen: Screen, guess: int = 0) -> int | None:
    """Find how many columns of `screen` are new.

    Parameters
    ----------
    previous, screen : Screen
        Two consecutive screens of the same size.
    guess : int
        How far the M-mode has moved before; tried first unless 0.

    Returns
    -------
    int or None
        The columns by which the M-mode has moved to the left, 0 if not at all; None where the
        screens do not overlap by enough columns to tell.
    """
    exact = _exact_shift(previous, screen)
    if exact is not None:
        return exact
    if np.array_equal(previous.pixels, screen.pixels):
        return 0
    if guess and _is_overlap(previous, screen, guess):
        return guess
    stands = rows_that_stand(previous.pixels, screen.pixels)
    if stands.any():  # it may draw the shift towards 0
        shift = _best_shift(previous.without(stands), screen.without(stands))
        if shift is not None:
            return shift
    shift = _best_shift(previous, screen)
    if shift is not None:
        return shift
    chance = chance_difference(previous.pixels, screen.pixels)
    marked = rows_with_marks(previous.pixels, screen.pixels, _SAME * chance)
    if marked.any() and _is_overlap(previous.without(marked), screen.without(marked), 0):
        return 0
    return None


def _best_shift(previous: Screen, screen: Screen) -> int | None:
    """Find the shift by the signatures of all."""
    for measure in (_distances, _distances_without_marks):
        for shift in _local_minima(measure(previous, screen))[:_CANDIDATES]:
            if _is_overlap(previous, screen, int(shift)):
                return int(shift)
    return None


def _exact_shift(previous: Screen, screen: Screen) -> int | None:
    """Find the one shift, not 0, at which all stored values of an overlap agree; None else."""
    a, b = previous.values, screen.values
    row, pixel_bytes = len(b) // 2, b[0, 0].nbytes
    begins, within = b[row, : screen.min_overlap].tobytes(), a[row].tobytes()
    shifts: list[int] = []
    at = within.find(begins, pixel_bytes)
    while at >= 0:
        if at % pixel_bytes == 0:
            shifts.append(at // pixel_bytes)
        if len(shifts) > _CANDIDATES:  # the row shows next to nothing
            return None
        at = within.find(begins, at + 1)
    exact = [s for s in shifts if np.array_equal(a[:, s:], b[:, : screen.columns - s])]
    if len(exact) != 1:
        return None
    some_rows = b[:: max(1, len(b) // _CHECKED_ROWS), : screen.columns - exact[0]]
    differs = (some_rows != some_rows[0]).any(axis=0)
    informative = differs if differs.ndim == 1 else differs.any(axis=1)
    return exact[0] if int(informative.sum()) >= screen.min_overlap else None


def _distances(previous: Screen, screen: Screen) -> NDArray[np.float64]:
    """Mean squared difference of the signatures at every shift that leaves enough overlap."""
    a, b = previous.signature, screen.signature
    columns = previous.columns
    length = 2 * (previous.spectrum.shape[1] - 1)
    cross = np.fft.irfft((previous.spectrum * screen.spectrum.conj()).sum(axis=0), length)
    energy_a = np.cumsum((a**2).sum(axis=0)[::-1])[::-1]  # from column s on
    energy_b = np.cumsum((b**2).sum(axis=0))[::-1]  # up to column `columns` - s
    overlap = np.arange(columns, 0, -1)
    distances: NDArray[np.float64] = (energy_a + energy_b - 2 * cross[:columns]) / overlap
    return distances[: columns - previous.min_overlap + 1]


def _distances_without_marks(previous: Screen, screen: Screen) -> NDArray[np.float64]:
    """Mean squared difference of the signatures at the same shifts, but for the worst columns.

    A cursor of a few columns can differ by more than all the picture does from another beat's.
    """
    columns = screen.columns
    compared = np.unique(np.linspace(0, columns - 1, _COMPARED_COLUMNS).astype(int))
    a, b = previous.signature, screen.signature[:, compared]
    pairs = (a**2).sum(axis=0)[:, None] + (b**2).sum(axis=0) - 2 * a.T @ b
    distances = np.empty(columns - previous.min_overlap + 1)
    for shift in range(len(distances)):
        within = compared[: np.searchsorted(compared, columns - shift)]
        distances[shift] = _mean_of_most(pairs[within + shift, np.arange(len(within))])
    return distances


def _local_minima(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where values are not above their neighbours, the lowest first."""
    padded = np.concatenate(([np.inf], values, [np.inf]))
    found = np.flatnonzero((values <= padded[:-2]) & (values <= padded[2:]))
    return found[np.argsort(values[found], kind="stable")]


def _is_overlap(previous: Screen, screen: Screen, shift: int) -> bool:
    overlap = screen.columns - shift
    informative = previous.informative[shift:] | screen.informative[:overlap]
    columns = np.flatnonzero(informative)
    if len(columns) < screen.min_overlap:
        return False
    columns = columns[np.linspace(0, len(columns) - 1, _CHECKED_COLUMNS).astype(int)]
    residual = _difference(previous, screen, shift, columns)
    if residual == 0:
        return True
    chance = chance_difference(previous.pixels[:, columns + shift], screen.pixels[:, columns])
    if residual > _LIKENESS * chance:
        return False
    beside = min(
        _difference(previous, screen, shift - _OFF_COLUMNS, columns),
        _difference(previous, screen, shift + _OFF_COLUMNS, columns),
    )
    return _SHARPNESS * residual <= beside


def _difference(previous: Screen, screen: Screen, shift: int, columns: NDArray[np.int64]) -> float:
    """Mean squared difference over the given columns of `screen`, but for the worst of them."""
    columns = columns[(columns + shift >= 0) & (columns + shift < previous.columns)]
    difference = previous.pixels[:, columns + shift].astype(np.float32)
    difference -= screen.pixels[:, columns]
    share = max(_OUTLIERS, min(_MOST_OUTLIERS, _FEW_COLUMNS / (screen.columns - abs(shift))))
    return _mean_of_most(np.einsum("ij,ij->j", difference, difference) / len(difference), share)


def _mean_of_most(per_column: NDArray[np.floating], share: float = _OUTLIERS) -> float:
    """Mean of all but the largest, which marks may have caused."""
    kept = max(1, round(len(per_column) * (1 - share)))
    return float(np.sort(per_column)[:kept].mean())
