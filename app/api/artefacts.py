"""What a succeeded analysis leaves to fetch: figures and tables."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path
from fastapi.responses import StreamingResponse

from app.api import examples
from app.api.analyses import AnalysisId, find, not_found, see
from app.api.documentation import answers, file_of
from app.api.problems import Problem
from app.api.service import Here, Service
from app.api.stored import StoredFile
from app.jobs.render import FigureUnavailableError
from app.jobs.runner import BEATS, PUBLISHED_ALL, PUBLISHED_STATS, SUMMARY, TRACE

# Whatever is added here is there only for those who see its analysis.
router = APIRouter(tags=["figures and tables"], dependencies=[Depends(see)])

CSV, PNG = "text/csv; charset=utf-8", "image/png"


@router.get(
    "/v1/analyses/{id}/figures/{name}.png",
    summary="Get a figure",
    response_class=StreamingResponse,
    responses=answers(
        {200: file_of(PNG, None, "The figure.")}, "not_found", "not_finished", "storage_full"
    ),
)
async def get_figure(
    service: Here,
    id: AnalysisId,
    name: Annotated[
        str, Path(description="Which figure; see `links.figures`.", examples=["segmentation"])
    ],
) -> StoredFile:
    """Give a figure as a PNG file, drawing it first where that has not been done."""
    if name not in service.renderer.names:
        raise Problem("not_found", "There is no such figure.")
    await to_thread.run_sync(_require_drawable, service, id)
    try:
        path = await service.renderer.figure(id, name)
    except FigureUnavailableError:
        if service.renderer.stopped:
            detail = "The service is stopping; try again in a moment."
            raise Problem("not_ready", detail, {"Retry-After": "5"}) from None
        await to_thread.run_sync(find, service, id)  # it may have been removed meanwhile
        raise Problem("internal_error", "The figure could not be drawn.") from None
    try:
        return await to_thread.run_sync(StoredFile, path, PNG)
    except FileNotFoundError:  # removed this very moment
        raise not_found() from None


@router.get(
    "/v1/analyses/{id}/beats.csv",
    summary="Get the beats",
    response_class=StreamingResponse,
    responses=answers(
        {200: file_of("text/csv", examples.BEATS_CSV, "A row per beat.")},
        "not_found",
        "not_finished",
    ),
)
def get_beats(service: Here, id: AnalysisId) -> StoredFile:
    """Give a row per beat, accepted or not."""
    return _table(service, id, BEATS)


@router.get(
    "/v1/analyses/{id}/summary.csv",
    summary="Get the features",
    response_class=StreamingResponse,
    responses=answers(
        {200: file_of("text/csv", examples.SUMMARY_CSV, "One row with every feature.")},
        "not_found",
        "not_finished",
    ),
)
def get_summary(service: Here, id: AnalysisId) -> StoredFile:
    """Give one row with every feature."""
    return _table(service, id, SUMMARY)


@router.get(
    "/v1/analyses/{id}/trace.csv",
    summary="Get the borders",
    response_class=StreamingResponse,
    responses=answers(
        {200: file_of("text/csv", examples.TRACE_CSV, "A row per column of the strip.")},
        "not_found",
        "not_finished",
    ),
)
def get_trace(service: Here, id: AnalysisId) -> StoredFile:
    """Give both borders, the diameter and the quality for every column of the strip."""
    return _table(service, id, TRACE)


@router.get(
    "/v1/analyses/{id}/published_all.csv",
    summary="Get the beats as the published scripts write them",
    response_class=StreamingResponse,
    responses=answers(
        {200: file_of("text/csv", examples.PUBLISHED_ALL_CSV, "A row per beat that counts.")},
        "not_found",
        "not_finished",
    ),
)
def get_published_all(service: Here, id: AnalysisId) -> StoredFile:
    """Give a row per beat that counts, in the columns of the published scripts."""
    return _table(service, id, PUBLISHED_ALL)


@router.get(
    "/v1/analyses/{id}/published_stats.csv",
    summary="Get the features as the published scripts write them",
    response_class=StreamingResponse,
    responses=answers(
        {200: file_of("text/csv", examples.PUBLISHED_STATS_CSV, "One row of statistics.")},
        "not_found",
        "not_finished",
    ),
)
def get_published_stats(service: Here, id: AnalysisId) -> StoredFile:
    """Give median, mean, largest and smallest values in the columns of the published scripts."""
    return _table(service, id, PUBLISHED_STATS)


def _table(service: Service, id: str, name: str) -> StoredFile:
    _require_success(service, id)
    try:
        return StoredFile(service.files.file(id, name), CSV, name)
    except FileNotFoundError:  # removed this very moment
        raise not_found() from None


def _require_drawable(service: Service, id: str) -> None:
    _require_success(service, id)
    attempts = find(service, id).render_attempts or 0
    if attempts >= service.settings.max_attempts:
        detail = f"Drawing the figures of this analysis has stopped the service {attempts} times."
        raise Problem("internal_error", detail)


def _require_success(service: Service, id: str) -> None:
    record = find(service, id)
    if record.status != "succeeded":
        detail = f"The analysis is {record.status}; figures and tables exist once it has succeeded."
        raise Problem("not_finished", detail)
