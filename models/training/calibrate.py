"""Make the quality of a window a probability: weigh the classifier against what the segmenter saw.

A window of a simulated recording is good when an expert would call it so (see
`windows.GOOD_SHARE`). The weights are those of a logistic regression, fitted to recordings
that neither network was trained on and that no evaluation uses.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from app.pipeline.network_kinds import COMBINED
from app.pipeline.networks import Networks
from app.pipeline.quality import gather_evidence
from app.pipeline.segment import segment
from models.simulation.recording import simulate_recording
from models.training.dataset import CHOICE_SEED
from models.training.measure import strip_of
from models.training.scores import area_under_curve
from models.training.windows import GOOD_SHARE, softened

CALIBRATION_SEED = CHOICE_SEED + 500_000
_SHRINKAGE = 1e-3


def calibrate(networks: Networks, recordings: int) -> dict[str, Any]:
    """Fit the weights on ``recordings`` simulated recordings of 3 s.

    Returns
    -------
    dict
        ``combination``: a weight for each of `COMBINED`, and the ``intercept``; ``auc``: how well
        each alone and their combination rank.
    """
    factors: list[tuple[float, ...]] = []
    shares: list[float] = []
    for seed in range(CALIBRATION_SEED, CALIBRATION_SEED + recordings):
        recording = simulate_recording(seed, duration_s=3.0)
        strip = strip_of(recording.pixels, recording.seconds_per_column, recording.mm_per_row)
        borders = segment(strip, networks)
        for seen in gather_evidence(strip, borders, networks):
            factors.append(seen.factors())
            here = slice(seen.start_column, seen.end_column)
            shares.append(float(recording.followable[here].mean()))
    evidence = np.asarray(factors)
    truth = np.asarray([softened(share, GOOD_SHARE) for share in shares])
    weights = fit_logistic(evidence, truth)
    good = [share >= GOOD_SHARE for share in shares]
    combined = evidence @ weights[:-1] + weights[-1]
    ranked = {
        name: area_under_curve(evidence[:, i].tolist(), good) for i, name in enumerate(COMBINED)
    }
    return {
        "combination": dict(zip((*COMBINED, "intercept"), weights.round(4).tolist(), strict=True)),
        "auc": {**ranked, "combined": area_under_curve(combined.tolist(), good)},
    }


def fit_logistic(evidence: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights and intercept, shape (k + 1,), that best predict ``truth`` (n,) from evidence (n, k).

    The weights are held at 0 or above: more evidence never speaks against a window.
    """
    design = np.column_stack([evidence, np.ones(len(evidence))])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        at = design @ weights
        value = np.mean(np.logaddexp(0, at) - truth * at) + _SHRINKAGE * np.sum(weights[:-1] ** 2)
        slope = design.T @ (expit(at) - truth) / len(truth)
        slope[:-1] += 2 * _SHRINKAGE * weights[:-1]
        return float(value), slope

    bounds = [(0, None)] * evidence.shape[1] + [(None, None)]
    found = minimize(loss, np.zeros(design.shape[1]), jac=True, bounds=bounds, method="L-BFGS-B")
    return np.asarray(found.x)
