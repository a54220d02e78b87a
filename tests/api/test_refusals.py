"""Every refusal is a problem that can be acted on, and leaves nothing behind."""

import logging
from pathlib import Path

import httpx
import pytest

from app.api.problems import CATALOGUE
from app.settings import Settings
from tests.api.conftest import FAULTS, GOOD, Core, Serve, files_below, post_form, post_raw

pytestmark = pytest.mark.anyio

DICOM = {"Content-Type": "application/dicom"}


def assert_problem(response: httpx.Response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["detail"].endswith(".")
    return problem


async def assert_nothing_left(client: httpx.AsyncClient, data_dir: Path) -> None:
    assert (await client.get("/v1/analyses")).json()["items"] == []
    left = {path.name for path in files_below(data_dir)}
    assert {name for name in left if not name.startswith("echo2pheno.sqlite")} == {"lock"}


@pytest.mark.parametrize(
    ("place", "code"),
    [("pixels", code) for code in FAULTS]
    + [("header", code) for code in FAULTS if code != "time_limit"],
)
async def test_what_is_wrong_with_a_recording(
    client: httpx.AsyncClient, settings: Settings, code: str, place: str
) -> None:
    response = await post_raw(client, GOOD + f" {place}:{code}".encode())
    problem = assert_problem(response, CATALOGUE[code][0], code)
    assert "MICKEY" not in response.text
    assert "/srv" not in response.text
    if str(FAULTS[code]) and code != "internal_error":
        assert problem["detail"] == str(FAULTS[code])
    await assert_nothing_left(client, settings.data_dir)


@pytest.mark.parametrize("post", [post_raw, post_form])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not DICOM"])
async def test_not_dicom(client, settings: Settings, post, content: bytes) -> None:
    assert_problem(await post(client, content), 415, "not_dicom")
    await assert_nothing_left(client, settings.data_dir)


async def test_an_asynchronous_upload_is_refused_at_once_for_its_header(client) -> None:
    response = await post_raw(
        client, GOOD + b" header:no_calibration", headers={"Prefer": "respond-async"}
    )
    assert_problem(response, 422, "no_calibration")


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "application/json"])
async def test_another_type_of_body(client: httpx.AsyncClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    response = await client.post("/v1/analyses", content=GOOD, headers=headers)
    problem = assert_problem(response, 415, "unsupported_media_type")
    assert "multipart/form-data" in problem["detail"]
    assert "application/dicom" in problem["detail"]


async def test_a_compressed_body(client: httpx.AsyncClient) -> None:
    response = await post_raw(client, headers={"Content-Encoding": "gzip"})
    assert_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"body_mass_g": "0"}, "body_mass_g"),
        ({"body_mass_g": "-3"}, "body_mass_g"),
        ({"body_mass_g": "200.1"}, "body_mass_g"),
        ({"body_mass_g": "nan"}, "body_mass_g"),
        ({"body_mass_g": "inf"}, "body_mass_g"),
        ({"body_mass_g": "heavy"}, "body_mass_g"),
        ({"body_mass_g": "2_5"}, "body_mass_g"),
        ({"body_mass_g": ""}, "body_mass_g"),
        ({"profile": "best"}, "profile"),
        ({"profile": "published"}, "body_mass_g"),
        ({"figures": "perhaps"}, "figures"),
        ({"figure": "true"}, "figure"),
    ],
)
@pytest.mark.parametrize("post", [post_raw, post_form])
async def test_options(client, settings: Settings, post, options: dict, named: str) -> None:
    response = await post(client, **options)
    problem = assert_problem(response, 422, "invalid_option")
    assert named in problem["detail"]
    assert "heavy" not in problem["detail"]
    await assert_nothing_left(client, settings.data_dir)


async def test_an_option_given_twice(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/v1/analyses?body_mass_g=25", files={"file": ("m", GOOD)}, data={"body_mass_g": "26"}
    )
    assert_problem(response, 422, "invalid_option")


@pytest.mark.parametrize("limit", [1, 200])
async def test_the_largest_body_mass_is_accepted(client, limit: int) -> None:
    assert (await post_raw(client, body_mass_g=limit)).status_code == 201


