"""The process: its ready line, its end, and what a real connection sees."""

import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.conftest import Process

DICOM = {"Content-Type": "application/dicom"}


def post(client: httpx.Client, content: bytes = b"x", prefer: str = "wait=0") -> httpx.Response:
    headers = DICOM | ({"Prefer": prefer} if prefer else {})
    return client.post("/v1/analyses", content=content, headers=headers)


def until(client: httpx.Client, link: str, status: str) -> dict:
    while True:
        shown = client.get(link).json()
        if shown["status"] == status:
            return shown
        assert shown["status"] in ("queued", "running"), shown["error"]


def test_ready_line_and_end(gated, gate: Path) -> None:
    with gated() as service, service.client() as client:
        assert client.get("/health/ready").json() == {"status": "ok"}
        assert service.terminate() == 0
        assert service.popen.stdout.read() == "", "the ready line is the only one"
        lines = service.log_lines()
    assert {"time", "level", "logger", "message", "request_id"} <= set(lines[-1])
    (request,) = [line for line in lines if line["message"] == "request"]
    assert (request["route"], request["status"]) == ("/health/ready", 200)


def test_results_survive_a_restart(gated, gate: Path) -> None:
    gate.write_text("open")
    with gated() as service, service.client() as client:
        shown = post(client, prefer="").json()
        for link in shown["links"]["figures"].values():
            assert client.get(link).status_code == 200
        shown = client.get(shown["links"]["self"]).json()
        assert service.terminate() == 0
    with gated() as service, service.client() as client:
        assert client.get(shown["links"]["self"]).json() == shown
        again = post(client, prefer="")
        assert (again.status_code, again.json()) == (200, shown)
        assert client.get(shown["links"]["figures"]["function"]).content == b"function"


