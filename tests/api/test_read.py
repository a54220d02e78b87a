"""Analyses looked at, listed, drawn, fetched and removed."""

import os

import anyio
import httpx
import pytest

from tests.api.conftest import GOOD, PNG, Core, Serve, post_raw, until, uploads
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio

FIGURES = ["echocardiogram", "segmentation", "diastole", "systole", "heart_rate", "function"]


async def render_ms(client: httpx.AsyncClient, id: str) -> float | None:
    return (await client.get(f"/v1/analyses/{id}")).json()["timings_ms"]["render"]


async def test_an_analysis_is_found_again(client: httpx.AsyncClient) -> None:
    posted = (await post_raw(client, figures=False)).json()
    found = await client.get(f"/v1/analyses/{posted['id']}")
    assert found.status_code == 200
    assert found.json() == posted


async def test_pages_go_from_new_to_old(client: httpx.AsyncClient) -> None:
    ids = [
        (await post_raw(client, GOOD + bytes([n]), figures=False)).json()["id"] for n in range(5)
    ]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    pages = 0
    while True:
        page = (await client.get("/v1/analyses", params={"limit": 2} | cursor)).json()
        pages += 1
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == ids[::-1]
    assert pages == 3


async def test_every_link_leads_somewhere(client: httpx.AsyncClient) -> None:
    links = (await post_raw(client)).json()["links"]
    assert list(links["figures"]) == FIGURES
    for name, link in links["figures"].items():
        figure = await client.get(link)
        assert figure.status_code == 200
        assert figure.headers["content-type"] == "image/png"
        assert figure.content == PNG + name.encode()
    for table in (
        "beats_csv",
        "summary_csv",
        "trace_csv",
        "published_all_csv",
        "published_stats_csv",
    ):
        found = await client.get(links[table])
        assert found.status_code == 200
        assert found.headers["content-type"] == "text/csv; charset=utf-8"
        assert "," in found.text or "\n" in found.text
    assert (await client.get(links["self"])).status_code == 200


async def test_links_stand_under_the_gateways_prefix(serve: Serve) -> None:
    async with serve(root_path="/echo") as client:
        response = await post_raw(client)
        links = response.json()["links"]
        assert response.headers["location"] == links["self"]
        assert links["self"].startswith("/echo/v1/analyses/")
        assert links["figures"]["function"].startswith("/echo/v1/analyses/")
        # a gateway may pass the path on with the prefix or without
        assert (await client.get(links["beats_csv"])).status_code == 200
        assert (await client.get(links["beats_csv"].removeprefix("/echo"))).status_code == 200


async def test_render_time_is_told_once_all_are_drawn(
    client: httpx.AsyncClient, core: Core
) -> None:
    shown = (await post_raw(client)).json()
    for link in shown["links"]["figures"].values():
        await client.get(link)
    assert sorted(core.drawn) == sorted(FIGURES)
    assert (await render_ms(client, shown["id"]) or -1) >= 0


async def test_without_figures_each_is_drawn_when_asked_for(
    client: httpx.AsyncClient, core: Core
) -> None:
    shown = (await post_raw(client, figures="false")).json()
    assert core.drawn == []
    assert (await client.get(shown["links"]["figures"]["systole"])).status_code == 200
    assert (await client.get(shown["links"]["figures"]["systole"])).status_code == 200
    assert core.drawn == ["systole"]
    assert await render_ms(client, shown["id"]) is None


async def test_a_figure_is_drawn_after_a_restart(serve: Serve, core: Core) -> None:
    async with serve() as client:
        shown = (await post_raw(client, figures="false")).json()
    async with serve() as client:
        assert (await client.get(f"/v1/analyses/{shown['id']}")).json() == shown
        assert (await client.get(shown["links"]["figures"]["diastole"])).status_code == 200
        assert (await client.get(shown["links"]["trace_csv"])).status_code == 200


