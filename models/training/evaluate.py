"""How well the networks do, on recordings they were never trained on.

    python -m models.training.evaluate --networks models --out build/evaluation [--recordings 60]

Simulated recordings come from seeds that training never sees. Where ``ECHO2PHENO_REFERENCE_DATA``
names a folder with real recordings, those are measured too, and their pictures are written to
``--out`` only. Writes ``accuracy.json`` (for `models.training.export`), ``table.md`` and pictures.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import find_peaks

from app.pipeline.beats import find_beats
from app.pipeline.networks import Networks, load_networks
from app.pipeline.quality import judge
from app.pipeline.results import Beat, Borders, QualityWindow, Region, Strip
from app.pipeline.segment import segment
from models.simulation.recording import SimulatedRecording, simulate_recording
from models.training.dataset import EVALUATION_SEED
from models.training.scores import (
    area_under_curve,
    bias_and_spread,
    dice,
    matched,
    reliability,
)

GOOD_SHARE = 0.7
"""Share of followable columns from which a window counts as truly good (as in training)."""


def strip_of(pixels: NDArray[np.uint8], seconds_per_column: float, mm_per_row: float) -> Strip:
    """Wrap a bare image as a strip."""
    rows, columns = pixels.shape
    region = Region(0, 0, 0, columns, rows, seconds_per_column, mm_per_row)
    return Strip(pixels, region, 1, (0,))


def measure(
    strip: Strip, networks: Networks
) -> tuple[Borders, tuple[QualityWindow, ...], tuple[Beat, ...]]:
    """Run the pipeline from the strip on."""
    borders = segment(strip, networks)
    windows = judge(strip, borders, networks)
    beats, _ = find_beats(strip, borders, windows)
    return borders, windows, beats


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

    def add(self, recording: SimulatedRecording, networks: Networks) -> None:
        """Measure one recording and compare it with its truth."""
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
        away = ~recording.in_view
        self.empty += int(away.sum())
        self.false_ventricle += int((np.isfinite(borders.upper_row) & away).sum())
        self._add_beats(recording, beats, good)

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
        clear = [(p, s) for p, s in zip(self.said, self.share, strict=True) if not 0.6 < s < 0.8]
        kept = [p >= 0.5 for p, s in clear if s >= 0.8]
        dropped = [p < 0.5 for p, s in clear if s <= 0.6]
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


def evaluate_simulated(networks: Networks, recordings: int) -> dict[str, Any]:
    """Score ``recordings`` simulated recordings of 3 s, good and bad."""
    tally = Tally()
    for seed in range(EVALUATION_SEED, EVALUATION_SEED + recordings):
        tally.add(simulate_recording(seed, duration_s=3.0), networks)
    return {"recordings": recordings, "first_seed": EVALUATION_SEED, **tally.results()}


def evaluate_traced(
    networks: Networks, folder: Path, picture: Path | None = None
) -> dict[str, Any]:
    """Score a real window against an expert's traces of both borders; perhaps draw it."""
    mm = 0.0115
    pixels = np.asarray(Image.open(folder / "r1_image.png").convert("L"))
    traces = np.genfromtxt(folder / "r1_traces.csv", delimiter=",", skip_header=1)
    upper, lower = traces[:, 2], traces[:, 3]
    traced = np.isfinite(upper) & np.isfinite(lower)
    strip = strip_of(pixels, 1 / 1200, mm)
    borders, _, _ = measure(strip, networks)
    if picture:
        draw(strip, borders, picture)
    found_upper = np.where(traced, borders.upper_row, np.nan).astype(float)
    found_lower = np.where(traced, borders.lower_row, np.nan).astype(float)
    overlap, total = dice(
        found_upper, found_lower, np.where(traced, upper, np.nan), np.where(traced, lower, np.nan)
    )
    expert = np.interp(np.arange(lower.size), np.flatnonzero(traced), (lower - upper)[traced])
    diastoles, _ = find_peaks(expert, distance=60, prominence=40)
    systoles, _ = find_peaks(-expert, distance=60, prominence=40)
    ours = found_lower - found_upper
    largest = float(expert[diastoles].mean())

    def relative_pct(at: NDArray[np.int64]) -> float:
        both = at[np.isfinite(ours[at])]
        return float(100 * (ours[both].mean() / expert[both].mean() - 1))

    def offset_mm(found: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, float]:
        return {
            "diastole": float(np.nanmean((found - true)[diastoles]) * mm),
            "systole": float(np.nanmean((found - true)[systoles]) * mm),
        }

    return {
        "dice": overlap / total,
        "columns_without_border_pct": float(100 * np.isnan(ours[traced]).mean()),
        "lvid_error_per_column_pct_of_lvid_d": float(
            100 * np.nanmean(np.abs(ours - (lower - upper))) / largest
        ),
        "lvid_d_bias_pct": relative_pct(diastoles),
        "lvid_s_bias_pct": relative_pct(systoles),
        "upper_border_below_expert_mm": offset_mm(found_upper, upper),
        "lower_border_below_expert_mm": offset_mm(found_lower, lower),
    }


