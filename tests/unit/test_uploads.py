"""A body is taken in a thread while it goes on arriving, in order, and never far behind."""

import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from app.api.uploads import BEHIND_BYTES, BLOCK_BYTES, _feed

pytestmark = pytest.mark.anyio

CHUNK_BYTES = 2**18


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Body:
    """A request's body that says how much of it has been asked for."""

    def __init__(self, chunks: int) -> None:
        self.chunks = [bytes([number]) * CHUNK_BYTES for number in range(chunks)]
        self.arrived_bytes = 0

    async def stream(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            self.arrived_bytes += len(chunk)
            yield chunk
            await anyio.sleep(0)


class Slow:
    """A reader that takes nothing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.blocks: list[bytes] = []

    def feed(self, block: bytes) -> None:
        self.go.wait()
        self.blocks.append(block)

    def finish(self) -> None:
        self.finished = True


async def test_what_has_arrived_and_is_not_taken_stays_little() -> None:
    body, slow = Body(64), Slow()
    request: Any = body
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_feed, request, slow)
        await anyio.wait_all_tasks_blocked()
        assert body.arrived_bytes == BLOCK_BYTES + BEHIND_BYTES
        slow.go.set()
    assert slow.finished
    assert b"".join(slow.blocks) == b"".join(body.chunks)
    assert max(map(len, slow.blocks)) <= BEHIND_BYTES
