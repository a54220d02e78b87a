"""How far a measurement is from the truth: the numbers that model cards report."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]


def dice(
    upper: Floats, lower: Floats, true_upper: Floats, true_lower: Floats
) -> tuple[float, float]:
    """Overlap of two lumens, given by their borders in rows, columns with NaN being empty.

    Returns
    -------
    overlap, total : float
        Twice the shared area and the sum of both areas, in pixels; their ratio is Dice.
    """
    found = np.nan_to_num(np.maximum(lower - upper, 0))
    true = np.nan_to_num(np.maximum(true_lower - true_upper, 0))
    shared = np.minimum(lower, true_lower) - np.maximum(upper, true_upper)
    return float(2 * np.nan_to_num(np.maximum(shared, 0)).sum()), float(found.sum() + true.sum())


def area_under_curve(score: Sequence[float], truth: Sequence[bool]) -> float | None:
    """Probability that a true one scores above a false one; None where one kind is missing."""
    scores, flags = np.asarray(score, float), np.asarray(truth, bool)
    positive, negative = int(flags.sum()), int((~flags).sum())
    if not positive or not negative:
        return None
    ranks = rankdata(scores)
    above = ranks[flags].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


def reliability(
    probability: Sequence[float], truth: Sequence[float], bins: int = 10
) -> list[dict[str, float]]:
    """Mean probability said and share found true, in equal bins of probability."""
    said, true = np.asarray(probability, float), np.asarray(truth, float)
    index = np.minimum((said * bins).astype(int), bins - 1)
    return [
        {
            "said": float(said[index == k].mean()),
            "true": float(true[index == k].mean()),
            "n": int((index == k).sum()),
        }
        for k in range(bins)
        if (index == k).any()
    ]


def matched(found: Floats, wanted: Floats, tolerance: float) -> list[tuple[int, int]]:
    """Pairs (found, wanted) of events that lie within ``tolerance``, each used once."""
    pairs: list[tuple[int, int]] = []
    free = set(range(len(wanted)))
    for index, at in enumerate(found):
        near = [j for j in free if abs(wanted[j] - at) <= tolerance]
        if near:
            best = min(near, key=lambda j: abs(wanted[j] - at))
            free.discard(best)
            pairs.append((index, best))
    return pairs


def bias_and_spread(differences: Sequence[float]) -> dict[str, float | int | None]:
    """Mean, standard deviation and mean size of differences."""
    array = np.asarray(differences, float)
    if array.size == 0:
        return {"bias": None, "sd": None, "mean_absolute": None, "n": 0}
    return {
        "bias": float(array.mean()),
        "sd": float(array.std(ddof=1)) if array.size > 1 else None,
        "mean_absolute": float(np.abs(array).mean()),
        "n": int(array.size),
    }
