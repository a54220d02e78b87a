"""What stands between the heart and a clean picture: noise, clutter, shadows, gain, compression."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from models.simulation.anatomy import Motion
from models.simulation.texture import Image, smooth_noise

Curve = NDArray[np.float32]


def episodes(
    rng: np.random.Generator,
    columns: int,
    seconds_per_column: float,
    *,
    chance: float,
    shortest_s: float,
    longest_s: float,
) -> Curve:
    """A curve that is 1 during none, one or two episodes and 0 elsewhere, with soft flanks."""
    curve = np.zeros(columns, np.float32)
    if rng.random() < chance:
        for _ in range(rng.integers(1, 3)):
            length = int(rng.uniform(shortest_s, longest_s) / seconds_per_column)
            start = int(rng.uniform(-0.5 * length, columns))
            curve[max(start, 0) : max(start + length, 0)] = 1
        flank_s = rng.uniform(0.004, 0.05)
        curve = gaussian_filter1d(curve, flank_s / seconds_per_column)
    return curve


def add_intracavity_echoes(
    rng: np.random.Generator, amplitude: Image, motion: Motion, mm_per_row: float
) -> None:
    """Draw papillary and valve echoes, and secondary echoes behind the anterior wall, in place."""
    rows, columns = amplitude.shape
    y = (np.arange(rows, dtype=np.float32) + 0.5)[:, None] * mm_per_row
    inner = motion.lower_inner_mm - motion.upper_inner_mm

    def line(depth_mm: Curve, strength: Curve, width_mm: float) -> None:
        inside = (depth_mm > motion.upper_inner_mm) & (depth_mm < motion.lower_inner_mm)
        weight = np.exp(-0.5 * ((y - depth_mm[None, :]) / width_mm) ** 2)
        np.add(amplitude, weight * (strength * inside)[None, :], out=amplitude)

    if rng.random() < 0.3:  # secondary echoes that move with the anterior wall
        for _ in range(rng.integers(1, 3)):
            behind = motion.upper_inner_mm + rng.uniform(0.1, 0.7)
            fade = np.clip(smooth_noise(rng, (1, columns), (0, columns / 30))[0] + 0.2, 0, 1)
            line(behind, rng.uniform(0.1, 0.6) * fade, rng.uniform(0.02, 0.07))
    if rng.random() < 0.25:  # a papillary muscle or chorda over the posterior wall
        share = rng.uniform(0.1, 0.35)
        fade = np.clip(smooth_noise(rng, (1, columns), (0, columns / 20))[0], 0, 1)
        line(
            motion.lower_inner_mm - share * inner,
            rng.uniform(0.1, 0.7) * fade,
            rng.uniform(0.02, 0.12),
        )
    if rng.random() < 0.15:  # a valve leaflet that crosses the lumen in diastole
        swing = np.clip(1 - 1.6 * motion.contraction, 0, 1)
        leaflet = motion.lower_inner_mm - (0.15 + 0.5 * swing) * inner
        line(leaflet, rng.uniform(0.1, 0.5) * swing, rng.uniform(0.02, 0.06))


def clutter(rng: np.random.Generator, rows: int, columns: int, mm_per_row: float) -> Image:
    """Echo amplitude that stays at its depth while the heart moves: lines, haze, reverberation."""
    field = np.zeros((rows, columns), np.float32)
    y = (np.arange(rows, dtype=np.float32) + 0.5) * mm_per_row
    if rng.random() < 0.3:
        for _ in range(rng.integers(1, 6)):
            at, width = rng.uniform(0.3, y[-1]), rng.uniform(0.02, 0.08)
            strength = np.clip(smooth_noise(rng, (1, columns), (0, columns / 6))[0] + 0.3, 0, 2)
            line = np.exp(-0.5 * ((y - at) / width) ** 2)
            field += rng.uniform(0.05, 0.5) * line[:, None] * strength[None, :]
    if rng.random() < 0.35:
        at, width = rng.uniform(0, 3.5), rng.uniform(0.3, 1.5)
        haze = np.exp(-0.5 * ((y - at) / width) ** 2)
        grain = smooth_noise(rng, (rows, columns), (1.2, rng.uniform(2, 30)))
        slow = np.clip(smooth_noise(rng, (1, columns), (0, columns / 5))[0] + 0.5, 0, 2)
        field += rng.uniform(0.05, 0.35) * haze[:, None] * np.exp(0.7 * grain) * slow[None, :]
    return field


def shadow(
    rng: np.random.Generator, rows: int, columns: int, seconds_per_column: float
) -> Image | float:
    """A factor 0..1 that darkens what lies below something hard, for a while."""
    if rng.random() > 0.25:
        return 1.0
    when = episodes(rng, columns, seconds_per_column, chance=1.0, shortest_s=0.03, longest_s=1.0)
    below = 1 / (1 + np.exp(-(np.arange(rows) - rng.uniform(0.05, 0.7) * rows) / (0.03 * rows)))
    return np.asarray(1 - rng.uniform(0.4, 1.0) * below[:, None] * when[None, :], np.float32)


def blur(
    rng: np.random.Generator, amplitude: Image, mm_per_row: float, seconds_per_column: float
) -> Image:
    """What a beam out of focus and a slow display make of one recording in six."""
    if rng.random() > 0.17:
        return amplitude
    rows = rng.uniform(0.02, 0.09) / mm_per_row
    columns = rng.uniform(0.0005, 0.004) / seconds_per_column
    return np.asarray(gaussian_filter(amplitude, (rows, columns), mode="nearest"), np.float32)


def compress(
    rng: np.random.Generator, amplitude: Image, noise_level: float, depth_gain: Curve
) -> Image:
    """Add receiver noise, compress logarithmically and set gain and contrast: grey 0..255."""
    rows, columns = amplitude.shape
    width = rng.uniform(0.0, 0.9)
    real = rng.standard_normal((rows, columns), dtype=np.float32)
    imaginary = rng.standard_normal((rows, columns), dtype=np.float32)
    if width > 0.3:
        real = gaussian_filter1d(real, width, axis=0)
        imaginary = gaussian_filter1d(imaginary, width, axis=0)
    noise = np.hypot(real, imaginary)
    noise *= noise_level / (noise.mean() + 1e-6)
    total = np.hypot(amplitude, noise) * depth_gain[:, None]
    tissue = np.exp(rng.uniform(np.log(22), np.log(165)))  # grey of ordinary tissue
    if rng.random() < 0.65:  # logarithmic compression
        range_db = rng.uniform(32, 65)
        grey = tissue + 255 * 20 * np.log10(total + 1e-4) / range_db
    else:  # a power law, as dark displays use
        grey = tissue * total ** rng.uniform(0.5, 1.0)
    lifted = rng.uniform(-10, 12) if rng.random() < 0.5 else 0.0
    grey = grey + lifted
    return np.asarray(np.clip(grey, 0, 255), np.float32)


def jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """What a JPEG encoder leaves of the picture."""
    stream = io.BytesIO()
    PillowImage.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(PillowImage.open(stream).convert("L"))
