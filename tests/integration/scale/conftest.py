"""Services and workers as real processes, around real servers."""

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

    @property
    def services(self) -> list[Node]:
        """Those that run."""
        return [node for node in self.nodes if node.address and node.popen.poll() is None]

    @property
    def workers(self) -> list[Node]:
        """Those that run."""
        return [node for node in self.nodes if not node.address and node.popen.poll() is None]

    def complete(self, services: int, workers: int) -> None:
        """Start those that are missing, all at the same time."""
        missing_services = services - len(self.services)
        self.start(missing_services, workers - len(self.workers))

    def start(self, services: int = 0, workers: int = 0, **settings: object) -> list[Node]:
        """Start services and workers, all at the same time; the services come first."""
        kinds = ["serve"] * services + ["worker"] * workers
        mine = {f"ECHO2PHENO_{name.upper()}": str(value) for name, value in settings.items()}
        began = [self._begin(kind, mine) for kind in kinds]
        for node in began:
            assert node.popen.stdout is not None
            line = node.popen.stdout.readline()
            ready = READY.fullmatch(line)
            assert ready, f"{line!r}, {node.log.read_text()[-3000:]}"
            node.address = ready[1] or ""
        return began

    def _begin(self, kind: str, settings: Mapping[str, str]) -> Node:
        log = self.folder / f"{kind}-{next(self._numbers)}.log"
        command = [sys.executable, "-m", "tests.integration.gated_service", kind]
        with log.open("w") as stderr:
            popen = subprocess.Popen(
                [*(OBEYING if os.geteuid() == 0 else ()), *command],
                cwd=ROOT,
                env={**self.environment, **settings},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self.nodes.append(Node(popen, "", log))
        return self.nodes[-1]

    def gate(self, state: str = "open") -> None:
        """Let analyses end, or have them wait with ``closed``."""
        part = self.folder / "gate.part"
        part.write_text(state)
        part.replace(self.folder / "gate")

    def close(self) -> None:
        for node in self.nodes:
            if node.popen.poll() is None:
                node.popen.kill()
            node.popen.wait(WAIT_S)
            assert node.popen.stdout is not None
            node.popen.stdout.close()


MakeCluster = Callable[..., Cluster]


@pytest.fixture(scope="session")
def make_cluster(servers: Callable[[type[Server]], Any]) -> Iterator[MakeCluster]:
    """Put a cluster without processes together, around RabbitMQ unless another broker is named."""
    with contextlib.ExitStack() as ends:

        def make(broker: type[Server] = RabbitMQ, **settings: object) -> Cluster:
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
            database, messages = servers(PostgreSQL), servers(broker)
            empty(messages)
            (folder / "broker").write_text(messages.url + "\n")
            environment = {k: v for k, v in os.environ.items() if not k.startswith("ECHO2PHENO_")}
            environment |= {
                "ECHO2PHENO_QUEUE": "celery",
                "ECHO2PHENO_DATABASE_URL": database.create(f"test_{uuid4().hex[:12]}"),
                "ECHO2PHENO_BROKER_URL_FILE": str(folder / "broker"),
                "ECHO2PHENO_DATA_DIR": str(folder / "data"),
                "ECHO2PHENO_PORT": "0",
                "ECHO2PHENO_WORKERS": "1",
                "ECHO2PHENO_LEASE_S": str(LEASE_S),
                "ECHO2PHENO_MAX_ATTEMPTS": "3",
                "ECHO2PHENO_TEST_GATE": str(folder / "gate"),
            }
            environment |= {f"ECHO2PHENO_{k.upper()}": str(v) for k, v in settings.items()}
            made = Cluster(folder, database, messages, environment)
            made.gate("closed")
            ends.callback(made.close)
            return made

        yield make


@pytest.fixture(scope="session")
def shared_cluster(make_cluster: MakeCluster) -> Cluster:
    """Two services and three workers of a slot each, for all tests: they take long to start."""
    return make_cluster()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster, complete, with nothing to do; its analyses wait at the gate."""
    shared_cluster.complete(2, 3)
    shared_cluster.gate("closed")
    yield shared_cluster
    shared_cluster.gate()
    shared_cluster.complete(2, 3)
    (a, *_) = shared_cluster.services
    with a.client() as client:
        until(lambda: _nothing_to_do(client))


def _nothing_to_do(client: httpx.Client) -> bool:
    page = client.get("/metrics").text
    waiting = re.findall(r"^echo2pheno_analyses_(?:queued|running) (\S+)$", page, re.MULTILINE)
    return waiting == ["0.0", "0.0"]


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


def look_at_all(node: Node, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Look at analyses, which are all there."""
    with node.client() as client:
        answers = [client.get(f"/v1/analyses/{id}") for id in ids]
    assert {answer.status_code for answer in answers} <= {200}, [a.text for a in answers]
    return [answer.json() for answer in answers]


def look(node: Node, id: str) -> dict[str, Any]:
    return look_at_all(node, [id])[0]


def status(node: Node, id: str) -> str:
    return statuses(node, [id])[0]


def statuses(node: Node, ids: Sequence[str]) -> list[str]:
    return [str(found["status"]) for found in look_at_all(node, ids)]


def until_all_ended(node: Node, ids: Sequence[str], limit_s: float = WAIT_S) -> list[str]:
    """Wait until analyses have ended, and give how."""
    return until(lambda: set(ends := statuses(node, ids)) <= FINAL and ends, limit_s)
