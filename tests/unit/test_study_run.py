"""A run of a study against a made-up service: what is sent, sent again, and passed over."""

import contextlib
import csv
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import study_run
from app.client import Client, ServiceError
from app.samples import Sample
from app.study_folder import LocalFile, StudyFolder, Unreadable
from app.study_results import FAILURES, STATE, StudyStateError
from app.study_run import Stopped, StudyOptions, StudyRun

LINKS = ("summary_csv", "beats_csv", "mice_csv", "published_all_csv", "published_stats_csv")


class Service:
    """Has one study with files that have failed before; breaks where a file is called so."""

    def __init__(self, failed: dict[str, str], content: bytes) -> None:
        self.sent: list[str] = []
        self.entries = {
            name: self._entry(name, content, {"code": code, "detail": "Failed."})
            for name, code in failed.items()
        }

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "POST":
            return self._take_in(request.url.params["file_name"], request.read())
        if path == "/v1/studies/s":
            links = dict.fromkeys((*LINKS, "overview_png"), "/v1/table")
            return httpx.Response(
                200, json={"id": "s", "profile": "robust", "body_mass_g": None, "links": links}
            )
        if path.startswith("/v1/analyses/"):
            links = {"beats_csv": "/v1/t", "trace_csv": "/v1/t", "figures": {"heart": "/v1/t"}}
            return httpx.Response(200, json={"id": path.rsplit("/", 1)[-1], "links": links})
        if path == "/v1/studies/s/analyses":
            page = {"items": list(self.entries.values()), "next_cursor": None}
            return httpx.Response(200, json=page)
        return httpx.Response(200, content=b"table")

    def _take_in(self, name: str, content: bytes) -> httpx.Response:
        self.sent.append(name)
        if "breaks" in name:
            problem = {"detail": "A fault.", "code": "internal_error"}
            return httpx.Response(500, json=problem)
        if "lost" in name:
            raise httpx.ConnectError("Connection refused")
        error = {"code": "too_short", "detail": "Only 0.1 s."}
        self.entries[name] = self._entry(name, content, error)
        if "good" in name:
            id = self.entries[name]["sha256"]
            self.entries[name] |= {"status": "succeeded", "error": None, "analysis_id": id}
        return httpx.Response(202, json={"items": [self.entries[name]]})

    def _entry(self, name: str, content: bytes, error: dict[str, str]) -> dict[str, Any]:
        return {
            "file_name": name, "size_bytes": len(content), "status": "failed", "error": error,
            "sha256": hashlib.sha256(content).hexdigest(), "analysis_id": None,
            "body_mass_g": None, "mouse_id": None, "sex": None, "group": None,
            "links": {"self": f"/v1/studies/s/analyses/{name}"},
        }  # fmt: skip


def run(
    service: Service,
    tmp_path: Path,
    *names: str,
    figures: bool = True,
    unreadable: tuple[Unreadable, ...] = (),
) -> dict[str, str]:
    """Run a study of files that all hold the same bytes, and give the code of each failure."""
    files = []
    for name in names:
        (tmp_path / name).write_bytes(b"bytes")
        files.append(LocalFile(name, tmp_path / name, Sample()))
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    if not (out / STATE).exists():
        (out / STATE).write_text(json.dumps({"server": "http://lab", "id": "s", "name": "x"}))
    transport = httpx.MockTransport(service)
    with Client("http://lab", transport=transport, patience_s=0) as client:
        study = StudyRun(
            client,
            "http://lab",
            StudyFolder(files, [], [], unreadable),
            out,
            StudyOptions("x", figures=figures),
            uploads=1,
            stop=threading.Event(),
            tell=lambda progress: None,
        )
        return {failure.file_name: failure.code for failure in study.run()}


@pytest.mark.parametrize("code", ["storage_full", "time_limit"])
def test_what_failed_for_want_of_room_or_time_is_tried_by_the_next_run(
    tmp_path: Path, code: str
) -> None:
    service = Service({"a.dcm": code, "b.dcm": "corrupt_pixel_data"}, b"bytes")
    failures = run(service, tmp_path, "a.dcm", "b.dcm")

    assert service.sent == ["a.dcm"]
    assert failures == {"a.dcm": "too_short", "b.dcm": "corrupt_pixel_data"}


def test_a_file_that_the_service_breaks_on_stops_no_other(tmp_path: Path) -> None:
    service = Service({}, b"bytes")
    failures = run(service, tmp_path, "1 breaks.dcm", "2.dcm")

    assert service.sent == ["1 breaks.dcm", "2.dcm"]
    assert failures == {"1 breaks.dcm": "internal_error", "2.dcm": "too_short"}
    assert (tmp_path / "out" / "summary.csv").read_bytes() == b"table"


