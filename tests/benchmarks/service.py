"""A service of some checkout, in a process of its own, and what is asked of it over HTTP."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

BLOCK_BYTES = 2**20
TIMEOUT_S = 3600.0
SAMPLE_EVERY_S = 0.02


@dataclass(frozen=True)
class Service:
    """A running service: its process, its address, and how long it took to be ready."""

    pid: int
    host: str
    port: int
    start_s: float

    def call(
        self,
        method: str,
        path: str,
        body: Path | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Make one call on a connection of its own; a body is a file."""
        connection = http.client.HTTPConnection(
            self.host, self.port, timeout=TIMEOUT_S, blocksize=BLOCK_BYTES
        )
        try:
            with contextlib.ExitStack() as stack:
                file = None if body is None else stack.enter_context(body.open("rb"))
                sent = dict(headers or {})
                if body is not None:
                    sent["Content-Length"] = str(body.stat().st_size)
                connection.request(method, path, file, sent)
                answer = connection.getresponse()
                return answer.status, answer.read()
        finally:
            connection.close()

    def analyse(self, path: Path, *, figures: bool) -> dict[str, Any]:
        """Send a recording, anew even if the same was sent before, and wait for its features."""
        status, body = self.call(
            "POST",
            f"/v1/analyses?force=true&figures={str(figures).lower()}",
            path,
            {"Content-Type": "application/dicom", "Prefer": f"wait={TIMEOUT_S:.0f}"},
        )
        answer: dict[str, Any] = json.loads(body)
        if status != 201 or answer["status"] != "succeeded":
            raise RuntimeError(f"{status}: {answer.get('error') or answer}")
        return answer

    def fetch_figures(self, analysis: dict[str, Any]) -> None:
        """Fetch all figures of an analysis."""
        for link in analysis["links"]["figures"].values():
            status, _ = self.call("GET", link)
            if status != 200:
                raise RuntimeError(f"{status} for a figure")

    def look_at(self, analysis: dict[str, Any]) -> dict[str, Any]:
        """Give an analysis as it is now."""
        shown: dict[str, Any] = json.loads(self.call("GET", analysis["links"]["self"])[1])
        return shown

    def remove(self, analysis: dict[str, Any]) -> None:
        """Delete an analysis with its files."""
        self.call("DELETE", analysis["links"]["self"])

    def cpu_s(self) -> float:
        """Processor time so far of the service and of its children, those that ended included."""
        ticks = 0
        for pid in _family(self.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(root: Path, **settings: object) -> Iterator[Service]:
    """Run the service of a checkout, in a data folder that is thrown away.

    Parameters
    ----------
    root : Path
        The checkout.
    **settings
        By their names without prefix, in small letters.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ECHO2PHENO_")}
    with tempfile.TemporaryDirectory() as folder:
        environment |= {
            "ECHO2PHENO_DATA_DIR": str(Path(folder) / "data"),
            "ECHO2PHENO_PORT": "0",
            "ECHO2PHENO_LOG_LEVEL": "WARNING",
            "ECHO2PHENO_ANALYSIS_TIME_LIMIT_S": str(TIMEOUT_S),
        }
        environment |= {f"ECHO2PHENO_{name.upper()}": str(v) for name, v in settings.items()}
        began = perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"],
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            address = urlsplit(process.stdout.readline().split()[-1])
            assert address.hostname is not None
            assert address.port is not None
            service = Service(process.pid, address.hostname, address.port, 0.0)
            status, _ = service.call("GET", "/health/ready")
            if status != 200:
                raise RuntimeError(f"{status} for /health/ready")
            yield Service(process.pid, address.hostname, address.port, perf_counter() - began)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


class PeakMemory:
    """Most memory that a service and its children have held together, in megabytes of 10^6 bytes.

    Each process counts with its own peak (``VmHWM`` of /proc, pages that it shares with the others
    included) as long as it lives.
    """

    def __init__(self, service: Service) -> None:
        self._pid = service.pid
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def mb(self) -> float:
        self._look()
        return self._peak / 1e6

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            self._look()

    def _look(self) -> None:
        self._peak = max(self._peak, sum(map(_own_peak_bytes, _family(self._pid))))


def _own_peak_bytes(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def _family(pid: int) -> list[int]:
    """Give a process and all that descend from it."""
    found = [pid]
    for parent in found:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, path.read_text().split())
    return found
