"""What comes before a request is one, over real connections."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from app import protocol
from tests.clocks import HandClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def answer_ok(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(app: Any = answer_ok) -> AsyncIterator[tuple[str, int]]:
    config = Config(app, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol.Protocol(config, state, {}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()


@asynccontextmanager
async def connected(app: Any = answer_ok) -> AsyncIterator[Connection]:
    async with serving(app) as address:
        reader, writer = await asyncio.open_connection(*address)
        yield reader, writer
        writer.close()


async def test_one_connection_too_many_is_told_so(monkeypatch) -> None:
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 2)
    async with serving() as address:
        writers = [(await asyncio.open_connection(*address))[1] for _ in range(2)]
        reader, writer = await asyncio.open_connection(*address)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"retry-after: 5" in head
        assert json.loads(body)["code"] == "not_ready"

        writers.pop().close()
        await asyncio.sleep(0)
        reader, again = await asyncio.open_connection(*address)
        again.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")
        for open_writer in (*writers, writer, again):
            open_writer.close()


@pytest.mark.parametrize("start", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
async def test_a_head_that_never_ends_is_not_waited_for(monkeypatch, start: bytes) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIME_LIMIT_S", 0.05)
    async with connected() as (reader, writer):
        writer.write(start)
        assert await reader.read() == b""


async def test_neither_is_that_of_a_second_request(monkeypatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIME_LIMIT_S", 1.0)
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")
        writer.write(b"GET / HTTP/1.1\r\n")
        assert b"HTTP" not in await reader.read()


async def test_a_body_may_take_longer_than_a_head(monkeypatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIME_LIMIT_S", 10.0)
    clock = HandClock(monkeypatch)
    begun = asyncio.Event()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        first = await receive()
        assert first["more_body"]
        begun.set()
        await answer_ok(scope, receive, send)

    async with connected(answer) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        await begun.wait()
        await clock.pass_s(15.0)
        writer.write(b"2")
        assert b"200 OK" in await reader.readuntil(b"ok")


FLOODS = {
    "a long line": b"GET /" + b"a" * 100_000,
    "many headers": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
    "a long header": b"GET / HTTP/1.1\r\na: " + b"b" * 100_000,
    "many trailers": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\nx\r\n0\r\n" + b"a: b\r\n" * 20_000,
    "a long extension": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1;" + b"a" * 100_000,
}


class Written(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.content += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_what_is_no_body_is_bounded(flood: bytes) -> None:
    config = Config(answer_ok, lifespan="off", log_config=None)
    reading, transport = protocol.Protocol(config, ServerState(), {}), Written()
    reading.connection_made(transport)
    sent = 0
    while not transport.closed and sent < len(flood):
        reading.data_received(flood[sent : sent + 10_000])
        sent += 10_000
    reading.connection_lost(None)
    assert sent < 90_000
    head, body = transport.content.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"x-content-type-options: nosniff" in head
    assert json.loads(body)["code"] == "malformed_request"


async def test_a_large_body_is_not_bounded_here() -> None:
    async with connected() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        writer.write(bytes(3_000_000))
        assert b"200 OK" in await reader.readuntil(b"ok")
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")


async def test_an_answer_that_nobody_reads_is_cut_off(monkeypatch) -> None:
    monkeypatch.setattr(protocol, "READ_TIME_LIMIT_S", 0.2)
    ended = asyncio.Event()
    piece = b"x" * 1_000_000

    async def answer_much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        ended.set()

    async with connected(answer_much) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await ended.wait()  # it does not hold the service
        with contextlib.suppress(ConnectionResetError):
            assert len(await reader.read()) < 100 * len(piece)


async def test_an_answer_that_is_read_slowly_is_not(monkeypatch) -> None:
    monkeypatch.setattr(protocol, "READ_TIME_LIMIT_S", 20.0)
    clock = HandClock(monkeypatch)
    piece = b"x" * 1_000_000

    async def answer_much(scope: Any, receive: Any, send: Any) -> None:
        length = [(b"content-length", b"30000000")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        for _ in range(30):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with connected(answer_much) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(30):
            await clock.pass_s(1.0)
            assert len(await reader.readexactly(1_000_000)) == 1_000_000
