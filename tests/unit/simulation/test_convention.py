import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from models.simulation.anatomy import draw_anatomy, draw_motion
from models.simulation.convention import read_borders, visible_edge
from models.simulation.recording import simulate_recording

MM = 0.02


def _edges(columns: int = 200) -> tuple[np.ndarray, np.ndarray]:
    time = np.arange(columns)
    upper = 2.0 + 0.4 * np.sin(2 * np.pi * time / 70)
    return upper.astype(np.float32), (5.0 - 0.8 * (upper - 2.0)).astype(np.float32)


def _picture(upper: np.ndarray, lower: np.ndarray, rows: int = 400) -> np.ndarray:
    depth = (np.arange(rows)[:, None] + 0.5) * MM
    return np.where((depth < upper) | (depth > lower), 120.0, 20.0).astype(np.float32)


def test_the_visible_edge_of_a_sharp_step_is_the_step() -> None:
    upper, lower = _edges()
    middle = 0.5 * (upper + lower)
    grey = gaussian_filter(_picture(upper, lower), (1.5, 0))
    # what it is told may lie a little off
    found_upper = visible_edge(grey, middle, upper + 0.08, MM)
    found_lower = visible_edge(grey, middle, lower - 0.08, MM)
    assert found_upper == pytest.approx(upper, abs=0.015)
    assert found_lower == pytest.approx(lower, abs=0.015)


def test_faint_first_layers_of_a_wall_are_not_its_visible_edge() -> None:
    upper, lower = _edges()
    depth = (np.arange(400)[:, None] + 0.5) * MM
    grey = _picture(upper, lower)
    grey[(depth > lower) & (depth < lower + 0.2)] = 45.0
    found = visible_edge(grey, 0.5 * (upper + lower), lower, MM)
    assert found == pytest.approx(lower + 0.2, abs=0.03)


def test_no_edge_is_seen_where_nothing_rises_from_the_noise() -> None:
    upper, lower = _edges()
    noise = np.random.default_rng(1).normal(20, 4, (400, upper.size)).astype(np.float32)
    found = visible_edge(noise, 0.5 * (upper + lower), lower, MM)
    assert np.isnan(found).mean() > 0.5


def test_borders_lie_outside_the_inner_edges_and_beneath_the_tips() -> None:
    rng = np.random.default_rng(5)
    anatomy = draw_anatomy(rng)
    motion = draw_motion(rng, anatomy, 1500, 1e-3)
    depth = (np.arange(400)[:, None] + 0.5) * (anatomy.depth_mm / 400)
    dark = (depth > motion.upper_inner_mm) & (depth < motion.lower_inner_mm)
    grey = np.where(dark, 20.0, 120.0).astype(np.float32)
    read = read_borders(grey, motion, np.ones(1500, bool), anatomy.depth_mm / 400, 1e-3)
    assert (read.upper_mm < read.upper_inner_mm).all()
    assert (read.upper_inner_mm < read.lower_inner_mm).all()
    assert (read.lower_inner_mm < read.lower_mm).all()
    assert np.median(np.abs(read.upper_inner_mm - motion.upper_inner_mm)) < 0.04
    assert np.median(np.abs(read.lower_inner_mm - motion.lower_inner_mm)) < 0.05


def test_an_empty_stretch_is_never_in_view() -> None:
    recordings = [
        simulate_recording(s, duration_s=0.8, rows=300) for s in range(9_700_000, 9_700_030)
    ]
    assert any(r.empty.any() for r in recordings)
    assert any((~r.empty).all() for r in recordings)
    assert not any((r.empty & r.in_view).any() for r in recordings)
