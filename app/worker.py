"""The process of a worker: takes analyses that a broker tells of, and runs them."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

from celery import Celery
from celery.exceptions import Reject
from celery.signals import setup_logging, worker_ready, worker_shutting_down
from prometheus_client import start_http_server
from sqlalchemy.exc import SQLAlchemyError

from app import parts
from app.jobs.broker import TASK
from app.jobs.leased import LeasedWork
from app.jobs.queue import NOTICE_S
from app.jobs.render import Draw, Renderer
from app.jobs.runner import Analyse
from app.jobs.sweeper import Sweeper
from app.logs import configure_logging
from app.metrics import Metrics
from app.networks import configured_networks
from app.output.drawers import DRAWERS, Drawers
from app.output.names import FIGURE_NAMES
from app.pipeline.analysis import analyse as analyse_recording
from app.pipeline.errors import NetworksError
from app.pipeline.networks import Networks, require_convention
from app.scale import new_holder, open_scale
from app.settings import Settings
from app.storage.errors import DATABASE_AWAY, StorageFullError
from app.storage.upgrade import NewerStoreError

logger = logging.getLogger(__name__)

KEEP_MESSAGE_S = 600.0
"""How long a message is kept while nothing can be done about it; brokers take it back in time."""

_PAUSE_S = 1.0


def work(settings: Settings) -> int:
    """Run a worker with the networks that the settings name until a signal ends it.

    Returns
    -------
    int
        The status to exit with: 0 after a signal, 1 where it cannot start.
    """
    configure_logging(settings.log_level)
    if settings.queue != "celery":
        return parts.refuse_start(
            "workers are for ECHO2PHENO_QUEUE=celery; `serve` needs none otherwise."
        )
    try:
        networks = configured_networks(settings)
        require_convention(networks, settings.border_convention)
    except NetworksError as error:
        return parts.refuse_start(str(error))
    return run(settings, networks)


def run(
    settings: Settings,
    networks: Networks,
    *,
    analyse: Analyse = analyse_recording,
    draw: Draw | None = None,
) -> int:
    """Run a worker around a core until a signal ends it.

    Parameters
    ----------
    settings : Settings
    networks : Networks
    analyse, draw : callable, optional
        The core: the analysis of a recording, a figure of it; figures are drawn in processes of
        their own where nothing else is given.

    Returns
    -------
    int
        The status to exit with.
    """
    metrics = Metrics()
    try:
        files = parts.open_files(settings)
        records = parts.open_records(settings, files)
    except SQLAlchemyError as error:
        return parts.refuse_start(parts.unusable_database(error))
    except ModuleNotFoundError as error:
        return parts.refuse_start(parts.missing_package(error))
    except NewerStoreError as error:
        return parts.refuse_start(str(error))
    except OSError as error:
        reason = error.strerror or "unknown reason"
        return parts.refuse_start(f"the data folder {settings.data_dir} cannot be used ({reason}).")
    drawers = Drawers(min(DRAWERS, settings.cores))
    renderer = Renderer(
        draw or drawers.draw, FIGURE_NAMES, files, records, metrics, at_once=drawers.count
    )
    scale = open_scale(settings, records, files, metrics)
    work = LeasedWork(
        parts.make_runner(settings, networks, analyse, records, files, renderer, metrics),
        scale.leases,
        new_holder(),
        settings.worker_count,
        require=files.check_writable,
    )
    if settings.worker_metrics_port:
        start_http_server(
            settings.worker_metrics_port, addr=settings.host, registry=metrics.registry
        )
    stopped = threading.Event()
    work.start()
    threading.Thread(
        target=_sweep, args=(scale.sweeper, stopped), name="sweep", daemon=True
    ).start()
    with _draining(work, settings.shutdown_grace_s):
        _consume(scale.celery, work, settings.worker_count)
    stopped.set()
    at_rest = work.drain(0.0, NOTICE_S)
    renderer.stop(settings.shutdown_grace_s)
    drawers.close()
    work.close()
    if at_rest:
        records.close()
    files.close()
    return 0


def _consume(celery: Celery, work: LeasedWork, slots: int) -> None:
    """Run Celery's worker in this thread: for each message, the analysis whose turn it is."""

    @celery.task(name=TASK, bind=True)  # type: ignore[untyped-decorator]
    def analyse(self: Any, id: str) -> None:  # noqa: ARG001 - whose turn it is, the records say
        _work_when_possible(work)
        if work.stopping:
            raise Reject("this worker stops", requeue=True)

    worker = celery.Worker(
        pool="threads",
        concurrency=slots,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()


def _work_when_possible(work: LeasedWork) -> None:
    """Do what a message is about once database and volume answer.

    The message is kept meanwhile: given back, it would come again at once, over and over.
    """
    until = monotonic() + KEEP_MESSAGE_S
    while not work.stopping:
        try:
            work()
            return
        except (*DATABASE_AWAY, StorageFullError, OSError) as error:
            reason = type(error).__name__
            logger.warning("database or volume do not answer", extra={"error": reason})
            if monotonic() > until:
                raise Reject(reason, requeue=True) from None
            threading.Event().wait(_PAUSE_S)


@contextlib.contextmanager
def _draining(work: LeasedWork, grace_s: float) -> Iterator[None]:
    """Say when the worker is ready, and drain it once a signal has asked Celery to end."""

    def keep_ours(**_: Any) -> None:
        """Take the place of Celery's own way of logging: `app.logs` has set up ours."""
        for name in ("celery", "kombu", "amqp"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def say_ready(**_: Any) -> None:
        print("Echo2Pheno worker ready", flush=True)

    def drain(**_: Any) -> None:
        threading.Thread(target=work.drain, args=(grace_s, NOTICE_S), daemon=True).start()

    setup_logging.connect(keep_ours)
    worker_ready.connect(say_ready)
    worker_shutting_down.connect(drain)
    try:
        yield
    finally:
        setup_logging.disconnect(keep_ours)
        worker_ready.disconnect(say_ready)
        worker_shutting_down.disconnect(drain)


def _sweep(sweeper: Sweeper, stopped: threading.Event) -> None:
    while not stopped.wait(sweeper.every_s):
        sweeper.sweep()
