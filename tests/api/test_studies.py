"""Studies: files come in, tables come out, and nothing stays that nobody refers to."""

import csv
import errno
import hashlib
import io
import json
import threading
import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from app.jobs.archives import Archive, Member
from app.jobs.studies import Studies
from app.keys import add_key
from app.storage.files import Files
from app.storage.records import Records
from app.storage.studies import StudyRecords
from tests.api.conftest import GOOD, PNG, Core, Serve, post_raw, until

pytestmark = pytest.mark.anyio


async def make(client: httpx.AsyncClient, name: str = "S", **options: Any) -> dict[str, Any]:
    answer = await client.post("/v1/studies", json={"name": name} | options)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == answer.json()["links"]["self"]
    return answer.json()


async def add(
    client: httpx.AsyncClient, study: dict[str, Any], content: bytes = GOOD, **given: Any
) -> httpx.Response:
    return await client.post(
        study["links"]["analyses"],
        params=given,
        content=content,
        headers={"Content-Type": "application/dicom"},
    )


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


async def add_zip(
    client: httpx.AsyncClient, study: dict[str, Any], content: bytes, **given: Any
) -> httpx.Response:
    return await client.post(
        study["links"]["analyses"],
        params=given,
        content=content,
        headers={"Content-Type": "application/zip"},
    )


async def ended(client: httpx.AsyncClient, study: dict[str, Any]) -> dict[str, Any]:
    """Wait until every file of a study has ended."""
    while True:
        shown = (await client.get(study["links"]["self"])).json()
        if shown["progress"]["fraction"] in (None, 1.0):
            return shown


async def table(client: httpx.AsyncClient, study: dict[str, Any], name: str) -> list[dict]:
    answer = await client.get(study["links"][name])
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def entries(client: httpx.AsyncClient, study: dict[str, Any]) -> list[dict[str, Any]]:
    return (await client.get(study["links"]["analyses"], params={"limit": 1000})).json()["items"]


async def test_a_study_of_one(client: httpx.AsyncClient) -> None:
    study = await make(client, "Week 4", body_mass_g=21.5)
    assert study["counts"]["total"] == 0
    assert study["progress"] == {"finished": 0, "fraction": None}
    answer = await add(client, study, file_name="day 1/m.dcm", mouse_id="M1", sex="F", group="wt")
    assert answer.status_code == 202
    (entry,) = answer.json()["items"]
    sample = {"mouse_id": "M1", "sex": "F", "group": "wt", "body_mass_g": 21.5}
    assert {name: entry[name] for name in sample} == sample
    assert entry["sha256"] == hashlib.sha256(GOOD).hexdigest()

    shown = await ended(client, study)
    assert shown["counts"]["succeeded"] == 1
    assert shown["failures"] == []
    entry = (await client.get(entry["links"]["self"])).json()
    assert (entry["file_name"], entry["status"]) == ("day 1/m.dcm", "succeeded")
    analysis = (await client.get(entry["links"]["analysis"])).json()
    assert (analysis["id"], analysis["status"]) == (entry["analysis_id"], "succeeded")
    assert analysis["input"]["body_mass_g"] == 21.5
    (row,) = await table(client, study, "summary_csv")
    assert (row["file_name"], row["group"], row["status"]) == ("day 1/m.dcm", "wt", "succeeded")
    own = (await client.get(analysis["links"]["summary_csv"])).text
    (own_row,) = csv.DictReader(io.StringIO(own, newline=""))
    assert row["lvid_d_mm_median"] == own_row["lvid_d_mm_median"] != ""
    beats = await table(client, study, "beats_csv")
    assert len(beats) == len(analysis["beats"])
    (mouse,) = await table(client, study, "mice_csv")
    assert (mouse["mouse_id"], mouse["recordings"]) == ("M1", "1")
    accepted = sum(beat["accepted"] for beat in analysis["beats"])
    assert len(await table(client, study, "published_all_csv")) == accepted
    (stats,) = await table(client, study, "published_stats_csv")
    assert stats["file"] == "day 1/m.dcm"
    overview = await client.get(study["links"]["overview_png"])
    assert overview.content == PNG + b"Week 4: 1"


