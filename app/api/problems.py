"""Everything that can go wrong, as ``application/problem+json`` (RFC 9457)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app.jobs.intake import QueueFullError
from app.logs import request_id
from app.pipeline.errors import RecordingError
from app.storage.errors import (
    DATABASE_AWAY,
    KeyReusedError,
    StorageFullError,
    VolumeUnavailableError,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

CATALOGUE: Mapping[str, tuple[int, str]] = {
    "malformed_request": (400, "The request cannot be read"),
    "unauthenticated": (401, "A key is needed"),
    "forbidden": (403, "Not allowed"),
    "not_found": (404, "There is no such thing here"),
    "method_not_allowed": (405, "Not a method of this resource"),
    "not_finished": (409, "The analysis has not succeeded"),
    "name_taken": (409, "The study has another file of this name"),
    "idempotency_conflict": (409, "The key of another request"),
    "too_large": (413, "The recording is too large"),
    "not_dicom": (415, "Not a DICOM file"),
    "unsupported_media_type": (415, "Not a type of body that is read here"),
    "invalid_option": (422, "An option is unknown or out of range"),
    "corrupt_archive": (422, "The archive cannot be read"),
    "no_pixel_data": (422, "No image in the file"),
    "no_m_mode_region": (422, "No M-mode in the file"),
    "no_calibration": (422, "No calibration in the file"),
    "unsupported_transfer_syntax": (422, "An encoding that is not read here"),
    "corrupt_pixel_data": (422, "The image is damaged"),
    "sweep_not_ordered": (422, "The screens cannot be put in order"),
    "too_short": (422, "Too little M-mode"),
    "queue_full": (429, "Too much at once"),
    "internal_error": (500, "A fault of the service"),
    "not_ready": (503, "The service is not ready"),
    "time_limit": (504, "The analysis took too long"),
    "storage_full": (507, "There is no room left"),
}
"""Status and title of every code."""

_FAULT = "Something broke that is not your fault. Give the request_id to whoever runs the service."


@dataclass
class Problem(Exception):
    """A request that is refused.

    Parameters
    ----------
    code : str
        A key of `CATALOGUE`.
    detail : str
        What is wrong, in the caller's words; no path, no stack trace, nothing of a patient.
    headers : mapping, optional
        Further headers of the answer.
    """

    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)


def describe(code: str, detail: str) -> dict[str, Any]:
    """Give the body of a problem, without the id of a request.

    Parameters
    ----------
    code : str
        A key of `CATALOGUE`; an unknown one is a fault of ours.
    detail : str
    """
    status, title = CATALOGUE.get(code, CATALOGUE["internal_error"])
    return {
        "type": f"urn:echo2pheno:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }


def answer(problem: Problem) -> JSONResponse:
    """Turn a problem into a response."""
    body = describe(problem.code, problem.detail)
    return JSONResponse(
        body | {"request_id": request_id.get()},
        status_code=body["status"],
        media_type=MEDIA_TYPE,
        headers=dict(problem.headers),
    )


def fault(error: BaseException) -> JSONResponse:
    """Log an error that nobody expected, and answer without a word of it."""
    logger.error("request broke", exc_info=error)
    return answer(Problem("internal_error", _FAULT))


async def on_problem(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Answer a `Problem` that a route raised."""
    assert isinstance(error, Problem)  # noqa: S101 - how the handler is registered
    return answer(error)


async def on_recording_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Answer what the pipeline found wrong with a recording."""
    assert isinstance(error, RecordingError)  # noqa: S101 - how the handler is registered
    return answer(Problem(error.code, error.detail))


async def on_key_reused(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Answer a request that has the name of another one."""
    return answer(
        Problem(
            "idempotency_conflict",
            "This Idempotency-Key came with another recording or other options before. "
            "Give each request a key of its own.",
        )
    )


async def on_queue_full(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Answer an upload that would wait behind too many others."""
    detail = "Too many analyses are waiting; try again in a moment."
    return answer(Problem("queue_full", detail, {"Retry-After": "5"}))


async def on_storage_full(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Answer what the disk has no room for."""
    return answer(Problem("storage_full", "There is no room left; what was there is kept."))


async def on_volume_unavailable(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Answer what cannot be read or written as long as the volume is away."""
    logger.warning("the volume is not available: %s", error)
    detail = "The store of recordings and results does not answer; try again in a moment."
    return answer(Problem("not_ready", detail, {"Retry-After": "10"}))


async def on_database_unavailable(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Answer what cannot be done while the database is away, or is too busy."""
    cause = type(error.__cause__ or error).__name__  # its text may hold what was asked
    logger.warning("the database does not answer", extra={"error": cause})
    detail = "The database of analyses does not answer; try again in a moment."
    return answer(Problem("not_ready", detail, {"Retry-After": "5"}))


async def on_validation_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Answer a query parameter that is unknown or out of range."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - how the handler is registered
    return answer(Problem("invalid_option", explain(error.errors())))


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Answer what the router refuses: unknown routes and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - how the handler is registered
    if error.status_code == HTTPStatus.NOT_FOUND:
        return answer(Problem("not_found", "There is nothing at this address."))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed(request)
        detail = f"{request.method} is not possible here; use {' or '.join(allowed)}."
        return answer(Problem("method_not_allowed", detail, {"Allow": ", ".join(allowed)}))
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return answer(Problem("malformed_request", "The request cannot be read."))
    return fault(error)


def _allowed(request: Request) -> list[str]:
    """Methods that any route takes here: the router's own answer names those of one route only."""
    routes = request.app.router.routes
    return [
        method
        for method in ("GET", "POST", "DELETE")
        if method != request.method
        and any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes
        )
    ]


async def on_disconnect(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """Answer a caller who left before the body was complete (nobody reads it)."""
    return answer(Problem("malformed_request", "The connection closed before the body's end."))


def explain(errors: Any) -> str:
    """Say in one sentence which values are wrong and why, without repeating the values.

    Parameters
    ----------
    errors : sequence of mapping
        As pydantic's ``ValidationError.errors()`` gives them.
    """
    said = []
    for error in errors:
        place = [str(part) for part in error["loc"] if part not in ("query", "path", "body")]
        name = ".".join(place)[:60] or "the request"
        if error["type"] == "extra_forbidden":
            said.append(f"there is no option {name!r}")
        elif error["type"] == "value_error":
            said.append(f"option {name}: {error['ctx']['error']}")
        else:
            message = str(error["msg"])
            said.append(f"option {name}: {message[:1].lower()}{message[1:]}")
    return _sentence("; ".join(said)[:800])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


HANDLERS = {
    Problem: on_problem,
    RecordingError: on_recording_error,
    KeyReusedError: on_key_reused,
    QueueFullError: on_queue_full,
    StorageFullError: on_storage_full,
    VolumeUnavailableError: on_volume_unavailable,
    **dict.fromkeys(DATABASE_AWAY, on_database_unavailable),
    RequestValidationError: on_validation_error,
    HTTPException: on_http_exception,
    ClientDisconnect: on_disconnect,
}
"""What FastAPI calls for an exception of each type."""