def evaluate_strip(networks: Networks, folder: Path, picture: Path | None = None) -> dict[str, Any]:
    """Measure the real strip whose heart rate was counted by hand (717 bpm); perhaps draw it."""
    pixels = np.asarray(Image.open(folder / "r4_strip.png").convert("L"))
    strip = strip_of(pixels, 1 / 1200, 0.020645)
    borders, windows, beats = measure(strip, networks)
    if picture:
        draw(strip, borders, picture)
    counted = [b for b in beats if b.accepted]
    rates = [b.heart_rate_bpm for b in counted if b.heart_rate_bpm is not None]
    return {
        "lvid_d_mm_median": float(np.median([b.lvid_d_mm for b in counted])),
        "lvid_s_mm_median": float(np.median([b.lvid_s_mm for b in counted if b.lvid_s_mm])),
        "heart_rate_bpm_median": float(np.median(rates)),
        "beats_found": len(beats),
        "beats_accepted": len(counted),
        "quality_probabilities": [round(w.probability, 3) for w in windows],
    }


def draw(strip: Strip, borders: Borders, path: Path) -> None:
    """Write the strip with its borders, in pieces of 1500 columns below each other."""
    grey = (255 * (strip.pixels / 255) ** 0.6).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=2)
    for border, colour in ((borders.upper_row, (230, 159, 0)), (borders.lower_row, (86, 180, 233))):
        there = np.flatnonzero(np.isfinite(border))
        rows = np.clip(np.rint(border[there]).astype(int), 0, strip.rows - 1)
        picture[rows, there] = colour
    width = min(1500, strip.columns)
    pieces = -(-strip.columns // width)
    sheet = np.zeros((pieces * strip.rows, width, 3), np.uint8)
    for index in range(pieces):
        part = picture[:, index * width : (index + 1) * width]
        sheet[index * strip.rows : (index + 1) * strip.rows, : part.shape[1]] = part
    Image.fromarray(sheet).save(path)


def table(results: dict[str, Any], prefix: str = "") -> list[str]:
    """Rows of a Markdown table, nested results flattened, lists left out."""
    rows = []
    for name, value in results.items():
        if isinstance(value, dict):
            rows += table(value, f"{prefix}{name} · ")
        elif isinstance(value, float):
            rows.append(f"| {prefix}{name} | {value:.4g} |")
        elif not isinstance(value, list):
            rows.append(f"| {prefix}{name} | {value} |")
    return rows


def main() -> None:
    """Evaluate from the command line."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--networks", type=Path, default=Path(__file__).parents[1])
    cli.add_argument("--out", type=Path, default=Path("build/evaluation"))
    cli.add_argument("--recordings", type=int, default=60)
    args = cli.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    networks = load_networks(args.networks, threads=1)
    results: dict[str, Any] = {"simulated": evaluate_simulated(networks, args.recordings)}
    reference = os.environ.get("ECHO2PHENO_REFERENCE_DATA")
    if reference:
        folder = Path(reference) / "real"
        results["expert_traced_window"] = evaluate_traced(networks, folder, args.out / "r1.png")
        results["real_strip"] = evaluate_strip(networks, folder, args.out / "r4.png")
    (args.out / "accuracy.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    rows = ["| measure | value |", "| --- | --- |", *table(results)]
    (args.out / "table.md").write_text("\n".join(rows) + "\n", "utf-8")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
