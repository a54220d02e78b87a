"""The scripted client: what it sends, what it tries again, and what it gives up on."""

import ast
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import client as module
from app.client import FIRST_PAUSE_S, LONGEST_PAUSE_S, Client, ServiceError

PROBLEM = {"detail": "Not this.", "code": "invalid_option", "status": 422}


class Service:
    """Answers what it is told to, one answer after the other, and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers: Iterator[httpx.Response | Exception] = iter(answers)
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.pauses: list[float] = []
        self.now_s = 0.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(request.read())
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def client(self, address: str = "http://lab", **options: Any) -> Client:
        return Client(
            address,
            transport=httpx.MockTransport(self),
            sleep=self.sleep,
            clock=lambda: self.now_s,
            **options,
        )


def ok(**values: Any) -> httpx.Response:
    return httpx.Response(200, json=values)


def busy(status: int = 503, **headers: str) -> httpx.Response:
    problem = {"detail": "Later.", "code": "not_ready"}
    return httpx.Response(status, json=problem, headers=headers)


@pytest.mark.parametrize(
    "answer", [[], None, {}, {"id": 7}, {"items": {}}, {"items": []}, {"items": [None]}], ids=str
)
def test_an_answer_of_another_form_is_named(tmp_path: Path, answer: object) -> None:
    (tmp_path / "m.dcm").write_bytes(b"bytes")
    for ask in (
        lambda client: client.analyse(tmp_path / "m.dcm"),
        lambda client: client.create_study("x"),
        lambda client: client.add_file("s", tmp_path / "m.dcm"),
        lambda client: list(client.files("s")),
        lambda client: client.wait_for_study("s"),
        lambda client: client.wait_for_analysis("a"),
        lambda client: client.download("http://elsewhere/x.csv", tmp_path / "x.csv"),
    ):
        service = Service(httpx.Response(200, json=answer))
        with pytest.raises(ServiceError, match="not this service"):
            ask(service.client())


@pytest.mark.parametrize("error", [{}, {"detail": 7}, [], "text"], ids=str)
def test_a_failure_of_another_form_is_named(tmp_path: Path, error: object) -> None:
    (tmp_path / "m.dcm").write_bytes(b"bytes")
    service = Service(ok(id="a"), ok(status="failed", error=error))
    with pytest.raises(ServiceError):
        service.client().analyse(tmp_path / "m.dcm")


@pytest.mark.parametrize("problem", [{"detail": [], "code": "x"}, {"detail": "x", "code": 7}, 3])
def test_a_refusal_of_another_form_is_told_by_its_status(problem: object) -> None:
    service = Service(httpx.Response(422, json=problem))
    with pytest.raises(ServiceError, match="answered 422") as raised:
        service.client().study("s")
    assert isinstance(raised.value.detail, str)


def test_a_text_that_cannot_be_written_is_another_form() -> None:
    half = json.dumps({"id": "a", "detail": "half \ud800", "code": "x"})
    service = Service(httpx.Response(200, text=half), httpx.Response(422, text=half))
    with pytest.raises(ServiceError, match="not this service"):
        service.client().create_study("x")
    with pytest.raises(ServiceError, match="answered 422"):
        service.client().create_study("x")
    pair = json.dumps({"id": "a \U0001f42d"})
    answer = Service(httpx.Response(200, text=pair)).client().create_study("x")
    assert answer["id"] == "a \U0001f42d"


def test_a_file_whose_name_is_no_text_is_sent(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"M\xfcller.dcm")
    path.write_bytes(b"bytes")
    service = Service(ok(items=[{}]), ok(id="a"))
    service.client().add_file("s", path, mouse_id=path.stem)
    service.client().analyse(path, wait=False)
    asked = [request.url.params for request in service.requests]
    assert [given["file_name"] for given in asked] == ["M\ufffdller.dcm"] * 2
    assert asked[0]["mouse_id"] == "M\ufffdller"


def test_an_answer_that_cannot_be_unpacked_is_named() -> None:
    headers = {"Content-Encoding": "gzip"}
    service = Service(httpx.Response(200, stream=httpx.ByteStream(b"no gzip"), headers=headers))
    with pytest.raises(ServiceError, match="not this service"):
        service.client().study("s")


@pytest.mark.parametrize("key", ["two\nlines", "a b", "schlüssel", "a\x00"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ServiceError) as raised:
        Client("http://lab", key)
    assert key not in raised.value.detail


@pytest.mark.parametrize(
    ("given", "least_s"),
    [("9" * 5000, 3600), ("7", 7), ("-7", 0), ("soon", 0), ("", 0), ("Mon, 99 Foo 2026", 0)],
)
def test_whatever_it_is_asked_to_wait_it_comes_back(given: str, least_s: float) -> None:
    service = Service(busy(**{"Retry-After": given}), ok(id="s"))
    assert service.client().study("s") == {"id": "s"}
    (pause,) = service.pauses
    assert least_s <= pause <= max(least_s, FIRST_PAUSE_S)


def test_it_needs_nothing_but_httpx() -> None:
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    roots = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    import sys

    assert roots - sys.stdlib_module_names == {"httpx"}


def test_a_file_is_sent_with_what_is_known_of_it(tmp_path: Path) -> None:
    (tmp_path / "m.dcm").write_bytes(b"bytes")
    service = Service(httpx.Response(202, json={"items": [{"status": "queued"}]}))
    client = service.client("https://lab/echo/", key="secret")
    entry = client.add_file("s", tmp_path / "m.dcm", file_name="a/m.dcm", body_mass_g=25.0, sex="F")

    assert entry == {"status": "queued"}
    (request,) = service.requests
    assert request.url.path == "/echo/v1/studies/s/analyses"
    assert dict(request.url.params) == {"body_mass_g": "25.0", "sex": "F", "file_name": "a/m.dcm"}
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["content-length"] == "5"
    assert service.bodies == [b"bytes"]


def test_a_file_is_sent_whole_again(tmp_path: Path) -> None:
    (tmp_path / "m.dcm").write_bytes(b"bytes")
    service = Service(
        httpx.ConnectError("refused"),
        httpx.ReadError(""),
        busy(429),
        httpx.Response(202, json={"items": [{}]}),
    )
    service.client().add_file("s", tmp_path / "m.dcm")

    assert service.bodies == [b"bytes"] * 4


def test_a_gateway_without_its_service_is_asked_again() -> None:
    answers = [httpx.Response(status, text="<html>Bad Gateway") for status in (502, 504)]
    service = Service(*answers, ok(id="a"))

    assert service.client().analysis("a") == {"id": "a"}
    assert len(service.pauses) == 2


def test_pauses_grow_up_to_a_limit() -> None:
    service = Service(*[busy() for _ in range(12)], ok(status="queued"))
    service.client(patience_s=1e6).analysis("a")

    expected = [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(12)]
    for pause, most in zip(service.pauses, expected, strict=True):
        assert most / 2 <= pause <= most


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (lambda: "17", 17, 17),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True), 30, 40),
        (
            lambda: format_datetime(datetime.now(UTC) - timedelta(seconds=40), usegmt=True),
            0.25,
            0.5,
        ),
        (lambda: "soon", 0.25, 0.5),
        (lambda: "", 0.25, 0.5),
    ],
)
def test_the_service_says_how_long_to_wait(
    value: Callable[[], str], least: float, most: float
) -> None:
    service = Service(busy(**{"Retry-After": value()}), ok())
    service.client().analysis("a")

    assert least <= service.pauses[0] <= most


def test_patience_ends() -> None:
    def endless() -> Iterator[httpx.Response]:
        while True:
            yield busy()

    service = Service()
    service.answers = endless()
    with pytest.raises(ServiceError) as error:
        service.client(patience_s=100).analysis("a")

    assert (error.value.code, error.value.status) == ("not_ready", 503)
    assert 100 <= service.now_s <= 100 + LONGEST_PAUSE_S


def test_a_full_queue_is_a_service_that_lives() -> None:
    answers = [busy(429, **{"Retry-After": "60"}) for _ in range(9)]
    service = Service(*answers, ok(id="a"))

    assert service.client(patience_s=100).analysis("a") == {"id": "a"}
    assert service.now_s == 540


@pytest.mark.parametrize(
    ("answer", "code", "detail"),
    [
        (httpx.Response(422, json=PROBLEM), "invalid_option", "Not this."),
        (httpx.Response(500, json=PROBLEM | {"code": "x"}), "x", "Not this."),
        (httpx.Response(504, json=PROBLEM | {"code": "time_limit"}), "time_limit", "Not this."),
        (httpx.Response(404, text="<html>"), None, "The service answered 404"),
        (httpx.Response(301, headers={"Location": "/"}), None, "The service answered 301"),
        (httpx.Response(400, json=["odd"]), None, "The service answered 400"),
    ],
)
def test_a_refusal_is_not_tried_again(
    answer: httpx.Response, code: str | None, detail: str
) -> None:
    service = Service(answer)
    with pytest.raises(ServiceError) as error:
        service.client().study("s")

    assert (error.value.code, error.value.status) == (code, answer.status_code)
    assert error.value.detail.startswith(detail)
    assert service.pauses == []


def test_an_address_without_http_is_refused_at_once() -> None:
    with pytest.raises(ServiceError, match="begins with http"):
        Client("lab:8000")


def test_files_of_a_study_come_page_by_page() -> None:
    service = Service(
        ok(items=[{"id": "1"}, {"id": "2"}], next_cursor="c"), ok(items=[], next_cursor=None)
    )

    assert [entry["id"] for entry in service.client().files("s")] == ["1", "2"]
    assert service.requests[1].url.params["cursor"] == "c"


@pytest.mark.parametrize("link", ["/v1/x.csv", "/echo/v1/x.csv"])
def test_a_download_is_there_whole_or_not_at_all(tmp_path: Path, link: str) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise httpx.ReadError("lost")

    class Stream(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return broken()

    target = tmp_path / "new" / "x.csv"
    service = Service(httpx.Response(200, stream=Stream()), httpx.Response(200, content=b"whole"))
    service.client("http://lab/echo").download(link, target)
    assert target.read_bytes() == b"whole"
    assert {request.url.path for request in service.requests} == {"/echo/v1/x.csv"}
    service = Service(httpx.Response(404, json=PROBLEM))
    with pytest.raises(ServiceError):
        service.client().download("/v1/y.csv", target.with_name("y.csv"))
    assert [path.name for path in target.parent.iterdir()] == ["x.csv"]


def test_an_analysis_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "m.dcm").write_bytes(b"bytes")
    answers = [ok(id="a", status=status) for status in ("queued", "running", "succeeded")]
    service = Service(httpx.Response(202, json={"id": "a"}), *answers)
    analysis = service.client().analyse(tmp_path / "m.dcm", figures=False)

    assert analysis["status"] == "succeeded"
    assert service.requests[0].headers["prefer"] == "respond-async"
    assert service.requests[0].url.params["figures"] == "false"
    failed = ok(id="a", status="failed", error=PROBLEM)
    service = Service(httpx.Response(202, json={"id": "a"}), failed)
    with pytest.raises(ServiceError, match="Not this"):
        service.client().analyse(tmp_path / "m.dcm")


def test_a_study_is_waited_for() -> None:
    def shown(finished: int) -> httpx.Response:
        return ok(progress={"finished": finished}, counts={"total": 2})

    seen: list[int] = []
    service = Service(shown(0), shown(1), shown(2))
    service.client().wait_for_study("s", lambda study: seen.append(study["progress"]["finished"]))

    assert seen == [0, 1, 2]


@pytest.mark.parametrize("address", ["lab:8000", "http://[x", "http://", "ftp://lab"])
def test_what_is_no_address_is_said_in_a_line(address: str) -> None:
    with pytest.raises(ServiceError, match="is no address"):
        Client(address)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'"id"', b'{"name": "another"}'])
def test_another_server_than_ours_is_told_apart(content: bytes) -> None:
    service = Service(httpx.Response(200, content=content))
    with (
        Client("http://lab", transport=httpx.MockTransport(service)) as client,
        pytest.raises(ServiceError, match="not this service"),
    ):
        client.create_study("s")
