"""Simulated recordings to measure with, made once and kept in ``build/benchmarks``."""

import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.simulation.recording import simulate_recording
from models.simulation.scanner import Encoding, write_screens

FOLDER = Path(__file__).resolve().parents[2] / "build" / "benchmarks"
ROWS, WIDTH = 344, 1024  # of M-mode; a screen then has 520 rows and 1104 columns
SECONDS_PER_COLUMN = 1 / 1200
SCREENS_PER_S = 10.0
_PIECE_S = 10.0


@dataclass(frozen=True)
class Recording:
    """A file to send: how many screens, how long a strip, how it is encoded."""

    name: str
    screens: int
    columns: int
    encoding: Encoding = "raw"

    def path(self) -> Path:
        """Write the file unless it is there, and say where it lies."""
        key = f"{zlib.crc32(repr(asdict(self)).encode()):08x}"
        path = FOLDER / f"{self.name.replace(' ', '-')}-{key}.dcm"
        if not path.exists():
            FOLDER.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            strip, mm_per_row = _strip(self.columns)
            write_screens(
                strip, part, seconds_per_column=SECONDS_PER_COLUMN, mm_per_row=mm_per_row,
                screens=self.screens, width=WIDTH, encoding=self.encoding, seed=1,
            )  # fmt: skip
            part.replace(path)
        return path


def of_duration(duration_s: float, encoding: Encoding = "raw") -> Recording:
    """Describe a recording whose screens were stored ten times a second."""
    columns = max(WIDTH, round(duration_s / SECONDS_PER_COLUMN))
    screens = 1 + round((columns - WIDTH) * SECONDS_PER_COLUMN * SCREENS_PER_S)
    return Recording(f"{duration_s:g} s {encoding}", screens, columns, encoding)


def half_overlapping(duration_s: float) -> Recording:
    """Describe a JPEG recording of which each screen shows half of the one before."""
    columns = round(duration_s / SECONDS_PER_COLUMN)
    screens = 1 + -(-(columns - WIDTH) // (WIDTH // 2))
    return Recording(f"{duration_s:g} s sparse", screens, columns, "jpeg")


# 46 and 71 screens of 1.72 MB: files of 79 and 122 MB where nothing is compressed
SMALL = Recording("79 MB", 46, WIDTH + 45 * 107)
LARGE = Recording("122 MB", 71, WIDTH + 70 * 107)
SMALL_JPEG = Recording("79 MB as JPEG", SMALL.screens, SMALL.columns, "jpeg")
LARGE_JPEG = Recording("122 MB as JPEG", LARGE.screens, LARGE.columns, "jpeg")


def _strip(columns: int) -> tuple[NDArray[np.uint8], float]:
    """Simulate so many columns; beyond ten seconds the same beats with other noise."""
    piece = simulate_recording(
        3,
        duration_s=min(_PIECE_S, columns * SECONDS_PER_COLUMN),
        rows=ROWS,
        seconds_per_column=SECONDS_PER_COLUMN,
        acquisition="good",
    )
    length = piece.pixels.shape[1]
    strip = np.tile(piece.pixels, (1, -(-columns // length)))[:, :columns].copy()
    rng = np.random.default_rng(1)
    for start in range(length, columns, length):  # else a screen would overlap with any other
        part = strip[:, start : start + length]
        part ^= rng.integers(0, 8, part.shape, dtype=np.uint8)
    return strip, piece.mm_per_row
