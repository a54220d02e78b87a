"""uvicorn's reading of HTTP, with limits on what comes before a request is one."""

import asyncio
import resource
import secrets
import sys
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.headers import security_headers
from app.api.problems import Problem, answer
from app.logs import request_id

HEAD_MAX_BYTES = 2**16
"""Most bytes of a request that are not its body: line, headers, what stands between chunks."""

HEAD_TIME_LIMIT_S = 20.0
"""How long a connection may take to say what it wants."""

READ_TIME_LIMIT_S = 60.0
"""How long a client may take to read on (some 50 kB) before its answer is cut off."""


def _most_connections() -> int:
    """Leave a quarter of what the process may open to its own files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if files == resource.RLIM_INFINITY else files * 3 // 4


MOST_CONNECTIONS = _most_connections()
"""Connections that are open at the same time, whether or not they ask for anything."""


class Protocol(HttpToolsProtocol):
    """Refuses what is not HTTP as everything else is refused, and waits for nobody for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._other_bytes = 0
        self._due: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        if len(self.connections) > MOST_CONNECTIONS:
            detail = "Too many connections are open; try again in a moment."
            self._refuse(Problem("not_ready", detail, {"Retry-After": "5"}))
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)
        if self._stuck is not None:
            self._stuck.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(READ_TIME_LIMIT_S, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        self._other_bytes += len(data)
        super().data_received(data)
        if self._other_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._other_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._other_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._other_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - it says less than ours
        self._refuse(Problem("malformed_request", "What was sent is not an HTTP request."))

    def _refuse(self, problem: Problem) -> None:
        """Answer without a request, and close."""
        id = secrets.token_hex(8)
        token = request_id.set(id)
        refusal = answer(problem)
        request_id.reset(token)
        status = HTTPStatus(refusal.status_code)
        ours = [
            (b"x-request-id", id.encode()),
            (b"connection", b"close"),
            *security_headers("", status),
        ]
        headers = [*refusal.raw_headers, *ours]
        first = f"HTTP/1.1 {status} {status.phrase}".encode()
        lines = [first, *(b": ".join(header) for header in headers)]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + refusal.body)
        self.transport.close()

    def _expect_head(self) -> None:
        if self._due is None:
            self._due = self.loop.call_later(HEAD_TIME_LIMIT_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _give_up(self) -> None:
        self._due = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # it sends the next request while it waits for an answer
            self._expect_head()
