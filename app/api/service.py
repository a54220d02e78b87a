"""What the routes work with: put together once, in ``app.main``, and kept in the app's state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from anyio import Semaphore
from fastapi import Depends, Request

from app.jobs.intake import Intake
from app.jobs.queue import JobQueue
from app.jobs.render import Renderer
from app.jobs.runner import Inspect
from app.jobs.store_watch import StoreWatch
from app.jobs.studies import Studies
from app.keys import KeyRing
from app.metrics import Metrics
from app.output.mice import Mouse
from app.pipeline.networks import Networks
from app.settings import Settings
from app.storage.files import Files
from app.storage.records import Records

DrawOverview = Callable[[str, Sequence[Mouse]], bytes]
"""Draws the figure of a study, by its name and its mice, as a PNG file."""


@dataclass(frozen=True)
class Service:
    """The parts of one running service."""

    settings: Settings
    networks: Networks
    records: Records
    files: Files
    queue: JobQueue
    renderer: Renderer
    intake: Intake
    studies: Studies
    metrics: Metrics
    inspect: Inspect
    draw_overview: DrawOverview
    keys: KeyRing | None
    upload_slots: Semaphore
    check_store: StoreWatch


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


Here = Annotated[Service, Depends(_service)]
"""A route's parameter that is the service it runs in."""


def prefix(request: Request) -> str:
    """Give the path that a gateway mounts the service on, without a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/")
