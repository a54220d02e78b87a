"""What the OpenAPI description says beyond the routes' own types."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api import examples
from app.api.access import access_to
from app.api.options import KEY_LENGTH, AnalysisOptions
from app.api.problems import CATALOGUE, MEDIA_TYPE, describe
from app.api.schemas import EventOut, ProblemOut
from app.settings import Settings

Responses = dict[int | str, dict[str, Any]]

DESCRIPTION = """\
A DICOM recording of mouse M-mode echocardiography in, heart rate, left-ventricular diameters,
volumes, ejection fraction and fractional shortening out: beat by beat and summarised.

Times are in seconds, lengths in millimetres, volumes in microlitres, rates per minute and
percentages 0 to 100; an absent value is null. Errors are `application/problem+json` (RFC 9457)
with a `code` to act on. For research use only; not a medical device.
"""

UPLOAD_PROBLEMS = (
    "malformed_request",
    "idempotency_conflict",
    "too_large",
    "not_dicom",
    "unsupported_media_type",
    "invalid_option",
    "no_pixel_data",
    "no_m_mode_region",
    "no_calibration",
    "unsupported_transfer_syntax",
    "corrupt_pixel_data",
    "sweep_not_ordered",
    "too_short",
    "queue_full",
    "time_limit",
    "storage_full",
)

EVERYWHERE = ("unauthenticated", "forbidden", "internal_error", "not_ready")
"""What any call may be refused with: no key, another site's, a fault of ours, too many at once."""

REQUEST_ID = {
    "X-Request-ID": {
        "description": "The id of the request: the caller's, or one of ours.",
        "schema": {"type": "string"},
    }
}


def problems(*codes: str) -> Responses:
    """Describe the problems that a route may answer with, besides those of every route."""
    described: Responses = {}
    for code in sorted({*codes, *EVERYWHERE}, key=list(CATALOGUE).index):
        status, title = CATALOGUE[code]
        response = described.setdefault(
            status,
            {
                "description": title,
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/ProblemOut"},
                        "examples": {},
                    }
                },
                "headers": REQUEST_ID,
            },
        )
        if response["description"] != title:
            response["description"] += f" · {title}"
        value = describe(code, examples.DETAILS[code]) | {"request_id": "5f2c9a7e41d84b0c"}
        response["content"][MEDIA_TYPE]["examples"][code] = {"summary": title, "value": value}
    return described


def answers(good: dict[int, dict[str, Any]], *codes: str) -> Responses:
    """Describe all answers of a route: those that are meant, and its problems by their codes."""
    return problems(*codes) | dict(good.items())


def shown(example: Any, description: str = "Found.", **named: Any) -> dict[str, Any]:
    """Describe a JSON response by one example, or by several with names."""
    if named:
        values = {name: {"value": value} for name, value in {"finished": example, **named}.items()}
        content = {"application/json": {"examples": values}}
    else:
        content = {"application/json": {"example": example}}
    return {"description": description, "content": content, "headers": REQUEST_ID}


def file_of(media_type: str, example: Any, description: str) -> dict[str, Any]:
    """Describe a response that is a file."""
    schema: dict[str, Any] = {"type": "string"}
    if media_type.startswith("image/"):
        schema["contentMediaType"] = media_type
    content: dict[str, Any] = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {"description": description, "content": {media_type: content}, "headers": REQUEST_ID}


def events_of(example: str, description: str) -> dict[str, Any]:
    """Describe a response of server-sent events, each with a name and JSON as its data."""
    described = file_of("text/event-stream", example, description)
    content = described["content"]["text/event-stream"]
    del content["schema"]  # it would be of the stream as a whole
    content["itemSchema"] = {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": ["progress", "end"]},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": "#/components/schemas/EventOut"},
            },
        },
    }
    return described


def _location(status: str) -> dict[str, Any]:
    return REQUEST_ID | {
        "Location": {"description": f"The {status} analysis.", "schema": {"type": "string"}},
        "Preference-Applied": {
            "description": "The preferences that were honoured (RFC 7240).",
            "schema": {"type": "string"},
        },
    }


SUBMIT_RESPONSES = answers(
    {
        201: shown(examples.ANALYSIS, "Analysed.") | {"headers": _location("new")},
        200: shown(examples.ANALYSIS, "The same bytes with the same options were analysed before."),
        202: shown(examples.QUEUED, "Accepted; look at `links.self` for how far it is.")
        | {"headers": _location("queued")},
    },
    *UPLOAD_PROBLEMS,
)
for _status in (200, 201, 202):
    SUBMIT_RESPONSES[_status]["links"] = {
        operation: {"operationId": operation, "parameters": {"id": "$response.body#/id"}}
        for operation in (
            "get_analysis",
            "get_beats",
            "get_summary",
            "get_trace",
            "delete_analysis",
        )
    }
for _status in (200, 202):
    SUBMIT_RESPONSES[_status]["content"]["application/json"]["schema"] = {
        "$ref": "#/components/schemas/AnalysisOut"
    }


def _options() -> Mapping[str, Any]:
    schema = AnalysisOptions.model_json_schema()
    return {name: _without_title(field) for name, field in schema["properties"].items()}


def _without_title(field: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in field.items() if key not in ("title", "default")}


SUBMIT_EXTRA: dict[str, Any] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": f"{field.pop('description')} (Raw body; in a form it is a part.)",
            "schema": field,
        }
        for name, field in _options().items()
    ]
    + [
        {
            "name": "Prefer",
            "in": "header",
            "required": False,
            "description": "`respond-async` answers 202 at once, `wait=N` after N seconds at the "
            "latest (RFC 7240).",
            "schema": {"type": "string"},
            "example": "respond-async",
        },
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "A name of the caller's own for this request: the same name with the "
            "same recording and options is the same analysis, also where `force` is set or the "
            "analysis has failed; with another recording or other options it is a 409.",
            "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH},
            "example": "6f2d1a0c-study-7-mouse-0412",
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "The DICOM file.",
                        }
                    }
                    | dict(_options()),
                },
                "example": {"file": "mouse_0412.dcm", "body_mass_g": 25.0},
            },
            "application/dicom": {
                "schema": {"type": "string", "format": "binary"},
                "example": "(the bytes of the DICOM file)",
            },
        },
    },
}


def describe_with(app: FastAPI, settings: Settings) -> None:
    """Have an app describe itself with our problems in place of FastAPI's validation errors.

    Parameters
    ----------
    app : FastAPI
    settings : Settings
        Whether a key is needed is part of the description, and what is closed is not.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
                servers=app.servers,
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for model in (ProblemOut, EventOut):
                whole = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update(whole.pop("$defs", {}))
                schemas[model.__name__] = whole
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            for operation in (o for path in schema["paths"].values() for o in path.values()):
                answer = operation["responses"].get("422", {"content": {}})
                if "application/json" in answer["content"]:
                    del operation["responses"]["422"]
            _describe_access(schema, settings)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_access(schema: dict[str, Any], settings: Settings) -> None:
    paths = {path: access_to(path, settings) for path in schema["paths"]}
    for path, access in paths.items():
        if access == "closed":
            del schema["paths"][path]
        elif access == "key" and settings.keys_file is not None:
            for operation in schema["paths"][path].values():
                operation["security"] = [{"key": []}]
    if settings.keys_file is not None:
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
