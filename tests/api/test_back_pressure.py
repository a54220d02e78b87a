"""What waits is bounded, and in order: callers who wait come first, and each in turn."""

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from app.keys import add_key
from tests.api.conftest import GOOD, Core, Serve, post_raw, until, uploads
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio

ASYNC = {"Prefer": "respond-async"}


async def bulk(client: httpx.AsyncClient, content: bytes, headers: Any = None) -> httpx.Response:
    return await post_raw(client, GOOD + content, ASYNC | (headers or {}))


def assert_queue_full(response: httpx.Response) -> None:
    assert_problem(response, 429, "queue_full")
    assert int(response.headers["retry-after"]) > 0


async def test_a_full_queue_refuses_and_takes_again(serve: Serve, core: Core, settings) -> None:
    core.open.clear()
    async with serve(max_queued=2) as client:
        running = (await bulk(client, b"0")).json()
        await until(client, running["id"], "running")
        waiting = [(await bulk(client, bytes([n]))).json() for n in (1, 2)]
        assert_queue_full(await bulk(client, b"4"))
        assert len(uploads(settings.data_dir)) == 3
        await client.delete(waiting[0]["links"]["self"])
        assert (await bulk(client, b"5")).status_code == 202
        core.open.set()
        await until(client, waiting[1]["id"], "succeeded")


async def test_it_refuses_before_the_body_is_read(serve: Serve, core: Core) -> None:
    core.open.clear()
    async with serve(max_queued=1) as client:
        running = (await bulk(client, b"0")).json()
        await until(client, running["id"], "running")
        await bulk(client, b"1")
        service = client._transport.app.state.service
        made = len(list(service.files.root.glob("tmp/*")))
        asked = []
        service.files.new_upload = lambda: asked.append(1)  # type: ignore[method-assign]
        assert_queue_full(await bulk(client, b"2"))
        assert asked == []
        assert len(list(service.files.root.glob("tmp/*"))) == made
        core.open.set()


async def test_bulk_leaves_room_for_who_waits(serve: Serve, core: Core) -> None:
    core.open.clear()
    async with serve(max_queued=1) as client:
        running = (await bulk(client, b"0")).json()
        await until(client, running["id"], "running")
        await bulk(client, b"1")
        assert_queue_full(await bulk(client, b"2"))
        answers: list[httpx.Response] = []

        async def wait() -> None:
            answers.append(await post_raw(client, GOOD + b"3"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            while len((await client.get("/v1/analyses")).json()["items"]) < 3:
                pass
            assert_queue_full(await post_raw(client, GOOD + b"4"))
            core.open.set()
        assert answers[0].status_code == 201


async def test_who_waits_comes_first(serve: Serve, core: Core) -> None:
    core.open.clear()
    async with serve() as client:
        running = (await bulk(client, b"0")).json()
        await until(client, running["id"], "running")
        _, joined = [(await bulk(client, bytes([n]))).json()["id"] for n in (1, 2)]
        queue = client._transport.app.state.service.queue
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post_raw, client, GOOD + b"3")
            tasks.start_soon(post_raw, client, GOOD + bytes([2]))  # joins one that waits
            while queue.queued < 3 or not queue._jobs[joined].interactive:
                await anyio.sleep(0)
            core.open.set()
        items = (await client.get("/v1/analyses")).json()["items"]
        done = [await until(client, item["id"], "succeeded") for item in items]
    started = {item["input"]["sha256"]: item["started_at"] for item in done}
    shas = [item["input"]["sha256"] for item in done[::-1]]  # 0, 1, 2, 3 as they came
    assert max(started[shas[2]], started[shas[3]]) < started[shas[1]]


async def test_keys_take_turns_and_none_fills_the_queue(serve, core: Core, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    anna, otto = ({"Authorization": f"Bearer {add_key(keys, n, 'analyse')}"} for n in ("a", "o"))
    core.open.clear()
    async with serve(keys_file=keys, max_queued=10, max_queued_per_key=3) as client:
        first = (await bulk(client, b"0", anna)).json()
        while (await client.get(first["links"]["self"], headers=anna)).json()["status"] == "queued":
            pass
        for n in (1, 2, 3):
            assert (await bulk(client, bytes([n]), anna)).status_code == 202
        assert_queue_full(await bulk(client, b"4", anna))
        assert (await bulk(client, b"x", otto)).status_code == 202
        queue = client._transport.app.state.service.queue
        order = [queue._waiting.take().owner for _ in range(4)]
        assert order[1] not in (order[0], order[2])
        assert order[2] == order[3] == order[0]


async def test_uploads_on_their_way_count(serve: Serve, core: Core) -> None:
    core.open.clear()
    async with serve(max_queued=1) as client:
        running = (await bulk(client, b"0")).json()
        await until(client, running["id"], "running")
        sending, go_on = anyio.Event(), anyio.Event()

        async def body():
            yield GOOD
            sending.set()
            await go_on.wait()

        async def post() -> None:
            headers = {"Content-Type": "application/dicom"} | ASYNC
            answer = await client.post("/v1/analyses", content=body(), headers=headers)
            assert answer.status_code == 202

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post)
            await sending.wait()
            assert_queue_full(await bulk(client, b"2"))
            go_on.set()
        core.open.set()
