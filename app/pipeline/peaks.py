"""Local maxima of a curve, as `scipy.signal.find_peaks` gives them (a test compares the two).

Loading scipy.signal takes as long, and as much memory, as all else that measures a recording.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def find_peaks(
    curve: NDArray[np.floating[Any]], *, distance: int = 1, prominence: float | None = None
) -> Places:
    """Find where a curve is higher than on either side; of a plateau the middle.

    Parameters
    ----------
    curve : ndarray of float, shape (n,)
    distance : int
        Peaks are at least as far apart: the higher ones stay.
    prominence : float, optional
        A peak stands at least this far above the higher of the two valleys that part it from
        higher ground, or from the ends.

    Returns
    -------
    ndarray of int64
        From left to right.
    """
    peaks = _maxima(curve)
    if distance > 1:
        peaks = _apart(peaks, curve[peaks], distance)
    if prominence is not None:
        high = [_prominence(curve, int(peak)) >= prominence for peak in peaks]
        peaks = peaks[np.array(high, np.bool_)]
    return peaks


def _maxima(curve: NDArray[np.floating[Any]]) -> Places:
    """Middles of the runs of equal values that lie between lower ones; NaN is no peak."""
    if curve.size < 3:
        return np.zeros(0, np.int64)
    begins = np.concatenate(([0], np.flatnonzero(curve[1:] != curve[:-1]) + 1))
    ends = np.concatenate((begins[1:], [curve.size])) - 1  # the last place of each run
    level = curve[begins]
    is_peak = np.zeros(level.size, np.bool_)
    is_peak[1:-1] = (level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])
    middles: Places = (begins[is_peak] + ends[is_peak]) // 2
    return middles


def _apart(peaks: Places, heights: NDArray[np.floating[Any]], distance: int) -> Places:
    """Drop, from the highest peak on, those that are too near to one that stays.

    Which of two equal ones counts as the higher is left to numpy's sort, as it is in scipy.
    """
    stays = np.ones(peaks.size, np.bool_)
    for index in np.argsort(heights)[::-1].tolist():
        if not stays[index]:
            continue
        first = np.searchsorted(peaks, peaks[index] - distance, side="right")
        end = np.searchsorted(peaks, peaks[index] + distance, side="left")
        stays[first:end] = False
        stays[index] = True
    return peaks[stays]


def _prominence(curve: NDArray[np.floating[Any]], peak: int) -> float:
    height = curve[peak]
    higher_before = np.flatnonzero(curve[:peak] > height)
    higher_after = np.flatnonzero(curve[peak + 1 :] > height)
    first = int(higher_before[-1]) + 1 if higher_before.size else 0
    end = peak + 1 + int(higher_after[0]) if higher_after.size else curve.size
    return float(height - max(curve[first : peak + 1].min(), curve[peak:end].min()))
