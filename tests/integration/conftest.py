"""A service in a process of its own, on a free port."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

READY = re.compile(r"Echo2Pheno ready on (http://127\.0\.0\.1:\d+)\n")
GATED = [sys.executable, "-m", "tests.integration.gated_service"]
REAL = [sys.executable, "-m", "app", "serve"]
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Process:
    """A running service."""

    popen: subprocess.Popen[str]
    address: str
    log: Path

    def log_lines(self) -> list[dict[str, Any]]:
        """What the log says so far; the line that is being written is left for the next time."""
        *whole, _ = self.log.read_text().split("\n")
        return [json.loads(line) for line in whole]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=60, trust_env=False)

    def terminate(self) -> int:
        """Send SIGTERM, and give the status that the process exits with."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(60)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(60)


Start = Callable[..., contextlib.AbstractContextManager[Process]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start a service; each start of a test works in the same data folder."""
    runs = iter(range(100))

    @contextlib.contextmanager
    def run(command: list[str], **settings: object) -> Iterator[Process]:
        log = tmp_path / f"stderr-{next(runs)}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ECHO2PHENO_")}
        environment |= {
            "ECHO2PHENO_DATA_DIR": str(tmp_path / "data"),
            "ECHO2PHENO_PORT": "0",
            "ECHO2PHENO_WORKERS": "1",
        }
        environment |= {f"ECHO2PHENO_{k.upper()}": str(v) for k, v in settings.items()}
        with log.open("w") as stderr:
            popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        try:
            assert popen.stdout is not None
            line = popen.stdout.readline()
            ready = READY.fullmatch(line)
            assert ready, f"{line!r}, {log.read_text()}"
            yield Process(popen, ready[1], log)
        finally:
            if popen.poll() is None:
                popen.kill()
                popen.wait(60)
            popen.stdout.close()

    return run


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What lets the analyses of the gated service end."""
    path = tmp_path / "gate"
    path.write_text("closed")
    monkeypatch.setenv("ECHO2PHENO_TEST_GATE", str(path))
    return path


@pytest.fixture
def gated(start: Start, gate: Path):
    """Start the gated service, which gets the gate by its setting's name."""
    return lambda **settings: start(GATED, test_gate=gate, **settings)
