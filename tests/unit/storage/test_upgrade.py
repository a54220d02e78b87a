"""Whatever version made the records, the service works with them as with its own."""

import contextlib
import io
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from app.storage.records import Records
from app.storage.schema import metadata
from app.storage.upgrade import MIGRATIONS, NewerStoreError, upgrade
from tests.unit.storage.test_records import request

VERSIONS = [s.revision for s in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]
BEFORE_ALEMBIC = ("v0001", "v0002")


def make(path: Path, version: str, *, with_alembic: bool = True) -> None:
    """Make a database as a version had it, with an analysis that has succeeded and one queued."""
    engine = create_engine(f"sqlite:///{path}")
    upgrade(engine, version)
    engine.dispose()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        if not with_alembic:
            connection.execute("DROP TABLE alembic_version")
        for id, status in (("a", "succeeded"), ("b", "queued")):
            values = {
                "id": id, "fingerprint": id * 64, "status": status, "acknowledged": 1,
                "attempts": 0, "created_at": "2026-01-02 03:04:05.000006", "file_name": "m.dcm",
                "size_bytes": 7, "sha256": "0" * 64, "profile": "robust", "figures": 1,
                "render_ms": 1.5,
            }  # fmt: skip
            connection.execute(
                f"INSERT INTO analyses ({', '.join(values)}) "
                f"VALUES ({', '.join('?' * len(values))})",
                list(values.values()),
            )
        connection.commit()


def tables_of(path: Path) -> set[tuple[str, str | None]]:
    """Names of all tables and indexes, and how the indexes are defined."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {(name, " ".join(sql.split()) if sql and kind == "index" else None)
            for kind, name, sql in rows}  # fmt: skip


@pytest.mark.parametrize(
    ("version", "with_alembic"),
    [*((version, True) for version in VERSIONS), *((v, False) for v in BEFORE_ALEMBIC)],
)
def test_what_an_earlier_version_left_is_taken_over(
    tmp_path: Path, version: str, with_alembic: bool
) -> None:
    path = tmp_path / "r.sqlite"
    make(path, version, with_alembic=with_alembic)
    for _ in range(2):  # and a second start finds nothing to do
        store = Records.in_file(path)
        assert [record.id for record in store.page(9)] == ["b", "a"]
        found = store.get("a")
        assert found is not None
        assert (found.owner, found.file_name, found.render_ms) == (None, "m.dcm", 1.5)
        assert found.created_at.isoformat() == "2026-01-02T03:04:05.000006+00:00"
        store.close()
    store = Records.in_file(path)
    assert store.add("c", replace(request("g"), owner="anna")).owner == "anna"
    assert store.add("d", request("b" * 64)).id == "b", "still one analysis per fingerprint"
    store.close()


@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_the_steps_lead_to_the_tables_of_the_code(tmp_path: Path, version: str | None) -> None:
    path, whole = tmp_path / "r.sqlite", tmp_path / "whole.sqlite"
    if version is not None:
        make(path, version)
    Records.in_file(path).close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == VERSIONS[-1]
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    made = create_engine(f"sqlite:///{whole}")
    metadata.create_all(made)
    made.dispose()
    ours = {("alembic_version", None), ("sqlite_autoindex_alembic_version_1", None)}
    assert tables_of(path) - ours == tables_of(whole)


def test_the_comparison_sees_a_column_that_no_step_adds(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'r.sqlite'}")
    upgrade(engine, "v0001")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert "owner" in str(differences)


def test_a_step_that_breaks_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    make(path, "v0001")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE idempotency_keys (something_else)")  # v0003 breaks on it
        connection.commit()
    before = tables_of(path)
    with pytest.raises(Exception, match="already exists"):
        Records.in_file(path)
    assert tables_of(path) == before, "v0002 is undone with v0003"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert "owner" not in str(connection.execute("SELECT sql FROM sqlite_master").fetchall())
        connection.execute("DROP TABLE idempotency_keys")
        connection.commit()
    store = Records.in_file(path)
    assert len(store.page(9)) == 2
    store.close()


def test_records_of_a_later_version_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    make(path, VERSIONS[-1])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9999'")
        connection.commit()
    with pytest.raises(NewerStoreError):
        Records.in_file(path)


def test_steps_are_numbered_in_their_order() -> None:
    assert [f"v{n:04}" for n in range(1, len(VERSIONS) + 1)] == VERSIONS


def test_a_large_recording_s_size_fits_in_every_database(tmp_path: Path) -> None:
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written}
    )
    with Operations.context(context):
        ScriptDirectory(str(MIGRATIONS)).get_revision("v0005").module.upgrade()
    assert "ALTER TABLE analyses ALTER COLUMN size_bytes TYPE BIGINT" in written.getvalue()
    created = str(CreateTable(metadata.tables["analyses"]).compile(dialect=postgresql.dialect()))
    assert "size_bytes BIGINT NOT NULL" in created
    store = Records.in_file(tmp_path / "r.sqlite")
    assert store.add("a", replace(request("a"), size_bytes=2**32 + 1)).size_bytes == 2**32 + 1
    store.close()
