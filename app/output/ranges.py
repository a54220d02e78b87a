"""How much of an axis to show, so that one wild beat does not flatten all the others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MARGIN = 0.12


@dataclass(frozen=True)
class Range:
    """The two ends of an axis."""

    low: float
    high: float

    def clip(self, values: Floats) -> Floats:
        """Values beyond an end moved to it."""
        return np.clip(values, self.low, self.high)


def range_of(values: Floats, accepted: NDArray[np.bool_], least_span: float) -> Range:
    """Range that shows every accepted value, and rejected ones as far as they are not far off.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    accepted : ndarray of bool, shape (n,)
    least_span : float
        The axis shows at least as much, so that noise does not look like change.

    Returns
    -------
    Range
        Rejected values count up to one span of the accepted ones beyond these. Where none is
        accepted, the middle nine tenths of all count. Not below zero where no value is.
    """
    if not values.size:
        return Range(0, least_span)
    leading = values[accepted]
    if leading.size:
        low, high = float(leading.min()), float(leading.max())
    else:
        low, high = (float(end) for end in np.percentile(values, (5, 95)))
    reach = max(high - low, least_span)
    near = values[(values >= low - reach) & (values <= high + reach)]
    low, high = min(low, float(near.min())), max(high, float(near.max()))
    missing = max(0.0, least_span - (high - low))
    margin = MARGIN * (high - low + missing)
    low, high = low - missing / 2 - margin, high + missing / 2 + margin
    if low < 0 <= values.min():
        low, high = 0.0, max(high, least_span)
    return Range(low, high)
