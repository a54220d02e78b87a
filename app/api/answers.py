"""Bodies in JSON and cursors, the same way in every route."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError

from app.api.problems import Problem, explain

Model = TypeVar("Model", bound=BaseModel)

JSON_BYTES = 2**16
"""Longest body in JSON that is read."""


def written(
    shown: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Write an answer in the thread that made it: FastAPI would do so on the event loop."""
    return Response(shown.model_dump_json(), status, headers, media_type="application/json")


async def read_json(request: Request, model: type[Model]) -> Model:
    """Read a body.

    Raises
    ------
    Problem
        ``unsupported_media_type``, ``too_large``, ``malformed_request`` or ``invalid_option``.
    """
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem("unsupported_media_type", "Send it as 'Content-Type: application/json'.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > JSON_BYTES:
            raise Problem("too_large", f"The body is larger than {JSON_BYTES:,} bytes.")
    try:
        return model.model_validate_json(bytes(body), strict=True)
    except ValidationError as error:
        errors = error.errors()
        if any(wrong["type"] == "json_invalid" for wrong in errors):
            raise Problem("malformed_request", "The body is not JSON.") from None
        raise Problem("invalid_option", explain(errors)) from None


class Numbered(Protocol):
    """What is listed in the order of its number."""

    @property
    def number(self) -> int: ...


Item = TypeVar("Item", bound=Numbered)


def cut_page(found: Sequence[Item], limit: int) -> tuple[Sequence[Item], str | None]:
    """Cut a page out of what was asked for with one more: it, and what leads to the next."""
    page = found[:limit]
    return page, write_cursor(page[-1].number) if len(found) > limit else None


def write_cursor(number: int) -> str:
    """Give what leads to the page after the record with this number."""
    return base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """Read a cursor.

    Raises
    ------
    Problem
        ``invalid_option``.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        number = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        if not number.isdigit() or len(number) > 18:
            raise ValueError(number)
        return int(number)
    except (binascii.Error, ValueError):
        raise Problem("invalid_option", "Option cursor: not one that a page gave.") from None
