"""A recording in, an analysis out: by form and by raw body, waiting or not."""

import hashlib
import shutil

import anyio
import httpx
import pytest

from app.pipeline.results import FEATURE_NAMES
from tests.api.conftest import GOOD, Core, Serve, files_below, post_form, post_raw, until
from tests.factories import make_analysis

pytestmark = pytest.mark.anyio

CONTRACT_KEYS = {
    "id", "status", "created_at", "started_at", "finished_at", "input", "recording", "quality",
    "features", "beats", "warnings", "models", "links", "timings_ms", "error",
}  # fmt: skip
ADDED_KEYS = {"measuring"}


async def test_the_answer_is_the_contracts(client: httpx.AsyncClient) -> None:
    response = await post_form(client, body_mass_g="25")
    assert response.status_code == 201
    shown = response.json()
    truth = make_analysis()

    assert set(shown) == CONTRACT_KEYS | ADDED_KEYS
    assert response.headers["location"] == shown["links"]["self"] == f"/v1/analyses/{shown['id']}"
    assert shown["status"] == "succeeded"
    assert shown["created_at"].endswith("Z")
    assert shown["created_at"] <= shown["started_at"] <= shown["finished_at"]
    assert shown["input"] == {
        "file_name": "m.dcm",
        "size_bytes": len(GOOD),
        "sha256": hashlib.sha256(GOOD).hexdigest(),
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "frames": 15,
        "body_mass_g": 25.0,
        "profile": "robust",
    }
    assert shown["recording"] == {
        "rows": 300,
        "columns": 2400,
        "duration_s": pytest.approx(2.0),
        "seconds_per_column": pytest.approx(1 / 1200),
        "mm_per_row": 0.02,
        "region": {"index": 2, "x0": 28, "y0": 112, "x1": 1052, "y1": 412},
    }
    assert shown["quality"]["high_fraction"] == pytest.approx(1 - 516 / 2400)
    assert shown["quality"]["windows"][0] == {
        "start_s": 0.0,
        "end_s": pytest.approx(0.215),
        "probability": 0.15,
        "label": "low",
    }
    assert tuple(shown["features"]) == FEATURE_NAMES
    assert shown["features"]["heart_rate_bpm"]["median"] == pytest.approx(685.714, abs=1e-3)
    assert len(shown["beats"]) == 22
    assert shown["beats"][-1]["heart_rate_bpm"] is None
    assert shown["beats"][0]["rejected_because"] == "low_quality"
    assert shown["warnings"] == [vars(truth.warnings[0])]
    assert shown["models"]["segmenter"] == vars(truth.segmenter)
    assert set(shown["timings_ms"]) == {
        "read", "stitch", "segment", "classify", "measure", "render", "total",
    }  # fmt: skip
    assert shown["error"] is None


async def test_options_reach_the_pipeline(client: httpx.AsyncClient, core: Core) -> None:
    shown = (await post_raw(client, body_mass_g=31.5, file_name="a/b/mouse.dcm")).json()
    assert shown["input"]["file_name"] == "mouse.dcm"
    assert core.analysed[0]["body_mass_g"] == 31.5
    assert core.analysed[0]["profile"] == "robust"
    assert core.analysed[0]["measuring"].heart_rate_max_bpm == 900


async def test_a_raw_body_has_no_name(client: httpx.AsyncClient) -> None:
    assert (await post_raw(client)).json()["input"]["file_name"] is None


async def test_a_large_form_arrives_whole(client: httpx.AsyncClient, serve: Serve) -> None:
    content = GOOD + bytes(range(256)) * 700 + b"\r\n--"
    shown = (await post_form(client, content)).json()
    assert shown["input"]["size_bytes"] == len(content)
    assert shown["input"]["sha256"] == hashlib.sha256(content).hexdigest()


async def test_the_same_again_is_the_same(client: httpx.AsyncClient, core: Core) -> None:
    first = await post_raw(client, body_mass_g=25)
    again = await post_form(client, body_mass_g="25.0")
    other = await post_raw(client, body_mass_g=26)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 201)
    assert again.json()["id"] == first.json()["id"] != other.json()["id"]
    assert len(core.analysed) == 2


