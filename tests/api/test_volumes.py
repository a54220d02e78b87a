"""The same service on a disk of its own, on a shared volume and on an object store."""

import errno
import io
import os
import threading
import zipfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import fsspec
import httpx
import numpy as np
import pytest

from app.settings import Settings
from app.storage import local_blobs
from app.storage.files import Files
from tests.api.conftest import GOOD, PNG, Core, make_app, post_raw, serving, until, uploads
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio

ASYNC = {"Prefer": "respond-async"}
BUCKET = "/recordings/echo2pheno"

ServeOn = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def store(memory: fsspec.AbstractFileSystem) -> dict[str, Any]:
    """Objects of the object store, by path."""
    there: dict[str, Any] = memory.store
    return there


@pytest.fixture(
    params=[
        pytest.param({}, id="own disk"),
        pytest.param({"shared": True}, id="shared volume"),
        pytest.param({"url": f"memory:/{BUCKET}"}, id="object store"),
    ]
)
def serve_on(
    request: pytest.FixtureRequest, core: Core, settings: Settings, store: dict[str, Any]
) -> ServeOn:
    """Make a service around the core with its files on a volume of each kind."""

    def start(**changes: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        changed = settings.model_copy(update=changes)
        return serving(make_app(core, changed, open_files=partial(Files, **request.param)))

    return start


def stored(settings: Settings, store: dict[str, Any], folder: str) -> set[str]:
    """Name every file of the volume under a folder, wherever the volume is."""
    local = settings.data_dir / folder
    names = {str(path.relative_to(local)) for path in local.rglob("*") if path.is_file()}
    far = f"{BUCKET}/{folder}/"
    return names | {path.removeprefix(far) for path in store if path.startswith(far)}


async def test_a_recording_goes_all_the_way(
    serve_on: ServeOn, core: Core, settings: Settings, store: dict[str, Any]
) -> None:
    async with serve_on() as client:
        core.open.clear()
        posted = (await post_raw(client, headers=ASYNC, body_mass_g=25)).json()
        (upload,) = stored(settings, store, "uploads")
        digest = posted["input"]["sha256"]
        assert upload == f"{digest[:2]}/{digest}/{posted['id']}"
        core.open.set()
        shown = await until(client, posted["id"], "succeeded")
        assert shown["features"]["lvid_d_mm"]["n"] > 0
        for link in ("beats_csv", "summary_csv", "trace_csv"):
            table = await client.get(shown["links"][link])
            assert (table.status_code, table.text.count("\n") > 1) == (200, True), table.text
        for name, link in shown["links"]["figures"].items():
            figure = await client.get(link)
            assert figure.content == PNG + name.encode()
        assert sorted(core.drawn) == sorted(shown["links"]["figures"]), "each was drawn once"
        again = await post_raw(client, body_mass_g=25)
        assert (again.status_code, again.json()["id"]) == (200, posted["id"])
        assert (await client.get("/health/ready")).json() == {"status": "ok"}
        assert stored(settings, store, "uploads") == set(), "it is not kept"
    assert bool(store) == (not (settings.data_dir / "analyses").exists())

    async with serve_on() as client:  # and is there after a start
        assert (await client.get(shown["links"]["self"])).json()["features"] == shown["features"]
        assert (await client.delete(shown["links"]["self"])).status_code == 204
        assert stored(settings, store, "analyses") == set()
        assert_problem(await client.get(shown["links"]["beats_csv"]), 404, "not_found")


async def test_a_study_goes_all_the_way(serve_on: ServeOn, core: Core) -> None:
    async with serve_on() as client:
        study = (await client.post("/v1/studies", json={"name": "S"})).json()
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for n in range(3):
                archive.writestr(f"{n}.dcm", GOOD + bytes([n]))
        added = await client.post(
            study["links"]["analyses"],
            content=content.getvalue(),
            headers={"Content-Type": "application/zip"},
        )
        assert added.json()["added"] == 3
        entries = (await client.get(study["links"]["analyses"])).json()["items"]
        for entry in entries:
            await until(client, entry["links"]["analysis"].rsplit("/", 1)[1], "succeeded")
        answer = await client.get(f"{study['links']['self']}/archive.zip")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            names = archive.namelist()
            assert archive.read("recordings/0.dcm/systole.png") == PNG + b"systole"
            assert archive.read("recordings/2.dcm/beats.csv").count(b"\n") > 1
        assert len([name for name in names if name.endswith("/analysis.json")]) == 3
        assert len(core.drawn) == 3 * 6
        assert (await client.delete(study["links"]["self"])).status_code == 204


async def test_what_was_accepted_is_analysed_after_a_start(
    serve_on: ServeOn, core: Core, settings: Settings, store: dict[str, Any]
) -> None:
    core.open.clear()
    async with serve_on(shutdown_grace_s=0.01) as client:
        id = (await post_raw(client, headers=ASYNC)).json()["id"]
        await until(client, id, "running")
    assert len(stored(settings, store, "uploads")) == 1
    core.open.set()
    async with serve_on() as client:
        await until(client, id, "succeeded")


@pytest.mark.parametrize("shared", [False, True])
async def test_what_an_earlier_version_accepted_is_analysed(
    core: Core, settings: Settings, shared: bool
) -> None:
    changed = settings.model_copy(update={"shutdown_grace_s": 0.01, "keep_uploads": True})

    def serve() -> AbstractAsyncContextManager[httpx.AsyncClient]:
        return serving(make_app(core, changed, open_files=partial(Files, shared=shared)))

    core.open.clear()
    async with serve() as client:
        id = (await post_raw(client, headers=ASYNC)).json()["id"]
        await until(client, id, "running")
    uploads(settings.data_dir)[id].rename(settings.data_dir / "uploads" / f"{id}.dcm")
    core.open.set()
    async with serve() as client:
        await until(client, id, "succeeded")
    async with serve() as client:
        assert list(uploads(settings.data_dir)) == [f"{id}.dcm"], "it is kept over a start"
        await client.delete(f"/v1/analyses/{id}")
        assert not uploads(settings.data_dir)


@pytest.fixture
def serve_shared(core: Core, settings: Settings) -> ServeOn:
    def start() -> AbstractAsyncContextManager[httpx.AsyncClient]:
        return serving(make_app(core, settings, open_files=partial(Files, shared=True)))

    return start


async def test_a_volume_that_is_read_only_is_a_503(
    serve_shared: ServeOn, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_shared() as client:
        kept = (await post_raw(client)).json()

        def read_only(*_: Any, **__: Any) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        with monkeypatch.context() as patch:
            patch.setattr(local_blobs, "_sync", read_only)
            refused = await post_raw(client, GOOD + b"2", ASYNC)
            assert_problem(refused, 503, "not_ready")
            assert int(refused.headers["retry-after"]) > 0
            assert_problem(await client.get("/health/ready"), 503, "not_ready")
            assert (await client.get(kept["links"]["self"])).status_code == 200, "it is read"
        assert (await client.get("/health/ready")).status_code == 200
        assert (await post_raw(client, GOOD + b"2", ASYNC)).status_code == 202


async def test_what_cannot_be_read_for_now_is_a_503(
    serve_shared: ServeOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_shared() as client:
        kept = (await post_raw(client)).json()
        for link in kept["links"]["figures"].values():  # no drawing is under way any more
            assert (await client.get(link)).status_code == 200
        reading = Path.open

        def stale(path: Path, *how: Any, **named: Any) -> Any:
            if "analyses" in path.parts:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return reading(path, *how, **named)

        links = (
            kept["links"]["self"],
            kept["links"]["beats_csv"],
            kept["links"]["figures"]["systole"],
        )
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", stale)
            for link in links:
                assert_problem(await client.get(link), 503, "not_ready")
        for link in links:
            assert (await client.get(link)).status_code == 200


async def test_the_same_bytes_are_not_analysed_anew_while_their_result_cannot_be_seen(
    serve_shared: ServeOn, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_shared() as client:
        kept = (await post_raw(client)).json()
        looking = Path.stat

        def stale(path: Path, **named: Any) -> Any:
            if path.name == kept["id"]:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return looking(path, **named)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", stale)
            assert_problem(await post_raw(client), 503, "not_ready")
        again = await post_raw(client)
        assert (again.status_code, again.json()["id"]) == (200, kept["id"])
        assert len(core.analysed) == 1


async def test_a_figure_that_cannot_be_stored_is_drawn_later(
    serve_shared: ServeOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_shared() as client:
        shown = (await post_raw(client, figures=False)).json()
        link = shown["links"]["figures"]["function"]

        def read_only(*_: Any, **__: Any) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        with monkeypatch.context() as patch:
            patch.setattr(local_blobs.tempfile, "mkstemp", read_only)
            assert_problem(await client.get(link), 503, "not_ready")
        assert (await client.get(link)).content == PNG + b"function"


async def test_a_volume_that_hangs_does_not_hang_readiness(
    serve_shared: ServeOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(Files.check_writable, "__defaults__", (0.001,))
    async with serve_shared() as client:
        with monkeypatch.context() as patch:
            patch.setattr(local_blobs, "_sync", lambda path: let_go.wait())
            assert_problem(await client.get("/health/ready"), 503, "not_ready")
            let_go.set()
        monkeypatch.setattr(Files.check_writable, "__defaults__", (60.0,))
        assert (await client.get("/health/ready")).status_code == 200


async def test_drawing_maps_nothing_that_another_machine_may_remove(
    serve_shared: ServeOn, core: Core
) -> None:
    seen: list[Any] = []
    draw = core.draw

    def look(name: str, analysis: Any) -> bytes:
        seen.append(analysis.strip.pixels)
        return draw(name, analysis)

    core.draw = look  # type: ignore[method-assign]
    async with serve_shared() as client:
        shown = (await post_raw(client)).json()
        await client.get(shown["links"]["figures"]["segmentation"])
    assert seen
    assert not any(isinstance(pixels, np.memmap) for pixels in seen)


async def test_a_recording_is_not_called_damaged_where_the_volume_is(
    serve_shared: ServeOn, core: Core, settings: Settings
) -> None:
    async with serve_shared() as client:
        core.open.clear()
        id = (await post_raw(client, GOOD + b" pixels:too_short", ASYNC)).json()["id"]
        await anyio.to_thread.run_sync(core.started.wait)
        uploads(settings.data_dir)[id].write_bytes(GOOD)  # as after a write that was lost
        core.open.set()
        shown = await until(client, id, "failed")
        assert shown["error"]["code"] != "too_short"
