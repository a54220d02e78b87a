import numpy as np
import pytest
from scipy.special import expit

from app.pipeline.networks import load_networks
from app.settings import Settings
from models.training.calibrate import calibrate, fit_logistic


def test_the_fit_recovers_the_weights_that_made_the_truth() -> None:
    rng = np.random.default_rng(1)
    evidence = rng.normal(0, 2, (4000, 3))
    truth = expit(evidence @ np.array([0.8, 0.0, 0.4]) - 0.5)
    assert fit_logistic(evidence, truth) == pytest.approx([0.8, 0.0, 0.4, -0.5], abs=0.03)


def test_evidence_never_speaks_against_a_window() -> None:
    rng = np.random.default_rng(2)
    evidence = rng.normal(0, 2, (2000, 2))
    truth = expit(evidence @ np.array([1.0, -0.7]))
    weights = fit_logistic(evidence, truth)
    assert weights[0] > 0.5
    assert weights[1] == 0


def test_calibrating_says_how_well_each_ranks() -> None:
    fitted = calibrate(load_networks(Settings().models_dir, threads=1), recordings=6)
    assert set(fitted["combination"]) == {"network", "followable", "intercept"}
    assert set(fitted["auc"]) == {"network", "followable", "combined"}
    assert fitted["auc"]["combined"] > 0.8
