"""Who may call, and whose analyses are whose.

What is not said to be open needs a key: a route that somebody adds is closed until it is opened.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Protocol, cast
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import Problem, answer
from app.keys import Key, KeyRing, Role
from app.settings import Access, Settings

CHALLENGE = 'Bearer realm="Echo2Pheno"'

DOCS = ("/docs", "/docs/oauth2-redirect", "/openapi.json")
DOCS_ASSETS = "/static-offline-docs"
HEALTH = ("/health/live", "/health/ready")
METRICS = "/metrics"

_STATE = "echo2pheno.caller"
_PORT = re.compile(r":\d*$")


class Owned(Protocol):
    """What belongs to a key, or was made where no key was asked for."""

    @property
    def owner(self) -> str | None: ...


@dataclass(frozen=True)
class Caller:
    """Who a request comes from.

    Attributes
    ----------
    key : Key or None
        None where keys are not in use: then everybody may do everything.
    """

    key: Key | None = None

    @property
    def role(self) -> Role:
        return "admin" if self.key is None else self.key.role

    @property
    def owner(self) -> str | None:
        """Whose a new analysis becomes."""
        return None if self.key is None else self.key.id

    @property
    def only(self) -> str | None:
        """The one owner whose analyses are shown; None where all are."""
        return self.owner if self.role == "analyse" else None

    def sees(self, owned: Owned) -> bool:
        """Whether an analysis or a study is there for this caller."""
        return self.only is None or owned.owner == self.only

    def may_stay(self, keys: KeyRing | None) -> bool:
        """Whether what the caller still follows may go on: the key is in force as it was."""
        return self.key is None or keys is None or keys.holds(self.key)

    def require_change(self) -> None:
        """Refuse a caller who may only read.

        Raises
        ------
        Problem
            ``forbidden``.
        """
        if self.role == "read-all":
            raise Problem("forbidden", "This key reads analyses; it neither sends nor removes any.")


def _caller(request: Request) -> Caller:
    return cast(Caller, request.scope[_STATE])


Who = Annotated[Caller, Depends(_caller)]
"""A route's parameter that is the caller."""


def caller_name(scope: Scope) -> str | None:
    """Give the name of the key that a request came with, for the log."""
    caller: Caller | None = scope.get(_STATE)
    return None if caller is None or caller.key is None else caller.key.name


def access_to(path: str, settings: Settings) -> Access:
    """Say who may ask for an address: a key is needed unless a setting opens it.

    Parameters
    ----------
    path : str
        Without the prefix that a gateway mounts the service on.
    settings : Settings
    """
    if path in DOCS or path.startswith(f"{DOCS_ASSETS}/"):
        return settings.docs_access
    if path in HEALTH:
        return settings.health_access
    return settings.metrics_access if path == METRICS else "key"


class AccessControl:
    """ASGI middleware that lets nobody in who may not come in, before a body is read.

    Parameters
    ----------
    app : ASGI application
    settings : Settings
    keys : KeyRing, optional
        None where keys are not in use.
    """

    def __init__(self, app: ASGIApp, settings: Settings, keys: KeyRing | None) -> None:
        self._app = app
        self._keys = keys
        self._settings = settings
        # A gateway may pass on whatever name it is called by.
        self._asks_for_name = not (
            settings.allow_anonymous or settings.root_path or settings.trusted_proxies
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._admit(scope)
            except Problem as problem:
                await answer(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        access = access_to(scope["path"].removeprefix(scope["root_path"]), self._settings)
        headers = Headers(scope=scope)
        if access == "closed":
            raise Problem("not_found", "There is nothing at this address.")
        if self._keys is None:
            _refuse_other_sites(scope["method"], headers)
            if self._asks_for_name and _is_loopback((scope.get("server") or ("", None))[0]):
                _refuse_other_names(headers.get("host", ""))
            scope[_STATE] = Caller()
        elif access == "key":
            scope[_STATE] = Caller(_authenticate(self._keys, headers.getlist("authorization")))


def _authenticate(keys: KeyRing, given: list[str]) -> Key:
    if not given:
        detail = "Send a key in the header 'Authorization: Bearer KEY'."
        raise Problem("unauthenticated", detail, {"WWW-Authenticate": CHALLENGE})
    scheme, _, secret = given[0].partition(" ")
    key = keys.find(secret.strip()) if len(given) == 1 and scheme.lower() == "bearer" else None
    if key is None:
        challenge = {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}
        raise Problem("unauthenticated", "This key opens nothing here.", challenge)
    return key


def _refuse_other_sites(method: str, headers: Headers) -> None:
    """Keep a page of another site, open in a browser of this machine, from sending anything.

    Where keys are in use it has none to send; and what it asks for, the browser does not show it.
    Over plain HTTP, but for the loopback, browsers say no more than the page's origin.
    """
    if method in ("GET", "HEAD"):
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is not None:
        here = _PORT.sub("", headers.get("host", "")).lower()
        site = "same-origin" if _name_of(origin) == here.strip("[]") else "cross-site"
    if site in ("cross-site", "same-site"):
        raise Problem("forbidden", "A page of another web site sent this request.")


def _name_of(origin: str) -> str | None:
    """Give the host that an origin names; None where it names none, or is no origin."""
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None


def _refuse_other_names(host: str) -> None:
    """Keep out a page of another site whose name was made to point at this machine.

    Its browser takes the service for that site, and would show it every answer (DNS rebinding). An
    address is no such name, nor is one without a dot, which no site of the internet has.
    """
    name = _PORT.sub("", host).rstrip(".").lower()
    if "." in name and not name.endswith(".localhost") and not _is_address(name):
        raise Problem(
            "forbidden",
            "Without keys the service does not answer to the name of a web site; call it by "
            "localhost or 127.0.0.1.",
        )


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    return _is_address(address) and ip_address(address).is_loopback
