import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.pipeline.peaks import find_peaks

# few different values, so that plateaus and equal peaks are common
levels = st.integers(-4, 4).map(float)
curves = arrays(np.float64, st.integers(0, 120), elements=levels)


@given(curves, st.integers(1, 30), st.none() | st.floats(0, 6))
def test_it_finds_what_scipy_finds(curve, distance: int, prominence: float | None) -> None:
    wanted, _ = scipy.signal.find_peaks(curve, distance=distance, prominence=prominence)
    found = find_peaks(curve, distance=distance, prominence=prominence)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("seed", range(5))
def test_long_curves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    smooth = np.convolve(rng.normal(size=4000), np.ones(25) / 25, "same")
    for curve in (smooth, np.round(smooth, 1), np.round(50 * smooth)):
        for distance, prominence in ((1, None), (85, None), (40, 0.2), (7, 3.0)):
            wanted, _ = scipy.signal.find_peaks(curve, distance=distance, prominence=prominence)
            found = find_peaks(curve, distance=distance, prominence=prominence)
            np.testing.assert_array_equal(found, wanted)


def test_nothing_is_found_beside_a_gap() -> None:
    curve = np.array([0, 1, np.nan, 1, 0, 2, 0.0])
    wanted, _ = scipy.signal.find_peaks(curve)
    np.testing.assert_array_equal(find_peaks(curve), wanted)
