"""Around every request: its id, its place among the others, one log line and its metrics."""

import asyncio
import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.access import HEALTH, caller_name
from app.api.exchange import Exchange, Pace
from app.api.headers import security_headers
from app.api.problems import Problem, answer, fault
from app.logs import request_id
from app.metrics import Metrics

logger = logging.getLogger(__name__)

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{8,128}")


class Edge:
    """ASGI middleware; the outermost of ours.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    root_path : str
        Prefix that a gateway mounts the service on, whether or not it passes it on in the path.
    pace : Pace
        How the body of a request has to come.
    max_requests : int
        Most requests that are open at the same time; asking for the service's health always goes.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, root_path: str, pace: Pace, max_requests: int
    ) -> None:
        self._app = app
        self._root_path = root_path
        self._metrics = metrics
        self._pace = pace
        self._max_requests = max_requests
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        scope = self._as_routed(scope)
        path = scope["path"].removeprefix(scope["root_path"])
        exchange = Exchange(scope["headers"], receive, send, self._pace)
        id = _read_id(dict(scope["headers"]).get(b"x-request-id", b""))
        exchange.added = lambda status: [
            (b"x-request-id", id.encode()),
            *security_headers(path, status),
        ]
        token = request_id.set(id)
        began = perf_counter()
        try:
            with self._place(path) as app:
                await app(scope, exchange.receive, exchange.send)
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

    @contextmanager
    def _place(self, path: str) -> Iterator[ASGIApp]:
        """Give a request what answers it: the service, or a refusal where too many are open."""
        if path in HEALTH:
            yield self._app
        elif self._open >= self._max_requests:
            detail = "Too many requests are open; try again in a moment."
            yield answer(Problem("not_ready", detail, {"Retry-After": "5"}))
        else:
            self._open += 1
            try:
                yield self._app
            finally:
                self._open -= 1

    def _note(self, method: str, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = method if method in _METHODS else "OTHER"
        self._metrics.count_request(method, route, status, seconds)
        client = scope.get("client")
        logger.info(
            "request",
            extra={
                "method": method,
                "route": route,
                "status": status,
                "duration_ms": round(1000 * seconds, 1),
                "client": str(client[0])[:64] if client else None,
                "key": caller_name(scope),
            },
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _read_id(given: bytes) -> str:
    return given.decode() if _SANE_ID.fullmatch(given) else secrets.token_hex(8)
