"""What stays, and for how long: uploads are deleted, results expire where that is wanted."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx
import pytest

from app.jobs import expiry
from tests.api.conftest import GOOD, Core, Serve, post_raw, until, uploads

pytestmark = pytest.mark.anyio

ASYNC = {"Prefer": "respond-async"}


def kept_uploads(data_dir: Path) -> set[str]:
    assert not list((data_dir / "tmp").iterdir())
    return set(uploads(data_dir))


def later(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


async def test_an_upload_is_deleted_once_analysed(client, settings) -> None:
    await post_raw(client)
    await post_raw(client, GOOD + b" pixels:too_short")
    failed = (await post_raw(client, GOOD + b" 2 pixels:too_short", ASYNC)).json()["id"]
    await until(client, failed, "failed")
    while failed in uploads(settings.data_dir):  # it goes a moment later
        await anyio.sleep(0.001)
    assert kept_uploads(settings.data_dir) == set()


async def test_an_upload_is_kept_where_that_is_switched_on(serve: Serve, settings) -> None:
    async with serve(keep_uploads=True) as client:
        kept = (await post_raw(client)).json()["id"]
        assert (await post_raw(client, GOOD + b" pixels:too_short")).status_code == 422
        bad = GOOD + b" pixels:no_calibration"
        failed = (await post_raw(client, bad, ASYNC)).json()["id"]
        await until(client, failed, "failed")
        assert kept_uploads(settings.data_dir) == {kept, failed}, (
            "nobody can ask for the refused one"
        )
        assert uploads(settings.data_dir)[kept].read_bytes() == GOOD
        assert (await post_raw(client)).json()["id"] == kept
    async with serve(keep_uploads=True) as client:
        assert kept_uploads(settings.data_dir) == {kept, failed}
        await client.delete(f"/v1/analyses/{failed}")
        assert kept_uploads(settings.data_dir) == {kept}
    async with serve() as client:
        assert kept_uploads(settings.data_dir) == set(), "switched off, what was kept goes"
        assert (await client.get(f"/v1/analyses/{kept}")).status_code == 200


async def test_a_cancelled_upload_is_not_kept(serve: Serve, settings, core: Core) -> None:
    core.open.clear()
    async with serve(keep_uploads=True) as client:
        running = (await post_raw(client, headers=ASYNC)).json()["id"]
        queued = (await post_raw(client, GOOD + b"2", ASYNC)).json()["id"]
        await anyio.to_thread.run_sync(core.started.wait)
        for id in (running, queued):
            await client.delete(f"/v1/analyses/{id}")
        core.open.set()
        assert (await post_raw(client, GOOD + b"3", figures=False)).status_code == 201
        assert not uploads(settings.data_dir).keys() & {running, queued}


async def test_what_ended_long_ago_is_removed_with_its_files(serve, settings, core: Core) -> None:
    async with serve(keep_uploads=True) as client:
        intake = client._transport.app.state.service.intake
        old = (await post_raw(client)).json()
        for link in old["links"]["figures"].values():
            assert (await client.get(link)).status_code == 200
        moment = later(0)
        core.open.clear()
        core.started.clear()
        running = (await post_raw(client, GOOD + b"2", ASYNC)).json()["id"]
        await anyio.to_thread.run_sync(core.started.wait)
        queued = (await post_raw(client, GOOD + b"3", ASYNC)).json()["id"]

        assert intake.expire(moment - timedelta(hours=1)) == 0
        assert intake.expire(moment) == 1
        assert (await client.get(old["links"]["self"])).status_code == 404
        assert old["id"] not in str(list(os.walk(settings.data_dir)))
        assert intake.expire(later(1000)) == 0, "the unfinished stay, however old"
        core.open.set()
        for id in (running, queued):
            await until(client, id, "succeeded")
        assert intake.expire(later(1000)) == 2
        assert (await client.get("/v1/analyses")).json()["items"] == []
        assert (await post_raw(client)).status_code == 201, "what expired can be sent again"


async def test_nothing_expires_by_default(client: httpx.AsyncClient) -> None:
    id = (await post_raw(client)).json()["id"]
    before = asyncio.all_tasks()
    async with expiry.expiring(client._transport.app.state.service.intake.expire, None):
        assert asyncio.all_tasks() == before, "nobody looks"
    async with expiry.expiring(client._transport.app.state.service.intake.expire, 1000.0):
        assert len(asyncio.all_tasks() - before) == 1
    assert (await client.get(f"/v1/analyses/{id}")).status_code == 200


async def test_it_expires_by_itself_while_the_service_runs(serve: Serve, monkeypatch) -> None:
    monkeypatch.setattr(expiry, "_SHORTEST_PAUSE_S", 0.01)
    async with serve(results_expire_after_h=1e-9) as client:
        id = (await post_raw(client, headers=ASYNC)).json()["id"]
        while (await client.get(f"/v1/analyses/{id}")).status_code != 404:
            await anyio.sleep(0.01)


async def test_a_store_that_fails_once_is_asked_again(monkeypatch, caplog) -> None:
    monkeypatch.setattr(expiry, "_SHORTEST_PAUSE_S", 0.01)
    asked, again = [], anyio.Event()

    def expire(moment: datetime) -> int:
        asked.append(moment)
        if len(asked) == 1:
            raise OSError(5, "Input/output error")
        anyio.from_thread.run_sync(again.set)
        return 0

    async with expiry.expiring(expire, 1e-9):
        await again.wait()
    assert "could not be tidied" in caplog.text


async def test_beyond_a_size_the_oldest_go_first(serve: Serve, settings, core: Core) -> None:
    async with serve(keep_uploads=True) as client:
        service = client._transport.app.state.service
        done = [(await post_raw(client, GOOD + bytes([n]), figures=False)).json() for n in range(3)]
        core.open.clear()
        core.started.clear()
        running = (await post_raw(client, GOOD + b"x", ASYNC)).json()["id"]
        queued = (await post_raw(client, GOOD + b"y", ASYNC)).json()["id"]
        await anyio.to_thread.run_sync(core.started.wait)
        sizes = {id: size.total for id, size in service.files.sizes_bytes().items()}
        assert sizes[done[0]["id"]] > sizes[running] == len(GOOD) + 1
        total = sum(sizes.values())

        assert service.intake.shrink(total) == 0
        assert service.intake.shrink(total - 1) == 1
        assert (await client.get(done[0]["links"]["self"])).status_code == 404
        assert not list(settings.data_dir.rglob(f"*{done[0]['id']}*"))
        for kept in done[1:]:
            assert (await client.get(kept["links"]["self"])).status_code == 200
        assert service.intake.shrink(1) == 2, "the unfinished stay, however much they are"
        core.open.set()
        for id in (running, queued):
            await until(client, id, "succeeded")


async def test_it_shrinks_by_itself_while_the_service_runs(serve: Serve, monkeypatch) -> None:
    monkeypatch.setattr("app.main.TIDY_EVERY_S", 0.01)
    async with serve(results_max_bytes=1) as client:
        id = (await post_raw(client, headers=ASYNC)).json()["id"]
        while (await client.get(f"/v1/analyses/{id}")).status_code != 404:
            await anyio.sleep(0.01)


async def test_a_removed_name_goes_from_the_log_of_the_database(
    serve: Serve, settings, monkeypatch
) -> None:
    monkeypatch.setattr("app.main.TIDY_EVERY_S", 0.01)
    async with serve() as client:
        shown = (await post_raw(client, file_name="removed.dcm")).json()
        assert (await client.delete(shown["links"]["self"])).status_code == 204
        while any(
            b"removed.dcm" in path.read_bytes() for path in settings.data_dir.glob("*.sqlite*")
        ):
            await anyio.sleep(0.01)
