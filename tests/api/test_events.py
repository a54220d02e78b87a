"""The events of an analysis: its progress, its end, and who may follow it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from app.api import events
from app.keys import add_key, remove_key, renew_key
from tests.api.conftest import GOOD, Core, Serve, post_raw, until
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio

ASYNC = {"Prefer": "respond-async"}


def read(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Events as (name, data); comments are left out."""
    found = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        if not block.startswith(":"):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def follow(client: httpx.AsyncClient, link: str, into: list[httpx.Response]) -> None:
    into.append(await client.get(f"{link}/events"))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What all streams have told so far: the client of these tests sees none before its end."""
    written: list[str] = []
    write = events._events

    async def noted(*asked: Any) -> AsyncIterator[str]:
        async for text in write(*asked):
            written.append(text)
            yield text

    monkeypatch.setattr(events, "_events", noted)
    return written


async def until_told(told: list[str], *parts: str) -> None:
    while not all(part in "".join(told) for part in parts):
        await anyio.sleep(0.001)


async def test_it_tells_progress_and_the_end(client, core: Core, told: list[str]) -> None:
    core.open.clear()
    first = (await post_raw(client, headers=ASYNC)).json()
    queued = (await post_raw(client, GOOD + b"2", ASYNC)).json()
    await until(client, first["id"], "running")
    answers: list[httpx.Response] = []
    async with anyio.create_task_group() as tasks:
        for shown in (first, queued):
            tasks.start_soon(follow, client, shown["links"]["self"], answers)
        await until_told(told, '"segment"', '"queued"')
        core.open.set()
    by_id = {read(answer.text)[0][1]["id"]: answer for answer in answers}
    for shown in (first, queued):
        answer = by_id[shown["id"]]
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        seen = read(answer.text)
        assert [name for name, _ in seen] == ["progress"] * (len(seen) - 1) + ["end"]
        assert seen[-1][1] == {
            "id": shown["id"], "status": "succeeded", "progress": None, "error": None,
        }  # fmt: skip
        assert len({str(event) for event in seen}) == len(seen), "only changes are told"
    of_first = [data["progress"] for _, data in read(by_id[first["id"]].text)]
    assert {"stage": "segment", "fraction": 0.4} in of_first
    assert read(by_id[queued["id"]].text)[0][1] == {
        "id": queued["id"], "status": "queued", "progress": None, "error": None,
    }  # fmt: skip


async def test_what_has_ended_is_told_at_once(client: httpx.AsyncClient) -> None:
    done = (await post_raw(client)).json()
    bad = (await post_raw(client, GOOD + b" pixels:too_short", ASYNC)).json()
    failed = await until(client, bad["id"], "failed")
    for shown in (done, failed):
        ((name, data),) = read((await client.get(f"{shown['links']['self']}/events")).text)
        assert (name, data["status"], data["error"]) == ("end", shown["status"], shown["error"])


async def test_a_cancelled_one_ends_as_cancelled(client, core: Core, told: list[str]) -> None:
    core.open.clear()
    answers: list[httpx.Response] = []
    shown = [(await post_raw(client, GOOD + bytes([n]), ASYNC)).json() for n in range(2)]
    await anyio.to_thread.run_sync(core.started.wait)
    async with anyio.create_task_group() as tasks:
        for one in shown:
            tasks.start_soon(follow, client, one["links"]["self"], answers)
        await until_told(told, shown[0]["id"], shown[1]["id"])
        for one in shown:
            await client.delete(one["links"]["self"])
    for answer in answers:
        name, data = read(answer.text)[-1]
        assert (name, data["status"]) == ("end", "cancelled")
    core.open.set()
    assert (await post_raw(client)).status_code == 201, "the worker is free"
    assert len(core.analysed) == 1


async def test_a_comment_breaks_the_silence(client, core, told, monkeypatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.0)
    core.open.clear()
    shown = (await post_raw(client, headers=ASYNC)).json()
    answers: list[httpx.Response] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow, client, shown["links"]["self"], answers)
        await until_told(told, ": still there")
        core.open.set()
    assert "\n: still there\n\n" in answers[0].text


async def test_the_stream_ends_where_the_service_stops(serve, core: Core, told) -> None:
    core.open.clear()
    answers: list[httpx.Response] = []
    async with serve(shutdown_grace_s=0) as client, anyio.create_task_group() as tasks:
        shown = [(await post_raw(client, GOOD + bytes([n]), ASYNC)).json() for n in range(2)]
        await anyio.to_thread.run_sync(core.started.wait)
        for one in shown:
            tasks.start_soon(follow, client, one["links"]["self"], answers)
        await until_told(told, shown[0]["id"], shown[1]["id"])
        queue = client._transport.app.state.service.queue
        await anyio.to_thread.run_sync(queue.drain, 0)
    assert len(answers) == 2
    assert all(name == "progress" for answer in answers for name, _ in read(answer.text))


async def test_who_may_not_see_an_analysis_may_not_follow_it(serve: Serve, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    anna, otto = ({"Authorization": f"Bearer {add_key(keys, n, 'analyse')}"} for n in ("a", "o"))
    async with serve(keys_file=keys) as client:
        link = (await post_raw(client, headers=anna)).json()["links"]["self"] + "/events"
        assert (await client.get(link, headers=anna)).status_code == 200
        assert_problem(await client.get(link, headers=otto), 404, "not_found")
        assert_problem(await client.get(link), 401, "unauthenticated")
        missing = await client.get("/v1/analyses/none/events", headers=anna)
        assert_problem(missing, 404, "not_found")


@pytest.mark.parametrize("change", [remove_key, renew_key])
async def test_a_key_that_is_removed_or_renewed_follows_no_further(
    serve: Serve, tmp_path: Path, core: Core, told: list[str], monkeypatch, change
) -> None:
    monkeypatch.setattr(events, "READ_EVERY_S", 0.02)
    monkeypatch.setattr(events, "LOOK_EVERY_S", 0.01)
    keys_file = tmp_path / "keys.json"
    anna = {"Authorization": f"Bearer {add_key(keys_file, 'anna', 'analyse')}"}
    core.open.clear()
    async with serve(keys_file=keys_file) as client:
        client.headers.update(anna)
        first = (await post_raw(client, headers=ASYNC)).json()
        answers: list[httpx.Response] = []
        async with anyio.create_task_group() as group:
            group.start_soon(follow, client, first["links"]["self"], answers)
            await until_told(told, "progress")
            change(keys_file, "anna")
            with anyio.fail_after(5):
                while not answers:
                    await anyio.sleep(0.01)
        core.open.set()
    assert answers[0].status_code == 200
    assert "end" not in [name for name, _ in read(answers[0].text)]