async def test_studies_are_listed_a_page_at_a_time(client: httpx.AsyncClient) -> None:
    made = [await make(client, f"S{n}") for n in range(5)]
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/studies", params=query)).json()
        seen += [study["id"] for study in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [study["id"] for study in reversed(made)]


async def test_what_cannot_be_measured_is_there_with_its_reason(client: httpx.AsyncClient) -> None:
    study = await make(client)
    for n, content in enumerate((b"no dicom", GOOD + b"header:no_m_mode_region")):
        answer = await add(client, study, content, file_name=f"{n}.dcm")
        assert (answer.status_code, answer.json()["failed"]) == (202, 1)
    await add(client, study, GOOD + b"pixels:too_short", file_name="2.dcm")
    await add(client, study, GOOD, file_name="3.dcm")
    shown = await ended(client, study)

    codes = ["not_dicom", "no_m_mode_region", "too_short"]
    assert [failure["code"] for failure in shown["failures"]] == codes
    assert (shown["counts"]["failed"], shown["counts"]["succeeded"]) == (3, 1)
    rows = await table(client, study, "summary_csv")
    assert [row["error_code"] for row in rows] == [*codes, ""]
    failed = await client.get(study["links"]["analyses"], params={"status": "failed"})
    assert [entry["error"]["code"] for entry in failed.json()["items"]] == codes
    assert len(await table(client, study, "published_stats_csv")) == 1


async def test_the_same_file_again_is_known_unless_it_has_no_result(
    client: httpx.AsyncClient, core: Core
) -> None:
    study = await make(client)

    async def again(content: bytes, name: str) -> tuple[int, int, int]:
        answer = await add(client, study, content, file_name=name)
        await ended(client, study)
        return answer.status_code, answer.json()["added"], answer.json()["known"]

    good, short, other = GOOD + b"1", GOOD + b"pixels:too_short", b"no dicom"
    for content, name in ((good, "good"), (short, "short"), (other, "other")):
        assert await again(content, name) == (202, 1, 0)
    assert await again(good, "good") == (200, 0, 1)
    assert await again(short, "short") == await again(other, "other") == (202, 1, 0)

    (entry,) = [e for e in await entries(client, study) if e["file_name"] == "good"]
    await client.delete(entry["links"]["analysis"])
    assert await again(good, "good") == (202, 1, 0), "it was removed"
    core.open.clear()
    answer = await add(client, study, GOOD + b"2", file_name="stopped")
    assert (await add(client, study, GOOD + b"2", file_name="stopped")).status_code == 200, "runs"
    await client.delete(answer.json()["items"][0]["links"]["analysis"])
    core.open.set()
    assert await again(GOOD + b"2", "stopped") == (202, 1, 0), "it was cancelled"
    described = (await client.get("/openapi.json")).json()["paths"]
    said = described["/v1/studies/{id}/analyses"]["post"]["description"]
    assert "unless one of\nthem has no result" in said


async def test_the_profile_published_needs_every_mouse_s_mass(client: httpx.AsyncClient) -> None:
    study = await make(client, profile="published")
    (bare,) = (await add(client, study, file_name="a")).json()["items"]
    (known,) = (await add(client, study, GOOD + b"2", file_name="b", body_mass_g=25)).json()[
        "items"
    ]

    assert bare["error"]["code"] == "invalid_option"
    assert known["error"] is None


async def test_a_zip_with_its_sheet(client: httpx.AsyncClient) -> None:
    study = await make(client, body_mass_g=20)
    content = zipped(
        {
            "samples.csv": b"file_name,body_mass_g,mouse_id,group\n"
            b"day 1/m1.dcm,25,M1,wt\nm2.dcm,,M2,ko\n",
            "day 1/m1.dcm": GOOD + b"1",
            "day 1/m2.dcm": GOOD + b"2",
            "day 2/m3.dcm": GOOD + b"3",
            "__MACOSX/day 1/._m1.dcm": b"fork",
            "notes.txt": b"scanned on Tuesday",
        }
    )
    answer = await add_zip(client, study, content, sex="M")
    assert answer.status_code == 202
    added = answer.json()
    assert (added["added"], added["known"], added["failed"]) == (4, 0, 1)
    assert added["ignored"] == ["__MACOSX/day 1/._m1.dcm"]
    shown = [(e["file_name"], e["body_mass_g"], e["mouse_id"], e["sex"]) for e in added["items"]]
    assert shown == [
        ("day 1/m1.dcm", 25.0, "M1", "M"),
        ("day 1/m2.dcm", 20.0, "M2", "M"),
        ("day 2/m3.dcm", 20.0, None, "M"),
        ("notes.txt", 20.0, None, "M"),
    ]
    assert added["items"][3]["error"]["code"] == "not_dicom"
    counts = (await ended(client, study))["counts"]
    assert (counts["succeeded"], counts["failed"]) == (3, 1)

    again = await add_zip(client, study, content, sex="M")
    assert (again.json()["known"], again.json()["added"]) == (3, 1), "what failed is tried again"
    assert len(await entries(client, study)) == 4


async def test_a_zip_in_a_form_beside_its_sheet(client: httpx.AsyncClient) -> None:
    study = await make(client)
    answer = await client.post(
        study["links"]["analyses"],
        files={
            "file": ("study.zip", zipped({"a/m1.dcm": GOOD}), "application/zip"),
            "sheet": ("samples.csv", b"file_name;body_mass_g;group\r\nm1.dcm;25,5;wt\r\n"),
        },
        data={"group": "other", "mouse_id": "M1"},
    )
    (entry,) = answer.json()["items"]
    assert (entry["file_name"], entry["body_mass_g"]) == ("a/m1.dcm", 25.5)
    assert (entry["group"], entry["mouse_id"]) == ("wt", "M1"), "the sheet knows the single file"


async def test_a_recording_in_a_form_beside_its_sheet(client: httpx.AsyncClient) -> None:
    study = await make(client)
    answer = await client.post(
        study["links"]["analyses"],
        files={"file": ("m1.dcm", GOOD), "sheet": ("s.csv", b"file_name,group\nm1.dcm,wt\n")},
        data={"group": "ko"},
    )
    (entry,) = answer.json()["items"]
    assert (entry["file_name"], entry["group"]) == ("m1.dcm", "ko"), "the form means this file"


@pytest.mark.parametrize(
    ("files", "given", "status", "code"),
    [
        ({"m": bytes(190_000)}, {}, 413, "too_large"),
        ({f"{n}": b"" for n in range(101)}, {}, 413, "too_large"),
        ({"m": GOOD, "samples.csv": b"file_name,weight\nm,2\n"}, {}, 422, "invalid_option"),
        ({"m": GOOD, "a/samples.csv": b"", "b/samples.csv": b""}, {}, 422, "invalid_option"),
        (
            {"a/m": GOOD, "b/m": GOOD, "samples.csv": b"file_name,sex\nm,F\n"},
            {},
            422,
            "invalid_option",
        ),
        ({"m": GOOD}, {"file_name": "x"}, 422, "invalid_option"),
        ({"m": GOOD}, {"sex": "hen"}, 422, "invalid_option"),
        ({"m": GOOD}, {"profile": "robust"}, 422, "invalid_option"),
    ],
)
async def test_a_zip_that_is_refused_whole(
    serve: Serve, files: dict[str, bytes], given: dict[str, str], status: int, code: str
) -> None:
    async with serve(max_archive_files=100, max_archive_ratio=50) as client:
        study = await make(client)
        answer = await add_zip(client, study, zipped(files), **given)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert await entries(client, study) == []


async def test_a_damaged_zip_is_refused(client: httpx.AsyncClient) -> None:
    study = await make(client)
    answer = await add_zip(client, study, b"PK\x03\x04 and so on")
    assert (answer.status_code, answer.json()["code"]) == (422, "corrupt_archive")


async def test_a_member_too_large_for_a_recording_is_named(serve: Serve) -> None:
    async with serve(max_upload_bytes=1000) as client:
        study = await make(client)
        answer = await add_zip(client, study, zipped({"a": bytes(1001), "b": GOOD}))
        assert [e["error"] and e["error"]["code"] for e in answer.json()["items"]] == [
            "too_large",
            None,
        ]


async def test_the_same_bytes_in_two_studies_are_one_analysis(
    client: httpx.AsyncClient, core: Core
) -> None:
    one, two = await make(client, "1"), await make(client, "2")
    await add(client, one, file_name="a.dcm", mouse_id="A")
    await add(client, two, file_name="b.dcm", mouse_id="B")
    await ended(client, one)
    await ended(client, two)

    (first,), (second,) = await entries(client, one), await entries(client, two)
    assert first["analysis_id"] == second["analysis_id"]
    assert (first["file_name"], first["mouse_id"]) == ("a.dcm", "A")
    assert (second["file_name"], second["mouse_id"]) == ("b.dcm", "B")
    assert len(core.analysed) == 1
    link = first["links"]["analysis"]
    assert (await client.delete(one["links"]["self"])).status_code == 204
    assert (await client.get(one["links"]["self"])).status_code == 404
    assert (await client.get(link)).status_code == 200, "the second study has it still"
    assert (await client.delete(two["links"]["self"])).status_code == 204
    assert (await client.get(link)).status_code == 404


@pytest.mark.parametrize("alone_first", [True, False])
async def test_what_was_asked_for_by_itself_outlives_the_study(
    client: httpx.AsyncClient, alone_first: bool
) -> None:
    study = await make(client)
    if alone_first:
        link = (await post_raw(client)).json()["links"]["self"]
    await add(client, study, file_name="a.dcm")
    await ended(client, study)
    if not alone_first:
        answer = await post_raw(client)
        assert answer.status_code == 200
        link = answer.json()["links"]["self"]
    await client.delete(study["links"]["self"])

    assert (await client.get(link)).status_code == 200


async def test_a_study_is_removed_while_it_runs(
    client: httpx.AsyncClient, core: Core, settings: Any
) -> None:
    core.open.clear()
    study = await make(client)
    for n in range(3):
        await add(client, study, GOOD + bytes([n]), file_name=f"{n}.dcm")
    links = [entry["links"]["analysis"] for entry in await entries(client, study)]
    await until(client, links[0].rsplit("/", 1)[1], "running")

    assert (await client.delete(study["links"]["self"])).status_code == 204
    for link in links:
        assert (await client.get(link)).status_code == 404
    core.open.set()
    assert (await post_raw(client, GOOD + b"after")).status_code == 201
    folders = list(Path(settings.data_dir, "analyses").iterdir())
    assert len(folders) == 1


@pytest.mark.parametrize("send", [add, add_zip])
async def test_a_study_is_removed_while_a_file_is_on_its_way(
    client: httpx.AsyncClient, core: Core, monkeypatch: pytest.MonkeyPatch, send: Any
) -> None:
    study = await make(client)
    held, seen = threading.Event(), threading.Event()
    taken_in = Studies.add

    def hold(self: Studies, *given: Any) -> Any:
        seen.set()
        held.wait()
        return taken_in(self, *given)

    monkeypatch.setattr(Studies, "add", hold)
    answers = []

    async def upload() -> None:
        content = GOOD if send is add else zipped({"a.dcm": GOOD, "b.dcm": b"no dicom"})
        answers.append(await send(client, study, content))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upload)
        await anyio.to_thread.run_sync(seen.wait)
        assert (await client.delete(study["links"]["self"])).status_code == 204
        held.set()
    (answer,) = answers
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await client.get("/v1/analyses")).json()["items"] == []
    table_of_studies = client._transport.app.state.service.studies.table
    assert list(table_of_studies.all_entries(study["id"])) == [], "nothing of it is kept"