def test_a_waiting_caller_is_answered_before_the_end(gated, gate: Path) -> None:
    with (
        gated(shutdown_grace_s=30) as service,
        service.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(post, client, prefer="")
        (link,) = _links(service, "running")
        ended = pool.submit(service.terminate)
        _until_closed(service)
        gate.write_text("open")
        assert answer.result().status_code == 201
        assert answer.result().json()["links"]["self"] == link
        assert ended.result() == 0


def test_what_is_not_done_by_the_end_runs_after_the_next_start(gated, gate: Path) -> None:
    with (
        gated(shutdown_grace_s=0) as service,
        service.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(post, client, prefer="")
        (link,) = _links(service, "running")
        assert service.terminate() == 0
        assert answer.result().status_code == 202, "it is acknowledged, not lost"
        assert answer.result().headers["location"] == link
    gate.write_text("open")
    with gated() as service, service.client() as client:
        until(client, link, "succeeded")


def test_a_core_that_hears_nothing_cannot_hold_the_process(gated, gate: Path) -> None:
    with gated(shutdown_grace_s=0) as service, service.client() as client:
        link = post(client, b"deaf").headers["location"]
        until(client, link, "running")
        assert service.terminate() == 0
    gate.write_text("open")
    with gated() as service, service.client() as client:
        until(client, link, "succeeded")


def test_nothing_accepted_is_lost_by_a_crash(gated, gate: Path) -> None:
    with gated() as service, service.client() as client:
        links = [post(client, bytes([n])).headers["location"] for n in range(3)]
        until(client, links[0], "running")
        service.kill()
    gate.write_text("open")
    with gated() as service, service.client() as client:
        for link in links:
            until(client, link, "succeeded")


def test_an_analysis_may_only_take_so_long(gated, gate: Path) -> None:
    with gated(analysis_time_limit_s=0.5) as service, service.client() as client:
        answer = post(client, prefer="")
        assert (answer.status_code, answer.json()["code"]) == (504, "time_limit")
        assert client.get("/v1/analyses").json()["items"] == []
        link = post(client, b"deferred", prefer="respond-async").headers["location"]
        assert until(client, link, "failed")["error"]["code"] == "time_limit"
        gate.write_text("open")
        assert post(client, prefer="").status_code == 201, "its worker is free again"


def test_two_services_do_not_share_a_data_folder(gated, gate: Path, tmp_path: Path) -> None:
    refusal = "another service works in this data folder"
    with gated(), pytest.raises(AssertionError, match=refusal), gated():
        pass


def test_a_refusal_is_read_by_a_client_that_still_sends(gated, gate: Path) -> None:
    with gated(max_upload_bytes=1000) as service, service.client() as client:
        for headers in (DICOM, {"Content-Type": "text/plain"}):
            answer = client.post("/v1/analyses", content=bytes(30_000_000), headers=headers)
            assert answer.status_code in (413, 415)
            assert answer.headers["connection"] == "close"
        chunks = (bytes(100_000) for _ in range(300))
        assert client.post("/v1/analyses", content=chunks, headers=DICOM).status_code == 413


def test_a_client_that_asks_first_sends_nothing_in_vain(gated, gate: Path) -> None:
    gate.write_text("open")
    with gated(max_upload_bytes=1000) as service:
        refused = _ask(service, "application/dicom", 2000)
        assert refused.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"too_large"' in refused
        assert b"100 Continue" not in refused
        accepted = _ask(service, "application/dicom", 4)
        assert accepted.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")


def test_what_is_not_http_is_a_problem_too(gated, gate: Path) -> None:
    with gated() as service:
        with _connect(service) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nno header\r\n\r\n")
            head, body = _all_of(connection).split(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/problem+json" in head
        problem = json.loads(body)
        assert (problem["status"], problem["code"]) == (400, "malformed_request")
        assert f"x-request-id: {problem['request_id']}".encode() in head


def test_an_upload_that_stalls_does_not_hold_the_process(gated, gate: Path) -> None:
    with gated(shutdown_grace_s=0) as service, service.client() as client:
        with _connect(service) as connection:
            connection.sendall(_head("application/dicom", 1000) + b"only this")
            assert client.get("/health/live").status_code == 200
            service.popen.send_signal(signal.SIGTERM)
            answer = _all_of(connection)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"not_ready"' in answer
        assert b"retry-after" in answer
        assert service.popen.wait(60) == 0


def test_head_is_answered_like_get(gated, gate: Path) -> None:
    gate.write_text("open")
    with gated() as service, service.client() as client:
        links = post(client, prefer="").json()["links"]
        for link in links["figures"].values():  # once all are drawn, the answer changes no more
            assert client.get(link).status_code == 200
        for link in (links["self"], links["beats_csv"], links["figures"]["function"], "/nothing"):
            asked, got = client.head(link), client.get(link)
            assert (asked.status_code, asked.content) == (got.status_code, b"")
            for name in ("content-type", "content-length"):
                assert asked.headers[name] == got.headers[name]
        assert client.get(links["self"]).status_code == 200, "the connection is still good"


def test_an_upload_that_breaks_off_leaves_nothing(gated, gate: Path, tmp_path: Path) -> None:
    with gated() as service, service.client() as client:
        with _connect(service) as connection:
            connection.sendall(_head("application/dicom", 1000) + b"only this")
        while 'status="400"' not in client.get("/metrics").text:
            pass
        assert client.get("/v1/analyses").json()["items"] == []
        assert not list((tmp_path / "data").rglob("*.part"))


def test_it_answers_while_a_large_upload_arrives(gated, gate: Path) -> None:
    gate.write_text("open")
    arriving = threading.Event()
    go_on = threading.Event()

    def body():
        yield bytes(3_000_000)
        arriving.set()
        assert go_on.wait(60)
        yield b"end"

    with gated() as service, service.client() as client, ThreadPoolExecutor() as pool:
        answer = pool.submit(
            lambda: client.post("/v1/analyses", content=body(), headers=DICOM).status_code
        )
        assert arriving.wait(60)
        with service.client() as other:
            assert other.get("/health/live").status_code == 200
        go_on.set()
        assert answer.result() == 201


def _links(service: Process, status: str) -> list[str]:
    """Wait until there are analyses in this state, and give their links."""
    with service.client() as client:
        while True:
            items = client.get("/v1/analyses").json()["items"]
            if links := [item["links"]["self"] for item in items if item["status"] == status]:
                return links


def _until_closed(service: Process) -> None:
    """Wait until the service takes no more connections."""
    while True:
        try:
            _connect(service).close()
        except ConnectionError:
            return


def _connect(service: Process) -> socket.socket:
    parts = urlsplit(service.address)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def _all_of(connection: socket.socket) -> bytes:
    """Read until the service closes the connection."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def _head(content_type: str, length: int, *more: str) -> bytes:
    lines = [
        "POST /v1/analyses HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _ask(service: Process, content_type: str, length: int) -> bytes:
    """Send a head with ``Expect``, the body only if it is asked for; give all that comes back."""
    with _connect(service) as connection:
        connection.sendall(_head(content_type, length, "Expect: 100-continue", "Connection: close"))
        answer = connection.recv(65_536)
        if answer.startswith(b"HTTP/1.1 100"):
            connection.sendall(bytes(length))
        while more := connection.recv(65_536):
            answer += more
        return answer


def test_events_come_while_the_analysis_runs(gated, gate: Path) -> None:
    with gated() as service, service.client() as client:
        link = post(client).headers["location"]
        with client.stream("GET", f"{link}/events") as events:
            lines = events.iter_lines()
            for line in lines:
                if '"running"' in line:
                    break
            gate.write_text("open")
            rest = [line for line in lines if line]
        assert rest[-2] == "event: end"
        assert '"succeeded"' in rest[-1]


def test_a_follower_does_not_hold_the_process(gated, gate: Path) -> None:
    with gated(shutdown_grace_s=0) as service, service.client() as client:
        link = post(client).headers["location"]
        with client.stream("GET", f"{link}/events") as events:
            lines = events.iter_lines()
            assert next(lines) == "event: progress"
            service.popen.send_signal(signal.SIGTERM)
            assert "event: end" not in list(lines)
        assert service.popen.wait(60) == 0
