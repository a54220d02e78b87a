"""Services and workers as real processes, around real servers, each started when first asked for."""

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx
import pytest

from tests.integration.scale.servers import PostgreSQL, RabbitMQ, Redis, Server, missing

ROOT = Path(__file__).resolve().parents[3]
READY = re.compile(r"Echo2Pheno (?:ready on (http://127\.0\.0\.1:\d+)|worker ready)\n")
LEASE_S = 3.0
WAIT_S = 60.0
FINAL = {"succeeded", "failed", "cancelled"}

# Root may write where permissions say nobody does; without these rights it is as any other user.
OBEYING = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")


class Broker(Protocol):
    """What the tests need of either broker."""

    port: int

    @property
    def url(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def restart(self) -> None: ...


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[type[Server]], Any]]:
    """Give the one server of a kind, started when a test first asks for it."""
    pytest.importorskip("celery", reason="Celery is not installed: `make install-scale`")
    absent = missing()
    if absent:
        pytest.skip(f"not installed on this machine: {', '.join(absent)}")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)  # the servers run as another user
    with contextlib.ExitStack() as running:
        started: dict[type[Server], Server] = {}

        def give(kind: type[Server]) -> Server:
            if kind not in started:
                server = kind(folder / kind.__name__)
                running.callback(server.close)
                server.start()
                started[kind] = server
            return started[kind]

        yield give
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Node:
    """A process of the service: one that answers calls, or a worker."""

    popen: subprocess.Popen[str]
    address: str
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=WAIT_S, trust_env=False)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(WAIT_S)

    def terminate(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(WAIT_S)


@dataclass
class Cluster:
    """Services and workers that share a database, a broker and a data folder."""

    folder: Path
    database: PostgreSQL
    broker: Broker
    environment: Mapping[str, str]
    nodes: list[Node] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def services(self, n: int = 1, **settings: object) -> list[Node]:
        """Start services, all at the same time."""
        return self._start(["serve"] * n, settings)

    def workers(self, n: int = 1, **settings: object) -> list[Node]:
        """Start workers."""
        return self._start(["worker"] * n, settings)

    def all_kinds(self, services: int = 2, workers: int = 3, **settings: object) -> list[Node]:
        """Start services and workers, all at the same time; the services come first."""
        return self._start(["serve"] * services + ["worker"] * workers, settings)

    def gate(self, state: str = "open") -> None:
        """Let analyses end, or have them wait with ``closed``."""
        part = self.folder / "gate.part"
        part.write_text(state)
        part.replace(self.folder / "gate")

    def _start(self, kinds: Sequence[str], settings: Mapping[str, object]) -> list[Node]:
        mine = {f"ECHO2PHENO_{name.upper()}": str(value) for name, value in settings.items()}
        began: list[tuple[subprocess.Popen[str], Path]] = []
        for kind in kinds:
            log = self.folder / f"{kind}-{next(self._numbers)}.log"
            command = [sys.executable, "-m", "tests.integration.gated_service", kind]
            with log.open("w") as stderr:
                popen = subprocess.Popen(
                    [*(OBEYING if os.geteuid() == 0 else ()), *command],
                    cwd=ROOT,
                    env={**self.environment, **mine},
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                )
            began.append((popen, log))
            self.nodes.append(Node(popen, "", log))
        started = self.nodes[-len(kinds) :]
        for node in started:
            assert node.popen.stdout is not None
            line = node.popen.stdout.readline()
            ready = READY.fullmatch(line)
            assert ready, f"{line!r}, {node.log.read_text()[-3000:]}"
            node.address = ready[1] or ""
        return started

    def close(self) -> None:
        for node in self.nodes:
            if node.popen.poll() is None:
                node.popen.kill()
            node.popen.wait(WAIT_S)
            assert node.popen.stdout is not None
            node.popen.stdout.close()


@pytest.fixture
def make_cluster(
    servers: Callable[[type[Server]], Any], tmp_path: Path
) -> Iterator[Callable[..., Cluster]]:
    """Put a cluster together, around RabbitMQ unless another broker is named."""
    with contextlib.ExitStack() as ends:

        def make(broker: type[Server] = RabbitMQ, **settings: object) -> Cluster:
            database, messages = servers(PostgreSQL), servers(broker)
            name = f"test_{uuid4().hex[:12]}"
            url = database.create(name)
            ends.callback(database.drop, name)
            empty(messages)
            (tmp_path / "broker").write_text(messages.url + "\n")
            environment = {k: v for k, v in os.environ.items() if not k.startswith("ECHO2PHENO_")}
            environment |= {
                "ECHO2PHENO_QUEUE": "celery",
                "ECHO2PHENO_DATABASE_URL": url,
                "ECHO2PHENO_BROKER_URL_FILE": str(tmp_path / "broker"),
                "ECHO2PHENO_DATA_DIR": str(tmp_path / "data"),
                "ECHO2PHENO_PORT": "0",
                "ECHO2PHENO_WORKERS": "1",
                "ECHO2PHENO_LEASE_S": str(LEASE_S),
                "ECHO2PHENO_TEST_GATE": str(tmp_path / "gate"),
            }
            environment |= {f"ECHO2PHENO_{k.upper()}": str(v) for k, v in settings.items()}
            made = Cluster(tmp_path, database, messages, environment)
            made.gate("closed")
            ends.callback(made.close)
            return made

        yield make


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    return make_cluster()


def empty(broker: Any) -> None:
    """Take all messages of an earlier test from a broker."""
    if isinstance(broker, Redis):
        import redis

        with redis.Redis.from_url(broker.url) as client:
            client.flushdb()
        return
    from kombu import Connection

    with Connection(broker.url) as connection:
        for name in ("echo2pheno.interactive", "echo2pheno.bulk", "echo2pheno.dead"):
            with contextlib.suppress(*connection.channel_errors):  # it is not there yet
                connection.channel().queue_purge(name)


def until(happened: Callable[[], Any], limit_s: float = WAIT_S) -> Any:
    """Ask again and again until the answer is yes, and give it."""
    end = time.monotonic() + limit_s
    while not (answer := happened()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return answer


def send(node: Node, content: str, **headers: str) -> httpx.Response:
    """Send a recording that somebody waits for, or not, as its headers say."""
    with node.client() as client:
        return client.post(
            "/v1/analyses",
            content=content.encode(),
            headers={"Content-Type": "application/dicom", **headers},
        )


def submit(node: Node, content: str) -> str:
    """Send a recording that nobody waits for, and give its id."""
    answer = send(node, content, Prefer="respond-async")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def look(node: Node, id: str) -> dict[str, Any]:
    with node.client() as client:
        answer = client.get(f"/v1/analyses/{id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def status(node: Node, id: str) -> str:
    return str(look(node, id)["status"])


def statuses(node: Node, ids: Sequence[str]) -> list[str]:
    return [status(node, id) for id in ids]


def until_all_ended(node: Node, ids: Sequence[str], limit_s: float = WAIT_S) -> list[str]:
    """Wait until analyses have ended, and give how."""
    until(lambda: set(statuses(node, ids)) <= FINAL, limit_s)
    return statuses(node, ids)
