"""What the beam meets where it has left the ventricle: tissue that moves as one piece, no lumen."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from models.simulation.anatomy import Anatomy, Motion
from models.simulation.texture import MATERIAL_STEP_MM, Image, look_up, smooth_noise


def tissue_amplitude(
    rng: np.random.Generator,
    anatomy: Anatomy,
    motion: Motion,
    rows: int,
    seconds_per_column: float,
) -> Image:
    """Noise-free echo amplitude of tissue without a ventricle, 1 in ordinary tissue.

    Its layers follow breathing and, less or more, the beating heart beside them; all of them alike,
    so that nothing widens and narrows between two of them. One in three recordings shows a narrow
    dark band (a vessel, the right ventricle's edge): dark alone does not make a ventricle.

    Returns
    -------
    ndarray of float32, shape (rows, columns)
    """
    columns = motion.contraction.size
    ms = 1e-3 / seconds_per_column
    excursion_mm = rng.uniform(-0.4, 0.4)
    shift = motion.skin_mm - motion.skin_mm.mean() + excursion_mm * motion.contraction
    y = (np.arange(rows, dtype=np.float32) + 0.5) * (anatomy.depth_mm / rows)
    depth = (y[:, None] - shift[None, :]).astype(np.float32)
    first, last = float(depth.min()) - 0.1, float(depth.max()) + 0.1
    material = np.arange(first, last, MATERIAL_STEP_MM, dtype=np.float32)

    layer_mm = rng.uniform(0.03, 0.12)
    streaks = (rng.uniform(0.015, 0.05) / MATERIAL_STEP_MM, rng.uniform(10, 80) * ms)
    patches = (rng.uniform(0.15, 0.6) / MATERIAL_STEP_MM, rng.uniform(30, 200) * ms)
    shape = (material.size, columns)
    texture = rng.uniform(0.3, 1.3) * smooth_noise(rng, shape, streaks)
    texture += rng.uniform(0.2, 0.8) * smooth_noise(rng, shape, patches)
    texture += _profile(rng, material, layer_mm)[:, None]
    amplitude = look_up(np.exp(np.clip(texture, -7, 4)).astype(np.float32), depth, first)
    return np.asarray(gaussian_filter1d(amplitude, 0.6, axis=0), np.float32)


def _profile(
    rng: np.random.Generator, material: NDArray[np.float32], layer_mm: float
) -> NDArray[np.float32]:
    """Brightness over material depth, log amplitude: layers that fade with depth."""
    levels = smooth_noise(rng, (1, material.size), (0, 0.5 / MATERIAL_STEP_MM))[0]
    layers = smooth_noise(rng, (1, material.size), (0, layer_mm / MATERIAL_STEP_MM))[0]
    profile = rng.uniform(-1.0, 0.5) + 0.5 * levels + rng.uniform(0.1, 1.0) * layers
    from_top = material - material[0]
    profile -= rng.uniform(0.0, 0.6) * from_top
    if rng.random() < 1 / 3:
        centre_mm = rng.uniform(0.15, 0.7) * from_top[-1]
        half_mm = rng.uniform(0.08, 0.3)
        band = np.exp(-(((from_top - centre_mm) / half_mm) ** 4))
        profile -= rng.uniform(0.8, 3.0) * band
    return np.asarray(profile, np.float32)
