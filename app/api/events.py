"""How far an analysis is, told as it goes on: server-sent events."""

from collections.abc import AsyncIterator
from time import monotonic

from anyio import sleep, to_thread
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from app.api import examples
from app.api.access import Caller, Who
from app.api.analyses import AnalysisId, see
from app.api.documentation import answers, events_of
from app.api.schemas import EventOut, ProgressOut
from app.api.service import Here, Service
from app.api.views import error_of
from app.jobs.queue import Progress
from app.storage.schema import Record

router = APIRouter(tags=["analyses"])

EVENT_STREAM = "text/event-stream"

LOOK_EVERY_S = 0.2
"""How often the progress of a running analysis is looked at."""

READ_EVERY_S = 2.0
"""How often its record is, which another process may have changed."""

HEARTBEAT_S = 10.0
"""Longest silence: a proxy on the way closes what says nothing."""


@router.get(
    "/v1/analyses/{id}/events",
    summary="Follow an analysis",
    response_class=StreamingResponse,
    responses=answers(
        {200: events_of(examples.EVENTS, "Its events, until it has ended.")},
        "not_found",
    ),
)
async def get_events(service: Here, caller: Who, id: AnalysisId) -> StreamingResponse:
    """Tell the state of an analysis whenever it changes: `progress`, and `end` as the last event.

    Where the stream ends without `end`, the service stopped, or the key has changed: ask again.
    """
    record = await to_thread.run_sync(see, service, id, caller)
    # a proxy that gathers the answer first would tell nothing in time
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(service, record, caller), media_type=EVENT_STREAM, headers=headers
    )


async def _events(service: Service, record: Record, caller: Caller) -> AsyncIterator[str]:
    """Write an event for each change, and a comment where there has been none for a while."""
    told, told_at = "", 0.0
    async for state in _states(service, record, caller):
        event = _event(state)
        if event != told:
            yield event
            told, told_at = event, monotonic()
        elif monotonic() > told_at + HEARTBEAT_S:
            yield ": still there\n\n"
            told_at = monotonic()


async def _states(service: Service, record: Record, caller: Caller) -> AsyncIterator[EventOut]:
    """Look at an analysis again and again, until it has ended or is gone, or the queue stops.

    A stream may last for long: one whose key was removed meanwhile is told nothing more.
    """
    id = record.id
    seen_running = False
    while not record.finished:
        read_at = monotonic()
        while True:
            progress = await to_thread.run_sync(service.queue.progress, id)
            if progress is not None or not seen_running:  # else it has ended since it was read
                yield _state(record, progress)
            seen_running = progress is not None
            began = monotonic()
            ended = await service.queue.wait(id, LOOK_EVERY_S) is not None
            if service.queue.stopped and not ended:
                return
            if ended or monotonic() > read_at + READ_EVERY_S:
                break
            # where the queue knows no such job, it did not wait
            await sleep(max(0.0, began + LOOK_EVERY_S - monotonic()))
        found = await to_thread.run_sync(service.records.get, id)
        if found is None or not caller.may_stay(service.keys):  # removed meanwhile
            return
        record = found
    yield _state(record, None)


def _state(record: Record, progress: Progress | None) -> EventOut:
    return EventOut(
        id=record.id,
        status="running" if record.status == "queued" and progress else record.status,
        progress=ProgressOut.model_validate(progress) if progress else None,
        error=error_of(record),
    )


def _event(state: EventOut) -> str:
    name = "progress" if state.status in ("queued", "running") else "end"
    return f"event: {name}\ndata: {state.model_dump_json()}\n\n"
