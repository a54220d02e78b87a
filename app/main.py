"""The one place where everything is put together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from anyio import Semaphore, to_thread
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline

from app import __version__
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
from app.jobs.queue import InProcessQueue
from app.jobs.render import Draw, Renderer
from app.jobs.runner import Analyse, Runner
from app.jobs.store_watch import StoreWatch
from app.jobs.studies import Studies
from app.keys import KeyRing
from app.metrics import Metrics
from app.networks import configured_networks
from app.output.drawers import Drawers
from app.output.names import FIGURE_NAMES
from app.pipeline.analysis import PIPELINE_VERSION
from app.pipeline.analysis import analyse as analyse_recording
from app.pipeline.dicom import open_recording
from app.pipeline.networks import Networks
from app.settings import Settings
from app.storage.files import Files
from app.storage.records import Records
from app.storage.serial import LAYOUT
from app.storage.studies import StudyRecords

DRAWERS = 2
"""Most figures that are drawn at once: each takes a process of some 0.1 GB."""

TIDY_EVERY_S = 30.0
"""How often the data folder's size, and what was lost to the queue, are looked at."""


def create_app(
    settings: Settings,
    *,
    load: Callable[[Settings], Networks] = configured_networks,
    open_files: Callable[[Path], Files] = Files,
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
        Opens the data folder.

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
        files = open_files(settings.data_dir)
        records = Records.in_file(files.records_path)
        drawers = Drawers(min(DRAWERS, settings.cores))
        renderer = Renderer(
            draw or drawers.draw, FIGURE_NAMES, files, records, metrics, at_once=drawers.count
        )
        runner = Runner(
            analyse=partial(
                analyse, networks=networks, measuring=settings.measuring, limits=settings.limits
            ),
            time_limit_s=settings.analysis_time_limit_s,
            records=records,
            files=files,
            renderer=renderer,
            metrics=metrics,
            keep_uploads=settings.keep_uploads,
        )
        queue = InProcessQueue(runner, settings.worker_count)
        metrics.watch_queue(lambda: queue.queued, lambda: queue.running)
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
        study_jobs.tidy()
        intake.recover()
        async with (
            expiring(intake.expire, settings.results_expire_after_h),
            shrinking(intake.shrink, settings.results_max_bytes, TIDY_EVERY_S),
            repeating(intake.take_up_stray, TIDY_EVERY_S),
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
