"""What Prometheus is told of the queue and of all workers, read from the records."""

from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from app.storage.leases import Load


class LoadCollector(Collector):
    """All that one look at the records tells of the queue and the workers."""

    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families(Load({"bulk": 0, "interactive": 0}, 0.0, 0, 0, 0))

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            load = self._load()
        except SQLAlchemyError:  # readiness tells of that; the other metrics are worth reading
            return ()
        return self._families(load)

    def _families(self, load: Load) -> Iterable[GaugeMetricFamily]:
        length = GaugeMetricFamily(
            "echo2pheno_queue_length",
            "Analyses that wait: those that somebody waits for, and all others.",
            labels=("line",),
        )
        for line, n in load.queued.items():
            length.add_metric((line,), n)
        return (
            length,
            GaugeMetricFamily(
                "echo2pheno_oldest_queued_age_seconds",
                "How long the analysis that came first of those that wait has waited.",
                load.oldest_s,
            ),
            GaugeMetricFamily("echo2pheno_workers", "Workers seen lately.", load.workers),
            GaugeMetricFamily(
                "echo2pheno_worker_slots", "Analyses that they can run at once.", load.slots
            ),
            GaugeMetricFamily("echo2pheno_worker_slots_busy", "Analyses that they run.", load.busy),
        )