def test_the_same_bytes_under_two_names_have_results_under_both(tmp_path: Path) -> None:
    assert run(Service({}, b"bytes"), tmp_path, "good.dcm", "also good.dcm") == {}
    for name in ("good.dcm", "also good.dcm"):
        folder = tmp_path / "out" / "recordings" / name
        found = {path.name for path in folder.iterdir()}
        assert found == {"analysis.json", "beats.csv", "trace.csv", "heart.png"}


def test_figures_that_an_earlier_run_left_out_are_fetched(tmp_path: Path) -> None:
    service = Service({}, b"bytes")
    run(service, tmp_path, "good.dcm", figures=False)
    figure = tmp_path / "out" / "recordings" / "good.dcm" / "heart.png"
    assert not figure.exists()
    run(service, tmp_path, "good.dcm")
    assert figure.read_bytes() == b"table"
    assert service.sent == ["good.dcm"]


def test_what_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    unreadable = Unreadable("locked", "It cannot be read: Permission denied.")
    failures = run(Service({}, b"bytes"), tmp_path, "good.dcm", unreadable=(unreadable,))
    assert failures == {"locked": "unreadable"}
    assert "locked,unreadable,It cannot" in (tmp_path / "out" / FAILURES).read_text("utf-8")


def test_a_service_that_is_lost_leaves_a_list_of_what_has_no_result(tmp_path: Path) -> None:
    service = Service({}, b"bytes")
    run(service, tmp_path, "good.dcm")
    with pytest.raises(ServiceError, match="cannot be reached"):
        run(service, tmp_path, "good.dcm", "lost.dcm")
    listed = (tmp_path / "out" / FAILURES).read_text("utf-8").splitlines()
    assert [line.split(",")[:2] for line in listed[1:]] == [["lost.dcm", "not_finished"]]


def reasons(tmp_path: Path) -> dict[str, str]:
    with (tmp_path / "out" / FAILURES).open(newline="", encoding="utf-8") as stream:
        return {row["file_name"]: row["code"] for row in csv.DictReader(stream)}


def test_reasons_that_are_known_outlast_the_service(tmp_path: Path) -> None:
    service = Service({"b.dcm": "corrupt_pixel_data"}, b"bytes")
    with pytest.raises(ServiceError):
        run(service, tmp_path, "b.dcm", "lost.dcm")
    assert reasons(tmp_path) == {"b.dcm": "corrupt_pixel_data", "lost.dcm": "not_finished"}


@pytest.mark.parametrize("asked", ["/v1/studies/s", "/v1/studies/s/analyses", "/v1/table"])
def test_a_service_lost_at_the_beginning_or_the_end_leaves_the_list(
    tmp_path: Path, asked: str
) -> None:
    service = Service({"=b.dcm": "corrupt_pixel_data"}, b"bytes")
    lost = False

    def answer(request: httpx.Request) -> httpx.Response:
        if lost and request.url.path == asked:
            raise httpx.ConnectError("Connection refused")
        return service(request)

    run(answer, tmp_path, "good.dcm", "=b.dcm")  # type: ignore[arg-type]
    assert reasons(tmp_path) == {"'=b.dcm": "corrupt_pixel_data"}
    for name in (tmp_path / "out").glob("*.csv") if asked == "/v1/table" else ():
        name.unlink()
    lost = True
    with pytest.raises(ServiceError, match="cannot be reached"):
        run(answer, tmp_path, "good.dcm", "=b.dcm", "good too.dcm")  # type: ignore[arg-type]
    late = {} if asked == "/v1/table" else {"good too.dcm": "not_finished"}
    assert reasons(tmp_path) == {"'=b.dcm": "corrupt_pixel_data"} | late


def test_a_result_of_other_bytes_is_none_of_these(tmp_path: Path) -> None:
    service = Service({}, b"bytes")
    run(service, tmp_path, "good.dcm")
    service.entries["good.dcm"] |= {"status": "running", "analysis_id": "another"}
    with pytest.raises(ServiceError):
        run(service, tmp_path, "good.dcm", "lost.dcm")
    assert reasons(tmp_path) == {"good.dcm": "not_finished", "lost.dcm": "not_finished"}


def test_a_service_without_room_for_more_gives_the_tables(tmp_path: Path) -> None:
    service = Service({}, b"bytes")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(507, json={"detail": "No room.", "code": "storage_full"})
        return service(request)

    with pytest.raises(ServiceError, match="No room"):
        run(answer, tmp_path, "a.dcm")  # type: ignore[arg-type]
    assert (tmp_path / "out" / "summary.csv").read_bytes() == b"table"
    assert reasons(tmp_path) == {"a.dcm": "not_finished"}


