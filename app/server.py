"""The process around the app: one ready line, an orderly end on SIGTERM, exit status 0."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator
from importlib import import_module
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from app.api.service import Service
from app.keys import KeysError, read_keys
from app.logs import configure_logging
from app.main import create_app
from app.networks import configured_networks
from app.parts import missing_package, open_files, open_records, refuse_start, unusable_database
from app.pipeline.errors import NetworksError
from app.pipeline.networks import require_convention
from app.protocol import Protocol
from app.settings import Settings
from app.storage.folder_lock import StoreInUseError
from app.storage.upgrade import NewerStoreError

MARGIN_S = 5.0
"""What connections get, on top of the grace of the analyses, to send their answers."""


class Server(uvicorn.Server):
    """uvicorn, but ending with status 0 on a signal, and draining analyses while it closes."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=settings.trusted_proxies,
                lifespan="on",
                timeout_graceful_shutdown=int(settings.shutdown_grace_s + MARGIN_S) + 1,
            )
        )
        self._app = app
        self._grace_s = settings.shutdown_grace_s
        self.at_rest = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            gc.freeze()  # what is loaded stays: it need not be gone through again and again
            print(f"Echo2Pheno ready on {self._address()}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        service: Service = self._app.state.service
        # Requests that wait for an analysis are answered by the end of the grace at the latest.
        draining = asyncio.create_task(asyncio.to_thread(service.queue.drain, self._grace_s))
        await super().shutdown(sockets)
        self.at_rest = await draining

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving, without raising them again afterwards."""
        originals = {sig: signal.signal(sig, self.handle_exit) for sig in _SIGNALS}
        try:
            yield
        finally:
            for sig, original in originals.items():
                signal.signal(sig, original)

    def _address(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(settings: Settings) -> int:
    """Run the service until a signal ends it.

    Returns
    -------
    int
        The status to exit with: 0 after a signal, 1 where anybody could call, the networks or the
        keys do not load, or the data folder cannot be used.

    Raises
    ------
    SystemExit
        uvicorn could not start it: the port is taken.
    """
    configure_logging(settings.log_level)
    if settings.keys_file is None and not settings.allow_anonymous and not _is_loopback(settings):
        return refuse_start(
            f"anybody on the network could use it at {settings.host or '*'}. Set "
            "ECHO2PHENO_KEYS_FILE (`python -m app keys add NAME` makes a key), or "
            "ECHO2PHENO_ALLOW_ANONYMOUS=true."
        )
    try:
        if settings.keys_file is not None:
            read_keys(settings.keys_file)
        networks = configured_networks(settings)
        require_convention(networks, settings.border_convention)
        if settings.queue == "celery":
            import_module("app.scale")  # which needs packages of its own
        files = open_files(settings)
        open_records(settings, files).close()  # made, or brought to this version
    except (KeysError, NetworksError, StoreInUseError, NewerStoreError) as error:
        return refuse_start(str(error))
    except OSError as error:
        reason = error.strerror or "unknown reason"
        return refuse_start(f"the data folder {settings.data_dir} cannot be used ({reason}).")
    except SQLAlchemyError as error:
        return refuse_start(unusable_database(error))
    except ModuleNotFoundError as error:
        return refuse_start(missing_package(error))
    app = create_app(settings, load=lambda _: networks, open_files=lambda _: files)
    return run(app, settings)


def _is_loopback(settings: Settings) -> bool:
    """Whether only this machine reaches the address, by whatever name it is given.

    It is looked up as the event loop does to listen on it: passively, whereby ``*`` and an empty
    host stand for every interface, and not for this machine as they do to a caller.
    """
    try:
        found = socket.getaddrinfo(
            settings.host or None,
            settings.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except (OSError, UnicodeError):  # a name that nobody has, or that cannot be one
        return False
    return bool(found) and all(ip_address(str(at[4][0])).is_loopback for at in found)


def run(app: FastAPI, settings: Settings) -> int:
    """Serve an app until a signal ends it.

    Returns
    -------
    int
        The status to exit with, which is 0.
    """
    server = Server(app, settings)
    server.run()
    if not server.at_rest:
        # A worker is inside a long call that nothing can interrupt. Its analysis is recorded and
        # runs again after the next start, so the process may end under it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0
