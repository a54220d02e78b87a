import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata

from app.pipeline.networks import Networks
from app.pipeline.quality import (
    WindowEvidence,
    combine,
    gather_evidence,
    judge,
    window_duration_s,
    window_ratio,
)
from app.pipeline.segment import segment
from models.simulation.recording import simulate_recording
from tests.unit.pipeline.strips import blank_strip, borders_of, make_strip

TEST_SEED = 9_700_000


@pytest.mark.parametrize(
    ("body_mass_g", "ratio"),
    [
        (None, 0.75), (14.9, 0.5), (15, 0.6), (24.9, 0.6), (25, 0.75), (34.9, 0.75), (35, 0.9),
        (44.9, 0.9), (45, 1.0), (120, 1.0),
    ],
)  # fmt: skip
def test_the_window_follows_the_body_mass(body_mass_g: float | None, ratio: float) -> None:
    assert window_ratio(body_mass_g) == ratio
    assert window_duration_s(body_mass_g) == pytest.approx(0.215 * ratio / 0.75)


@pytest.mark.parametrize("dt", [0.4e-3, 1 / 1200, 2e-3])
def test_windows_tile_the_strip_and_last_the_same_whatever_the_columns(
    dt: float, networks: Networks
) -> None:
    strip = blank_strip(round(1.0 / dt), seconds_per_column=dt)
    windows = judge(strip, borders_of(np.full(strip.columns, np.nan), strip), networks)
    assert windows[0].start_column == 0
    assert windows[-1].end_column == strip.columns
    for before, after in itertools.pairwise(windows):
        assert before.end_column == after.start_column
        assert before.end_s - before.start_s == pytest.approx(0.215, abs=dt)
    assert len(windows) == 5  # 4.65 windows in a second
    assert all(w.label == ("high" if w.probability >= 0.5 else "low") for w in windows)


def test_an_empty_screen_is_of_low_quality(networks: Networks) -> None:
    rng = np.random.default_rng(2)
    noise = rng.rayleigh(15, (320, 1500)).clip(0, 255).astype(np.uint8)
    strip = make_strip(noise)
    windows = judge(strip, segment(strip, networks), networks)
    assert max(w.probability for w in windows) < 0.5


def test_probability_ranks_and_parts_readable_from_unreadable_windows(networks: Networks) -> None:
    """Against the simulator's truth: what share of a window's columns can be followed."""
    said, share = [], []
    for seed in range(TEST_SEED, TEST_SEED + 30):
        recording = simulate_recording(seed, duration_s=1.3, rows=320, seconds_per_column=1.25e-3)
        strip = make_strip(
            recording.pixels, seconds_per_column=1.25e-3, mm_per_row=recording.mm_per_row
        )
        for window in judge(strip, segment(strip, networks), networks):
            said.append(window.probability)
            share.append(recording.followable[window.start_column : window.end_column].mean())
    probability, readable = np.array(said), np.array(share)
    good = readable >= 0.7
    ranks = rankdata(probability)
    auc = (ranks[good].sum() - good.sum() * (good.sum() + 1) / 2) / (good.sum() * (~good).sum())
    assert auc > 0.9
    assert (probability[readable > 0.85] >= 0.5).mean() > 0.85
    assert (probability[readable < 0.5] < 0.5).mean() > 0.75


WEIGHTS = {"network": 0.6, "followable": 0.5, "intercept": -0.2}


def test_the_combination_is_logistic_in_the_log_odds_of_what_is_seen() -> None:
    def probability(network: float, followable: float) -> float:
        return combine(WindowEvidence(0, 10, network, followable), WEIGHTS)

    assert probability(0.5, 0.5) == pytest.approx(1 / (1 + np.exp(0.2)))
    odds = np.log(0.8 / 0.2)
    assert probability(0.8, 0.5) == pytest.approx(1 / (1 + np.exp(0.2 - 0.6 * odds)))
    assert probability(0.8, 0.9) > probability(0.8, 0.1) > probability(0.1, 0.1)
    assert 0 < probability(0.0, 0.0) < probability(1.0, 1.0) < 1


def test_without_weights_the_classifier_decides_alone(networks: Networks) -> None:
    recording = simulate_recording(TEST_SEED, duration_s=0.8, rows=320, seconds_per_column=1.25e-3)
    strip = make_strip(recording.pixels, seconds_per_column=1.25e-3)
    borders = segment(strip, networks)
    alone = replace(networks.classifier, card={})
    windows = judge(strip, borders, replace(networks, classifier=alone))
    evidence = gather_evidence(strip, borders, networks)
    assert [w.probability for w in windows] == [e.network for e in evidence]
    weighed = replace(networks.classifier, card={"combination": WEIGHTS})
    windows = judge(strip, borders, replace(networks, classifier=weighed))
    assert [w.probability for w in windows] == [combine(e, WEIGHTS) for e in evidence]
