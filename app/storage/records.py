"""The record of every analysis: what was asked, and how far it is. SQLite behind SQLAlchemy.

A record is written before an analysis is acknowledged, and every change of its status is one
statement that names the status it expects, so that a cancelled analysis cannot succeed later.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import TypeDecorator

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
UNFINISHED: tuple[Status, ...] = ("queued", "running")
REUSABLE: tuple[Status, ...] = ("queued", "running", "succeeded")


class _Utc(TypeDecorator[datetime]):
    """A moment kept in UTC, where SQLite would drop the zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.replace(tzinfo=UTC)


_tables = MetaData()
_analyses = Table(
    "analyses",
    _tables,
    Column("number", Integer, primary_key=True),  # the order of arrival
    Column("id", String(32), nullable=False, unique=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("acknowledged", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", _Utc, nullable=False),
    Column("started_at", _Utc),
    Column("finished_at", _Utc),
    Column("file_name", String(255)),
    Column("size_bytes", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("body_mass_g", Float),
    Column("profile", String(32), nullable=False),
    Column("figures", Boolean, nullable=False),
    Column("total_ms", Float),
    Column("render_ms", Float, nullable=False),
    Column("error_code", String(64)),
    Column("error_detail", String(1000)),
    # Two uploads of the same bytes at the same time must not become two analyses.
    Index(
        "one_analysis_per_fingerprint",
        "fingerprint",
        unique=True,
        sqlite_where=text("status IN ('queued', 'running', 'succeeded')"),
        postgresql_where=text("status IN ('queued', 'running', 'succeeded')"),
    ),
    sqlite_autoincrement=True,  # a cursor stays valid when the newest record is deleted
)


@dataclass(frozen=True)
class Request:
    """What was asked of one analysis.

    Attributes
    ----------
    fingerprint : str
        Hexadecimal sha256 over everything that the result depends on.
    acknowledged : bool
        Whether the caller was told the id already; a refusal then has to stay readable.
    """

    fingerprint: str
    acknowledged: bool
    file_name: str | None
    size_bytes: int
    sha256: str
    body_mass_g: float | None
    profile: str
    figures: bool


@dataclass(frozen=True)
class Record:
    """One analysis as it is recorded; the fields are those of the table."""

    number: int
    id: str
    fingerprint: str
    status: Status
    acknowledged: bool
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    file_name: str | None
    size_bytes: int
    sha256: str
    body_mass_g: float | None
    profile: str
    figures: bool
    total_ms: float | None
    render_ms: float
    error_code: str | None
    error_detail: str | None

    @property
    def finished(self) -> bool:
        return self.status not in UNFINISHED


class Records:
    """The table of analyses; safe to use from several threads.

    Parameters
    ----------
    url : str
        SQLAlchemy address of the database.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
        _tables.create_all(self._engine)

    @classmethod
    def in_file(cls, path: Path) -> "Records":
        """Open, or make, the records kept in one SQLite file."""
        return cls(f"sqlite:///{path}")

    @property
    def engine(self) -> Engine:
        return self._engine

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def add(self, id: str, request: Request) -> Record:
        """Record a new analysis as queued, or find the one with this fingerprint.

        Parameters
        ----------
        id : str
            The id that a new analysis gets; see `new_id`.
        request : Request

        Returns
        -------
        Record
            The new one, whose ``id`` is the one given, or the existing one that is queued, runs
            or has succeeded.
        """
        values = vars(request) | {
            "id": id,
            "status": "queued",
            "attempts": 0,
            "created_at": datetime.now(UTC),
            "render_ms": 0.0,
        }
        while True:
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(_analyses).values(values))
            except IntegrityError:
                found = self.find(request.fingerprint)
                if found is None:  # it ended between the two statements
                    continue
                return found
            return self._one(_analyses.c.id == id)

    def find(self, fingerprint: str) -> Record | None:
        """Find the analysis that answers a request with this fingerprint, if there is one."""
        return self._first(_analyses.c.fingerprint == fingerprint, _analyses.c.status.in_(REUSABLE))

    def get(self, id: str) -> Record | None:
        """Find an analysis by its id."""
        return self._first(_analyses.c.id == id)

    def page(self, limit: int, before: int | None = None) -> Sequence[Record]:
        """List analyses, newest first.

        Parameters
        ----------
        limit : int
            Most records to give.
        before : int, optional
            Only those that arrived before the one with this number.
        """
        query = select(_analyses).order_by(_analyses.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(_analyses.c.number < before)
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query).mappings()]

    def with_status(self, *statuses: Status) -> Sequence[Record]:
        """List the analyses in one of these states, oldest first."""
        query = select(_analyses).where(_analyses.c.status.in_(statuses))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(_analyses.c.number)).mappings()
            return [_record(row) for row in rows]

    def ids(self) -> set[str]:
        """Give the ids of all analyses."""
        with self._engine.connect() as connection:
            return set(connection.execute(select(_analyses.c.id)).scalars())

    def acknowledge(self, id: str) -> Record | None:
        """Note that a caller knows the id; None where the analysis is gone."""
        return self._change(id, ("queued", "running", "succeeded"), acknowledged=True)

    def start(self, id: str) -> Record | None:
        """Note that a queued analysis runs; None where it is no longer queued."""
        return self._change(
            id,
            ("queued",),
            status="running",
            started_at=datetime.now(UTC),
            attempts=_analyses.c.attempts + 1,
        )

    def requeue(self, id: str, *, counts: bool) -> Record | None:
        """Put a running analysis back into the queue.

        Parameters
        ----------
        id : str
        counts : bool
            Whether the attempt counts: it does after a crash, not after an orderly stop.
        """
        attempts = _analyses.c.attempts if counts else _analyses.c.attempts - 1
        return self._change(id, ("running",), status="queued", started_at=None, attempts=attempts)

    def succeed(self, id: str, total_ms: float) -> Record | None:
        """Note that a running analysis is done; None where it runs no longer."""
        return self._change(
            id, ("running",), status="succeeded", finished_at=datetime.now(UTC), total_ms=total_ms
        )

    def fail(self, id: str, code: str, detail: str) -> Record | None:
        """Note why an analysis ended without a result.

        One that no caller was told of is removed: whoever waits for it is refused directly.

        Returns
        -------
        Record or None
            None where the record was removed, or the analysis had ended already.
        """
        silent = delete(_analyses).where(
            _analyses.c.id == id,
            _analyses.c.status.in_(UNFINISHED),
            _analyses.c.acknowledged.is_(False),
        )
        with self._engine.begin() as connection:
            connection.execute(silent)
        return self._change(
            id,
            UNFINISHED,
            status="failed",
            finished_at=datetime.now(UTC),
            error_code=code,
            error_detail=detail,
        )

    def cancel(self, id: str) -> Record | None:
        """Note that an unfinished analysis is cancelled; None where it has ended."""
        return self._change(
            id,
            UNFINISHED,
            status="cancelled",
            acknowledged=True,
            finished_at=datetime.now(UTC),
        )

    def add_render_time(self, id: str, milliseconds: float) -> None:
        """Note how long one more figure took to draw."""
        self._change(id, ("succeeded",), render_ms=_analyses.c.render_ms + milliseconds)

    def remove(self, id: str) -> bool:
        """Remove the record of an analysis that has ended; whether there was one."""
        query = delete(_analyses).where(_analyses.c.id == id, _analyses.c.status.not_in(UNFINISHED))
        with self._engine.begin() as connection:
            return connection.execute(query).rowcount > 0

    def check_writable(self) -> None:
        """Raise ``sqlalchemy.exc.SQLAlchemyError`` where nothing can be written."""
        with self._engine.begin() as connection:
            connection.execute(update(_analyses).where(text("1 = 0")).values(attempts=0))

    def _change(self, id: str, expected: Sequence[Status], **values: Any) -> Record | None:
        query = (
            update(_analyses)
            .where(_analyses.c.id == id, _analyses.c.status.in_(expected))
            .values(**values)
            .returning(*_analyses.c)
        )
        with self._engine.begin() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _record(row)

    def _first(self, *conditions: Any) -> Record | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(_analyses).where(*conditions)).mappings().first()
        return None if row is None else _record(row)

    def _one(self, *conditions: Any) -> Record:
        with self._engine.connect() as connection:
            return _record(
                connection.execute(select(_analyses).where(*conditions)).mappings().one()
            )


def new_id() -> str:
    """Make an id that cannot be guessed."""
    return secrets.token_hex(16)


def _record(row: RowMapping) -> Record:
    return Record(**row)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
    cursor.execute("PRAGMA synchronous=FULL")  # what is acknowledged survives a power cut
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()
