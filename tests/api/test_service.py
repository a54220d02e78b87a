"""Health, metrics, models, request ids, logs and restarts."""

import logging

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import GOOD, Core, Serve, make_app, post_raw, serving, until
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio


async def metric(client: httpx.AsyncClient, name: str, **labels: str) -> float | None:
    text = (await client.get("/metrics")).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


async def test_it_answers_while_an_analysis_runs(client: httpx.AsyncClient, core: Core) -> None:
    core.open.clear()
    posted = (await post_raw(client, headers={"Prefer": "respond-async"})).json()
    await anyio.to_thread.run_sync(core.started.wait)
    for path in ("/health/live", "/health/ready", "/v1/models", "/v1/analyses", "/openapi.json"):
        assert (await client.get(path)).status_code == 200
    assert await metric(client, "echo2pheno_analyses_running") == 1
    assert await metric(client, "echo2pheno_analyses_queued") == 0
    core.open.set()
    await until(client, posted["id"], "succeeded")


async def test_ready_says_when_nothing_can_be_stored(client, settings, monkeypatch) -> None:
    def broken() -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(client._transport.app.state.service.files, "check_writable", broken)
    response = await client.get("/health/ready")
    assert_problem(response, 503, "not_ready")
    assert int(response.headers["retry-after"]) > 0
    assert (await client.get("/health/live")).status_code == 200


async def test_models(client: httpx.AsyncClient) -> None:
    models = (await client.get("/v1/models")).json()
    assert models["classifier"] == {
        "name": "classifier",
        "version": "1.0.0",
        "sha256": "c" * 64,
        "trained_on": "simulated recordings",
    }
    assert models["segmenter"]["name"] == "segmenter"


async def test_metrics_count_what_happened(client: httpx.AsyncClient) -> None:
    await post_raw(client)
    await post_raw(client, GOOD + b" pixels:too_short")
    await client.get("/v1/analyses/none")
    await client.get("/v1/secret/path")
    assert await metric(client, "echo2pheno_analyses_total", outcome="succeeded") == 1
    assert await metric(client, "echo2pheno_analyses_total", outcome="failed") == 1
    assert await metric(client, "echo2pheno_stage_seconds_count", stage="segment") == 1
    counted = {
        ("POST", "/v1/analyses", "201"),
        ("POST", "/v1/analyses", "422"),
        ("GET", "/v1/analyses/{id}", "404"),
        ("GET", "unmatched", "404"),
    }
    for method, route, status in counted:
        labels = {"method": method, "route": route, "status": status}
        assert await metric(client, "echo2pheno_requests_total", **labels) == 1


async def test_two_apps_do_not_share_their_metrics(core: Core, settings, tmp_path) -> None:
    other = settings.model_copy(update={"data_dir": tmp_path / "other"})
    async with serving(make_app(core, settings)) as one, serving(make_app(core, other)) as two:
        await post_raw(one)
        assert await metric(two, "echo2pheno_analyses_total", outcome="succeeded") == 0


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-123_X.y", True), ("x", False), ("a b\tc{}", False)]
)
async def test_request_ids(client: httpx.AsyncClient, given: str, kept: bool) -> None:
    response = await client.get("/health/live", headers={"X-Request-ID": given})
    assert (response.headers["x-request-id"] == given) is kept
    assert len(response.headers["x-request-id"]) >= 8


async def test_logs_tell_the_request_and_the_stages_and_nothing_of_the_file(client, caplog) -> None:
    caplog.set_level(logging.INFO, "app")
    await post_raw(client, file_name="MICKEY.dcm", headers={"X-Request-ID": "request-1"})
    lines = {record.getMessage(): record for record in caplog.records}
    assert lines["request"].route == "/v1/analyses"
    assert (lines["request"].method, lines["request"].status) == ("POST", 201)
    assert lines["request"].duration_ms >= 0
    assert set(lines["analysis ended"].timings_ms) >= {"read", "segment", "total"}
    assert not any("MICKEY" in str(vars(record)) for record in caplog.records)


async def test_unfinished_analyses_run_again_after_a_restart(serve: Serve, core: Core) -> None:
    core.open.clear()
    async with serve(shutdown_grace_s=0) as client:
        running = (await post_raw(client, headers={"Prefer": "respond-async"})).json()
        queued = (await post_raw(client, GOOD + b" 2", {"Prefer": "respond-async"})).json()
        await anyio.to_thread.run_sync(core.started.wait)
    assert core.analysed == []
    core.open.set()
    async with serve() as client:
        for posted in (running, queued):
            shown = await until(client, posted["id"], "succeeded")
            assert shown["input"] == posted["input"] | {
                "transfer_syntax_uid": "1.2.840.10008.1.2.1",
                "frames": 15,
            }


async def test_a_stopping_service_lets_the_running_analysis_end(serve: Serve, core: Core) -> None:
    core.open.clear()
    async with serve() as client:
        posted = (await post_raw(client, headers={"Prefer": "respond-async"})).json()
        await anyio.to_thread.run_sync(core.started.wait)
        core.open.set()
    assert len(core.analysed) == 1
    async with serve() as client:
        assert (await client.get(f"/v1/analyses/{posted['id']}")).json()["status"] == "succeeded"
    assert len(core.analysed) == 1


async def test_figures_left_over_are_drawn_after_a_restart(
    serve: Serve, core: Core, monkeypatch
) -> None:
    monkeypatch.setattr("app.jobs.render.Renderer.draw_ahead", lambda *_: None)
    async with serve() as client:
        id = (await post_raw(client)).json()["id"]
    monkeypatch.undo()
    assert core.drawn == []
    async with serve() as client:
        while (await client.get(f"/v1/analyses/{id}")).json()["timings_ms"]["render"] is None:
            await anyio.sleep(0)
    assert len(core.drawn) == 6


async def test_an_analysis_that_kills_the_service_is_given_up(
    serve: Serve, core: Core, settings
) -> None:
    core.open.clear()
    async with serve(shutdown_grace_s=0) as client:
        posted = (await post_raw(client, headers={"Prefer": "respond-async"})).json()
        records = client._transport.app.state.service.records
        await until(client, posted["id"], "running")
        for _ in range(settings.max_attempts - 1):  # as after so many crashes
            records.requeue(posted["id"], counts=True)
            records.start(posted["id"])
        records.requeue(posted["id"], counts=True)
    async with serve() as client:
        shown = (await client.get(f"/v1/analyses/{posted['id']}")).json()
    assert shown["status"] == "failed"
    assert shown["error"]["code"] == "internal_error"
    assert core.analysed == []
