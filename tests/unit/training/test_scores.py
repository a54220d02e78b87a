import numpy as np
import pytest

from models.training import scores


def test_dice_counts_shared_columns_twice() -> None:
    upper, lower = np.array([0.0, 0.0, np.nan]), np.array([10.0, 10.0, np.nan])
    true_upper, true_lower = np.array([5.0, 20.0, 0.0]), np.array([15.0, 30.0, 4.0])
    # shared: 5 rows of the first column; areas: 10 + 10 and 10 + 10 + 4
    assert scores.dice(upper, lower, true_upper, true_lower) == (10.0, 44.0)


def test_area_under_the_curve_is_the_chance_of_the_right_order() -> None:
    assert scores.area_under_curve([0.1, 0.9], [False, True]) == 1.0
    assert scores.area_under_curve([0.9, 0.1], [False, True]) == 0.0
    assert scores.area_under_curve([0.5, 0.5], [False, True]) == 0.5
    # pairs in order: (0.2, 0.3), (0.2, 0.8), (0.5, 0.8); out of order: (0.5, 0.3)
    assert scores.area_under_curve([0.2, 0.5, 0.3, 0.8], [False, False, True, True]) == 0.75
    assert scores.area_under_curve([0.2, 0.5], [True, True]) is None


def test_reliability_sets_what_was_said_against_what_came_true() -> None:
    rows = scores.reliability([0.05, 0.15, 0.18, 1.0], [0, 0, 1, 1])
    assert [row["n"] for row in rows] == [1, 2, 1]
    assert rows[1]["said"] == pytest.approx(0.165)
    assert rows[1]["true"] == 0.5


def test_an_event_is_matched_once_and_with_the_nearest() -> None:
    found, wanted = np.array([10.0, 11.0, 30.0]), np.array([11.2, 50.0])
    assert scores.matched(found, wanted, 2.0) == [(0, 0)]
    assert scores.matched(np.array([10.0, 12.0]), np.array([10.5, 12.1]), 2.0) == [(0, 0), (1, 1)]


def test_bias_and_spread_are_those_of_the_sample() -> None:
    result = scores.bias_and_spread([1.0, -1.0, 3.0])
    assert result == {"bias": 1.0, "sd": 2.0, "mean_absolute": pytest.approx(5 / 3), "n": 3}
    assert scores.bias_and_spread([])["bias"] is None
