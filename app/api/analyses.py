"""The analyses: asked for, looked at, listed and removed."""

import logging
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import examples, views
from app.api.access import Who
from app.api.answers import cut_page, read_cursor, written
from app.api.documentation import SUBMIT_EXTRA, SUBMIT_RESPONSES, answers, shown
from app.api.options import Preference, read_idempotency_key, read_options, read_preference
from app.api.problems import Problem
from app.api.schemas import AnalysisOut, PageOut
from app.api.service import Here, Service, prefix
from app.api.uploads import DICOM, announced_bytes, check_headers, receive
from app.jobs.intake import Line
from app.jobs.queue import Outcome
from app.pipeline.results import Analysis
from app.storage.schema import Record
from app.storage.serial import LayoutError, load_analysis

logger = logging.getLogger(__name__)

router = APIRouter(tags=["analyses"])

AnalysisId = Annotated[str, Path(description="The analysis's id.", examples=[examples.ID])]


class PageQuery(BaseModel):
    """Which page of the list."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100, description="Most analyses on the page.")] = 20
    cursor: Annotated[
        str | None, Field(description="`next_cursor` of the page before.", max_length=64)
    ] = None


@router.post(
    "/v1/analyses",
    summary="Analyse a recording",
    status_code=201,
    response_model=AnalysisOut,
    responses=SUBMIT_RESPONSES,
    openapi_extra=SUBMIT_EXTRA,
)
async def submit(request: Request, service: Here, caller: Who) -> Response:
    """Analyse one DICOM file: the part `file` of a form, or the body itself.

    Waits for the result unless the header `Prefer` says otherwise. The same bytes with the same
    options again answer 200 with the analysis that exists, unless that failed or was cancelled or
    `force` is set; a refused file leaves none behind.
    """
    caller.require_change()
    settings = service.settings
    media_type = check_headers(request, settings.max_upload_bytes)
    query = request.query_params.multi_items()
    early = read_options(query)
    if media_type == DICOM:
        early.settle(figures=settings.figures)
    preference = read_preference(request.headers.getlist("prefer"))
    sent_as = read_idempotency_key(request.headers.getlist("idempotency-key"))
    at_once = preference.timeout_s == 0
    line = Line(not at_once, caller.owner)
    with service.intake.arriving(line):
        await to_thread.run_sync(partial(service.intake.check_room, announced_bytes(request), line))
        async with receive(
            request, media_type, service.files, settings.max_upload_bytes, service.upload_slots
        ) as (upload, fields):
            asked = read_options([*query, *fields])
            options = asked.settle(figures=settings.figures)
            named = replace(upload, file_name=asked.file_name or upload.file_name)
            await to_thread.run_sync(service.inspect, upload.path)
            record, created = await to_thread.run_sync(
                partial(
                    service.intake.admit,
                    named,
                    options,
                    acknowledged=at_once,
                    owner=caller.owner,
                    force=asked.force,
                    sent_as=sent_as,
                )
            )
    if not (created and at_once):  # else it is acknowledged already, and answered as queued
        record = await _await(service, record, preference)
    try:
        shown = await to_thread.run_sync(show_record, service, record, prefix(request))
    except FileNotFoundError:  # removed this very moment
        raise not_found() from None
    return _answer(shown, record, preference, created=created)


@router.get(
    "/v1/analyses",
    summary="List analyses",
    response_model=PageOut,
    responses=answers({200: shown(examples.PAGE, "A page of analyses.")}, "invalid_option"),
)
def list_analyses(
    request: Request, service: Here, caller: Who, query: Annotated[PageQuery, Query()]
) -> Response:
    """List the caller's analyses, newest first, a page at a time."""
    before = None if query.cursor is None else read_cursor(query.cursor)
    found = service.records.page(query.limit + 1, before, caller.only)
    records, cursor = cut_page(found, query.limit)
    items = []
    for record in records:
        try:
            items.append(show_record(service, record, prefix(request)))
        except FileNotFoundError:
            continue  # removed since the page was read
    return written(PageOut(items=items, next_cursor=cursor))