FORM = {"Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="m"\r\n\r\n' + GOOD


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (PART, FORM),  # breaks off
        (PART + b"\r\n--x", FORM),
        (b"", FORM),
        (b"nonsense", FORM),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n", FORM),
        (b'--x\r\nContent-Disposition: form-data; name="figures"\r\n\r\ntrue\r\n--x--\r\n', FORM),
        (PART + b"\r\n" + PART + b"\r\n--x--\r\n", FORM),
        (PART.replace(b'"file"', b'"dicom"') + b"\r\n--x--\r\n", FORM),
        (PART + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data"}),
        (PART + b"\r\n--x--\r\n", {"Content-Type": f"multipart/form-data; boundary={'x' * 999}"}),
    ],
)
async def test_a_form_that_cannot_be_read(client, settings, body: bytes, headers: dict) -> None:
    response = await client.post("/v1/analyses", content=body, headers=headers)
    assert_problem(response, 400, "malformed_request")
    await assert_nothing_left(client, settings.data_dir)


async def test_the_form_of_those_tests_is_otherwise_good(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/analyses", content=PART + b"\r\n--x--\r\n", headers=FORM)
    assert response.status_code == 201


@pytest.mark.parametrize("post", [post_raw, post_form])
async def test_too_large_by_its_length(client, settings, core: Core, post) -> None:
    response = await post(client, GOOD + bytes(300_000))
    assert_problem(response, 413, "too_large")
    await assert_nothing_left(client, settings.data_dir)


@pytest.mark.parametrize("form", [False, True])
async def test_too_large_while_it_streams(client, settings, form: bool) -> None:
    sent = 0

    async def body():
        nonlocal sent
        yield PART if form else GOOD
        for _ in range(40):
            sent += 100_000
            yield bytes(100_000)

    response = await client.post("/v1/analyses", content=body(), headers=FORM if form else DICOM)
    assert_problem(response, 413, "too_large")
    assert sent == 4_000_000, "what still came was read to its end"
    await assert_nothing_left(client, settings.data_dir)


async def test_a_form_that_does_not_end(client, settings) -> None:
    async def body():
        yield PART + b"\r\n--x--\r\n"
        for _ in range(40):
            yield bytes(100_000)

    response = await client.post("/v1/analyses", content=body(), headers=FORM)
    assert_problem(response, 413, "too_large")
    await assert_nothing_left(client, settings.data_dir)


async def test_what_still_comes_is_read_up_to_a_limit(serve: Serve) -> None:
    sent = 0

    async def body():
        nonlocal sent
        for _ in range(100):
            sent += 100_000
            yield bytes(100_000)

    async with serve(drain_max_bytes=1_000_000) as client:
        response = await client.post("/v1/analyses", content=body(), headers=DICOM)
    assert_problem(response, 413, "too_large")
    assert response.headers["connection"] == "close"
    assert sent < 4_000_000


async def test_unknown_things(client: httpx.AsyncClient) -> None:
    for path in (
        "/v1/analyses/none",
        "/v1/analyses/none/beats.csv",
        "/v1/analyses/none/figures/function.png",
        "/v1/analyses/../../etc/passwd",
        "/v1/analyses/",
        "/nothing",
    ):
        assert_problem(await client.get(path), 404, "not_found")
    assert_problem(await client.delete("/v1/analyses/none"), 404, "not_found")


async def test_another_method(client: httpx.AsyncClient) -> None:
    for path, allowed in (
        ("/v1/analyses", {"GET", "POST"}),
        ("/v1/analyses/none", {"GET", "DELETE"}),
        ("/v1/models", {"GET"}),
    ):
        response = await client.put(path, content=b"x")
        problem = assert_problem(response, 405, "method_not_allowed")
        assert set(response.headers["allow"].split(", ")) == allowed
        assert all(method in problem["detail"] for method in allowed)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=%00", "page=2"])
async def test_pages_that_are_not_there(client: httpx.AsyncClient, query: str) -> None:
    assert_problem(await client.get(f"/v1/analyses?{query}"), 422, "invalid_option")


async def test_no_room_for_the_result(client, core: Core, settings, monkeypatch) -> None:
    def full(folder: Path, analysis: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.jobs.runner.save_analysis", full)
    assert_problem(await post_raw(client), 507, "storage_full")
    await assert_nothing_left(client, settings.data_dir)


async def test_an_expected_refusal_is_one_line(client, caplog) -> None:
    caplog.set_level(logging.INFO, "app")
    await post_raw(client, b"not DICOM", file_name="MOUSE_MICKEY.dcm")
    lines = [record for record in caplog.records if record.name.startswith("app.")]
    assert [line.getMessage() for line in lines] == ["request"]
    assert (lines[0].status, lines[0].route) == (415, "/v1/analyses")
    assert not any(line.exc_info for line in lines)
    assert not any("MICKEY" in str(vars(line)) for line in lines)
