"""Headers of every answer, and how much at once."""

import re
from pathlib import Path

import anyio
import httpx
import pytest

from app.api import exchange
from app.keys import add_key
from tests.api.conftest import GOOD, Core, Serve, post_form, post_raw
from tests.api.test_refusals import DICOM, FORM, PART, assert_nothing_left, assert_problem
from tests.clocks import HandClock

pytestmark = pytest.mark.anyio


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    shown = await post_raw(client)
    links = shown.json()["links"]
    answers = [shown]
    for path in (
        links["self"], links["beats_csv"], links["figures"]["function"], "/v1/analyses",
        "/v1/analyses/none", "/nothing", "/health/live", "/metrics", "/docs", "/openapi.json",
        "/static-offline-docs/swagger-ui.css", "/static-offline-docs/nothing.css",
    ):  # fmt: skip
        answers.append(await client.get(path))
    answers.append(await post_raw(client, b"not DICOM"))
    for answer in answers:
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers
        assert headers.get_list("cache-control") == (
            ["max-age=86400"] if str(answer.url).endswith("swagger-ui.css") else ["no-store"]
        )
        scripts = "script-src" in headers["content-security-policy"]
        assert scripts is str(answer.url).endswith("/docs")


async def test_no_refusal_is_kept_by_a_browser(serve: Serve, tmp_path: Path) -> None:
    keys_file = tmp_path / "keys.json"
    add_key(keys_file, "anna", "analyse")
    async with serve(keys_file=keys_file, docs_access="key") as client:
        refused = await client.get("/static-offline-docs/swagger-ui.css")
    assert refused.status_code == 401
    assert refused.headers["cache-control"] == "no-store"


async def test_the_page_for_people_may_load_what_it_needs(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    policy = dict(
        part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    for kind, pattern in (
        ("script-src", r'<script[^>]* src="([^"]+)"'),
        ("style-src", r'<link[^>]* href="([^"]+\.css)"'),
        ("img-src", r'<link rel="shortcut icon" href="([^"]+)"'),
    ):
        found = re.findall(pattern, page.text)
        assert found, kind
        assert all(url.startswith("/") for url in found), "from the service itself"
        assert "'self'" in policy[kind]
    assert "<script>" in page.text.replace("<script >", "<script>")
    assert "'unsafe-inline'" in policy["script-src"], "it starts itself with a script in the page"
    assert "'self'" in policy["connect-src"], "it asks the service"


@pytest.mark.parametrize(
    "path",
    ["/static-offline-docs/", "/v1/analyses/", "/v1/analyses/{id}/", "/v1/analyses/{id}/figures",
     "/v1/analyses/{id}/figures/", "/v1/analyses/{id}/analysis.json", "/data/", "/",
     "/v1/analyses/{id}/figures/..%2Fanalysis.json", "/v1/analyses/{id}%2F..%2F{id}/beats.csv"],
)  # fmt: skip
async def test_no_folder_is_listed_and_no_other_file_given(client, path: str) -> None:
    id = (await post_raw(client)).json()["id"]
    assert_problem(await client.get(path.replace("{id}", id)), 404, "not_found")


async def test_recordings_that_arrive_at_once_are_bounded(serve: Serve, settings) -> None:
    arriving, go_on = anyio.Event(), anyio.Event()
    answers: list[httpx.Response] = []

    async def body():
        yield GOOD
        arriving.set()
        await go_on.wait()

    async with serve(max_uploads_at_once=1) as client:

        async def slowly() -> None:
            answers.append(await client.post("/v1/analyses", content=body(), headers=DICOM))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slowly)
            await arriving.wait()
            for post in (post_raw, post_form):
                refused = await post(client, GOOD + b" other")
                assert_problem(refused, 503, "not_ready")
                assert int(refused.headers["retry-after"]) > 0
            assert (await client.get("/v1/analyses")).status_code == 200
            go_on.set()
        assert answers[0].status_code == 201
        assert (await post_raw(client, b"not DICOM")).status_code == 415
        assert (await post_raw(client, GOOD + b" other")).status_code == 201, "its place is free"


async def test_requests_that_are_open_at_once_are_bounded(serve: Serve, core: Core) -> None:
    core.open.clear()
    answers: list[httpx.Response] = []
    async with serve(max_requests_at_once=2) as client:

        async def wait(content: bytes) -> None:
            answers.append(await post_raw(client, content))

        async with anyio.create_task_group() as tasks:
            for n in range(2):
                tasks.start_soon(wait, GOOD + bytes([n]))
            await anyio.to_thread.run_sync(core.started.wait)
            while True:
                refused = await client.get("/v1/analyses")
                if refused.status_code != 200:  # both are open now
                    break
            assert_problem(refused, 503, "not_ready")
            assert int(refused.headers["retry-after"]) > 0
            assert_problem(await post_raw(client), 503, "not_ready")
            assert (await client.get("/health/ready")).status_code == 200
            core.open.set()
        assert [answer.status_code for answer in answers] == [201, 201]
        assert (await client.get("/v1/analyses")).status_code == 200, "their places are free"


@pytest.mark.parametrize("form", [False, True])
async def test_a_body_that_stalls_is_given_up(serve: Serve, settings, form: bool) -> None:
    async def body():
        yield PART if form else GOOD
        await anyio.sleep_forever()

    async with serve(upload_idle_limit_s=0.05, max_uploads_at_once=1) as client:
        headers = FORM if form else DICOM
        for _ in range(2):  # the place of the first is free again
            response = await client.post("/v1/analyses", content=body(), headers=headers)
            problem = assert_problem(response, 400, "malformed_request")
            assert "0.05 s" in problem["detail"]
            assert response.headers["connection"] == "close"
        await assert_nothing_left(client, settings.data_dir)


async def test_a_body_that_trickles_is_given_up(serve: Serve, settings) -> None:
    sent = 0

    async def body():
        nonlocal sent
        while True:
            yield b"x"
            sent += 1
            await anyio.sleep(0.01)

    async with serve(upload_idle_limit_s=0.2, upload_min_bytes_per_s=1e6) as client:
        response = await client.post("/v1/analyses", content=body(), headers=DICOM)
        assert_problem(response, 400, "malformed_request")
        await assert_nothing_left(client, settings.data_dir)
    assert 2 <= sent <= 20, "no silence was long, but all of them together were"


async def test_a_body_that_is_fast_enough_is_taken(serve: Serve, monkeypatch) -> None:
    clock = HandClock(monkeypatch)
    monkeypatch.setattr(exchange, "monotonic", clock.time)

    async def body():
        yield GOOD
        for _ in range(30):
            yield bytes(1000)
            await clock.pass_s(1.0)

    async with serve(upload_idle_limit_s=20.0, upload_min_bytes_per_s=500.0) as client:
        response = await client.post("/v1/analyses", content=body(), headers=DICOM)
        assert response.status_code == 201
