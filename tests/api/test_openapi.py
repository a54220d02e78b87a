"""The description names every endpoint, and its examples are true to the wire models."""

import re
from typing import Any

import httpx
import pytest

from app.api import examples, study_examples
from app.api.problems import CATALOGUE
from app.api.schemas import AnalysisOut, ModelsOut, PageOut
from app.api.study_schemas import AddedOut, EntriesOut, EntryOut, StudyInFullOut, StudyPageOut
from app.output import tables
from app.output.published_tables import published_all_csv, published_stats_csv
from tests.api.conftest import Serve, post_raw
from tests.factories import make_analysis

pytestmark = pytest.mark.anyio

ENDPOINTS = {
    ("post", "/v1/analyses"),
    ("get", "/v1/analyses"),
    ("get", "/v1/analyses/{id}"),
    ("get", "/v1/analyses/{id}/events"),
    ("delete", "/v1/analyses/{id}"),
    ("get", "/v1/analyses/{id}/figures/{name}.png"),
    ("get", "/v1/analyses/{id}/beats.csv"),
    ("get", "/v1/analyses/{id}/summary.csv"),
    ("get", "/v1/analyses/{id}/trace.csv"),
    ("get", "/v1/analyses/{id}/published_all.csv"),
    ("get", "/v1/analyses/{id}/published_stats.csv"),
    ("post", "/v1/studies"),
    ("get", "/v1/studies"),
    ("get", "/v1/studies/{id}"),
    ("delete", "/v1/studies/{id}"),
    ("post", "/v1/studies/{id}/analyses"),
    ("get", "/v1/studies/{id}/analyses"),
    ("get", "/v1/studies/{id}/analyses/{entry_id}"),
    ("delete", "/v1/studies/{id}/analyses/{entry_id}"),
    ("get", "/v1/studies/{id}/summary.csv"),
    ("get", "/v1/studies/{id}/beats.csv"),
    ("get", "/v1/studies/{id}/mice.csv"),
    ("get", "/v1/studies/{id}/published_all.csv"),
    ("get", "/v1/studies/{id}/published_stats.csv"),
    ("get", "/v1/studies/{id}/overview.png"),
    ("get", "/v1/studies/{id}/archive.zip"),
    ("get", "/v1/models"),
    ("get", "/v1/usage"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
}


@pytest.fixture
async def schema(client: httpx.AsyncClient) -> dict[str, Any]:
    return (await client.get("/openapi.json")).json()


def operations(schema: dict[str, Any]):
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


async def test_every_endpoint_is_described(schema: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(schema)} == ENDPOINTS
    for _, _, operation in operations(schema):
        assert operation["summary"]
        assert operation["description"]


async def test_every_answer_has_an_example(schema: dict[str, Any]) -> None:
    for method, path, operation in operations(schema):
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                if media_type != "image/png":
                    assert "example" in content or content.get("examples"), (method, path, status)


async def test_every_problem_is_shown_where_it_occurs(schema: dict[str, Any]) -> None:
    shown: set[str] = set()
    for _, _, operation in operations(schema):
        assert "HTTPValidationError" not in str(operation)
        for status, response in operation["responses"].items():
            content = response.get("content", {}).get("application/problem+json")
            if content is None:
                assert int(status) < 400
                continue
            for code, example in content["examples"].items():
                assert example["value"]["code"] == code
                assert str(CATALOGUE[code][0]) == status
                shown.add(code)
    assert shown == set(CATALOGUE) - {"method_not_allowed"}
    assert set(examples.DETAILS) == set(CATALOGUE)


async def test_references_lead_somewhere(schema: dict[str, Any]) -> None:
    def references(node: Any):
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(schema):
        name = reference.removeprefix("#/components/schemas/")
        assert name in schema["components"]["schemas"]


@pytest.mark.parametrize(
    "example", [examples.ANALYSIS, examples.QUEUED, examples.RUNNING, examples.FAILED]
)
def test_examples_are_analyses(example: dict[str, Any]) -> None:
    assert AnalysisOut.model_validate(example, extra="forbid").model_dump(mode="json") == example


def test_examples_of_pages_and_models() -> None:
    PageOut.model_validate(examples.PAGE)
    assert ModelsOut.model_validate(examples.MODELS).model_dump() == examples.MODELS


def test_examples_of_studies() -> None:
    for model, shown in (
        (StudyInFullOut, study_examples.STUDY),
        (StudyPageOut, study_examples.PAGE),
        (EntryOut, study_examples.ENTRY),
        (EntryOut, study_examples.REFUSED),
        (EntriesOut, study_examples.ENTRIES),
        (AddedOut, study_examples.ADDED),
    ):
        assert model.model_validate(shown, extra="forbid").model_dump(mode="json") == shown


def test_examples_of_a_study_s_tables_have_as_many_cells_as_columns() -> None:
    for name in ("BEATS", "SUMMARY", "MICE", "PUBLISHED_ALL", "PUBLISHED_STATS"):
        header, row = getattr(study_examples, f"{name}_CSV").splitlines()
        assert header.count(",") == row.count(",")


async def test_the_example_has_the_answers_keys(client: httpx.AsyncClient) -> None:
    def keys(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: keys(value) for key, value in node.items()}
        return [keys(node[0])] if isinstance(node, list) and node else None

    answer = (await post_raw(client)).json() | {"warnings": []}
    assert keys(answer) == keys(examples.ANALYSIS)


def test_examples_of_tables_have_the_tables_columns() -> None:
    analysis = make_analysis()
    options = {"body_mass_g": 25.0, "profile": "robust", "figures": True}
    summary = tables.summary_csv(analysis, id="x", file_name="m.dcm", options=options)
    for real, example in (
        (tables.beats_csv(analysis), examples.BEATS_CSV),
        (tables.trace_csv(analysis), examples.TRACE_CSV),
        (summary, examples.SUMMARY_CSV),
        (published_all_csv(analysis, file_name="m.dcm"), examples.PUBLISHED_ALL_CSV),
        (published_stats_csv(analysis, file_name="m.dcm"), examples.PUBLISHED_STATS_CSV),
    ):
        assert real.splitlines()[0] == example.splitlines()[0]
        for line in example.splitlines():
            assert line.count(",") == example.splitlines()[0].count(",")


async def test_the_page_for_people(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "/openapi.json" in page.text
    assert "https://" not in page.text
    scripts = re.findall(r"(?:src|href)=\"([^\"]+\.(?:js|css))\"", page.text)
    assert len(scripts) == 2
    for script in scripts:
        assert len((await client.get(script)).content) > 100_000


async def test_the_page_for_people_behind_a_gateway(serve: Serve) -> None:
    async with serve(root_path="/echo") as client:
        page = await client.get("/docs")
        for asset in re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text):
            assert asset.startswith("/echo/")
            # a gateway may pass the path on with the prefix or without
            for path in (asset, asset.removeprefix("/echo")):
                assert (await client.get(path)).status_code == 200, path
        for path in ("/echo/openapi.json", "/openapi.json"):
            assert (await client.get(path)).json()["servers"] == [{"url": "/echo"}]
