"""A whole simulated recording with its ground truth: the only data the networks are trained on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from models.simulation import artefacts
from models.simulation.anatomy import Anatomy, draw_anatomy, draw_motion, extremes
from models.simulation.convention import ReadBorders, read_borders
from models.simulation.texture import echo_amplitude
from models.simulation.tissue import tissue_amplitude

Acquisition = Literal["mixed", "good"]

FOLLOWABLE_CONTRAST = 0.75
"""Least contrast between wall and lumen, in standard deviations of the lumen's grey, at which a
border counts as one that a reader can follow."""


@dataclass(frozen=True)
class SimulatedRecording:
    """A strip and all that is known of it.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (rows, columns)
    seconds_per_column, mm_per_row : float
    upper_row, lower_row : ndarray of float32, shape (columns,)
        Borders in the label convention (see `convention`), in rows; given in every column,
        also where nothing can be seen of them.
    upper_inner_row, lower_inner_row : ndarray of float32, shape (columns,)
        Edges of the dark lumen, as they are seen.
    in_view : ndarray of bool, shape (columns,)
        Where there is a ventricle whose lumen can be told from tissue.
    empty : ndarray of bool, shape (columns,)
        Where there is none: the beam has left it, or contact with the animal is lost.
    followable : ndarray of float32, shape (columns,)
        0..1: share of the near neighbourhood in which both borders stand out from the lumen.
    diastole_columns, systole_columns : ndarray of int64
    anatomy : Anatomy
    """

    pixels: NDArray[np.uint8]
    seconds_per_column: float
    mm_per_row: float
    upper_row: NDArray[np.float32]
    lower_row: NDArray[np.float32]
    upper_inner_row: NDArray[np.float32]
    lower_inner_row: NDArray[np.float32]
    in_view: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    followable: NDArray[np.float32]
    diastole_columns: NDArray[np.int64]
    systole_columns: NDArray[np.int64]
    anatomy: Anatomy


def simulate_recording(
    seed: int,
    *,
    duration_s: float = 4.9,
    rows: int | None = None,
    seconds_per_column: float | None = None,
    acquisition: Acquisition = "mixed",
) -> SimulatedRecording:
    """Simulate one recording; the same arguments give the same pixels.

    Parameters
    ----------
    seed : int
    duration_s : float
    rows : int, optional
        Height of the strip; drawn from 300 to 700 where not given.
    seconds_per_column : float, optional
        Drawn from 0.4 to 2 ms where not given.
    acquisition : {'mixed', 'good'}
        'mixed' draws good and bad stretches as they come; 'good' leaves out what makes a recording
        unreadable (loss of contact, ventricle out of view, strong clutter and noise).
    """
    rng = np.random.default_rng([seed, 20_26])
    if rows is None:
        rows = int(rng.integers(300, 701))
    if seconds_per_column is None:
        seconds_per_column = float(np.exp(rng.uniform(np.log(0.4e-3), np.log(2e-3))))
    columns = round(duration_s / seconds_per_column)
    anatomy = draw_anatomy(rng)
    motion = draw_motion(rng, anatomy, columns, seconds_per_column)
    mm_per_row = anatomy.depth_mm / rows
    good = acquisition == "good"
    kind = rng.random()  # of acquisition: below 0.45 clean, to 0.85 troubled, then bad throughout
    trouble = 0.0 if good else (0.05 if kind < 0.45 else 0.45 if kind < 0.85 else 0.75)

    def episode(chance: float, shortest_s: float, longest_s: float) -> NDArray[np.float32]:
        return artefacts.episodes(
            rng, columns, seconds_per_column,
            chance=chance, shortest_s=shortest_s, longest_s=longest_s,
        )  # fmt: skip

    away = episode(0.8 * trouble, 0.1, 1.5)  # tissue only: the beam has left the ventricle
    if not good and rng.random() < 0.05:
        away = np.ones(columns, np.float32)
    lost = episode(trouble, 0.05, 1.2)  # contact lost
    noisiest = 0.4 if good else (0.6 if kind < 0.45 else 0.7 if kind < 0.85 else 1.2)
    noise_level = float(np.exp(rng.uniform(np.log(0.04), np.log(noisiest))))
    amplitude = echo_amplitude(rng, anatomy, motion, rows, seconds_per_column, noise_level)
    artefacts.add_intracavity_echoes(rng, amplitude, motion, mm_per_row)
    if away.any():
        beside = tissue_amplitude(rng.spawn(1)[0], anatomy, motion, rows, seconds_per_column)
        amplitude += (beside - amplitude) * away
    amplitude = amplitude * artefacts.shadow(rng, rows, columns, seconds_per_column)
    contact = 1 - lost * rng.uniform(0.6, 1.0)
    posterior = 1 - episode(trouble, 0.1, 1.5) * rng.uniform(0.5, 1.0)
    if not good and rng.random() < 0.12:
        posterior = posterior * rng.uniform(0.1, 0.5)
    half = 0.5 * (motion.upper_mm + motion.lower_mm) / mm_per_row
    lower_half = np.arange(rows, dtype=np.float32)[:, None] > half[None, :]
    amplitude *= np.where(lower_half, (contact * posterior)[None, :], contact[None, :])
    stationary = artefacts.clutter(rng, rows, columns, mm_per_row)
    amplitude += stationary * (0.35 if good else rng.choice([0.4, 1.0, 2.5], p=[0.5, 0.35, 0.15]))
    amplitude = artefacts.blur(rng, amplitude, mm_per_row, seconds_per_column)
    tilt = rng.uniform(-0.4, 0.4)
    depth_gain = np.exp(tilt * np.linspace(-1, 1, rows)).astype(np.float32)
    grey = artefacts.compress(rng, amplitude, noise_level, depth_gain)
    pixels = np.rint(grey).astype(np.uint8)
    if rng.random() < 0.3:
        pixels = artefacts.jpeg(pixels, int(rng.integers(55, 96)))

    read = read_borders(
        pixels.astype(np.float32), motion, away < 0.5, mm_per_row, seconds_per_column
    )
    diastoles, systoles = extremes(read.lower_mm - read.upper_mm, motion.beat)
    followable = _followable(grey, read, mm_per_row, seconds_per_column) * (away < 0.5)
    seen = gaussian_filter1d(followable, 0.05 / seconds_per_column) > 0.08
    to_row = 1 / mm_per_row
    return SimulatedRecording(
        pixels=pixels,
        seconds_per_column=seconds_per_column,
        mm_per_row=mm_per_row,
        upper_row=read.upper_mm * np.float32(to_row) - 0.5,
        lower_row=read.lower_mm * np.float32(to_row) - 0.5,
        upper_inner_row=read.upper_inner_mm * np.float32(to_row) - 0.5,
        lower_inner_row=read.lower_inner_mm * np.float32(to_row) - 0.5,
        in_view=seen & (away < 0.5),
        empty=(away >= 0.5) | ((contact < 0.12) & ~seen),
        followable=followable.astype(np.float32),
        diastole_columns=diastoles,
        systole_columns=systoles,
        anatomy=anatomy,
    )


def _followable(
    grey: NDArray[np.float32], read: ReadBorders, mm_per_row: float, seconds_per_column: float
) -> NDArray[np.float32]:
    """Measure, at the true borders, where both stand out from the lumen.

    Whatever made a picture bad (noise, shadow, clutter, saturation, lost contact) shows as a lack
    of contrast at the border, so the label is read from the finished picture and not from the
    recipe that made it.
    """
    rows, columns = grey.shape
    smooth = uniform_filter1d(grey, max(1, round(0.006 / seconds_per_column)), axis=1)
    total = np.concatenate([np.zeros((1, columns)), np.cumsum(smooth, axis=0, dtype=np.float64)])

    def band(start_mm: NDArray[np.float32], end_mm: NDArray[np.float32]) -> NDArray[np.float64]:
        first = np.clip(np.rint(start_mm / mm_per_row).astype(int), 0, rows - 1)
        last = np.clip(np.rint(end_mm / mm_per_row).astype(int), first + 1, rows)
        at = np.arange(columns)
        return np.asarray((total[last, at] - total[first, at]) / (last - first))

    upper, lower = read.upper_inner_mm, read.lower_inner_mm
    inner = lower - upper
    reach = np.minimum(0.35, 0.5 * inner)
    spread = float(np.median(np.abs(grey - smooth))) * 1.48 + 4
    above = np.maximum(band(upper - 0.2, upper - 0.02), band(upper - 0.35, upper - 0.05))
    below = np.maximum(band(lower + 0.02, lower + 0.22), band(lower + 0.05, lower + 0.4))
    contrast_upper = (above - band(upper + 0.04, upper + reach)) / spread
    contrast_lower = (below - band(lower - reach, lower - 0.04)) / spread
    in_image = read.lower_mm < rows * mm_per_row - 0.1
    both = np.minimum(contrast_upper, contrast_lower) > FOLLOWABLE_CONTRAST
    share = uniform_filter1d((both & in_image).astype(np.float32), round(0.02 / seconds_per_column))
    return np.asarray(share, np.float32)