async def test_other_rules_are_another_analysis(serve: Serve) -> None:
    async with serve() as client:
        first = await post_raw(client)
    async with serve(heart_rate_max_bpm=800.0) as client:
        second = await post_raw(client)
    assert (first.status_code, second.status_code) == (201, 201)


async def test_the_same_at_the_same_time_is_analysed_once(
    client: httpx.AsyncClient, core: Core
) -> None:
    core.open.clear()
    responses: list[httpx.Response] = []

    async def post() -> None:
        responses.append(await post_raw(client))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post)
        tasks.start_soon(post)
        await anyio.to_thread.run_sync(core.started.wait)
        core.open.set()
    assert sorted(response.status_code for response in responses) == [200, 201]
    assert len({response.json()["id"] for response in responses}) == 1
    assert len(core.analysed) == 1


async def test_respond_async(client: httpx.AsyncClient, core: Core) -> None:
    core.open.clear()
    response = await post_raw(client, headers={"Prefer": "respond-async"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "respond-async"
    shown = response.json()
    assert response.headers["location"] == shown["links"]["self"]
    assert shown["status"] in ("queued", "running")
    assert shown["features"] is None
    assert shown["started_at"] is None or shown["status"] == "running"

    await anyio.to_thread.run_sync(core.started.wait)
    running = await until(client, shown["id"], "running")
    assert running["progress"]["stage"] in ("read", "segment")
    core.open.set()
    done = await until(client, shown["id"], "succeeded")
    assert "progress" not in done
    assert done["features"]["lvid_d_mm"]["n"] == 17


async def test_wait_is_over_before_the_analysis(client: httpx.AsyncClient, core: Core) -> None:
    core.open.clear()
    response = await post_raw(client, headers={"Prefer": "wait=0"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=0"
    core.open.set()
    await until(client, response.json()["id"], "succeeded")


async def test_the_analysis_is_over_before_the_wait(client: httpx.AsyncClient) -> None:
    response = await post_raw(client, headers={"Prefer": "respond-async, wait=100"})
    assert response.status_code == 201
    assert response.headers["preference-applied"] == "wait=100"
    assert response.json()["status"] == "succeeded"


async def test_an_asynchronous_refusal_stays_readable(client: httpx.AsyncClient) -> None:
    content = GOOD + b" pixels:too_short"
    response = await post_raw(client, content, headers={"Prefer": "respond-async"})
    assert response.status_code == 202
    shown = await until(client, response.json()["id"], "failed")
    assert shown["error"] == {
        "type": "urn:echo2pheno:problem:too_short",
        "title": "Too little M-mode",
        "status": 422,
        "detail": "Only 0.1 s.",
        "code": "too_short",
    }


async def test_a_failed_analysis_is_tried_again(client: httpx.AsyncClient) -> None:
    content = GOOD + b" pixels:too_short"
    first = await post_raw(client, content, headers={"Prefer": "respond-async"})
    await until(client, first.json()["id"], "failed")
    again = await post_raw(client, content, headers={"Prefer": "respond-async"})
    assert again.status_code == 202
    assert again.json()["id"] != first.json()["id"]


async def test_the_upload_is_gone_once_analysed(client: httpx.AsyncClient, settings) -> None:
    await post_raw(client)
    assert not [path for path in files_below(settings.data_dir) if path.suffix in (".dcm", ".part")]


async def test_what_lost_its_result_is_analysed_again(client: httpx.AsyncClient, settings) -> None:
    lost = (await post_raw(client, figures="false")).json()
    shutil.rmtree(settings.data_dir / "analyses" / lost["id"])
    again = await post_raw(client, figures="false")
    assert (again.status_code, again.json()["status"]) == (201, "succeeded")
    assert again.json()["id"] != lost["id"]
    assert again.json()["features"] == lost["features"]
    assert (await client.get(lost["links"]["self"])).status_code == 404
