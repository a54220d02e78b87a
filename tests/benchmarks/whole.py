"""One recording at a time, warm: stages, the whole request, processor time, peak memory."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.benchmarks.floor import floor_s
from tests.benchmarks.recordings import Recording
from tests.benchmarks.service import PeakMemory, Service, running

STAGES = ("read", "stitch", "segment", "classify", "measure")


@dataclass
class Times:
    """What was measured of one recording in one checkout; lists of seconds."""

    floor: list[float] = field(default_factory=list)
    features: list[float] = field(default_factory=list)
    with_figures: list[float] = field(default_factory=list)
    features_cpu: list[float] = field(default_factory=list)
    with_figures_cpu: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)


def measure(
    roots: Mapping[str, Path], recordings: Iterable[Recording], floors: Recording, repetitions: int
) -> dict[tuple[str, str], Times]:
    """Send each recording to each checkout's service in turn, so that all share what is going on.

    Parameters
    ----------
    roots : mapping of str to Path
        Checkouts by what they are called.
    recordings : iterable of Recording
    floors : Recording
        Whose floor is measured beside recordings that are compressed; an uncompressed one has
        its own.
    repetitions : int

    Returns
    -------
    dict of (checkout, recording) to Times
    """
    found: dict[tuple[str, str], Times] = {}
    with ExitStack() as stack:
        services = {name: stack.enter_context(running(root)) for name, root in roots.items()}
        for recording in recordings:
            path = recording.path()
            floor_path = path if recording.encoding == "raw" else floors.path()
            for name in roots:
                found[name, recording.name] = Times()
            for turn in range(repetitions + 1):
                for name, service in services.items():
                    times = found[name, recording.name] if turn else Times()  # the first warms up
                    times.floor.append(floor_s(floor_path))
                    _once(service, path, times)
    return found


def _once(service: Service, path: Path, times: Times) -> None:
    began, cpu_s = perf_counter(), service.cpu_s()
    analysis = service.analyse(path, figures=False)
    times.features.append(perf_counter() - began)
    times.features_cpu.append(service.cpu_s() - cpu_s)
    service.remove(analysis)
    for stage in STAGES:
        times.stages.setdefault(stage, []).append(analysis["timings_ms"][stage] / 1000)

    began, cpu_s = perf_counter(), service.cpu_s()
    analysis = service.analyse(path, figures=True)
    service.fetch_figures(analysis)
    times.with_figures.append(perf_counter() - began)
    times.with_figures_cpu.append(service.cpu_s() - cpu_s)
    rendered_ms = service.look_at(analysis)["timings_ms"]["render"]
    times.stages.setdefault("render", []).append(rendered_ms / 1000)
    service.remove(analysis)


def peak_mb(root: Path, path: Path, repetitions: int = 3) -> float:
    """Most memory of a service and its children over some analyses with figures."""
    with running(root) as service, PeakMemory(service) as memory:
        for _ in range(repetitions):
            analysis = service.analyse(path, figures=True)
            service.fetch_figures(analysis)
            service.remove(analysis)
        return memory.mb


def start_s(root: Path, repetitions: int) -> list[float]:
    """Seconds from starting the process to its first answer that it is ready."""
    times_s = []
    for _ in range(repetitions):
        with running(root) as service:
            times_s.append(service.start_s)
    return times_s


def spread(values: Sequence[float], unit: float = 1.0) -> str:
    """Median, and in brackets the least."""
    return f"{median(values) / unit:.2f} ({min(values) / unit:.2f})"
