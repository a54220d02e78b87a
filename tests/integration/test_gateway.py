"""Behind a real nginx with the shipped configuration: links, keys, refusals, large bodies."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.api.problems import CATALOGUE
from app.keys import add_key
from tests.integration.clients import CLIENTS, CURL, Send
from tests.integration.gateway import NGINX, OPENSSL, TEMPLATE, free_port, gateway

pytestmark = pytest.mark.skipif(
    not (NGINX and OPENSSL and CURL), reason="nginx, openssl or curl is not installed here"
)

DICOM = {"Content-Type": "application/dicom"}
STRIPPED = {"proxy_pass http://echo2pheno;": "proxy_pass http://echo2pheno/;"}
PROBLEM = {"type", "title", "status", "detail", "code", "request_id"}


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == PROBLEM
    assert (problem["status"], problem["code"]) == (status, code)
    assert answer.headers["cache-control"] == "no-store"


@pytest.fixture
def upstream(gated, gate: Path):
    gate.write_text("open")

    def start(**settings: object):
        defaults: dict[str, object] = {"root_path": "/echo", "trusted_proxies": "127.0.0.0/8"}
        return gated(**(defaults | settings))

    return start


def host_of(service) -> str:
    return urlsplit(service.address).netloc


@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("prefix", ["/echo", "/science/echo"])
def test_links_lead_through_the_gateway(
    upstream, tmp_path: Path, prefix: str, stripped: bool
) -> None:
    changes = STRIPPED if stripped else {}
    with (
        upstream(root_path=prefix) as service,
        gateway(tmp_path / "nginx", host_of(service), prefix, changes) as front,
        front.client() as client,
    ):
        posted = client.post(f"{prefix}/v1/analyses", files={"file": ("m.dcm", b"x" * 100_000)})
        assert posted.status_code == 201, posted.text
        assert posted.headers["strict-transport-security"]
        links = posted.json()["links"]
        assert posted.headers["location"] == links["self"]
        for link in [
            *links["figures"].values(),
            *(links[name] for name in ("self", "beats_csv", "summary_csv", "trace_csv")),
        ]:
            assert link.startswith(f"{prefix}/v1/analyses/")
            found = client.get(link)
            assert found.status_code == 200
            assert found.headers["x-content-type-options"] == "nosniff"
        page = client.get(f"{prefix}/docs")
        for asset in re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text):
            assert client.get(asset).status_code == 200, asset
        assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": prefix}]
        assert client.get(f"{prefix}/health/ready").status_code == 200
        # and without the gateway they are as good
        with service.client() as direct:
            assert direct.get(links["self"]).json()["links"] == links
            assert direct.get(links["beats_csv"]).status_code == 200


def test_what_is_not_the_services_stays_outside(upstream, tmp_path: Path) -> None:
    with (
        upstream() as service,
        gateway(tmp_path / "nginx", host_of(service)) as front,
        front.client() as client,
    ):
        for path in ("/", "/v1/analyses", "/echo/metrics", "/echo", "/other/health/live"):
            assert_problem(client.get(path), 404, "not_found")
        for path in ("/echo/../v1/models", "/echo/%2e%2e/metrics"):
            assert_problem(client.get(path), 404, "not_found")
        plain = httpx.get(front.address.replace("https:", "http:") + "/echo/health/live")
        assert_problem(plain, 400, "malformed_request")


def test_a_key_goes_along_and_the_caller_is_told_from_the_gateway(upstream, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    secret = add_key(keys, "anna", "analyse")
    with (
        upstream(keys_file=keys) as service,
        gateway(tmp_path / "nginx", host_of(service)) as front,
    ):
        with front.client() as client:
            refused = client.get("/echo/v1/analyses")
            assert_problem(refused, 401, "unauthenticated")
            assert refused.headers["www-authenticate"].startswith("Bearer")
        claims = {"X-Forwarded-For": "203.0.113.7", "X-Request-ID": "claimed-by-the-caller"}
        with front.client(Authorization=f"Bearer {secret}", **claims) as client:
            posted = client.post(
                "/echo/v1/analyses?file_name=MICKEY.dcm", content=b"x", headers=DICOM
            )
            assert posted.status_code == 201
            assert posted.headers["x-request-id"] != "claimed-by-the-caller"
            id = posted.headers["x-request-id"]
        service.terminate()
        lines = service.log_lines()
    (line,) = [line for line in lines if line["request_id"] == id and line["message"] == "request"]
    assert (line["key"], line["client"]) == ("anna", "127.0.0.1"), "not whom the caller claims"
    written = front.log + (front.folder / "error.log").read_text()
    assert id in front.log, "both logs name a request alike"
    assert secret not in written
    assert "MICKEY" not in written + (front.folder / "stderr").read_text() + str(lines)


def test_a_large_recording_streams_through(upstream, tmp_path: Path) -> None:
    content = bytes(range(256)) * 250_000  # 64 MB
    with (
        upstream() as service,
        gateway(tmp_path / "nginx", host_of(service)) as front,
        front.client() as client,
    ):
        posted = client.post("/echo/v1/analyses", content=content, headers=DICOM)
        assert posted.status_code == 201, posted.text
        assert posted.json()["input"]["size_bytes"] == len(content)
        chunks = (content[start : start + 1_000_000] for start in range(0, len(content), 1_000_000))
        again = client.post("/echo/v1/analyses", content=chunks, headers=DICOM)
        assert (again.status_code, again.json()["id"]) == (200, posted.json()["id"])
    for kind in ("body", "proxy"):
        assert not [path for path in (front.folder / kind).rglob("*") if path.is_file()]


@pytest.mark.parametrize("send", CLIENTS)
@pytest.mark.parametrize("case", ["no key", "another type", "too large", "too large for nginx"])
def test_a_refusal_before_the_body_is_read_by_every_client(
    upstream, tmp_path: Path, send: Send, case: str
) -> None:
    settings: dict[str, object] = {"max_upload_bytes": 1000 if case == "too large" else 2**30}
    expected = {"another type": (415, "unsupported_media_type")}.get(case, (413, "too_large"))
    if case == "no key":
        settings["keys_file"] = tmp_path / "keys.json"
        add_key(tmp_path / "keys.json", "anna", "analyse")
        expected = (401, "unauthenticated")
    changes = {}
    if case == "too large for nginx":
        changes = {"client_max_body_size  4200m;": "client_max_body_size 1m;"}
    content_type = "text/plain" if case == "another type" else "application/dicom"
    with (
        upstream(**settings) as service,
        gateway(tmp_path / "nginx", host_of(service), changes=changes) as front,
    ):
        address = front.address + "/echo/v1/analyses"
        status, body = send(address, {"Content-Type": content_type}, front.certificate)
    assert (status, json.loads(body)["code"]) == expected


def test_too_many_requests_are_told_so(upstream, tmp_path: Path) -> None:
    with (
        upstream() as service,
        gateway(tmp_path / "nginx", host_of(service)) as front,
        front.client() as client,
        ThreadPoolExecutor(4) as pool,
    ):
        answers = list(pool.map(lambda _: client.get("/echo/health/live"), range(600)))
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert_problem(refused, 429, "queue_full")
    assert int(refused.headers["retry-after"]) > 0


def test_a_service_that_is_gone_is_not_ready(upstream, tmp_path: Path) -> None:
    with upstream() as service:
        upstream_address = host_of(service)
    with gateway(tmp_path / "nginx", upstream_address) as front, front.client() as client:
        answer = client.post("/echo/v1/analyses?file_name=MICKEY", content=b"x", headers=DICOM)
    assert_problem(answer, 503, "not_ready")
    assert int(answer.headers["retry-after"]) > 0
    assert "/echo/v1/analyses" in front.log
    for log in ("access.log", "error.log", "stderr"):
        assert "MICKEY" not in (front.folder / log).read_text()


def test_a_node_that_is_gone_costs_no_caller_an_answer(upstream, tmp_path: Path) -> None:
    told = {"error_log     stderr crit;": "error_log stderr error;"}
    with upstream() as service:
        nodes = f"127.0.0.1:{free_port()}; server {host_of(service)}"
        with gateway(tmp_path / "nginx", nodes, changes=told) as front, front.client() as client:
            posted = client.post("/echo/v1/analyses", files={"file": ("m.dcm", b"x" * 100_000)})
    assert posted.status_code == 201, posted.text
    assert "connect() failed" in (front.folder / "stderr").read_text(), "it was asked first"


def test_what_nginx_says_itself_is_of_the_catalogue() -> None:
    problems = re.findall(r"return (\d+) '(\{.+\})';", TEMPLATE.read_text("utf-8"))
    assert len(problems) == 6
    for status, text in problems:
        problem = json.loads(text)
        assert set(problem) == PROBLEM
        assert problem["status"] == int(status)
        assert problem["type"] == f"urn:echo2pheno:problem:{problem['code']}"
        if problem["code"] != "queue_full":  # the gateway's own
            assert CATALOGUE[problem["code"]] == (int(status), problem["title"])
