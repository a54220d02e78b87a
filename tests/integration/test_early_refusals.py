"""A refusal before the body is read reaches clients that send it all the same."""

import json
import threading
from pathlib import Path

import pytest

from app.keys import add_key
from tests.integration.clients import CLIENTS, CURL, Send

pytestmark = pytest.mark.skipif(not CURL, reason="curl is not installed here")

CASES = {
    "no key": (401, "unauthenticated"),
    "a key that may not": (403, "forbidden"),
    "another type": (415, "unsupported_media_type"),
    "an unknown option": (422, "invalid_option"),
    "another method": (405, "method_not_allowed"),
    "another address": (404, "not_found"),
    "too many recordings": (503, "not_ready"),
}


@pytest.mark.parametrize("send", CLIENTS)
def test_every_client_reads_why(gated, gate: Path, tmp_path: Path, send: Send) -> None:
    gate.write_text("open")
    keys = tmp_path / "keys.json"
    admin, reader = add_key(keys, "admin", "admin"), add_key(keys, "rita", "read-all")
    with gated(keys_file=keys, max_uploads_at_once=1) as service:

        def refusal(case: str) -> tuple[int, str]:
            path, headers = "/v1/analyses", {"Content-Type": "application/dicom"}
            headers["Authorization"] = f"Bearer {admin}"
            if case == "no key":
                del headers["Authorization"]
            elif case == "a key that may not":
                headers["Authorization"] = f"Bearer {reader}"
            elif case == "another type":
                headers["Content-Type"] = "text/plain"
            elif case == "an unknown option":
                path += "?colour=blue"
            elif case == "another method":
                path = "/v1/models"
            elif case == "another address":
                path = "/v1/nothing"
            status, body = send(service.address + path, headers, None)
            problem = json.loads(body)
            assert problem["status"] == status
            return status, problem["code"]

        for case in CASES:
            if case != "too many recordings":
                assert refusal(case) == CASES[case], case

        go_on = threading.Event()

        def body():
            yield b"x"
            assert go_on.wait(60)

        def hold() -> None:
            with service.client() as client:
                headers = {"Content-Type": "application/dicom", "Authorization": f"Bearer {admin}"}
                client.post("/v1/analyses", content=body(), headers=headers)

        holding = threading.Thread(target=hold)
        holding.start()
        while not list((tmp_path / "data" / "tmp").glob("*.part")):
            pass  # it has its place before it has its file
        try:
            assert refusal("too many recordings") == CASES["too many recordings"]
        finally:
            go_on.set()
            holding.join()
        with service.client() as client:  # and the service is as it was
            assert client.get("/health/ready").status_code == 200


@pytest.mark.parametrize("send", CLIENTS)
def test_every_client_reads_that_it_is_too_much(gated, gate: Path, send: Send) -> None:
    with gated(max_upload_bytes=1_000_000) as service:
        headers = {"Content-Type": "application/dicom"}
        status, body = send(f"{service.address}/v1/analyses", headers, None)
    assert (status, json.loads(body)["code"]) == (413, "too_large")
