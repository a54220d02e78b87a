"""Both kinds of database that records may lie in, a new and empty one for each test."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url

from app.storage.records import Records
from tests.integration.scale.servers import PostgreSQL, missing

POSTGRESQL = "ECHO2PHENO_TEST_POSTGRESQL_URL"
"""Names the address of a server whose user may make databases; else one is started here."""


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The address of a database of a real server."""
    given = os.environ.get(POSTGRESQL)
    if given:
        yield given
        return
    pytest.importorskip("psycopg", reason="psycopg is not installed: `make install-scale`")
    if {"postgres", "initdb"} & set(missing()):
        pytest.skip(f"PostgreSQL is not installed, and {POSTGRESQL} names no server")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)  # the server runs as another user
    server = PostgreSQL(folder / "server")
    server.start()
    yield server.url()
    server.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_postgresql(postgresql_url: str) -> Iterator[str]:
    """The address of an empty PostgreSQL database."""
    name = f"test_{uuid4().hex}"
    admin = create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield make_url(postgresql_url).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database: of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records.sqlite'}"
    return str(request.getfixturevalue("new_postgresql"))


@pytest.fixture
def open_records(database_url: str) -> Iterator[Callable[[], Records]]:
    """Open the records of one database, as several processes do."""
    opened: list[Records] = []

    def open_them() -> Records:
        opened.append(Records(database_url))
        return opened[-1]

    yield open_them
    for each in opened:
        each.close()


@pytest.fixture
def records(open_records: Callable[[], Records]) -> Records:
    """Empty records."""
    return open_records()