async def test_the_recording_of_what_runs_is_left_to_its_worker(
    client: httpx.AsyncClient, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    core.open.clear()
    study = await make(client)
    await add(client, study)
    await anyio.to_thread.run_sync(core.started.wait)
    drop, dropped, by = Files.drop_upload, threading.Event(), []

    def note(self: Files, id: str, sha256: str) -> None:
        by.append(threading.current_thread().name)
        drop(self, id, sha256)
        dropped.set()

    monkeypatch.setattr(Files, "drop_upload", note)
    assert (await client.delete(study["links"]["self"])).status_code == 204
    await anyio.to_thread.run_sync(dropped.wait)
    assert all(name.startswith("analysis-") for name in by), "it may still be read"
    assert (await client.get("/v1/analyses")).json()["items"] == []


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}], ids=["plain", "named"])
async def test_what_goes_with_its_study_is_not_given_to_who_asks_for_it_alone(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    service = client._transport.app.state.service
    study = await make(client)
    await add(client, study)
    await ended(client, study)
    (entry,) = await entries(client, study)
    find = Records.find

    def go_once_found(self: Records, fingerprint: str) -> Any:
        found = find(self, fingerprint)
        if found is not None and service.studies.table.get(study["id"]) is not None:
            service.studies.table.remove(study["id"])
            service.records.remove(found.id)
        return found

    monkeypatch.setattr(Records, "find", go_once_found)
    monkeypatch.setattr(Files, "has_result", lambda *_: True)
    answer = await post_raw(client, headers={"Prefer": "respond-async", **headers})
    assert answer.status_code == 202
    assert answer.json()["id"] != entry["analysis_id"]
    await until(client, answer.json()["id"], "succeeded")


async def test_who_asks_for_analyses_alone_keeps_them_though_their_studies_go(
    client: httpx.AsyncClient,
) -> None:
    for n in range(25):
        study = await make(client)
        content = GOOD + bytes([n])
        await add(client, study, content)
        answers: dict[str, httpx.Response] = {}

        async def ask(content: bytes = content, answers: Any = answers) -> None:
            headers = {"Prefer": "respond-async"}
            answers["asked"] = await post_raw(client, content, headers)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await client.delete(study["links"]["self"])
        assert answers["asked"].status_code in (200, 202)
        await until(client, answers["asked"].json()["id"], "succeeded")


async def test_a_study_refers_to_no_analysis_that_has_just_gone(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = client._transport.app.state.service
    first, second = await make(client, "1"), await make(client, "2")
    await add(client, first)
    await ended(client, first)
    put = StudyRecords.put
    gone: list[str] = []

    def go_before(self: StudyRecords, study_id: str, entry: Any) -> Any:
        if not gone:  # as results do that are too old
            gone.append(entry.analysis_id)
            assert service.records.remove(entry.analysis_id)
        return put(self, study_id, entry)

    monkeypatch.setattr(StudyRecords, "put", go_before)
    (entry,) = (await add(client, second)).json()["items"]
    assert entry["status"] != "removed"
    assert entry["analysis_id"] not in (None, *gone)
    assert (await ended(client, second))["counts"]["succeeded"] == 1


async def test_what_a_file_refers_to_when_it_goes_goes_too(client: httpx.AsyncClient) -> None:
    study = await make(client)
    (entry,) = (await add(client, study, body_mass_g=20)).json()["items"]
    studies = client._transport.app.state.service.studies
    seen = studies.table.entry(study["id"], entry["id"])
    await add(client, study, body_mass_g=30)  # between being looked at and being removed
    assert studies.remove_entry(seen)
    assert (await client.get("/v1/analyses")).json()["items"] == []


async def test_what_a_killed_removal_left_goes_with_the_next_start(
    serve: Serve, core: Core, settings: Any
) -> None:
    core.open.clear()
    async with serve(shutdown_grace_s=0) as client:
        doomed, kept = await make(client, "doomed"), await make(client, "kept")
        for n in range(3):
            await add(client, doomed, GOOD + bytes([n]), file_name=f"{n}.dcm")
        await add(client, kept, GOOD + bytes([0]), file_name="0.dcm")
        alone = (await post_raw(client, GOOD + bytes([1]), {"Prefer": "respond-async"})).json()
        # what a removal does first; then the service is killed
        client._transport.app.state.service.studies.table.remove(doomed["id"])
    core.open.set()
    async with serve() as client:
        assert (await ended(client, kept))["counts"]["succeeded"] == 1
        await until(client, alone["id"], "succeeded")
        items = (await client.get("/v1/analyses")).json()["items"]
        (entry,) = await entries(client, kept)
        assert {item["id"] for item in items} == {alone["id"], entry["analysis_id"]}
        assert list(Path(settings.data_dir, "uploads").iterdir()) == []


async def test_what_another_process_left_goes_while_the_service_runs(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.main.ORPHANS_STAY_S", 1.0)
    async with serve() as client:
        doomed, kept = await make(client, "doomed"), await make(client, "kept")
        for n in range(2):
            await add(client, doomed, GOOD + bytes([n]), file_name=f"{n}.dcm")
        await add(client, kept, GOOD + bytes([0]), file_name="0.dcm")
        await ended(client, doomed)
        (entry,) = await entries(client, kept)
        studies = client._transport.app.state.service.studies
        studies.table.remove(doomed["id"])  # as far as a process came that was killed then
        assert studies.tidy(age_s=3600.0) == 0, "a study may be about to refer to it"
        with anyio.fail_after(20):
            while len(items := (await client.get("/v1/analyses")).json()["items"]) > 1:
                await anyio.sleep(0.05)
        assert [item["id"] for item in items] == [entry["analysis_id"]]


async def test_a_file_is_taken_out(client: httpx.AsyncClient) -> None:
    study = await make(client)
    for n in range(2):
        await add(client, study, GOOD + bytes([n]), file_name=f"{n}.dcm")
    await ended(client, study)
    first, second = await entries(client, study)

    assert (await client.delete(first["links"]["self"])).status_code == 204
    assert (await client.delete(first["links"]["self"])).status_code == 404
    assert (await client.get(first["links"]["analysis"])).status_code == 404
    assert [entry["id"] for entry in await entries(client, study)] == [second["id"]]


async def test_a_removed_analysis_leaves_the_name(client: httpx.AsyncClient) -> None:
    study = await make(client)
    await add(client, study, file_name="a.dcm", group="wt")
    await ended(client, study)
    (entry,) = await entries(client, study)
    await client.delete(entry["links"]["analysis"])

    (entry,) = await entries(client, study)
    assert (entry["status"], entry["links"]["analysis"]) == ("removed", None)
    (row,) = await table(client, study, "summary_csv")
    assert (row["status"], row["lvid_d_mm_n"]) == ("removed", "")
    assert entry["error"]["code"] == row["error_code"] == "not_found"
    assert await table(client, study, "beats_csv") == []
    answer = await add(client, study, file_name="a.dcm", group="wt")
    assert answer.json()["added"] == 1, "it can be sent again"
    assert (await ended(client, study))["counts"]["succeeded"] == 1


async def test_what_expires_leaves_its_reason(client: httpx.AsyncClient) -> None:
    study = await make(client)
    await add(client, study, GOOD + b"pixels:too_short", file_name="bad.dcm")
    await add(client, study, GOOD, file_name="1.dcm", mouse_id="M")
    before = await ended(client, study)
    service = client._transport.app.state.service
    assert service.intake.expire(datetime.now(UTC) + timedelta(hours=1)) == 2
    await add(client, study, GOOD + b"2", file_name="2.dcm", mouse_id="M")
    after = await ended(client, study)

    wanted = {"total": 3, "succeeded": 1, "failed": 1, "removed": 1}
    assert {name: after["counts"][name] for name in wanted} == wanted
    why_bad, why_gone = after["failures"]
    assert [why_bad] == before["failures"]
    assert why_bad["code"] == "too_short"
    assert (why_gone["file_name"], why_gone["code"]) == ("1.dcm", "not_found")
    rows = await table(client, study, "summary_csv")
    assert [row["error_detail"] for row in rows] == [why_bad["detail"], why_gone["detail"], ""]
    (mouse,) = await table(client, study, "mice_csv")
    assert (mouse["file_names"], mouse["recordings_without_result"]) == ("2.dcm", "1")
    for entry in await entries(client, study):
        if link := entry["links"]["analysis"]:
            assert (await client.get(link)).status_code == 200
    again = await add(client, study, GOOD + b"pixels:too_short", file_name="bad.dcm")
    assert again.json()["added"] == 1, "it can be tried again"


async def test_a_name_stands_for_one_file(client: httpx.AsyncClient, core: Core) -> None:
    study = await make(client)
    first = await add(client, study, file_name="a.dcm", body_mass_g=20)
    await ended(client, study)
    same = await add(client, study, file_name="a.dcm", body_mass_g=20)
    assert (same.status_code, same.json()["known"]) == (200, 1)
    other = await add(client, study, GOOD + b"2", file_name="a.dcm")
    assert (other.status_code, other.json()["code"]) == (409, "name_taken")

    grouped = await add(client, study, file_name="a.dcm", body_mass_g=20, group="wt")
    (before,), (after,) = first.json()["items"], grouped.json()["items"]
    assert (after["id"], after["analysis_id"]) == (before["id"], before["analysis_id"])
    assert after["group"] == "wt"
    assert len(core.analysed) == 1
    heavier = await add(client, study, file_name="a.dcm", body_mass_g=21, group="wt")
    (after,) = heavier.json()["items"]
    assert after["analysis_id"] != before["analysis_id"]
    await ended(client, study)
    assert (await client.get(before["links"]["analysis"])).status_code == 404
    assert len(await entries(client, study)) == 1


async def test_a_better_file_takes_the_place_of_one_that_failed(client: httpx.AsyncClient) -> None:
    study = await make(client)
    await add(client, study, b"no dicom", file_name="a.dcm")
    await add(client, study, GOOD + b"pixels:too_short", file_name="b.dcm")
    await ended(client, study)
    failed = (await entries(client, study))[1]["links"]["analysis"]
    for name in ("a.dcm", "b.dcm"):
        assert (await add(client, study, GOOD, file_name=name)).status_code == 202
    counts = (await ended(client, study))["counts"]

    assert (counts["total"], counts["succeeded"]) == (2, 2)
    assert (await client.get(failed)).status_code == 404, "nobody refers to it any more"


async def test_a_worse_file_takes_the_place_of_one_that_failed(serve: Serve) -> None:
    async with serve(max_upload_bytes=1000) as client:
        study = await make(client)
        await add(client, study, GOOD + b"pixels:too_short", file_name="b.dcm")
        await ended(client, study)
        failed = (await entries(client, study))[0]["links"]["analysis"]
        await add_zip(client, study, zipped({"b.dcm": GOOD + bytes(2000)}))
        (entry,) = await entries(client, study)
        assert entry["error"]["code"] == "too_large"
        assert (await client.get(failed)).status_code == 404, "nobody refers to it any more"


async def test_all_of_it_in_a_zip(client: httpx.AsyncClient) -> None:
    study = await make(client, "Z")
    await add_zip(client, study, zipped({"a/m1.dcm": GOOD + b"1", "m2": GOOD + b"2", "x": b"x"}))
    await ended(client, study)
    answer = await client.get(study["links"]["archive_zip"])
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    tables = {"summary.csv", "beats.csv", "mice.csv", "published_all.csv", "published_stats.csv"}
    own = {"analysis.json", "beats.csv", "trace.csv"}
    figures = (await client.get((await entries(client, study))[0]["links"]["analysis"])).json()
    own |= {f"{name}.png" for name in figures["links"]["figures"]}

    assert set(archive.namelist()) == {"study.json", "overview.png", *tables} | {
        f"recordings/{name}/{file}" for name in ("a/m1.dcm", "m2") for file in own
    }
    for name in tables:
        link = study["links"][name.replace(".csv", "_csv")]
        assert archive.read(name) == (await client.get(link)).content
    assert archive.read("recordings/m2/systole.png") == PNG + b"systole"


async def test_names_in_the_zip_can_be_unpacked_anywhere(client: httpx.AsyncClient) -> None:
    study = await make(client)
    given = [
        "../../up.dcm",
        "/abs.dcm",
        "C:\\x.dcm",
        "10:32?.dcm",
        "10_32_.dcm",
        "Day./a.dcm",
        "A\nb",
    ]
    for i, name in enumerate(given):
        added = await add(client, study, GOOD + b"%d" % i, file_name=name)
        assert added.status_code == 202
    await ended(client, study)

    archive = await client.get(study["links"]["archive_zip"])

    with zipfile.ZipFile(io.BytesIO(archive.content)) as unpacked:
        folders = {
            name: json.loads(unpacked.read(name))["input"]["file_name"]
            for name in unpacked.namelist()
            if name.endswith("/analysis.json")
        }
    assert {name.split("/", 1)[1].rsplit("/", 1)[0]: said for name, said in folders.items()} == {
        "up.dcm": "up.dcm",
        "abs.dcm": "abs.dcm",
        "C_/x.dcm": "C:/x.dcm",
        "10_32_.dcm": "10:32?.dcm",
        "10_32_.dcm (2)": "10_32_.dcm",
        "Day_/a.dcm": "Day./a.dcm",
        "Ab": "Ab",
    }


async def test_without_figures_none_is_drawn_for_the_zip(
    client: httpx.AsyncClient, core: Core
) -> None:
    study = await make(client, figures=False)
    await add(client, study, file_name="m.dcm")
    await ended(client, study)
    content = (await client.get(study["links"]["archive_zip"])).content

    assert not [
        n for n in zipfile.ZipFile(io.BytesIO(content)).namelist() if "/" in n and "png" in n
    ]
    assert core.drawn == []


async def test_two_hundred_with_ten_bad_ones(client: httpx.AsyncClient) -> None:
    study = await make(client, figures=False)
    bad = {20 * n + 7 for n in range(10)}
    files = {
        f"mouse {n % 50}/{n}.dcm": b"broken" if n in bad else GOOD + n.to_bytes(2, "big")
        for n in range(200)
    }
    rows = (f"{name},M{n % 50},g{n % 2}" for n, name in enumerate(files))
    sheet = "\n".join(("file_name,mouse_id,group", *rows)).encode()
    answer = await add_zip(client, study, zipped(files | {"samples.csv": sheet}))
    assert (answer.json()["added"], answer.json()["failed"]) == (200, 10)
    shown = await ended(client, study)

    assert shown["counts"] == {
        "total": 200, "succeeded": 190, "failed": 10,
        "queued": 0, "running": 0, "cancelled": 0, "removed": 0,
    }  # fmt: skip
    assert len(shown["failures"]) == 10
    summary = await table(client, study, "summary_csv")
    assert Counter(row["status"] for row in summary) == {"succeeded": 190, "failed": 10}
    mice = await table(client, study, "mice_csv")
    assert len(mice) == 50
    assert sum(int(mouse["recordings"]) for mouse in mice) == 190
    per_recording = int(next(row["lvid_d_mm_n"] for row in summary if row["lvid_d_mm_n"]))
    assert sum(int(mouse["lvid_d_mm_n"]) for mouse in mice) == 190 * per_recording


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": ""}, 422, "invalid_option"),
        ({"name": " \x00 "}, 422, "invalid_option"),
        ({}, 422, "invalid_option"),
        ({"name": "x", "profil": "robust"}, 422, "invalid_option"),
        ({"name": "x", "body_mass_g": 0}, 422, "invalid_option"),
        ({"name": "x", "body_mass_g": "25"}, 422, "invalid_option"),
        ({"name": "x" * 201}, 422, "invalid_option"),
        ([], 422, "invalid_option"),
        ({"name": "x" * 70_000}, 413, "too_large"),
    ],
)
async def test_a_study_that_is_not_made(
    client: httpx.AsyncClient, body: Any, status: int, code: str
) -> None:
    answer = await client.post("/v1/studies", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await client.get("/v1/studies")).json()["items"] == []


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [(b"{", "application/json", 400), (b"name=x", "application/x-www-form-urlencoded", 415)],
)
async def test_a_body_that_is_not_json(
    client: httpx.AsyncClient, content: bytes, media_type: str, status: int
) -> None:
    answer = await client.post("/v1/studies", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == status


async def test_another_type_is_refused_by_name(client: httpx.AsyncClient) -> None:
    study = await make(client)
    answer = await client.post(
        study["links"]["analyses"], content=b"x", headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 415
    for name in ("multipart/form-data", "application/dicom", "application/zip"):
        assert name in answer.json()["detail"]


async def test_each_key_has_its_own_studies(serve: Serve, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    anna, ben, reader = (
        {"Authorization": f"Bearer {add_key(keys, name, role)}"}
        for name, role in (("anna", "analyse"), ("ben", "analyse"), ("rita", "read-all"))
    )
    async with serve(keys_file=keys) as client:
        client.headers = anna
        study = await make(client)
        await add(client, study, file_name="a.dcm")
        await ended(client, study)
        (entry,) = await entries(client, study)
        links = [*study["links"].values(), *entry["links"].values()]
        for link in links:
            assert (await client.get(link)).status_code == 200, link
        client.headers = ben
        for link in links:
            assert (await client.get(link)).status_code == 404, link
        for link in (study["links"]["self"], entry["links"]["self"]):
            assert (await client.delete(link)).status_code == 404
        assert (await add(client, study, file_name="b.dcm")).status_code == 404
        assert (await client.get("/v1/studies")).json()["items"] == []
        other = await make(client)
        await add(client, other, file_name="a.dcm")
        await ended(client, other)
        assert (await entries(client, other))[0]["analysis_id"] != entry["analysis_id"]
        client.headers = reader
        for link in links:
            assert (await client.get(link)).status_code == 200, link
        assert (await client.delete(study["links"]["self"])).status_code == 403
        assert (await client.delete(entry["links"]["self"])).status_code == 403
        assert (await add(client, study)).status_code == 403
        assert (await client.post("/v1/studies", json={"name": "x"})).status_code == 403


async def test_a_study_outlives_a_restart(serve: Serve) -> None:
    async with serve() as client:
        study = await make(client)
        await add(client, study, file_name="a.dcm", group="wt")
        before = await ended(client, study)
    async with serve() as client:
        assert (await client.get(study["links"]["self"])).json() == before
        assert [entry["group"] for entry in await entries(client, study)] == ["wt"]


async def test_a_full_queue_is_said_before_anything_is_taken_in(serve: Serve, core: Core) -> None:
    core.open.clear()
    async with serve(max_queued=1) as client:
        study = await make(client)
        first = await add(client, study, GOOD + b"0", file_name="0.dcm")
        await until(client, first.json()["items"][0]["analysis_id"], "running")
        both = await add_zip(client, study, zipped({"1.dcm": GOOD + b"1", "2.dcm": GOOD + b"2"}))
        assert both.json()["added"] == 2, "what an archive holds may wait, once it is taken"
        refused = await add(client, study, GOOD + b"3", file_name="3.dcm")
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) > 0
        core.open.set()
        assert (await ended(client, study))["counts"]["succeeded"] == 3
        assert (await add(client, study, GOOD + b"3", file_name="3.dcm")).status_code == 202


async def test_a_full_disk_keeps_what_was_taken_in(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = Archive.extract

    def full(self: Archive, member: Member, target: Path) -> str:
        if member.name == "2.dcm":
            raise OSError(errno.ENOSPC, "No space left on device")
        return extract(self, member, target)

    study = await make(client)
    content = zipped({f"{n}.dcm": GOOD + bytes([n]) for n in (1, 2, 3)})
    with monkeypatch.context() as patched:
        patched.setattr(Archive, "extract", full)
        answer = await add_zip(client, study, content)
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert [entry["file_name"] for entry in await entries(client, study)] == ["1.dcm"]
    answer = await add_zip(client, study, content)
    assert (answer.json()["known"], answer.json()["added"]) == (1, 2)