ANSWERS = {
    "/v1/studies/s": ["id", "profile", "body_mass_g", "links", "links.summary_csv"],
    "/v1/studies/s/analyses": [
        "items", "items.0", "next_cursor", "items.0.file_name", "items.0.status", "items.0.sha256",
        "items.0.analysis_id", "items.0.size_bytes", "items.0.body_mass_g", "items.0.mouse_id",
        "items.0.error", "items.0.error.code", "items.0.error.detail", "items.0.links.self",
    ],
    "/v1/analyses/": ["id", "links", "links.beats_csv", "links.figures", "links.figures.heart"],
    "": [""],
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, names in ANSWERS.items() for name in names]
)
@pytest.mark.parametrize("other", ["missing", 7, "text", [[]], {"x": None}, None], ids=str)
def test_an_answer_of_another_form_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, name: str, other: object
) -> None:
    monkeypatch.setattr(study_run, "POLL_S", 0.001)
    service = Service({"b.dcm": "corrupt_pixel_data"}, b"bytes")

    def answer(request: httpx.Request) -> httpx.Response:
        given = service(request)
        asked = request.url.path
        here = asked.startswith(path) if path in ("", "/v1/analyses/") else asked == path
        if not here or given.content == b"table":
            return given
        return httpx.Response(given.status_code, json=changed(given.json(), name, other))

    with contextlib.suppress(ServiceError, StudyStateError):  # no other error, and no endless run
        run(answer, tmp_path, "good.dcm", "b.dcm")  # type: ignore[arg-type]


def changed(answer: Any, name: str, other: object) -> Any:
    """Put something else in the place of a part of an answer, or leave it out."""
    if not name:
        return other
    *above, last = (int(part) if part.isdecimal() else part for part in name.split("."))
    part = answer
    for step in above:
        part = part[step] if (isinstance(part, list) and part) or isinstance(part, dict) else None
        if part is None:
            return answer
    if other == "missing":
        del part[last]
    else:
        part[last] = other
    return answer


def test_a_table_that_the_service_breaks_on_keeps_no_other_back(tmp_path: Path) -> None:
    service = Service({}, b"bytes")
    breaks = True

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/studies/s":
            given = service(request).json()
            return httpx.Response(200, json=given | {"links": given["links"] | {"beats_csv": "/b"}})
        if breaks and request.url.path == "/b":
            return httpx.Response(500, json={"detail": "A fault.", "code": "internal_error"})
        return service(request)

    failures = run(answer, tmp_path, "good.dcm")  # type: ignore[arg-type]
    assert failures == reasons(tmp_path) == {"beats.csv": "internal_error"}
    assert (tmp_path / "out" / "overview.png").read_bytes() == b"table"
    breaks = False
    assert run(answer, tmp_path, "good.dcm") == {}  # type: ignore[arg-type]


def test_what_is_out_of_the_study_already_is_not_missed(tmp_path: Path) -> None:
    service = Service({"was here.dcm": "too_short", "changed good.dcm": "too_short"}, b"before")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":  # the answer to the first one never arrived
            service.entries.pop(request.url.path.rsplit("/", 1)[1], None)
            return httpx.Response(404, json={"detail": "No such file.", "code": "not_found"})
        return service(request)

    assert run(answer, tmp_path, "changed good.dcm") == {}  # type: ignore[arg-type]
    assert service.sent == ["changed good.dcm"]


def test_a_service_that_will_not_be_back_ends_the_run(tmp_path: Path) -> None:
    stop = threading.Event()

    def refuse(request: httpx.Request) -> httpx.Response:
        stop.set()  # as whoever watches the service does
        raise httpx.ConnectError("Connection refused")

    def sleep(_: float) -> None:
        raise Stopped

    (tmp_path / "m.dcm").write_bytes(b"bytes")
    folder = StudyFolder([LocalFile("m.dcm", tmp_path / "m.dcm", Sample())], [], [])
    with Client("http://lab", transport=httpx.MockTransport(refuse), sleep=sleep) as client:
        study = StudyRun(
            client,
            None,
            folder,
            tmp_path / "out",
            StudyOptions("x"),
            uploads=1,
            stop=stop,
            tell=lambda progress: None,
            lost=lambda: ServiceError("It is gone.") if stop.is_set() else None,
        )
        with pytest.raises(ServiceError, match="gone"):
            study.run()
    assert reasons(tmp_path) == {"m.dcm": "not_finished"}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"server": "http://lab"}', '{"server": 3, "id": null}']
)
def test_a_state_that_no_run_has_left_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / STATE).write_text(text)
    with pytest.raises(StudyStateError, match="not what a run leaves behind"):
        run(Service({}, b"bytes"), tmp_path, "good.dcm")
