"""Time and memory against the length of the strip and the size of the file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from tests.benchmarks.recordings import Recording, half_overlapping, of_duration
from tests.benchmarks.service import PeakMemory, running

DURATIONS_S = (5.0, 20.0, 60.0, 150.0, 300.0, 600.0)
"""Of JPEG recordings, each screen of which shows half of the one before."""
RAW_DURATIONS_S = (5.0, 10.0, 20.0)
"""Of uncompressed ones, ten screens a second: files of 70 to 330 MB."""


@dataclass(frozen=True)
class Point:
    """One recording; time in seconds, memory in megabytes of 10^6 bytes, before and at most."""

    name: str
    file_mb: float
    screens: int
    columns: int
    features_s: float
    cpu_s: float
    idle_mb: float
    peak_mb: float


def points(root: Path, longest_s: float) -> Iterator[Point]:
    """Measure recordings of up to so many seconds, each in a service of its own."""
    recordings = [half_overlapping(s) for s in DURATIONS_S if s <= longest_s]
    recordings += [of_duration(s) for s in RAW_DURATIONS_S if s <= longest_s]
    return (_point(root, recording) for recording in recordings)


def _point(root: Path, recording: Recording) -> Point:
    path = recording.path()
    with running(root, workers=1) as service, PeakMemory(service) as memory:
        idle_mb, cpu_s = memory.mb, service.cpu_s()
        began = perf_counter()
        service.analyse(path, figures=False)
        took_s = perf_counter() - began
        return Point(
            recording.name,
            path.stat().st_size / 1e6,
            recording.screens,
            recording.columns,
            took_s,
            service.cpu_s() - cpu_s,
            idle_mb,
            memory.mb,
        )


HEADER = "recording | file MB | screens | columns | s | CPU s | MB idle | MB at most"


def line(p: Point) -> str:
    """Write a point under the header."""
    return (
        f"{p.name} | {p.file_mb:.0f} | {p.screens} | {p.columns} | {p.features_s:.1f} | "
        f"{p.cpu_s:.1f} | {p.idle_mb:.0f} | {p.peak_mb:.0f}"
    )
