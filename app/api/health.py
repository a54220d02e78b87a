"""Whether the service is alive, ready and well; and the networks it has loaded."""

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from app.api import examples
from app.api.documentation import answers, file_of, shown
from app.api.problems import Problem
from app.api.schemas import HealthOut, ModelsOut
from app.api.service import Here
from app.jobs.queue import QueueUnavailableError

router = APIRouter(tags=["service"])


@router.get(
    "/health/live",
    summary="Is it alive?",
    response_model=HealthOut,
    response_model_exclude_none=True,
    responses=answers({200: shown({"status": "ok"}, "The service answers.")}),
)
async def live() -> HealthOut:
    """Answer as long as the process does."""
    return HealthOut(status="ok")


@router.get(
    "/health/ready",
    summary="Is it ready?",
    response_model=HealthOut,
    response_model_exclude_none=True,
    responses=answers({200: shown({"status": "ok"}, "Networks loaded, store writable.")}),
)
async def ready(service: Here) -> HealthOut:
    """Answer 200 where networks are loaded and the store can be written to, else 503.

    `warning` is there where the service works, but somebody has to look after it.
    """
    try:
        if not service.check_store.is_well():
            await to_thread.run_sync(service.check_store)
    except (OSError, SQLAlchemyError):
        detail = "The store cannot be written to."
        raise Problem("not_ready", detail, {"Retry-After": "10"}) from None
    try:
        warning = await to_thread.run_sync(service.queue.check)
    except QueueUnavailableError as error:
        raise Problem("not_ready", str(error), {"Retry-After": "10"}) from None
    if warning is None and service.keys is not None:
        warning = await to_thread.run_sync(service.keys.check)
    return HealthOut(status="ok", warning=warning)


@router.get(
    "/metrics",
    summary="Metrics",
    response_class=Response,
    responses=answers({200: file_of("text/plain", examples.METRICS, "Prometheus' text.")}),
)
def metrics(service: Here) -> Response:
    """Give requests, analyses by outcome, stage seconds and the queue to Prometheus."""
    return Response(service.metrics.expose(), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/v1/models",
    summary="The networks",
    response_model=ModelsOut,
    responses=answers({200: shown(examples.MODELS, "The loaded networks.")}),
)
def models(service: Here) -> Any:
    """Give name, version, sha256, training and accuracy of the loaded networks."""
    return {
        role: {**network.card, **vars(network.info)}
        for role, network in (
            ("classifier", service.networks.classifier),
            ("segmenter", service.networks.segmenter),
        )
    }
