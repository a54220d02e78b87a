"""Records keep their order, their state and their uniqueness."""

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event

from app.storage.records import Records, new_id
from app.storage.schema import Request, analyses
from app.storage.studies import AnalysisGoneError, StudyGoneError, StudyRecords
from app.storage.study_schema import NewEntry

FULL = 2
"""SQLite's number for committing to the disk before going on."""


def request(fingerprint: str = "f", *, acknowledged: bool = True) -> Request:
    return Request(
        fingerprint=fingerprint,
        acknowledged=acknowledged,
        file_name="m.dcm",
        size_bytes=7,
        sha256="0" * 64,
        body_mass_g=25.0,
        profile="robust",
        figures=True,
    )


def test_a_record_comes_back_after_a_restart(open_records: Callable[[], Records]) -> None:
    first = open_records()
    made = first.add("a", request())
    first.close()
    assert open_records().get("a") == made
    assert made.created_at.utcoffset() is not None


def test_nothing_of_what_was_removed_stays_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    with contextlib.closing(Records.in_file(path)) as records:
        records.add("a", request())
        records.add("b", replace(request("g"), file_name="removed.dcm"))
        records.cancel("b")
        assert records.remove("b")
        log = path.with_name("records.sqlite-wal")
        assert b"removed.dcm" in log.read_bytes()
        with records.engine.connect() as reader:
            reader.exec_driver_sql("BEGIN")
            reader.exec_driver_sql("SELECT * FROM analyses").all()
            records.add("c", request("h"))
            records.empty_log()  # it does not wait for the reader
        records.empty_log()
        assert log.read_bytes() == b""
        assert b"removed.dcm" not in path.read_bytes()
        assert [record.id for record in records.page(10)] == ["c", "a"]
        with records.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() > 0


def test_what_a_caller_was_told_survives_a_power_cut(tmp_path: Path) -> None:
    with contextlib.closing(Records.in_file(tmp_path / "records.sqlite")) as records:
        with records.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == FULL
        at_once: list[object] = []
        event.listen(records.engine, "commit", at_once.append)
        records.add("a", request("a", acknowledged=False))
        records.start("a")
        assert not at_once, "nobody knows of it yet"
        for number, tell in enumerate(
            (
                lambda: records.acknowledge("a"),
                lambda: records.succeed("a", 1.0),
                lambda: records.add("b", request("b")),
                lambda: records.cancel("b"),
            ),
            start=1,
        ):
            assert tell() is not None
            assert len(at_once) == number


def test_one_fingerprint_is_one_analysis_until_it_fails(records: Records) -> None:
    assert records.add("a", request()).id == "a"
    assert records.add("b", request()).id == "a"
    records.start("a")
    records.succeed("a", 1.0)
    assert records.add("c", request()).id == "a"
    records.remove("a")
    records.add("d", request())
    records.fail("d", "too_short", "…")
    assert records.add("e", request()).id == "e"


def test_pages_go_from_new_to_old(records: Records) -> None:
    for n in range(5):
        records.add(f"a{n}", request(f"f{n}"))
    first = records.page(2)
    second = records.page(3, before=first[-1].number)
    assert [record.id for record in [*first, *second]] == ["a4", "a3", "a2", "a1", "a0"]


def test_a_number_is_never_used_twice(records: Records) -> None:
    number = records.add("a", request()).number
    records.cancel("a")
    records.remove("a")
    assert records.add("b", request()).number > number


def test_a_cancelled_analysis_cannot_succeed(records: Records) -> None:
    records.add("a", request())
    records.start("a")
    assert records.cancel("a") is not None
    assert records.succeed("a", 1.0) is None
    record = records.get("a")
    assert record is not None
    assert record.status == "cancelled"


def test_an_unfinished_analysis_is_not_removed(records: Records) -> None:
    records.add("a", request())
    assert not records.remove("a")
    assert records.get("a") is not None


def in_study(records: Records, id: str) -> tuple[StudyRecords, str]:
    """Put an analysis that only a study asked for into one."""
    records.add(id, replace(request(id), study_only=True))
    table = StudyRecords(records.engine)
    study = table.create("S", owner=None, body_mass_g=None, profile="robust", figures=True)
    table.put(study.id, entry_of(id))
    return table, study.id


def entry_of(id: str | None, name: str = "m.dcm") -> NewEntry:
    return NewEntry(file_name=name, size_bytes=1, sha256="0" * 64, analysis_id=id)


