"""Many clients at once: recordings a second, and how long the service's health takes to tell."""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from tests.benchmarks.service import Service, running

PROBE_EVERY_S = 0.05


@dataclass(frozen=True)
class Load:
    """What came of it.

    Attributes
    ----------
    per_s : float
        Recordings answered per second.
    errors : int
    ready_p50_ms, ready_p99_ms, ready_max_ms : float
        Of the answers to ``/health/ready``.
    probes : int
    """

    per_s: float
    errors: int
    ready_p50_ms: float
    ready_p99_ms: float
    ready_max_ms: float
    probes: int


def load(root: Path, path: Path, *, figures: bool, clients: int, each: int) -> Load:
    """Have clients send a recording again and again, without a pause.

    Parameters
    ----------
    root : Path
        Of the checkout.
    path : Path
    figures : bool
        Whether each client fetches all figures before it sends on.
    clients, each : int
        How many, and how many recordings each sends.
    """
    with running(root) as service:
        warm = service.analyse(path, figures=figures)
        if figures:
            service.fetch_figures(warm)
        errors: list[Exception] = []
        probes_ms: list[float] = []
        over = threading.Event()
        probe = threading.Thread(target=_probe, args=(service, probes_ms, over), daemon=True)
        probe.start()
        began = perf_counter()
        _together(clients, lambda: _client(service, path, figures, each, errors))
        took_s = perf_counter() - began
        over.set()
        probe.join()
    p50, p99, most = np.percentile(probes_ms, (50, 99, 100))
    answered = clients * each - len(errors)
    return Load(answered / took_s, len(errors), p50, p99, most, len(probes_ms))


def _together(count: int, act: Callable[[], None]) -> None:
    threads = [threading.Thread(target=act, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _client(
    service: Service, path: Path, figures: bool, each: int, errors: list[Exception]
) -> None:
    for _ in range(each):
        try:
            analysis = service.analyse(path, figures=figures)
            if figures:
                service.fetch_figures(analysis)
        except Exception as error:
            errors.append(error)


def _probe(service: Service, probes_ms: list[float], over: threading.Event) -> None:
    connection = http.client.HTTPConnection(service.host, service.port, timeout=60)
    while not over.is_set():
        began = perf_counter()
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        answer.read()
        probes_ms.append(1000 * (perf_counter() - began))
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} for /health/ready")
        sleep(PROBE_EVERY_S)
    connection.close()
