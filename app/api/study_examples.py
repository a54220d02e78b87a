"""What the OpenAPI description shows of studies; tests hold it against the wire models."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from app.api import examples
from app.api.documentation import REQUEST_ID
from app.api.study_schemas import SampleIn
from app.output.mice import MICE_COLUMNS
from app.output.study_tables import STUDY_BEAT_COLUMNS, STUDY_SUMMARY_COLUMNS

ID = "0d5b8e4c6f1a42f39a7c2be1d8f06e57"
ENTRY_ID = "b6a1c9e27d5f4c0e8f3a91d2c4e7b085"

_BASE = f"/v1/studies/{ID}"
_SUMMARY = examples.ANALYSIS["features"]
_BEAT = examples.ANALYSIS["beats"][0]

STUDY: dict[str, Any] = {
    "id": ID,
    "name": "Isoprenaline, week 4",
    "created_at": "2026-03-02T09:14:02.310000Z",
    "body_mass_g": None,
    "profile": "robust",
    "figures": True,
    "counts": {
        "total": 4,
        "queued": 1,
        "running": 1,
        "succeeded": 1,
        "failed": 1,
        "cancelled": 0,
        "removed": 0,
    },
    "progress": {"finished": 2, "fraction": 0.5},
    "links": {
        "self": _BASE,
        "analyses": f"{_BASE}/analyses",
        "beats_csv": f"{_BASE}/beats.csv",
        "summary_csv": f"{_BASE}/summary.csv",
        "mice_csv": f"{_BASE}/mice.csv",
        "published_all_csv": f"{_BASE}/published_all.csv",
        "published_stats_csv": f"{_BASE}/published_stats.csv",
        "overview_png": f"{_BASE}/overview.png",
        "archive_zip": f"{_BASE}/archive.zip",
    },
    "failures": [
        {
            "file_name": "day 1/notes.dcm",
            "code": "not_dicom",
            "detail": examples.DETAILS["not_dicom"],
        }
    ],
}
PAGE: dict[str, Any] = {
    "items": [{key: value for key, value in STUDY.items() if key != "failures"}],
    "next_cursor": "NDE",
}
ENTRY: dict[str, Any] = {
    "id": ENTRY_ID,
    "file_name": "day 1/mouse_0412.dcm",
    "size_bytes": examples.ANALYSIS["input"]["size_bytes"],
    "sha256": examples.ANALYSIS["input"]["sha256"],
    "body_mass_g": 25.0,
    "mouse_id": "M-0412",
    "sex": "F",
    "group": "wild type",
    "added_at": "2026-03-02T09:14:03.120000Z",
    "status": "queued",
    "analysis_id": examples.ID,
    "error": None,
    "links": {
        "self": f"{_BASE}/analyses/{ENTRY_ID}",
        "analysis": f"/v1/analyses/{examples.ID}",
    },
}
REFUSED: dict[str, Any] = ENTRY | {
    "file_name": "day 1/notes.dcm",
    "status": "failed",
    "analysis_id": None,
    "error": {
        "type": "urn:echo2pheno:problem:not_dicom",
        "title": "Not a DICOM file",
        "status": 415,
        "detail": examples.DETAILS["not_dicom"],
        "code": "not_dicom",
    },
    "links": ENTRY["links"] | {"analysis": None},
}
ENTRIES: dict[str, Any] = {"items": [ENTRY, REFUSED], "next_cursor": None}
ADDED: dict[str, Any] = {
    "added": 2,
    "known": 0,
    "failed": 1,
    "ignored": ["__MACOSX/day 1/._mouse_0412.dcm"],
    "items": [ENTRY, REFUSED],
}

_SAMPLE = {
    "id": examples.ID,
    "file_name": ENTRY["file_name"],
    "mouse_id": "M-0412",
    "sex": "F",
    "group": "wild type",
    "body_mass_g": 25.0,
}
_STATISTICS = {
    f"{name}_{kind}": value for name, summary in _SUMMARY.items() for kind, value in summary.items()
}


def _csv(columns: tuple[str, ...], values: Mapping[str, Any]) -> str:
    cells = (values.get(column) for column in columns)
    written = ("" if cell is None else str(cell).replace("True", "true") for cell in cells)
    return ",".join(columns) + "\n" + ",".join(written) + "\n"


BEATS_CSV = _csv(STUDY_BEAT_COLUMNS, _SAMPLE | _BEAT)
SUMMARY_CSV = _csv(
    STUDY_SUMMARY_COLUMNS,
    _SAMPLE | _STATISTICS | {"profile": "robust", "figures": True, "status": "succeeded"},
)
MICE_CSV = _csv(
    MICE_COLUMNS,
    _SAMPLE
    | _STATISTICS
    | {"recordings": 1, "file_names": ENTRY["file_name"], "recordings_without_result": 0},
)
PUBLISHED_ALL_CSV = examples.PUBLISHED_ALL_CSV.replace("mouse_0412.dcm", ENTRY["file_name"])
PUBLISHED_STATS_CSV = examples.PUBLISHED_STATS_CSV.replace("mouse_0412.dcm", ENTRY["file_name"])


def made(model: str) -> dict[str, Any]:
    """Describe the answer to what made a study."""
    operations = ("get_study", "add_to_study", "list_entries", "get_study_summary", "delete_study")
    location = {"description": "The new study.", "schema": {"type": "string"}}
    return {
        "description": "Made.",
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{model}"},
                "example": STUDY
                | {
                    "counts": dict.fromkeys(STUDY["counts"], 0),
                    "progress": {"finished": 0, "fraction": None},
                    "failures": [],
                },
            }
        },
        "headers": REQUEST_ID | {"Location": location},
        "links": {
            name: {"operationId": name, "parameters": {"id": "$response.body#/id"}}
            for name in operations
        },
    }


def known(model: str) -> dict[str, Any]:
    """Describe the answer to files that a study has already."""
    return {
        "description": "The study had all of it, and nothing of it had failed or was gone.",
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{model}"},
                "example": ADDED | {"added": 0, "known": 2},
            }
        },
        "headers": REQUEST_ID,
    }


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a body in JSON."""
    schema = model.model_json_schema()
    for field in schema["properties"].values():
        field.pop("title", None)
    example = {"name": STUDY["name"], "profile": "robust"}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        }
    }


def _fields() -> dict[str, dict[str, Any]]:
    properties = SampleIn.model_json_schema()["properties"]
    return {
        name: {key: value for key, value in field.items() if key not in ("title", "default")}
        for name, field in properties.items()
    }


def _parameters() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": f"{field.pop('description')} (Raw body; in a form it is a part.)",
            "schema": field,
        }
        for name, field in _fields().items()
    ]


_FILE = {
    "type": "string",
    "format": "binary",
    "description": "A DICOM file, or a ZIP archive of them.",
}
_SHEET = {
    "type": "string",
    "description": "A sample sheet in CSV: `file_name,body_mass_g,mouse_id,sex,group`.",
}
ADD_EXTRA: dict[str, Any] = {
    "parameters": _parameters(),
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": _FILE, "sheet": _SHEET} | _fields(),
                },
                "example": {"file": "mouse_0412.dcm", "mouse_id": "M-0412", "group": "wild type"},
            },
            "application/dicom": {
                "schema": {"type": "string", "format": "binary"},
                "example": "(the bytes of the DICOM file)",
            },
            "application/zip": {
                "schema": {"type": "string", "format": "binary"},
                "example": "(the bytes of the archive)",
            },
        },
    },
}
