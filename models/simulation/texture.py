"""Echo texture that moves with the tissue: streaks, speckle and layers in material coordinates.

A column of the image is a stretched copy of the material: the boundaries of `anatomy.Motion` are
knots that keep their material depth while they move. Texture drawn once over (material depth, time)
and looked up through that stretch gives streaks that follow the walls.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, zoom

from models.simulation.anatomy import Anatomy, Motion

Image = NDArray[np.float32]
MATERIAL_STEP_MM = 0.02
BRIGHT_ECHO_SHIFT_MM = 0.035


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], sigma: tuple[float, float]
) -> Image:
    """Gaussian noise of unit variance, correlated over ``sigma`` (rows, columns).

    Drawn on a coarse grid where the correlation is long, then stretched: the cost does not grow
    with the correlation.
    """
    step = [max(1, int(s / 2)) for s in sigma]
    coarse = [n // k + 3 for n, k in zip(shape, step, strict=True)]
    noise = rng.standard_normal(coarse, dtype=np.float32)
    noise = gaussian_filter(noise, [s / k for s, k in zip(sigma, step, strict=True)])
    noise /= noise.std() + 1e-6
    if step != [1, 1]:
        noise = zoom(noise, [float(k) for k in step], order=1)
    return noise[: shape[0], : shape[1]]


def material_depth(motion: Motion, depth_mm: float, rows: int) -> tuple[Image, list[float]]:
    """Map image rows to material depth.

    Returns
    -------
    depth : ndarray of float32, shape (rows, columns)
        Material depth in mm of every pixel.
    knots : list of float
        Material depth of each boundary: skin, anterior outer, upper inner, lower inner,
        posterior outer, pericardium.
    """
    boundaries = [
        motion.skin_mm, motion.anterior_outer_mm, motion.upper_inner_mm,
        motion.lower_inner_mm, motion.posterior_outer_mm, motion.pericardium_mm,
    ]  # fmt: skip
    knots = [float(np.median(b)) for b in boundaries]
    knots = list(np.maximum.accumulate(np.asarray(knots) + np.arange(len(knots)) * 1e-3))
    y = ((np.arange(rows, dtype=np.float32) + 0.5) * (depth_mm / rows))[:, None]
    depth = np.minimum(y, boundaries[0][None, :]) + (knots[0] - boundaries[0])[None, :]
    for index in range(len(boundaries) - 1):
        top, bottom = boundaries[index], boundaries[index + 1]
        thickness = np.maximum(bottom - top, 1e-3)
        rate = (knots[index + 1] - knots[index]) / thickness
        inside = np.clip(y - top[None, :], 0, thickness[None, :])
        depth = depth + inside * rate[None, :]
    depth += np.maximum(y - boundaries[-1][None, :], 0)
    return depth.astype(np.float32), knots


def look_up(table: Image, depth: Image, first_mm: float) -> Image:
    """Sample ``table`` (material rows, columns) at material ``depth`` in every column, linearly."""
    at = np.clip((depth - first_mm) / MATERIAL_STEP_MM, 0, table.shape[0] - 1.001)
    whole = at.astype(np.int32)
    part = at - whole
    low = np.take_along_axis(table, whole, axis=0)
    high = np.take_along_axis(table, whole + 1, axis=0)
    return low + part * (high - low)


def _edge(material: NDArray[np.float32], at: float, width: float) -> NDArray[np.float32]:
    """A smooth step from 0 above ``at`` to 1 below it, ``width`` mm wide."""
    return 1 / (1 + np.exp(-np.clip((material - at) / (0.25 * width), -30, 30)))


def _bump(material: NDArray[np.float32], at: float, width: float) -> NDArray[np.float32]:
    return np.exp(-0.5 * ((material - at) / width) ** 2)


def layer_profile(
    rng: np.random.Generator,
    knots: list[float],
    material: NDArray[np.float32],
    noise_level: float,
) -> NDArray[np.float32]:
    """Brightness of the layers, natural logarithm of amplitude, over material depth."""
    skin, anterior, upper, lower, posterior, pericardium = knots
    edge_width = np.exp(rng.uniform(np.log(0.04), np.log(0.28)))
    level = smooth_noise(rng, (1, material.size), (0, 0.35 / MATERIAL_STEP_MM))[0]
    layer_mm = rng.uniform(0.03, 0.07)
    layers = smooth_noise(rng, (1, material.size), (0, layer_mm / MATERIAL_STEP_MM))[0]
    # next to the lumen the tissue is more even than elsewhere
    near_edge = np.maximum(_bump(material, upper, 0.12), _bump(material, lower, 0.12))
    evenness = rng.uniform(0.2, 0.8)
    profile = (0.35 * level + rng.uniform(0.05, 1.0) * layers) * (1 - evenness * near_edge)

    # near field and chest wall, perhaps with the right ventricle's cavity in it
    near = rng.uniform(-1.2, 0.3)
    profile += near * (1 - _edge(material, anterior, 0.3))
    profile += rng.uniform(0, 1.6) * _bump(material, skin, rng.uniform(0.05, 0.25))
    if rng.random() < 0.35:
        centre = skin + rng.uniform(0.2, 0.9) * max(anterior - skin, 0.1)
        width = rng.uniform(0.06, 0.3)
        profile -= rng.uniform(0.5, 2.5) * _bump(material, centre, width)
    # anterior wall: its bright lowest echo carries the upper border
    echo = upper - rng.uniform(0.07, 0.16)
    profile += rng.uniform(0.0, 1.5) * _bump(material, echo, rng.uniform(0.04, 0.12))
    for _ in range(rng.integers(0, 4)):  # bright layers inside the wall and above it
        profile += rng.uniform(0.3, 1.3) * _bump(
            material, upper - rng.uniform(0.2, 1.2), rng.uniform(0.02, 0.1)
        )
    in_anterior = _edge(material, anterior, 0.2) * (1 - _edge(material, upper - 0.1, 0.1))
    profile += rng.uniform(-1.2, 0.3) * in_anterior
    if rng.random() < 0.4:
        profile += rng.uniform(0.3, 1.2) * _bump(material, anterior, rng.uniform(0.03, 0.12))

    # posterior wall: a topmost echo, then layers that fade with depth
    wall = rng.uniform(-1.0, 0.4)
    below = np.clip(material - lower, 0, None)
    fade = rng.uniform(0.25, 3.0)
    in_wall = _edge(material, lower, edge_width) * (1 - _edge(material, pericardium, 0.1))
    profile += in_wall * (wall - np.minimum(below / fade, 2.5))
    profile += rng.uniform(0.1, 1.2) * _bump(
        material, lower + rng.uniform(0.06, 0.2), rng.uniform(0.04, 0.13)
    )
    for _ in range(rng.integers(0, 4)):
        profile += rng.uniform(0.2, 1.1) * _bump(
            material, lower + rng.uniform(0.2, 1.0), rng.uniform(0.02, 0.07)
        )
    if rng.random() < 0.3:
        profile += rng.uniform(0.2, 1.0) * _bump(material, posterior, rng.uniform(0.03, 0.1))

    # pericardium and the lung behind it
    bright = rng.uniform(0.3, 2.8)
    thick = rng.uniform(0.05, 0.3)
    behind = np.clip(material - pericardium - thick, 0, None)
    decay = np.exp(rng.uniform(np.log(0.08), np.log(1.8)))
    line = _edge(material, pericardium, 0.08)
    profile += line * np.maximum(bright - behind / decay, -4.0)

    # the lumen
    # The inner edge is where the grey lies halfway between lumen and tissue. Noise fills the lumen
    # before the echo has died away, and the bright echo behind raises the half level, so the step
    # is centred further inside.
    depth_of_dark = rng.uniform(2.0, 4.5)
    halfway = 0.5 * min(depth_of_dark, max(-np.log(noise_level), 0.3)) / depth_of_dark
    inward = 0.25 * edge_width * np.log((1 - halfway) / halfway) + BRIGHT_ECHO_SHIFT_MM
    lumen = _edge(material, upper + inward, edge_width)
    lumen = lumen * (1 - _edge(material, lower - inward, edge_width))
    profile = profile * (1 - lumen) - depth_of_dark * lumen
    # above the skin: gel or a cover
    above = 1 - _edge(material, skin, 0.06)
    profile = profile * (1 - above) + rng.uniform(-2.5, 1.0) * above
    return profile.astype(np.float32)


def layers_of_the_cycle(
    rng: np.random.Generator, knots: list[float], material: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How much brighter each layer is in systole than on average, log amplitude.

    Fibres turn as the heart contracts, so a layer that shines in one phase is faint in another:
    in diastole the first layers of a wall may drown in noise while a deeper one is bright.
    """
    upper, lower = knots[2], knots[3]
    layer_mm = rng.uniform(0.04, 0.12)
    layers = smooth_noise(rng, (1, material.size), (0, layer_mm / MATERIAL_STEP_MM))[0]
    turned = rng.uniform(0, 0.6) * layers
    for edge, outward, chance in ((upper, -1, 0.35), (lower, 1, 0.5)):
        if rng.random() < chance:
            first = edge + outward * rng.uniform(0.0, 0.15)
            turned += rng.uniform(0, 0.8) * _bump(material, first, rng.uniform(0.05, 0.18))
            deeper = edge + outward * rng.uniform(0.12, 0.45)
            turned -= rng.uniform(0, 0.8) * _bump(material, deeper, rng.uniform(0.03, 0.12))
    lumen = _edge(material, upper, 0.08) * (1 - _edge(material, lower, 0.08))
    return np.asarray(turned * (1 - lumen), np.float32)


