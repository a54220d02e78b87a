"""The tables, and one analysis as a value.

A change here needs a step in ``migrations/versions``: what an earlier version made is brought here
when the service starts.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
UNFINISHED: tuple[Status, ...] = ("queued", "running")
REUSABLE: tuple[Status, ...] = ("queued", "running", "succeeded")


class Utc(TypeDecorator[datetime]):
    """A moment kept in UTC, where SQLite would drop the zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData()
analyses = Table(
    "analyses",
    metadata,
    Column("number", Integer, primary_key=True),  # the order of arrival
    Column("id", String(32), nullable=False, unique=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("acknowledged", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("finished_at", Utc),
    Column("file_name", String(255)),
    # SQLite keeps 64 bits in any INTEGER.
    Column("size_bytes", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("body_mass_g", Float),
    Column("profile", String(32), nullable=False),
    Column("figures", Boolean, nullable=False),
    Column("total_ms", Float),
    Column("render_ms", Float, nullable=False),
    Column("error_code", String(64)),
    Column("error_detail", String(1000)),
    Column("owner", String(32), index=True),  # of a key; null where no key was asked for
    Column("interactive", Boolean),  # whether a caller waits for it; null where nobody said
    Column("render_attempts", Integer),  # drawings begun since one was finished
    Column("study_only", Boolean),  # nobody but studies asked for it: it goes with the last of them
    # Where workers are processes of their own; see `app.storage.leases`.
    Column("holder", String(100)),  # the worker that runs it
    Column("lease_until", Utc),  # when another one may, unless the lease was renewed
    Column("stage", String(32)),
    Column("fraction", Float),
    Column("sent_at", Utc),  # when the broker was told last
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

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("owner", String(32), nullable=False),  # empty where no key of a caller was asked for
    Column("key_sha256", String(64), nullable=False),
    Column("request_sha256", String(64), nullable=False),
    Column("analysis_id", String(32), nullable=False, index=True),
    UniqueConstraint("owner", "key_sha256", name="one_request_per_key"),
)

workers = Table(
    "workers",
    metadata,
    Column("holder", String(100), primary_key=True),
    Column("slots", Integer, nullable=False),  # analyses that it runs at once
    Column("busy", Integer, nullable=False),
    Column("seen_at", Utc, nullable=False),
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
    owner : str or None
        Id of the caller's key; None where keys are not in use.
    interactive : bool or None
        Whether the caller waits for the result.
    study_only : bool
        Whether only a study asks for it.
    """

    fingerprint: str
    acknowledged: bool
    file_name: str | None
    size_bytes: int
    sha256: str
    body_mass_g: float | None
    profile: str
    figures: bool
    owner: str | None = None
    interactive: bool | None = None
    study_only: bool | None = False


@dataclass(frozen=True)
class SentKey:
    """A name that a caller gave a request, so as to send it again without doing it twice.

    Attributes
    ----------
    owner : str
        Id of the caller's key, empty where keys are not in use: nobody meets another's.
    key_sha256 : str
        Of the name itself, which may say anything.
    request_sha256 : str
        Of the bytes and the options, in hexadecimal.
    """

    owner: str
    key_sha256: str
    request_sha256: str


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
    owner: str | None = None
    interactive: bool | None = None
    render_attempts: int | None = None
    study_only: bool | None = False
    holder: str | None = None
    lease_until: datetime | None = None
    stage: str | None = None
    fraction: float | None = None
    sent_at: datetime | None = None

    @property
    def finished(self) -> bool:
        return self.status not in UNFINISHED
