"""What Prometheus is told: requests, analyses by outcome, stage seconds and the queue."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

STAGE_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 600.0)


class Counts(Protocol):
    """How many analyses wait, and how many run; either may raise `QueueStateUnknownError`."""

    @property
    def queued(self) -> int: ...

    @property
    def running(self) -> int: ...


class QueueStateUnknownError(Exception):
    """What knows how many analyses wait does not answer."""


class _QueueState(Collector):
    """Two gauges that a queue is asked for."""

    def __init__(self, queue: Counts) -> None:
        self._queue = queue

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families(0, 0)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            return self._families(self._queue.queued, self._queue.running)
        except QueueStateUnknownError:  # readiness tells of that; the others are worth reading
            return ()

    def _families(self, queued: int, running: int) -> Iterable[GaugeMetricFamily]:
        return (
            GaugeMetricFamily(
                "echo2pheno_analyses_queued", "Analyses that wait for a worker.", queued
            ),
            GaugeMetricFamily("echo2pheno_analyses_running", "Analyses that run.", running),
        )


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "echo2pheno_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "echo2pheno_request_seconds",
            "Time from a request's first byte to its answer's last.",
            ("method", "route"),
            registry=self.registry,
            buckets=STAGE_SECONDS,
        )
        self._analyses = Counter(
            "echo2pheno_analyses",
            "Analyses ended, by outcome.",
            ("outcome",),
            registry=self.registry,
        )
        self._stage_seconds = Histogram(
            "echo2pheno_stage_seconds",
            "Time of a stage of an analysis.",
            ("stage",),
            registry=self.registry,
            buckets=STAGE_SECONDS,
        )
        for outcome in ("succeeded", "failed", "cancelled"):
            self._analyses.labels(outcome)
        self._expired_leases = Counter(
            "echo2pheno_leases_expired",
            "Analyses whose worker died, found by this process.",
            registry=self.registry,
        )
        self._dead_letters = Counter(
            "echo2pheno_dead_letters",
            "Analyses given up after too many attempts, found by this process.",
            registry=self.registry,
        )

    def watch_queue(self, queue: Counts) -> None:
        """Ask for the queue's state whenever the metrics are read; absent while nobody knows."""
        self.registry.register(_QueueState(queue))

    def count_expired_lease(self) -> None:
        """Count an analysis whose worker has said nothing for too long."""
        self._expired_leases.inc()

    def count_dead_letter(self) -> None:
        """Count an analysis that is not tried again."""
        self._dead_letters.inc()

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request under its route's template, never its path."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def count_analysis(self, outcome: str, timings_ms: Mapping[str, float]) -> None:
        """Count an analysis that ended, and how long its stages took."""
        self._analyses.labels(outcome).inc()
        for stage, milliseconds in timings_ms.items():
            self.observe_stage(stage, milliseconds)

    def observe_stage(self, stage: str, milliseconds: float) -> None:
        """Note how long one stage took."""
        self._stage_seconds.labels(stage).observe(milliseconds / 1000)

    def expose(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
