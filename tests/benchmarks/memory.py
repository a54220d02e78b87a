"""Peak memory of a whole analysis in a running service: ``python -m tests.benchmarks.memory``.

Starts a service with one worker, sends it one uncompressed recording, and prints what the process
holds before and the most it held after (``VmHWM`` of /proc, in megabytes of 10^6 bytes). Figures
are drawn, as they are by default.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np

from models.simulation.recording import simulate_recording
from models.simulation.scanner import write_screens

ROOT = Path(__file__).resolve().parents[2]
FRAME_ROWS, WIDTH = 344, 1024  # of M-mode; the screen has 520 rows and 1104 columns


@contextlib.contextmanager
def service(data: Path) -> Iterator[tuple[int, str]]:
    """Run a service with one worker; gives the number of its process and its address."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ECHO2PHENO_")}
    environment |= {
        "ECHO2PHENO_DATA_DIR": str(data),
        "ECHO2PHENO_PORT": "0",
        "ECHO2PHENO_WORKERS": "1",
        "ECHO2PHENO_ANALYSIS_TIME_LIMIT_S": "3600",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.pid, process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()


def peak_mb(pid: int) -> float:
    """Most memory that a process has held, in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError("VmHWM")


def write_recording(path: Path, screens: int, duration_s: float | None) -> None:
    """Write uncompressed RGB of as many screens, a tenth of a screen apart unless told."""
    columns = WIDTH + 100 * (screens - 1)
    if duration_s is not None:
        columns = round(duration_s * 1200)
    piece = simulate_recording(
        3, duration_s=min(10, columns / 1200), rows=FRAME_ROWS, seconds_per_column=1 / 1200,
        acquisition="good",
    )  # fmt: skip
    strip = np.tile(piece.pixels, (1, -(-columns // piece.pixels.shape[1])))[:, :columns].copy()
    if columns > piece.pixels.shape[1]:  # the piece must not look the same each time
        rng = np.random.default_rng(1)
        for start in range(0, columns, 12_000):
            part = strip[:, start : start + 12_000]
            part ^= rng.integers(0, 8, part.shape, dtype=np.uint8)
    write_screens(
        strip, path, seconds_per_column=piece.seconds_per_column, mm_per_row=piece.mm_per_row,
        screens=screens, width=WIDTH, seed=1,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screens", type=int, default=70, help="70 make a file of 120 MB")
    parser.add_argument("--duration-s", type=float, help="of M-mode, over all screens")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.dcm"
        write_recording(path, given.screens, given.duration_s)
        size = path.stat().st_size
        with service(Path(folder) / "data") as (pid, address), path.open("rb") as file:
            before = peak_mb(pid)
            answer = httpx.post(
                f"{address}/v1/analyses",
                content=file,
                headers={"Content-Type": "application/dicom", "Prefer": "wait=3600"},
                timeout=None,
                trust_env=False,
            )
            shown = answer.json()
            measured = peak_mb(pid)
            for link in shown.get("links", {}).get("figures", {}).values():
                httpx.get(f"{address}{link}", timeout=None, trust_env=False).raise_for_status()
            print(
                f"{size / 1e6:.0f} MB, {given.screens} screens, "
                f"{shown.get('recording', {}).get('duration_s', 0):.1f} s: "
                f"{answer.status_code} {shown.get('status', shown.get('code'))}; "
                f"{before:.0f} MB at the start, {measured:.0f} MB after the analysis, "
                f"{peak_mb(pid):.0f} MB after the figures"
            )
            print(shown.get("timings_ms"), shown.get("error"))


if __name__ == "__main__":
    main()
