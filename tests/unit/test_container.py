"""The container's parts that can be checked without a container engine."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from app.api.multipart import FORM_OVERHEAD_BYTES
from app.settings import Settings

ROOT = Path(__file__).parents[2]
HEALTHCHECK = ROOT / "docker" / "healthcheck.py"


@contextmanager
def answering(status: int, path: str = "/health/ready") -> Iterator[int]:
    """A server that answers with this status where it is looked for; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == path else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def status_for(port: int, *asked: str) -> int:
    name = "ECHO2PHENO_WORKER_METRICS_PORT" if asked else "ECHO2PHENO_PORT"
    command = [sys.executable, HEALTHCHECK, *asked]
    return subprocess.run(command, env={name: str(port), "PATH": ""}, check=False).returncode


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1), (404, 1)])
def test_the_container_is_healthy_when_the_service_is_ready(status: int, expected: int) -> None:
    with answering(status) as port:
        assert status_for(port) == expected


def test_the_container_is_unhealthy_when_nothing_answers() -> None:
    with answering(200) as port:
        pass
    assert status_for(port) == 1


def test_a_worker_is_healthy_when_it_tells_its_metrics() -> None:
    with answering(200, "/metrics") as port:
        assert status_for(port, "worker") == 0
    assert status_for(port, "worker") == 1
    with answering(500, "/metrics") as port:
        assert status_for(port, "worker") == 1


def test_the_image_takes_only_what_exists_and_is_let_through() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE))
    copied = [
        re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], path)
        for path in re.findall(r"^COPY (?!--)(\S+) ", dockerfile, re.MULTILINE)
    ]

    assert {"app/", "models/", "requirements.lock"} <= set(copied)
    for path in copied:
        assert (ROOT / path).exists()
        assert f"!{path}" in ignore


def test_the_image_runs_as_an_ordinary_user() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")

    assert re.search(r"^USER (\d+):(\d+)$", dockerfile.split("\nFROM ")[-1], re.MULTILINE)


def test_locks_are_hashed_and_name_no_index() -> None:
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-train.lock"):
        text = (ROOT / name).read_text("utf-8")
        pinned = re.findall(r"^[a-zA-Z0-9._-]+==\S+", text, re.MULTILINE)
        assert len(pinned) > 20
        assert not re.search(r"https?://|--index-url|--find-links", text)
        for requirement in re.split(r"\n(?=[a-zA-Z0-9])", text):
            assert "--hash=sha256:" in requirement


def test_what_runs_in_the_container_is_tested_at_the_same_versions() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / name).read_text("utf-8")
        return set(re.findall(r"^[a-zA-Z0-9._-]+==\S+", text, re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_nobody_is_let_in_without_a_key_but_from_this_machine() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    alone = (ROOT / "docker-compose.yml").read_text("utf-8")
    behind = (ROOT / "docker" / "gateway" / "compose.yml").read_text("utf-8")

    assert "ALLOW_ANONYMOUS" not in dockerfile
    assert 'ECHO2PHENO_ALLOW_ANONYMOUS: "true"' in alone
    assert re.findall(r'^ +- "([^"]+:\d+)"$', alone, re.MULTILINE) == ["127.0.0.1:8000:8000"]
    assert 'ECHO2PHENO_ALLOW_ANONYMOUS: "false"' in behind
    assert "ECHO2PHENO_KEYS_FILE: /keys/" in behind
    assert "ports: !reset []" in behind
    assert re.search(r"--owner=10001 .*/keys$", dockerfile, re.MULTILINE)


def test_compose_files_name_settings_that_exist() -> None:
    for path in (ROOT / "docker-compose.yml", ROOT / "docker" / "gateway" / "compose.yml"):
        named = re.findall(r"^ +ECHO2PHENO_(\w+): ", path.read_text("utf-8"), re.MULTILINE)
        assert named
        assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_the_gateway_gets_all_that_its_configuration_names() -> None:
    compose = (ROOT / "docker" / "gateway" / "compose.yml").read_text("utf-8")
    template = (ROOT / "docker" / "gateway" / "echo2pheno.conf.template").read_text("utf-8")
    needed = set(re.findall(r"^[^#\n]*\$\{(GATEWAY_\w+)\}", template, re.MULTILINE))

    assert needed == set(re.findall(r"^ +(GATEWAY_\w+): ", compose, re.MULTILINE))
    assert "./docker/gateway/echo2pheno.conf.template:/etc/nginx/templates/" in compose
    (prefix,) = re.findall(r"GATEWAY_PREFIX: (\S+)", compose)
    assert f"ECHO2PHENO_ROOT_PATH: {prefix}\n" in compose
    (subnet,) = re.findall(r"subnet: (\S+)", compose)
    assert f"ECHO2PHENO_TRUSTED_PROXIES: {subnet}\n" in compose


def test_the_gateway_lets_through_whatever_the_service_takes() -> None:
    template = (ROOT / "docker" / "gateway" / "echo2pheno.conf.template").read_text("utf-8")
    (megabytes,) = re.findall(r"client_max_body_size +(\d+)m;", template)

    assert int(megabytes) * 2**20 > Settings().max_upload_bytes + FORM_OVERHEAD_BYTES
