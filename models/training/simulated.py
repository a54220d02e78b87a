"""How well networks measure simulated recordings, whose truth is exact."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.pipeline.networks import Networks
from app.pipeline.results import Beat, Borders, Strip
from app.pipeline.segment import segment
from models.simulation.recording import SimulatedRecording, simulate_recording
from models.training.dataset import EVALUATION_SEED
from models.training.measure import FOUND, WHITE, measure, overlay, strip_of
from models.training.scores import area_under_curve, bias_and_spread, dice, matched, reliability
from models.training.windows import GOOD_SHARE

WORST = 6
"""How many of the recordings with the least overlap are drawn."""


class Tally:
    """Scores summed up over simulated recordings."""

    def __init__(self) -> None:
        self.overlap = self.total = 0.0
        self.border_mm: list[float] = []
        self.said: list[float] = []
        self.share: list[float] = []
        self.lvid_d_pct: list[float] = []
        self.lvid_s_pct: list[float] = []
        self.fs_points: list[float] = []
        self.rate_pct: list[float] = []
        self.hits = self.found = self.wanted = 0
        self.false_ventricle = self.empty = 0

    def add(
        self, recording: SimulatedRecording, networks: Networks
    ) -> tuple[Strip, Borders, tuple[float, float]]:
        """Measure one recording and compare it with its truth; returns the overlap found."""
        dt, mm = recording.seconds_per_column, recording.mm_per_row
        strip = strip_of(recording.pixels, dt, mm)
        borders, windows, beats = measure(strip, networks)
        good = np.zeros(strip.columns, bool)
        for window in windows:
            here = slice(window.start_column, window.end_column)
            share = float(recording.followable[here].mean())
            self.said.append(window.probability)
            self.share.append(share)
            good[here] = share >= GOOD_SHARE
        true_upper = np.where(good, recording.upper_row, np.nan).astype(float)
        true_lower = np.where(good, recording.lower_row, np.nan).astype(float)
        upper = np.where(good, borders.upper_row, np.nan).astype(float)
        lower = np.where(good, borders.lower_row, np.nan).astype(float)
        overlap, total = dice(upper, lower, true_upper, true_lower)
        self.overlap += overlap
        self.total += total
        for found, true in ((upper, true_upper), (lower, true_lower)):
            error = np.abs(found - true) * mm
            self.border_mm += error[np.isfinite(error)][::7].tolist()
        self.empty += int(recording.empty.sum())
        self.false_ventricle += int((np.isfinite(borders.upper_row) & recording.empty).sum())
        self._add_beats(recording, beats, good)
        return strip, borders, dice(upper, lower, true_upper, true_lower)

    def _add_beats(
        self, recording: SimulatedRecording, beats: tuple[Beat, ...], good: NDArray[np.bool_]
    ) -> None:
        dt, mm = recording.seconds_per_column, recording.mm_per_row
        period = 60 / recording.anatomy.heart_rate_bpm / dt
        inner = np.zeros(good.size, bool)
        inner[int(period) : good.size - int(period)] = True
        wanted = np.array([s for s in recording.systole_columns if good[s] and inner[s]], float)
        systoles = [b for b in beats if b.systole_column is not None]
        got = [
            b for b in systoles
            if b.systole_column is not None and good[b.systole_column] and inner[b.systole_column]
        ]  # fmt: skip
        at = np.array([b.systole_column for b in got], float)
        pairs = matched(at, wanted, 0.25 * period)
        self.hits += len(pairs)
        self.found += len(got)
        self.wanted += len(wanted)
        diameter = (recording.lower_row - recording.upper_row) * mm
        for index, other in pairs:
            beat, systole = got[index], int(wanted[other])
            before = recording.diastole_columns[recording.diastole_columns < systole]
            if before.size == 0 or not good[before[-1]] or beat.lvid_s_mm is None:
                continue
            true_d, true_s = float(diameter[before[-1]]), float(diameter[systole])
            self.lvid_d_pct.append(100 * (beat.lvid_d_mm / true_d - 1))
            self.lvid_s_pct.append(100 * (beat.lvid_s_mm / true_s - 1))
            self.fs_points.append(
                100 * (1 - beat.lvid_s_mm / beat.lvid_d_mm) - 100 * (1 - true_s / true_d)
            )
        rates = [b.heart_rate_bpm for b in got if b.heart_rate_bpm is not None and b.accepted]
        if len(rates) >= 5 and len(recording.systole_columns) > 5:
            true_rate = 60 / (np.median(np.diff(recording.systole_columns)) * dt)
            self.rate_pct.append(100 * (float(np.median(rates)) / true_rate - 1))

    def results(self) -> dict[str, Any]:
        """All scores as plain numbers."""
        truly_good = [share >= GOOD_SHARE for share in self.share]
        clearly = list(zip(self.said, self.share, strict=True))
        kept = [p >= 0.5 for p, share in clearly if share >= GOOD_SHARE + 0.1]
        dropped = [p < 0.5 for p, share in clearly if share <= GOOD_SHARE - 0.1]
        return {
            "dice": self.overlap / self.total,
            "border_error_mm": float(np.mean(self.border_mm)),
            "lvid_d_error_pct": bias_and_spread(self.lvid_d_pct),
            "lvid_s_error_pct": bias_and_spread(self.lvid_s_pct),
            "fs_error_points": bias_and_spread(self.fs_points),
            "heart_rate_error_pct": bias_and_spread(self.rate_pct),
            "beat_f1": 2 * self.hits / max(self.found + self.wanted, 1),
            "beats": self.wanted,
            "false_ventricle_share": self.false_ventricle / max(self.empty, 1),
            "quality_auc": area_under_curve(self.said, truly_good),
            "good_windows_kept": float(np.mean(kept)) if kept else None,
            "bad_windows_dropped": float(np.mean(dropped)) if dropped else None,
            "reliability": reliability(self.said, [float(t) for t in truly_good]),
            "windows": len(self.said),
        }


def evaluate_simulated(
    networks: Networks,
    recordings: int,
    first_seed: int = EVALUATION_SEED,
    failures: Path | None = None,
) -> dict[str, Any]:
    """Score ``recordings`` simulated recordings of 3 s, good and bad; perhaps draw the worst."""
    tally = Tally()
    worst: list[tuple[float, int]] = []
    for seed in range(first_seed, first_seed + recordings):
        recording = simulate_recording(seed, duration_s=3.0)
        _, _, (overlap, total) = tally.add(recording, networks)
        if total:
            worst.append((overlap / total, seed))
    if failures:
        seeds = [seed for _, seed in sorted(worst)[:WORST]]
        draw_failures(seeds, networks, failures)
    return {"recordings": recordings, "first_seed": first_seed, **tally.results()}


def draw_failures(seeds: list[int], networks: Networks, path: Path) -> None:
    """Draw what was found (orange, blue) over the truth (white), recordings below each other."""
    sheets = []
    for seed in seeds:
        recording = simulate_recording(seed, duration_s=3.0)
        dt, mm = recording.seconds_per_column, recording.mm_per_row
        strip = strip_of(recording.pixels, dt, mm)
        truth = Borders(
            np.where(recording.followable > 0.5, recording.upper_row, np.nan),
            np.where(recording.followable > 0.5, recording.lower_row, np.nan),
            recording.followable,
        )
        sheets.append(
            overlay(strip, (truth, WHITE), (segment(strip, networks), FOUND), (1200, 220))
        )
    Image.fromarray(np.vstack(sheets)).save(path, optimize=True)
