"""Which columns of a screen show something, and what stretches columns that are marked make up."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, label

# Between the darkest and the brightest pixel of a column that shows something. A bar, a blank
# column or a cursor is of one grey, up to the noise of compression.
_PICTURE_RANGE = 16
_CHANCE = np.ones(5, bool)


def is_picture(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """For every column whether it shows something, and not one grey from top to bottom."""
    return np.asarray(pixels.max(axis=0) - pixels.min(axis=0) > _PICTURE_RANGE)


def is_faint(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """For every column whether it shows nothing, but not in one grey: compression has done that."""
    spread = pixels.max(axis=0) - pixels.min(axis=0)
    return np.asarray((spread > 0) & (spread <= _PICTURE_RANGE))


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
    gaps = _gaps(is_picture(pixels))
    return [(first, end) for first, end in gaps if end - first <= pixels.shape[1] // 8]


def find_bar(pixels: NDArray[np.uint8]) -> tuple[int, int] | None:
    """Find the one bar with a picture on both sides, though compression has left noise in it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns)

    Returns
    -------
    (int, int) or None
        Its first column, and the one after its last, of a quarter of the screen at most; None
        where there is none, or several.
    """
    gaps = _gaps(~bridged(~is_picture(pixels)))
    if len(gaps) != 1:
        return None
    first, end = gaps[0]
    return (first, end) if end - first <= pixels.shape[1] // 4 else None


def _gaps(shown: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Find the stretches of two columns or more between columns that are marked."""
    at = np.flatnonzero(shown)
    return [(int(at[i]) + 1, int(at[i + 1])) for i in np.flatnonzero(np.diff(at) > 2)]


def without_specks(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep what is marked together with most of its near neighbours, around the edge."""
    near = sum(np.roll(marked, by).astype(int) for by in (-2, -1, 0, 1, 2))
    return np.asarray(marked & (near >= 3))


def bridged(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark up to four columns between two that are marked, too: they are as they are by chance."""
    room = len(_CHANCE)
    return np.asarray(binary_closing(np.pad(marked, room), _CHANCE)[room:-room])


def longest_stretch(marked: NDArray[np.bool_]) -> int:
    """Length of the longest run of marked columns, with the few between that are not."""
    return longest_run(bridged(marked))


def longest_run(marked: NDArray[np.bool_]) -> int:
    """Length of the longest run of marked columns, 0 if there is none."""
    runs, count = label(marked)
    return int(np.bincount(runs)[1:].max()) if count else 0


def longest_piece(
    new: NDArray[np.bool_], same: NDArray[np.bool_], most_same: int
) -> tuple[int, int]:
    """Find the stretch with most new columns, around the edge, as its start and length.

    Up to `most_same` columns that have stayed the same, and any number of blank ones, may lie
    between two new ones of a stretch.
    """
    columns = len(new)
    at = np.flatnonzero(new)
    if not len(at):
        return 0, 0
    stayed = np.concatenate(([0], np.cumsum(np.concatenate((same, same)))))
    following = np.append(at[1:], at[0] + columns)
    breaks = np.flatnonzero(stayed[following] - stayed[at] > most_same)
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
