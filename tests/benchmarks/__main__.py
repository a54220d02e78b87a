"""Measures how fast the service is: ``make bench``, or ``python -m tests.benchmarks``.

Times are shown as multiples of the floor, which is measured between them: to read, hash and touch
every byte of the uncompressed file once. Medians, and in brackets the least.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from tests.benchmarks import growth, load, whole
from tests.benchmarks.floor import multiply_adds, peak_multiply_adds_per_s
from tests.benchmarks.recordings import LARGE, LARGE_JPEG, SMALL, SMALL_JPEG
from tests.benchmarks.revisions import ROOT, checkouts

NETWORK_COLUMNS_PER_WINDOW = 192
SECONDS_PER_NETWORK_COLUMN = 1.25e-3
SECONDS_PER_QUALITY_WINDOW = 0.215

Part = Callable[[Mapping[str, Path], argparse.Namespace], None]


def show_start(roots: Mapping[str, Path], given: argparse.Namespace) -> None:
    for name, root in roots.items():
        times_s = whole.start_s(root, given.repetitions)
        print(f"{name}: ready after {whole.spread(times_s)} s")


def show_whole(roots: Mapping[str, Path], given: argparse.Namespace) -> None:
    for recordings, floors in (((SMALL, SMALL_JPEG), SMALL), ((LARGE, LARGE_JPEG), LARGE)):
        found = whole.measure(roots, recordings, floors, given.repetitions)
        for (name, recording), times in found.items():
            floor_s = median(times.floor)
            print(f"{name}, {recording}: floor {whole.spread(times.floor)} s; in floors:")
            print(f"  features       {whole.spread(times.features, floor_s)}")
            print(f"  six figures    {whole.spread(times.with_figures, floor_s)}")
            print(f"  processor time {whole.spread(times.features_cpu, floor_s)}", end="")
            print(f", with figures {whole.spread(times.with_figures_cpu, floor_s)}")
            stages = ", ".join(f"{k} {whole.spread(v, floor_s)}" for k, v in times.stages.items())
            print(f"  {stages}")
        _show_arithmetic(floors.columns / 1200, median(times.floor))


def _show_arithmetic(duration_s: float, floor_s: float) -> None:
    models = ROOT / "models"
    windows = duration_s / SECONDS_PER_NETWORK_COLUMN / NETWORK_COLUMNS_PER_WINDOW
    needed = windows * multiply_adds(models / "segmenter.onnx")
    needed += duration_s / SECONDS_PER_QUALITY_WINDOW * multiply_adds(models / "classifier.onnx")
    peak = peak_multiply_adds_per_s()
    print(
        f"  the networks' {needed / 1e9:.1f}e9 multiply-adds at the measured peak of "
        f"{peak / 1e9:.0f}e9 a second: {needed / peak:.2f} s, {needed / peak / floor_s:.2f} floors"
    )


def show_memory(roots: Mapping[str, Path], given: argparse.Namespace) -> None:
    for recording in (SMALL, SMALL_JPEG, LARGE, LARGE_JPEG):
        for name, root in roots.items():
            print(f"{name}, {recording.name}: {whole.peak_mb(root, recording.path()):.0f} MB")


def show_load(roots: Mapping[str, Path], given: argparse.Namespace) -> None:
    for figures, each in ((False, given.each), (True, max(1, given.each // 3))):
        for name, root in roots.items():
            found = load.load(root, SMALL.path(), figures=figures, clients=given.clients, each=each)
            print(
                f"{name}, {given.clients} clients {'with' if figures else 'without'} figures: "
                f"{found.per_s:.2f} recordings/s, {found.errors} errors; /health/ready "
                f"{found.ready_p50_ms:.1f} ms (99 %: {found.ready_p99_ms:.1f}, most "
                f"{found.ready_max_ms:.1f}, of {found.probes})"
            )


def show_growth(roots: Mapping[str, Path], given: argparse.Namespace) -> None:
    for name, root in roots.items():
        print(f"{name}:\n{growth.HEADER}")
        for point in growth.points(root, given.longest_s):
            print(growth.line(point), flush=True)


PARTS: Mapping[str, Part] = {
    "start": show_start,
    "whole": show_whole,
    "memory": show_memory,
    "load": show_load,
    "growth": show_growth,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="(default: all)")
    parser.add_argument("--against", metavar="REVISION", help="measure another revision beside")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--clients", type=int, default=8, help="of the load")
    parser.add_argument("--each", type=int, default=6, help="recordings that a client sends")
    parser.add_argument("--longest-s", type=float, default=600.0, help="of the growth")
    given = parser.parse_args()
    with checkouts(given.against) as roots:
        for part in given.only or PARTS:
            print(f"--- {part}", flush=True)
            PARTS[part](roots, given)


if __name__ == "__main__":
    main()
