import numpy as np
import pytest

from models.simulation.anatomy import draw_anatomy, draw_motion
from models.simulation.texture import echo_amplitude
from models.simulation.tissue import tissue_amplitude

ROWS, COLUMNS, SECONDS_PER_COLUMN = 480, 600, 1e-3


def shift_of(part: np.ndarray, other: np.ndarray) -> int:
    """By how many rows a part of a column has moved, where it correlates best."""
    reach = 40
    middle = part[reach:-reach]
    scores = [
        np.corrcoef(middle, other[reach + by : len(other) - reach + by])[0, 1]
        for by in range(-reach, reach + 1)
    ]
    return int(np.argmax(scores)) - reach


def shifts(amplitude: np.ndarray, contraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the upper and the lower part move from each diastole to the following systole."""
    upper, lower = [], []
    for start in range(0, COLUMNS - 100, 100):
        beat = contraction[start : start + 100]
        pair = np.log(amplitude[:, start + np.array([beat.argmin(), beat.argmax()])])
        upper.append(shift_of(pair[: ROWS // 2, 0], pair[: ROWS // 2, 1]))
        lower.append(shift_of(pair[ROWS // 2 :, 0], pair[ROWS // 2 :, 1]))
    return np.array(upper), np.array(lower)


@pytest.mark.parametrize("seed", range(6))
def test_tissue_without_a_ventricle_moves_as_one_piece(seed: int) -> None:
    rng = np.random.default_rng(seed)
    anatomy = draw_anatomy(rng)
    motion = draw_motion(rng, anatomy, COLUMNS, SECONDS_PER_COLUMN)
    amplitude = tissue_amplitude(rng, anatomy, motion, ROWS, SECONDS_PER_COLUMN)
    assert amplitude.shape == (ROWS, COLUMNS)
    assert amplitude.dtype == np.float32
    assert (amplitude > 0).all()
    upper, lower = shifts(amplitude, motion.contraction)
    assert np.median(np.abs(upper - lower)) <= 2


def test_the_walls_of_a_ventricle_do_not() -> None:
    apart = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        anatomy = draw_anatomy(rng)
        motion = draw_motion(rng, anatomy, COLUMNS, SECONDS_PER_COLUMN)
        amplitude = echo_amplitude(rng, anatomy, motion, ROWS, SECONDS_PER_COLUMN, 0.05)
        upper, lower = shifts(amplitude, motion.contraction)
        apart.append(np.median(np.abs(upper - lower)))
    assert np.median(apart) > 5
