"""One request and its answer: a body that has to keep coming, and an end that clients can read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

import anyio
from starlette.types import Message, Receive, Scope, Send

from app.api.problems import Problem, answer

Header = tuple[bytes, bytes]

WAITING_S = 2.0
"""How long a refused client that said it would wait may take to send, or to leave."""


@dataclass(frozen=True)
class Pace:
    """How a body has to come, and how much of one that nobody wants is waited for.

    Attributes
    ----------
    idle_s : float
        Longest silence.
    min_bytes_per_s : float
        Slowest that it may be on average, once the first `idle_s` are over.
    drain_bytes : int
    drain_s : float
        How much of a refused request is thrown away, and how long that may take.
    """

    idle_s: float
    min_bytes_per_s: float
    drain_bytes: int
    drain_s: float


class Exchange:
    """Knows whether the body was read, and drains what was not.

    A client that is refused while it still sends would find its connection reset, and never read
    why. So the answer goes out, what still comes is read and thrown away up to a limit, and only
    then does the response end and the connection close. A client that says that it waits for
    ``100 Continue`` is given a moment only: most send nothing then, but some do not wait at all,
    Python's http.client and httpx among them. One that has stalled is not waited for.
    """

    def __init__(self, headers: Sequence[Header], receive: Receive, send: Send, pace: Pace) -> None:
        self.started = False
        self.status = 0
        self.added: Callable[[int], Sequence[Header]] = lambda status: ()
        """What every answer of a status carries."""
        self._receive = receive
        self._send = send
        self._pace = pace
        self._drains = True
        self._received_bytes = 0
        self._waited_s = 0.0
        named = dict(headers)
        length = named.get(b"content-length", b"0")
        self._unread = length != b"0" or b"transfer-encoding" in named
        self._waits = named.get(b"expect", b"").lower() == b"100-continue"

    async def receive(self) -> Message:
        """Receive on.

        Raises
        ------
        Problem
            ``malformed_request``: the body has stalled, or comes too slowly.
        """
        if not self._unread:  # all that can come is the news that the client has left
            return await self._receive()
        message: Message | None = None
        began = monotonic()
        with anyio.move_on_after(self._patience_s()):
            message = await self._take()
        self._waited_s += monotonic() - began
        if message is None:
            self._drains = False
            raise Problem(
                "malformed_request",
                f"The body stopped for more than {self._pace.idle_s:g} s, or came slower than "
                f"{self._pace.min_bytes_per_s:,.0f} bytes a second. Send it once more.",
            )
        self._received_bytes += len(message.get("body", b""))
        return message

    def _patience_s(self) -> float:
        allowed_s = self._pace.idle_s + self._received_bytes / self._pace.min_bytes_per_s
        return min(self._pace.idle_s, allowed_s - self._waited_s)

    async def _take(self) -> Message:
        message = await self._receive()
        self._waits = False
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        """Send on; before the answer's end, what the client still sends is read."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = [*message.get("headers", ()), *self.added(self.status)]
            if self._unread:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        elif self._unread and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def give_up(self, scope: Scope) -> None:
        """Answer a request that the server, which stops, waits for no longer."""
        self._drains = False
        detail = "The service is stopping; try again in a moment."
        response = answer(Problem("not_ready", detail, {"Retry-After": "5"}))
        await response(scope, self.receive, self.send)

    async def _drain(self) -> None:
        if not self._drains:
            return
        left = self._pace.drain_bytes
        began = monotonic()
        while self._unread and left > 0:
            patience_s = min(WAITING_S, self._pace.drain_s) if self._waits else self._pace.drain_s
            left_s = began + patience_s - monotonic()
            if left_s <= 0:
                return
            with anyio.move_on_after(left_s):
                left -= len((await self._take()).get("body", b""))
