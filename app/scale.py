"""What a service and its workers share where workers are processes of their own."""

import os
import secrets
import socket
from dataclasses import dataclass
from functools import partial

from celery import Celery

from app.jobs.broker import make_celery
from app.jobs.celery_queue import SEEN_WITHIN_S, CeleryQueue
from app.jobs.load_metrics import LoadCollector
from app.jobs.sweeper import Sweeper
from app.metrics import Metrics
from app.settings import Settings
from app.storage.files import Files
from app.storage.leases import Leases
from app.storage.records import Records


@dataclass(frozen=True)
class Scale:
    """The parts that know of the broker and of leases."""

    celery: Celery
    leases: Leases
    queue: CeleryQueue
    sweeper: Sweeper


def open_scale(settings: Settings, records: Records, files: Files, metrics: Metrics) -> Scale:
    """Put together what tells workers of analyses, and what looks after those that were lost."""
    assert settings.broker_url is not None  # noqa: S101 - the settings make sure
    celery = make_celery(settings.broker_url.get_secret_value())
    leases = Leases(records.engine, settings.lease_s)
    queue = CeleryQueue(celery, records, leases)
    sweeper = Sweeper(
        records=records,
        leases=leases,
        queue=queue,
        files=files,
        metrics=metrics,
        max_attempts=settings.max_attempts,
        keep_uploads=settings.keep_uploads,
    )
    metrics.registry.register(LoadCollector(partial(leases.load, SEEN_WITHIN_S)))
    return Scale(celery, leases, queue, sweeper)


def new_holder() -> str:
    """Make a name for this process that no worker has, nor ever had."""
    return f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}"
