"""Recordings a second with workers of their own processes: ``python -m tests.benchmarks.scale``.

Starts PostgreSQL and RabbitMQ, one API node and so many workers with one analysis at a time each,
sends a recording again and again without waiting for it, and times until all have succeeded.
Beside that the in-process queue with as many threads of its own, on the same machine.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter, sleep

from tests.benchmarks.recordings import SMALL, SMALL_JPEG
from tests.benchmarks.revisions import ROOT
from tests.benchmarks.service import Service, running
from tests.integration.scale.servers import PostgreSQL, RabbitMQ

QUERY = "force=true&figures=false"


def recordings_per_s(service: Service, path: Path, workers: int, count: int) -> float:
    """Send a recording so many times for later, and time until all are done, every worker warm."""
    _all_done(service, path, 3 * workers)
    began = perf_counter()
    _all_done(service, path, count)
    return count / (perf_counter() - began)


def _all_done(service: Service, path: Path, count: int) -> None:
    headers = {"Content-Type": "application/dicom", "Prefer": "respond-async"}
    links = []
    for _ in range(count):
        status, body = service.call("POST", f"/v1/analyses?{QUERY}", path, headers)
        if status != 202:
            raise RuntimeError(f"{status}: {body[:200]!r}")
        links.append(json.loads(body)["links"]["self"])
    for link in links:
        while (shown := json.loads(service.call("GET", link)[1]))["status"] != "succeeded":
            if shown["status"] == "failed":
                raise RuntimeError(shown["error"])
            sleep(0.05)


@contextlib.contextmanager
def workers(count: int, settings: Mapping[str, str]) -> Iterator[None]:
    """Run so many workers, each ready."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ECHO2PHENO_")}
    environment |= {f"ECHO2PHENO_{name.upper()}": value for name, value in settings.items()}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "app", "worker"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError("a worker did not start")
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--count", type=int, default=24, help="recordings of each run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        Path(name).chmod(0o755)  # the servers run as a user without rights
        database, broker = PostgreSQL(Path(name) / "database"), RabbitMQ(Path(name) / "broker")
        for server in (database, broker):
            stack.callback(server.close)
            server.start()
        for number, recording in enumerate((SMALL, SMALL_JPEG)):
            path = recording.path()
            size_mb = path.stat().st_size / 1e6
            print(f"{recording.name} ({size_mb:.0f} MB):", flush=True)
            for count in given.workers:
                with running(ROOT, workers=count) as service:
                    alone = recordings_per_s(service, path, count, given.count)
                data = Path(name) / f"data-{number}-{count}"
                shared = {
                    "queue": "celery",
                    "broker_url": broker.url,
                    "database_url": database.create(f"bench_{number}_{count}"),
                    "data_dir": str(data),
                    "workers": "1",
                    "cores": "1",
                    "log_level": "WARNING",
                }
                with workers(count, shared), running(ROOT, **shared) as service:
                    apart = recordings_per_s(service, path, count, given.count)
                print(
                    f"  {count}: {alone:.2f} a second in one process, {apart:.2f} in {count} "
                    f"workers ({1000 * (1 / apart - 1 / alone):+.0f} ms a recording)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