def echo_amplitude(
    rng: np.random.Generator,
    anatomy: Anatomy,
    motion: Motion,
    rows: int,
    seconds_per_column: float,
    noise_level: float,
) -> Image:
    """Noise-free echo amplitude of the moving tissue, 1 in ordinary tissue.

    Parameters
    ----------
    noise_level : float
        Amplitude of the receiver noise that will be added.

    Returns
    -------
    ndarray of float32, shape (rows, columns)
    """
    depth, knots = material_depth(motion, anatomy.depth_mm, rows)
    first, last = float(depth.min()) - 0.1, float(depth.max()) + 0.1
    material = np.arange(first, last, MATERIAL_STEP_MM, dtype=np.float32)
    columns = depth.shape[1]
    shape = (material.size, columns)
    ms = 1e-3 / seconds_per_column

    streak_mm, speckle_mm = rng.uniform(0.015, 0.05), rng.uniform(0.012, 0.035)
    streak_ms = np.exp(rng.uniform(np.log(5), np.log(50)))
    speckle_ms = rng.uniform(1.0, 5)
    streaks = smooth_noise(rng, shape, (streak_mm / MATERIAL_STEP_MM, streak_ms * ms))
    speckle = smooth_noise(rng, shape, (speckle_mm / MATERIAL_STEP_MM, speckle_ms * ms))
    patches = smooth_noise(
        rng, shape, (rng.uniform(0.15, 0.5) / MATERIAL_STEP_MM, rng.uniform(15, 80) * ms)
    )
    texture = (
        rng.uniform(0.3, 1.3) * streaks
        + rng.uniform(0.2, 0.6) * speckle
        + rng.uniform(0.1, 0.6) * patches
    )

    profile = layer_profile(rng, knots, material, noise_level)
    texture += profile[:, None]
    texture += layers_of_the_cycle(rng, knots, material)[:, None] * (2 * motion.contraction - 1)
    upper, lower = knots[2], knots[3]
    posterior = _edge(material, 0.5 * (upper + lower), 0.2) * (1 - _edge(material, knots[5], 0.15))
    anterior = 1 - _edge(material, 0.5 * (upper + lower), 0.2)
    texture += posterior[:, None] * _fading(rng, motion, ms, rng.uniform(0, 1.5))[None, :]
    texture += anterior[:, None] * _fading(rng, motion, ms, rng.uniform(0, 1.2))[None, :]
    amplitude = look_up(np.exp(np.clip(texture, -7, 4)).astype(np.float32), depth, first)
    return np.asarray(gaussian_filter1d(amplitude, 0.6, axis=0), np.float32)


def _fading(
    rng: np.random.Generator, motion: Motion, ms: float, strength: float
) -> NDArray[np.float32]:
    """How a wall's brightness changes in time: with the cycle, and at random (log amplitude)."""
    columns = motion.contraction.size
    with_cycle = rng.normal(0.2, 0.6) * (motion.contraction - 1)
    speed = np.abs(np.gradient(gaussian_filter1d(motion.contraction, 4 * ms)))
    speed = speed / (np.percentile(speed, 95) + 1e-6)
    with_speed = rng.normal(-0.2, 0.5) * np.minimum(speed, 1.5)
    slow = smooth_noise(rng, (1, columns), (0, rng.uniform(40, 250) * ms))[0]
    fast = smooth_noise(rng, (1, columns), (0, rng.uniform(5, 20) * ms))[0]
    fading = strength * (with_cycle + with_speed) + 0.6 * strength * slow + 0.3 * strength * fast
    return np.asarray(np.minimum(fading, 1.0), np.float32)
