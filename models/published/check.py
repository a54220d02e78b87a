"""How far apart ONNX Runtime and torch are on the same windows."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from app.pipeline.known_answer import known_window
from app.pipeline.networks import Networks, find_mask_logits, judge_quality
from models.published.architecture import Normalisation, normalise_by
from models.published.checkpoints import Checkpoint

LEAST_WITHIN_PCT = 98.0
MOST_MEDIAN = 1e-4
MOST_PROBABILITY = 1e-4


@dataclass(frozen=True)
class Differences:
    """Between ONNX Runtime and torch.

    Attributes
    ----------
    windows : int
    within_pct : float
        Share of the logits that differ by less than a thousandth of their window's range.
    median, largest : float
        Differences of the logits, of their window's range; the largest median of a window.
    probability : float
        Largest difference of a probability.
    """

    windows: int
    within_pct: float
    median: float
    largest: float
    probability: float

    @property
    def acceptable(self) -> bool:
        return (
            self.within_pct >= LEAST_WITHIN_PCT
            and self.median <= MOST_MEDIAN
            and self.probability <= MOST_PROBABILITY
        )


def inputs() -> NDArray[np.float32]:
    """The windows to compare on: a drawn ventricle, the same in noise, and noise alone."""
    drawn = known_window() / 1.5
    noise = np.random.default_rng(0).random(drawn.shape, np.float32)
    return np.stack([drawn, 0.6 * drawn + 0.4 * noise, noise]).astype(np.float32)


def compare(
    networks: Networks,
    segmenter: Checkpoint,
    classifier: Checkpoint,
    normalisation: Normalisation,
) -> Differences:
    """Ask the imported networks and the checkpoints in torch the same.

    Parameters
    ----------
    networks : Networks
        What was made of the checkpoints.
    segmenter, classifier : Checkpoint
    normalisation : {'running', 'instance'}
    """
    windows = inputs()
    tensor = torch.from_numpy(windows[:, None])
    with torch.inference_mode():
        wanted = normalise_by(segmenter.network(), normalisation)(tensor).numpy()[:, 0]
        probability = normalise_by(classifier.network(), normalisation)(tensor).numpy()
    found = find_mask_logits(networks, windows)
    with np.errstate(all="ignore"):  # what is no number differs, and is refused for that
        spread = np.ptp(wanted, axis=(1, 2), keepdims=True)
        apart = np.abs(found - wanted) / np.maximum(spread, 1e-12)
    return Differences(
        windows=len(windows),
        within_pct=float(100 * (apart < 1e-3).mean()),
        median=float(np.median(apart, axis=(1, 2)).max()),
        largest=float(apart.max()),
        probability=float(np.abs(judge_quality(networks, windows) - probability).max()),
    )
