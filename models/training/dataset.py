"""Simulated recordings on the networks' grid, kept in shards that training reads.

    python -m models.training.dataset OUT_DIR --recordings 6000 --first-seed 0

A shard is written under a temporary name and then renamed, so an interrupted run goes on where it
stopped. Seeds from ``CHOICE_SEED`` on are never trained on: networks are chosen
and calibrated on some, and evaluated on others.
"""

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.pipeline.resample import NETWORK_ROWS, bright_grey, network_picture
from models.simulation.recording import SimulatedRecording, simulate_recording

CHOICE_SEED = 5_000_000
EVALUATION_SEED = 10_000_000
RECORDING_S = 1.28
COLUMNS = 1024
PER_SHARD = 50


@dataclass(frozen=True)
class Shard:
    """Simulated recordings and their truth on the networks' grid.

    Attributes
    ----------
    pictures : ndarray of uint8, shape (n, 256, 1024)
    bright : ndarray of float32, shape (n,)
    borders : ndarray of float32, shape (n, 4, 1024)
        Rows of upper, lower, upper inner and lower inner border.
    in_view : ndarray of bool, shape (n, 1024)
    followable : ndarray of float32, shape (n, 1024)
    mm_per_row : ndarray of float32, shape (n,)
        Of the networks' rows.
    """

    pictures: NDArray[np.uint8]
    bright: NDArray[np.float32]
    borders: NDArray[np.float32]
    in_view: NDArray[np.bool_]
    followable: NDArray[np.float32]
    mm_per_row: NDArray[np.float32]


def on_network_grid(recording: SimulatedRecording) -> tuple[NDArray[np.uint8], Shard]:
    """Put one recording and its truth on the networks' grid, as a shard of one."""
    picture = network_picture(recording.pixels, recording.seconds_per_column)
    rows, columns = recording.pixels.shape
    width = picture.shape[1]
    at = (np.arange(width) + 0.5) * columns / width - 0.5
    native = np.arange(columns)
    to_rows = NETWORK_ROWS / rows

    def curve(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.interp(at, native, values).astype(np.float32)

    borders = np.stack(
        [
            (curve(border) + 0.5) * to_rows - 0.5
            for border in (
                recording.upper_row,
                recording.lower_row,
                recording.upper_inner_row,
                recording.lower_inner_row,
            )
        ]
    )
    shard = Shard(
        pictures=picture[None],
        bright=np.array([bright_grey(picture)], np.float32),
        borders=borders[None].astype(np.float32),
        in_view=(curve(recording.in_view.astype(np.float32)) > 0.5)[None],
        followable=curve(recording.followable)[None],
        mm_per_row=np.array([recording.mm_per_row / to_rows], np.float32),
    )
    return picture, shard


def _example(seed: int) -> Shard:
    rng = np.random.default_rng([seed, 1])
    # mostly a moderate height, so that drawing stays cheap; the whole range still occurs
    rows = int(rng.integers(300, 421) if rng.random() < 0.75 else rng.integers(300, 701))
    slowest, fastest = np.log(2e-3), np.log(0.7e-3)
    seconds_per_column = float(np.exp(rng.uniform(fastest, slowest)))
    recording = simulate_recording(
        seed, duration_s=RECORDING_S + 0.01, rows=rows, seconds_per_column=seconds_per_column
    )
    _, shard = on_network_grid(recording)
    return Shard(
        pictures=shard.pictures[:, :, :COLUMNS],
        bright=shard.bright,
        borders=shard.borders[:, :, :COLUMNS],
        in_view=shard.in_view[:, :COLUMNS],
        followable=shard.followable[:, :COLUMNS],
        mm_per_row=shard.mm_per_row,
    )


def write_shards(folder: Path, first_seed: int, recordings: int, processes: int = 1) -> None:
    """Simulate ``recordings`` recordings from ``first_seed`` on; shards that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(first_seed, first_seed + recordings, PER_SHARD)
    if processes == 1:
        for start in starts:
            _write_shard(folder, start)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for _ in pool.map(partial(_write_shard, folder), starts):
            pass


def _write_shard(folder: Path, start: int) -> None:
    path = folder / f"seeds-{start:09d}.npz"
    if path.exists():
        return
    examples = [_example(seed) for seed in range(start, start + PER_SHARD)]
    arrays = {
        name: np.concatenate([getattr(example, name) for example in examples])
        for name in Shard.__dataclass_fields__
    }
    unfinished = path.with_suffix(".partial")
    with unfinished.open("wb") as stream:
        np.savez(stream, **arrays)
    unfinished.replace(path)


def read_shard(path: Path) -> Shard:
    """Read one shard back."""
    with np.load(path, allow_pickle=False) as arrays:
        return Shard(**{name: arrays[name] for name in Shard.__dataclass_fields__})


def main() -> None:
    """Write the training set."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("folder", type=Path)
    cli.add_argument("--recordings", type=int, default=6000)
    cli.add_argument("--first-seed", type=int, default=0)
    cli.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = cli.parse_args()
    write_shards(args.folder, args.first_seed, args.recordings, args.processes)


if __name__ == "__main__":
    main()