@pytest.mark.parametrize("status", ["queued", "running", "succeeded", "cancelled", "failed"])
def test_what_no_study_has_any_more_goes_in_any_state(records: Records, status: str) -> None:
    table, study = in_study(records, "a")
    {
        "queued": lambda: None,
        "running": lambda: records.start("a"),
        "succeeded": lambda: (records.start("a"), records.succeed("a", 1.0)),
        "cancelled": lambda: records.cancel("a"),
        "failed": lambda: records.fail("a", "too_short", "…"),
    }[status]()
    assert records.remove_orphan("a") is None, "a study has it"
    (entry,) = table.all_entries(study)
    assert (entry.analysis_id, entry.status) == ("a", status)
    assert table.remove(study) == {"a"}
    removed = records.remove_orphan("a")
    assert removed is not None
    assert removed.status == status
    assert records.get("a") is None


def test_what_was_asked_for_by_itself_goes_with_no_study(records: Records) -> None:
    table, study = in_study(records, "a")
    assert records.claim("a")
    assert table.remove(study) == {"a"}
    assert records.remove_orphan("a") is None
    assert records.get("a") is not None
    assert not records.claim("gone")


def test_a_study_takes_in_nothing_that_has_gone(records: Records) -> None:
    table, study = in_study(records, "a")
    with pytest.raises(AnalysisGoneError):
        table.put(study, entry_of("gone", "n.dcm"))
    assert [entry.file_name for entry in table.all_entries(study)] == ["m.dcm"]
    table.remove(study)
    with pytest.raises(StudyGoneError):
        table.put(study, entry_of("a"))
    assert table.remove(study) is None
    assert records.remove_orphan("a") is not None, "nothing refers to it"


def test_a_refusal_nobody_was_told_of_leaves_nothing(records: Records) -> None:
    records.add("a", request(acknowledged=False))
    records.start("a")
    assert records.fail("a", "too_short", "…") is None
    assert records.get("a") is None


def test_a_refusal_after_the_acknowledgement_stays(records: Records) -> None:
    records.add("a", request(acknowledged=False))
    records.start("a")
    records.acknowledge("a")
    failed = records.fail("a", "too_short", "Only 0.1 s.")
    assert failed is not None
    assert (failed.status, failed.error_code, failed.error_detail) == (
        "failed",
        "too_short",
        "Only 0.1 s.",
    )


def test_an_orderly_stop_does_not_count_as_an_attempt(records: Records) -> None:
    records.add("a", request())
    records.start("a")
    stopped = records.requeue("a", counts=False)
    records.start("a")
    crashed = records.requeue("a", counts=True)
    assert stopped is not None
    assert crashed is not None
    assert (stopped.attempts, crashed.attempts) == (0, 1)


def test_ids_are_long_and_differ() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(id) for id in ids} == {32}


def test_records_that_cannot_be_written_are_noticed(tmp_path: Path) -> None:
    records = Records.in_file(tmp_path / "r.sqlite")
    records.check_writable()
    with records.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=1")
        connection.commit()
    with pytest.raises(Exception, match="readonly"):
        records.check_writable()
    records.close()


def test_the_version_before_still_reads_and_writes(tmp_path: Path) -> None:
    """Going back loses nothing: what it does not name is null."""
    path = tmp_path / "r.sqlite"
    store = Records.in_file(path)
    store.add("a", replace(request(), owner="anna"))
    store.close()
    names = [column.name for column in analyses.columns if column.name not in ("owner", "number")]
    with contextlib.closing(sqlite3.connect(path)) as old:
        row = old.execute(f"SELECT {', '.join(names)} FROM analyses").fetchone()
        changed = [
            "b" if name in ("id", "fingerprint") else v for name, v in zip(names, row, strict=True)
        ]
        holes = ", ".join("?" * len(names))
        old.execute(f"INSERT INTO analyses ({', '.join(names)}) VALUES ({holes})", changed)
        old.commit()
    store = Records.in_file(path)
    assert [record.owner for record in store.page(9)] == [None, "anna"]
    store.close()


def test_only_what_ended_before_is_found(records: Records) -> None:
    for n, end in enumerate(("queued", "running", "succeeded", "failed", "cancelled")):
        records.add(end, request(f"f{n}"))
        if end in ("running", "succeeded", "failed"):
            records.start(end)
    records.succeed("succeeded", 1.0)
    records.fail("failed", "too_short", "…")
    records.cancel("cancelled")
    assert records.finished_before(datetime.max.replace(tzinfo=UTC)) == [
        "succeeded",
        "failed",
        "cancelled",
    ]
    first_end = records.get("succeeded").finished_at
    assert records.finished_before(first_end) == []


def test_a_files_name_goes_with_its_record(tmp_path: Path) -> None:
    store = Records.in_file(tmp_path / "r.sqlite")
    for n in range(50):
        store.add(f"a{n}", replace(request(f"f{n}"), file_name=f"CANARY-{n}.dcm"))
        store.fail(f"a{n}", "too_short", "…")
    for n in range(50):
        assert store.remove(f"a{n}")
    store.close()
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"CANARY" not in left
