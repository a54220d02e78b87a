"""The running service is what its own description says: schemathesis makes up the requests.

A longer run by hand sets ECHO2PHENO_TEST_EXAMPLES, to 500 say.
"""

import collections
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.keys import add_key
from tests.integration.conftest import Process

EXAMPLES = int(os.environ.get("ECHO2PHENO_TEST_EXAMPLES", "25"))
SEED = 20_261


def examine(
    service: Process, folder: Path, *arguments: str, description: str | None = None
) -> tuple[subprocess.CompletedProcess[str], collections.Counter]:
    """Have a service examined; gives what was said, and how often each answer was given."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("st"),
            "run",
            description or f"{service.address}/openapi.json",
            "--checks=all",
            # that two valid options do not go together is beyond what a schema says
            "--exclude-checks=positive_data_acceptance",
            f"--max-examples={EXAMPLES}",
            f"--seed={SEED}",
            "--generation-database=none",
            "--request-timeout=60",
            "--no-color",
            *arguments,
        ],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "SCHEMATHESIS_HOOKS": "description_hooks",
            "PYTHONPATH": str(Path(__file__).parent),
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    lines = service.log_lines()
    answers = collections.Counter(
        (line["method"], line["route"], line["status"])
        for line in lines
        if line["message"] == "request"
    )
    return done, answers


@pytest.mark.parametrize("use_keys", [False, True])
def test_nothing_breaks_and_every_status_is_described(
    gated, gate: Path, tmp_path: Path, use_keys: bool
) -> None:
    gate.write_text("open")
    settings: dict[str, object] = {}
    arguments: list[str] = []
    if use_keys:
        settings["keys_file"] = tmp_path / "keys.json"
        secret = add_key(tmp_path / "keys.json", "tester", "analyse")
        arguments = [f"--header=Authorization: Bearer {secret}"]
    with gated(**settings) as service:
        done, answers = examine(service, tmp_path, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = re.search(r"(\d+) generated, (\d+) passed[\n,]", done.stdout)
    assert cases is not None, done.stdout
    assert cases[1] == cases[2]
    assert int(cases[1]) > 100
    # it did get through to what the service is for
    for answer in (
        ("POST", "/v1/analyses", 201),
        ("POST", "/v1/analyses", 422),
        ("GET", "/v1/analyses/{id}/beats.csv", 200),
        ("DELETE", "/v1/analyses/{id}", 204),
        ("POST", "/v1/studies", 201),
        ("POST", "/v1/studies/{id}/analyses", 202),
        ("GET", "/v1/studies/{id}/summary.csv", 200),
        ("DELETE", "/v1/studies/{id}", 204),
    ):
        assert answers[answer] > 0, answers
    assert (answers["GET", "unmatched", 401] > 0) is use_keys, "access was tried without a key"
    assert not [answer for answer in answers if answer[2] >= 500]


def test_it_is_seen_where_a_status_is_not_described(gated, gate: Path, tmp_path: Path) -> None:
    gate.write_text("open")
    with gated() as service, service.client() as client:
        described = client.get("/openapi.json").json()
        del described["paths"]["/v1/analyses/{id}"]["get"]["responses"]["404"]
        changed = tmp_path / "openapi.json"
        changed.write_text(json.dumps(described))
        only = ("--include-path=/v1/analyses/{id}", "--include-method=GET")
        done, _ = examine(
            service, tmp_path, f"--url={service.address}", *only, description=str(changed)
        )
    assert done.returncode == 1, done.stdout
    assert "Received: 404" in done.stdout
