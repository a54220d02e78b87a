"""The whole way once: a simulated recording, sent over HTTP to a service of its own."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from app.private_service import PrivateServiceError, private_service
from models.simulation.recording import simulate_recording
from models.simulation.scanner import write_screens

SEED = 8_002_054  # far from those that the networks learnt from
DURATION_S = 4.9
ROWS = 344
SECONDS_PER_COLUMN = 1 / 1200
BODY_MASS_G = 25.0
TIME_LIMIT_S = 300.0
TABLES = ("beats", "summary", "trace", "published_all", "published_stats")


def demo(out: Path) -> int:
    """Simulate, serve, send, fetch, and stop again.

    The features go to standard output as JSON, then a line for every file that was fetched.

    Parameters
    ----------
    out : Path
        Folder for the recording, the answer, the figures and the tables; made if it is missing.

    Returns
    -------
    int
        0, or 1 where the service did not start, answer as expected or stop with status 0.
    """
    out.mkdir(parents=True, exist_ok=True)
    recording = out / "recording.dcm"
    _simulate(recording)
    print(f"A simulated recording: {recording}", file=sys.stderr)
    try:
        with (
            tempfile.TemporaryDirectory() as data,
            private_service({"ECHO2PHENO_DATA_DIR": data}, out / "service.log") as address,
        ):
            print(f"A service on {address}", file=sys.stderr)
            with httpx.Client(base_url=address, timeout=TIME_LIMIT_S, trust_env=False) as client:
                analysis = _send(client, recording)
                files = _fetch(client, analysis, out)
    except (httpx.HTTPError, DemoError, PrivateServiceError) as error:
        print(f"The demo failed: {error} (see {out / 'service.log'})", file=sys.stderr)
        return 1
    print(json.dumps(analysis["features"], indent=2))
    for file in files:
        print(file)
    return 0


class DemoError(Exception):
    """Something did not go as a demo should."""


def _simulate(path: Path) -> None:
    simulated = simulate_recording(
        SEED,
        duration_s=DURATION_S,
        rows=ROWS,
        seconds_per_column=SECONDS_PER_COLUMN,
        acquisition="good",
    )
    write_screens(
        simulated.pixels,
        path,
        seconds_per_column=simulated.seconds_per_column,
        mm_per_row=simulated.mm_per_row,
        encoding="jpeg",
        seed=SEED,
    )


def _send(client: httpx.Client, recording: Path) -> dict[str, Any]:
    with recording.open("rb") as stream:
        response = client.post(
            "/v1/analyses",
            files={"file": (recording.name, stream, "application/dicom")},
            data={"body_mass_g": str(BODY_MASS_G)},
        )
    answer: dict[str, Any] = response.json()
    if response.status_code != httpx.codes.CREATED:
        raise DemoError(f"the recording was refused: {answer.get('detail')}")
    return answer


def _fetch(client: httpx.Client, analysis: dict[str, Any], out: Path) -> list[Path]:
    """Fetch every figure and table, and write them beside the answer itself."""
    links = analysis["links"]
    wanted = {f"{name}.png": link for name, link in links["figures"].items()}
    wanted |= {f"{name}.csv": links[f"{name}_csv"] for name in TABLES}
    files = []
    for name, link in wanted.items():
        response = client.get(link)
        response.raise_for_status()
        (out / name).write_bytes(response.content)
        files.append(out / name)
    answer = client.get(links["self"]).raise_for_status()
    (out / "analysis.json").write_text(json.dumps(answer.json(), indent=2), encoding="utf-8")
    return [*files, out / "analysis.json"]
