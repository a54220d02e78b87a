"""Around every request: its id, one log line, its metrics, and an end that clients can read."""

import asyncio
import logging
import re
import secrets
from time import monotonic, perf_counter

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import Problem, answer, fault
from app.logs import request_id
from app.metrics import Metrics

logger = logging.getLogger(__name__)

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{8,128}")


class Edge:
    """ASGI middleware; the outermost of ours.

    A client that is refused while it still sends would find its connection reset, and never read
    why. So the answer goes out, what still comes is read and thrown away up to a limit, and only
    then does the response end and the connection close. A client that waits for ``100 Continue``
    sends nothing, and is not waited for.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    root_path : str
        Prefix that a gateway mounts the service on, whether or not it passes it on in the path.
    drain_bytes : int
    drain_s : float
        How much is thrown away, and how long that may take.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, root_path: str, drain_bytes: int, drain_s: float
    ) -> None:
        self._app = app
        self._root_path = root_path
        self._metrics = metrics
        self._drain_bytes = drain_bytes
        self._drain_s = drain_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        scope = self._as_routed(scope)
        headers = dict(scope["headers"])
        token = request_id.set(_read_id(headers.get(b"x-request-id", b"")))
        exchange = _Exchange(headers, receive, send, self._drain_bytes, self._drain_s)
        began = perf_counter()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not exchange.started:
                await exchange.give_up(scope)
            raise
        except Exception as error:
            response = fault(error)
            if not exchange.started:
                await response(scope, exchange.receive, exchange.send)
            else:
                raise
        finally:
            self._note(method, scope, exchange.status, perf_counter() - began)
            request_id.reset(token)

    def _as_routed(self, scope: Scope) -> Scope:
        """Give the path its prefix, as ASGI has it, and have HEAD answered as GET.

        The server, which keeps the scope as it was, leaves out the body of an answer to HEAD.
        """
        path, root, method = scope["path"], self._root_path, scope["method"]
        if root and path != root and not path.startswith(f"{root}/"):
            path = root + path
        return {
            **scope,
            "path": path,
            "root_path": root or scope.get("root_path", ""),
            "method": "GET" if method == "HEAD" else method,
        }

    def _note(self, method: str, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = method if method in _METHODS else "OTHER"
        self._metrics.count_request(method, route, status, seconds)
        logger.info(
            "request",
            extra={
                "method": method,
                "route": route,
                "status": status,
                "duration_ms": round(1000 * seconds, 1),
            },
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Exchange:
    """One request and its answer: knows whether the body was read, and drains what was not."""

    def __init__(
        self,
        headers: dict[bytes, bytes],
        receive: Receive,
        send: Send,
        drain_bytes: int,
        drain_s: float,
    ) -> None:
        self.started = False
        self.status = 0
        self._receive = receive
        self._send = send
        self._drain_bytes = drain_bytes
        self._drain_s = drain_s
        length = headers.get(b"content-length", b"0")
        self._unread = length != b"0" or b"transfer-encoding" in headers
        self._waits = headers.get(b"expect", b"").lower() == b"100-continue"

    async def receive(self) -> Message:
        message = await self._receive()
        self._waits = False
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = [*message.get("headers", ())]
            headers.append((b"x-request-id", (request_id.get() or "").encode()))
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
        self._drain_bytes = 0
        detail = "The service is stopping; try again in a moment."
        response = answer(Problem("not_ready", detail, {"Retry-After": "5"}))
        await response(scope, self.receive, self.send)

    async def _drain(self) -> None:
        if self._waits:
            return
        left = self._drain_bytes
        deadline = monotonic() + self._drain_s
        while self._unread and left > 0 and monotonic() < deadline:
            with anyio.move_on_after(deadline - monotonic()):
                left -= len((await self.receive()).get("body", b""))


def _read_id(given: bytes) -> str:
    return given.decode() if _SANE_ID.fullmatch(given) else secrets.token_hex(8)