async def test_a_figure_that_cannot_be_drawn(client, core: Core, monkeypatch) -> None:
    shown = (await post_raw(client, figures="false")).json()
    monkeypatch.setattr(core, "analysed", None)

    def broken(name: str, analysis: object) -> bytes:
        raise ValueError("patient MICKEY")

    service = client._transport.app.state.service
    monkeypatch.setattr(service.renderer, "_draw", broken)
    response = await client.get(shown["links"]["figures"]["function"])
    assert_problem(response, 500, "internal_error")
    assert "MICKEY" not in response.text


async def test_an_unknown_figure(client: httpx.AsyncClient) -> None:
    id = (await post_raw(client, figures="false")).json()["id"]
    assert_problem(await client.get(f"/v1/analyses/{id}/figures/x.png"), 404, "not_found")


async def test_nothing_to_fetch_before_the_end(client: httpx.AsyncClient, core: Core) -> None:
    core.open.clear()
    links = (await post_raw(client, headers={"Prefer": "respond-async"})).json()["links"]
    for link in (links["figures"]["function"], links["beats_csv"], links["summary_csv"]):
        assert_problem(await client.get(link), 409, "not_finished")
    core.open.set()


async def test_a_finished_analysis_is_removed_with_its_files(client, settings) -> None:
    shown = (await post_raw(client)).json()
    for link in shown["links"]["figures"].values():
        await client.get(link)
    assert (await client.delete(shown["links"]["self"])).status_code == 204
    for link in (shown["links"]["self"], shown["links"]["beats_csv"]):
        assert_problem(await client.get(link), 404, "not_found")
    assert_problem(await client.delete(shown["links"]["self"]), 404, "not_found")
    assert shown["id"] not in str(list(os.walk(settings.data_dir)))
    assert (await post_raw(client)).status_code == 201


async def test_a_running_analysis_is_cancelled(client: httpx.AsyncClient, core: Core) -> None:
    core.open.clear()
    posted = (await post_raw(client, headers={"Prefer": "respond-async"})).json()
    await anyio.to_thread.run_sync(core.started.wait)
    assert (await client.delete(posted["links"]["self"])).status_code == 204
    shown = (await client.get(posted["links"]["self"])).json()
    assert shown["status"] == "cancelled"
    assert shown["finished_at"] is not None
    # its worker is free again
    core.open.set()
    assert (await post_raw(client, GOOD + b" other")).status_code == 201
    assert (await client.get(posted["links"]["self"])).json()["status"] == "cancelled"
    # and a second time removes it
    assert (await client.delete(posted["links"]["self"])).status_code == 204
    assert (await client.get(posted["links"]["self"])).status_code == 404


async def test_a_queued_analysis_never_starts(client, core: Core, settings) -> None:
    core.open.clear()
    first = await post_raw(client, headers={"Prefer": "respond-async"})
    second = await post_raw(client, GOOD + b" 2", {"Prefer": "respond-async"})
    assert second.json()["status"] == "queued"
    await client.delete(second.json()["links"]["self"])
    kept = list(uploads(settings.data_dir))
    assert kept == [first.json()["id"]], "what is cancelled is not kept"
    assert (
        'echo2pheno_analyses_total{outcome="cancelled"} 1.0' in (await client.get("/metrics")).text
    )
    core.open.set()
    await until(client, first.json()["id"], "succeeded")
    assert (await client.get(second.json()["links"]["self"])).json()["status"] == "cancelled"
    assert len(core.analysed) == 1


async def test_whoever_waits_for_a_cancelled_analysis_learns_of_it(
    client: httpx.AsyncClient, core: Core
) -> None:
    core.open.clear()
    answers: list[httpx.Response] = []

    async def post() -> None:
        answers.append(await post_raw(client))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post)
        await anyio.to_thread.run_sync(core.started.wait)
        (item,) = (await client.get("/v1/analyses")).json()["items"]
        await client.delete(item["links"]["self"])
    assert answers[0].json()["status"] == "cancelled"
