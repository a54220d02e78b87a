"""A full disk refuses what comes, keeps what is there, and is got over."""

import errno
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy import event

from app.storage import local_blobs
from app.storage.errors import StorageFullError
from tests.api.conftest import GOOD, Core, Serve, post_raw, until, uploads
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio

ASYNC = {"Prefer": "respond-async"}


def service_of(client: httpx.AsyncClient) -> Any:
    return client._transport.app.state.service


async def test_it_refuses_before_the_body_where_little_is_free(serve: Serve, monkeypatch) -> None:
    async with serve() as client:
        kept = (await post_raw(client)).json()
    async with serve(min_free_bytes=2**62) as client:
        asked: list[int] = []
        monkeypatch.setattr(service_of(client).files, "new_upload", lambda: asked.append(1))
        assert_problem(await post_raw(client, GOOD + b"2"), 507, "storage_full")
        assert asked == []
        assert (await client.get(kept["links"]["self"])).json()["status"] == "succeeded"


async def test_an_upload_that_cannot_be_synced_is_not_accepted(client, settings, monkeypatch):
    kept = (await post_raw(client)).json()

    def full(path: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local_blobs, "_sync", full)
    assert_problem(await post_raw(client, GOOD + b"2", ASYNC), 507, "storage_full")
    monkeypatch.undo()
    assert [item["id"] for item in (await client.get("/v1/analyses")).json()["items"]] == [
        kept["id"]
    ]
    assert not list((settings.data_dir / "uploads").iterdir())
    assert (await post_raw(client, GOOD + b"2", ASYNC)).status_code == 202


async def test_records_that_cannot_grow_lose_nothing(client, settings, core: Core) -> None:
    engine = service_of(client).records.engine

    def limit(connection: Any, *_: Any) -> None:
        connection.execute("PRAGMA max_page_count=1")  # of pages: as many as there are

    def lift(connection: Any, *_: Any) -> None:
        connection.execute("PRAGMA max_page_count=1000000")

    core.open.clear()  # whoever has been accepted waits, and nothing is recorded meanwhile
    event.listen(engine, "checkout", limit)
    accepted, name = [], "x" * 250
    for n in range(1000):
        answer = await post_raw(client, GOOD + b"%d" % n, ASYNC, file_name=name)
        if answer.status_code != 202:
            break
        accepted.append(answer.json()["id"])
    assert_problem(answer, 507, "storage_full")
    assert accepted
    event.remove(engine, "checkout", limit)
    event.listen(engine, "checkout", lift)
    assert set(uploads(settings.data_dir)) == set(accepted), "what was accepted, and only that"
    core.open.set()
    for id in accepted:
        await until(client, id, "succeeded")
    assert (await post_raw(client, GOOD + b"again")).status_code == 201


async def test_what_was_lost_to_the_queue_is_taken_up(client, core: Core, monkeypatch) -> None:
    service = service_of(client)
    monkeypatch.setattr(type(service.records), "start", _full)
    never_begun = (await post_raw(client, headers=ASYNC)).json()["id"]
    while service.queue.knows(never_begun):
        await anyio.sleep(0.001)
    monkeypatch.undo()
    monkeypatch.setattr(type(service.records), "succeed", _full)
    monkeypatch.setattr(type(service.records), "fail", _full)
    never_ended = (await post_raw(client, GOOD + b"2", ASYNC)).json()["id"]
    while service.queue.knows(never_ended):
        await anyio.sleep(0.001)
    monkeypatch.undo()
    states = {
        id: (await client.get(f"/v1/analyses/{id}")).json()["status"]
        for id in (never_begun, never_ended)
    }
    assert states == {never_begun: "queued", never_ended: "running"}
    await anyio.to_thread.run_sync(service.intake.take_up_stray)
    for id in states:
        await until(client, id, "succeeded")


def _full(*_: Any, **__: Any) -> None:
    raise StorageFullError


async def test_drawing_that_kills_the_service_is_given_up(
    serve: Serve, core: Core, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.render.Renderer.draw_ahead", lambda *_: None)
    async with serve() as client:
        shown = (await post_raw(client)).json()
        records = service_of(client).records
        for _ in range(settings.max_attempts):  # as after so many crashes
            records.begin_render(shown["id"])
    monkeypatch.undo()
    async with serve() as client:
        answer = await client.get(shown["links"]["figures"]["function"])
        assert_problem(answer, 500, "internal_error")
        assert core.drawn == []
        assert (await client.get(shown["links"]["beats_csv"])).status_code == 200


async def test_drawing_that_ends_counts_as_no_crash(client, core: Core) -> None:
    shown = (await post_raw(client, figures=False)).json()
    for link in shown["links"]["figures"].values():
        assert (await client.get(link)).status_code == 200
    assert service_of(client).records.get(shown["id"]).render_attempts == 0
