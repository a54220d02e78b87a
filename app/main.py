"""The one place where everything is put together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from anyio import Semaphore, to_thread
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline

from app import __version__, parts
from app.api import (
    analyses,
    artefacts,
    events,
    health,
    studies,
    study_files,
    study_uploads,
    usage,
)
from app.api.access import AccessControl
from app.api.documentation import DESCRIPTION, describe_with
from app.api.edge import Edge
from app.api.exchange import Pace
from app.api.problems import HANDLERS
from app.api.service import DrawOverview, Service
from app.jobs.expiry import expiring, repeating, shrinking
from app.jobs.intake import Intake, Room
from app.jobs.queue import InProcessQueue, JobQueue
from app.jobs.render import Draw, Renderer
from app.jobs.runner import Analyse
from app.jobs.store_watch import StoreWatch
from app.jobs.studies import Studies
from app.keys import KeyRing
from app.metrics import Metrics
from app.networks import configured_networks
from app.output.drawers import DRAWERS, Drawers
from app.output.names import FIGURE_NAMES
from app.pipeline.analysis import PIPELINE_VERSION
from app.pipeline.analysis import analyse as analyse_recording
from app.pipeline.dicom import open_recording
from app.pipeline.networks import Networks
from app.settings import Settings
from app.storage.files import Files
from app.storage.serial import LAYOUT
from app.storage.studies import StudyRecords

TIDY_EVERY_S = 30.0
"""How often the data folder's size, and what was lost to the queue, are looked at, and SQLite's log
is emptied of what has been removed."""

ORPHANS_STAY_S = 3600.0
"""How long an analysis may wait for its study to refer to it; that takes a moment, not an hour."""


def create_app(
    settings: Settings,
    *,
    load: Callable[[Settings], Networks] = configured_networks,
    open_files: Callable[[Path], Files] | None = None,
    inspect: Callable[..., object] = open_recording,
    analyse: Analyse = analyse_recording,
    draw: Draw | None = None,
    draw_overview: DrawOverview | None = None,
) -> FastAPI:
    """Put the service together.

    Parameters
    ----------
    settings : Settings
    load, inspect, analyse, draw, draw_overview : callable, optional
        The core that the service is built around: networks by the settings, a recording's header,
        its analysis, a figure of it and that of a study; figures are drawn in processes of their
        own where nothing else is given.
    open_files : callable, optional
        Opens the data folder; shared with workers where the settings say so by default.

    Returns
    -------
    FastAPI
        Nothing is opened before its lifespan starts. Then ``state.service`` holds the parts.
    """
    metrics = Metrics()
    keys = None if settings.keys_file is None else KeyRing(settings.keys_file)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if keys is not None:
            keys.load()
        networks = load(settings)
        files = parts.open_files(settings) if open_files is None else open_files(settings.data_dir)
        records = parts.open_records(settings, files)
        drawers = Drawers(min(DRAWERS, settings.cores))
        renderer = Renderer(
            draw or drawers.draw, FIGURE_NAMES, files, records, metrics, at_once=drawers.count
        )
        queue: JobQueue
        if settings.queue == "celery":
            from app.scale import open_scale  # its packages need not be there otherwise

            scale = open_scale(settings, records, files, metrics)
            queue, sweep, every_s = scale.queue, scale.sweeper.sweep, scale.sweeper.every_s
        else:
            runner = parts.make_runner(
                settings, networks, analyse, records, files, renderer, metrics
            )
            queue = InProcessQueue(runner, settings.worker_count)
        metrics.watch_queue(queue)
        intake = Intake(
            records=records,
            files=files,
            queue=queue,
            renderer=renderer,
            metrics=metrics,
            identity={
                "pipeline": PIPELINE_VERSION,
                "layout": LAYOUT,
                "networks": [networks.classifier.info.sha256, networks.segmenter.info.sha256],
                "measuring": vars(settings.measuring),
            },
            max_attempts=settings.max_attempts,
            keep_uploads=settings.keep_uploads,
            room=Room(settings.max_queued, settings.max_queued_per_key, settings.min_free_bytes),
        )
        checked = partial(inspect, limits=settings.limits)
        study_jobs = Studies(StudyRecords(records.engine), intake, records, files, checked)
        app.state.service = Service(
            settings=settings,
            networks=networks,
            records=records,
            files=files,
            queue=queue,
            renderer=renderer,
            intake=intake,
            metrics=metrics,
            studies=study_jobs,
            inspect=checked,
            draw_overview=draw_overview or drawers.draw_overview,
            keys=keys,
            upload_slots=Semaphore(settings.max_uploads_at_once),
            check_store=StoreWatch(
                lambda: files.check_writable(), lambda: records.check_writable()
            ),
        )
        if settings.queue == "in_process":  # else what others do now could look like left behind
            study_jobs.tidy()
            intake.recover()
            sweep, every_s = intake.take_up_stray, TIDY_EVERY_S
        async with (
            expiring(intake.expire, settings.results_expire_after_h),
            shrinking(intake.shrink, settings.results_max_bytes, TIDY_EVERY_S),
            repeating(sweep, every_s),
            repeating(records.empty_log, TIDY_EVERY_S),
            repeating(partial(study_jobs.tidy, ORPHANS_STAY_S), ORPHANS_STAY_S / 6),
        ):
            yield
        # Where a server has drained the queue before, both come to rest at once.
        grace_s = settings.shutdown_grace_s
        at_rest = await to_thread.run_sync(queue.drain, grace_s)
        at_rest &= await to_thread.run_sync(renderer.stop, grace_s)
        drawers.close()
        if at_rest:  # else the process ends soon, and a thread may still need them
            records.close()
        files.close()

    app = FastAPIOffline(  # its /docs needs nothing from the internet
        redoc_url=None,
        title="Echo2Pheno",
        version=__version__,
        description=DESCRIPTION,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers=dict(HANDLERS.items()),
        generate_unique_id_function=_operation_id,
    )
    for part in (analyses, events, artefacts, studies, study_uploads, study_files, usage, health):
        app.include_router(part.router)
    app.add_middleware(AccessControl, settings=settings, keys=keys)
    app.add_middleware(  # the last one added is the outermost
        Edge,
        metrics=metrics,
        root_path=settings.root_path,
        pace=Pace(
            idle_s=settings.upload_idle_limit_s,
            min_bytes_per_s=settings.upload_min_bytes_per_s,
            drain_bytes=settings.drain_max_bytes,
            drain_s=settings.drain_time_limit_s,
        ),
        max_requests=settings.max_requests_at_once,
    )
    describe_with(app, settings)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