@router.get(
    "/v1/analyses/{id}",
    summary="Look at an analysis",
    response_model=AnalysisOut,
    responses=answers(
        {
            200: shown(
                examples.ANALYSIS,
                queued=examples.QUEUED,
                running=examples.RUNNING,
                failed=examples.FAILED,
            )
        },
        "not_found",
    ),
)
def get_analysis(request: Request, service: Here, caller: Who, id: AnalysisId) -> Response:
    """Give an analysis, whatever its state; `progress` is there while it runs."""
    record = see(service, id, caller)
    try:
        return written(show_record(service, record, prefix(request)))
    except FileNotFoundError:  # removed this very moment
        raise not_found() from None


@router.delete(
    "/v1/analyses/{id}",
    summary="Cancel or remove an analysis",
    status_code=204,
    response_class=Response,
    responses=answers({204: {"description": "Cancelled or removed."}}, "not_found"),
)
def delete_analysis(service: Here, caller: Who, id: AnalysisId) -> Response:
    """Cancel an unfinished analysis, which stays readable; remove a finished one for good."""
    caller.require_change()
    see(service, id, caller)
    if not service.intake.remove(id):
        raise not_found()
    return Response(status_code=204)


def see(service: Here, id: AnalysisId, caller: Who) -> Record:
    """Find a record for a caller.

    Raises
    ------
    Problem
        ``not_found``: there is none, or it is somebody else's.
    """
    record = find(service, id)
    if not caller.sees(record):
        raise not_found()
    return record


def find(service: Service, id: str) -> Record:
    """Find a record, whosever it is.

    Raises
    ------
    Problem
        ``not_found``.
    """
    record = service.records.get(id)
    if record is None:
        raise not_found()
    return record


def not_found() -> Problem:
    """Refuse an id that is nobody's, or somebody else's: neither can be told from the other."""
    return Problem("not_found", "There is no such analysis.")


async def _await(service: Service, record: Record, preference: Preference) -> Record:
    """Wait for an analysis as long as the caller wants; a refusal is raised as a problem."""
    if record.finished:  # a failed or cancelled one answers who sends the same request again
        if record.status == "failed" and preference.timeout_s != 0:
            raise Problem(record.error_code or "internal_error", record.error_detail or "")
        return record
    if preference.timeout_s != 0 and not record.interactive:
        await to_thread.run_sync(service.queue.hasten, record.id)
    outcome = await _wait(service, record.id, preference.timeout_s)
    if outcome is None:
        known = await to_thread.run_sync(service.intake.acknowledge, record.id)
        if known is not None:
            return known
        # It ended between the two: what it ended with is remembered.
        outcome = await service.queue.wait(record.id, 0)
    if outcome is not None and outcome.status == "failed":
        raise Problem(outcome.code or "internal_error", outcome.detail or "")
    return await to_thread.run_sync(find, service, record.id)


async def _wait(service: Service, id: str, timeout_s: float | None) -> Outcome | None:
    if timeout_s == 0:
        return None
    if timeout_s is not None:
        return await service.queue.wait(id, timeout_s)
    outcome = await service.queue.wait(id, service.settings.analysis_time_limit_s)
    if outcome is None and await to_thread.run_sync(service.queue.progress, id) is not None:
        outcome = await service.queue.wait(id)  # it runs: its own time limit ends it
    return outcome


def show_record(service: Service, record: Record, prefix: str) -> AnalysisOut:
    """Show an analysis with its result, where it has one.

    Raises
    ------
    FileNotFoundError
        It was removed this very moment.
    """
    analysis: Analysis | None = None
    if record.status == "succeeded":
        try:
            analysis = load_analysis(service.files.result(record.id))
        except LayoutError:
            logger.exception("a result cannot be read", extra={"analysis_id": record.id})
    return views.view(
        record,
        analysis,
        views.links(prefix, record.id, service.renderer.names),
        progress=service.queue.progress(record.id),
        rendered=analysis is not None and service.renderer.all_drawn(record.id),
    )


def _answer(
    shown: AnalysisOut, record: Record, preference: Preference, *, created: bool
) -> Response:
    status = 202 if not record.finished else 201 if created else 200
    headers: dict[str, Any] = dict(preference.applied(accepted=status == 202))
    if status != 200 and shown.links is not None and shown.links.self is not None:
        headers["Location"] = shown.links.self
    return written(shown, status, headers)
