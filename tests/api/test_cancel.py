"""Cancelling, stopping and the time limit reach what reports no progress: a long native call."""

import threading
from typing import Any

import anyio
import pytest

from app.main import create_app
from tests.api.conftest import GOOD, Core, post_raw, serving, until
from tests.api.test_refusals import assert_problem

pytestmark = pytest.mark.anyio

ASYNC = {"Prefer": "respond-async"}


class DeafCore(Core):
    """Works on until it is told otherwise by the halt alone."""

    def analyse(self, path: Any, networks: Any, **asked: Any) -> Any:
        if b"deaf" in path.read_bytes():
            told = threading.Event()
            with asked["halt"].ending(told.set):
                self.started.set()
                assert told.wait(60)
            asked["halt"].check()
        return super().analyse(path, networks, **asked)


@pytest.fixture
def core() -> Core:
    made = DeafCore()
    made.open.set()
    return made


async def test_cancelling(client, core: Core) -> None:
    shown = (await post_raw(client, GOOD + b"deaf", ASYNC)).json()
    await anyio.to_thread.run_sync(core.started.wait)
    assert (await client.delete(shown["links"]["self"])).status_code == 204
    assert (await client.get(shown["links"]["self"])).json()["status"] == "cancelled"
    assert (await post_raw(client)).status_code == 201, "its worker is free"
    assert (await client.get(shown["links"]["self"])).json()["status"] == "cancelled"


async def test_the_time_limit(serve) -> None:
    async with serve(analysis_time_limit_s=0.05) as client:
        assert_problem(await post_raw(client, GOOD + b"deaf"), 504, "time_limit")


async def test_stopping(core: Core, settings) -> None:
    def app() -> Any:
        return create_app(
            settings.model_copy(update={"shutdown_grace_s": 0}),
            load=core.load,
            inspect=core.inspect,
            analyse=core.analyse,
            draw=core.draw,
        )

    async with serving(app()) as client:
        shown = (await post_raw(client, GOOD + b"deaf", ASYNC)).json()
        await anyio.to_thread.run_sync(core.started.wait)
        records = client._transport.app.state.service.records
    stopped = records.get(shown["id"])
    assert (stopped.status, stopped.attempts) == ("queued", 0), "an orderly stop is no attempt"
    async with serving(app()) as client:
        await until(client, shown["id"], "running")
        await client.delete(shown["links"]["self"])
