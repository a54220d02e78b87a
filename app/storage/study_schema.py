"""The tables of studies and of what is in them, and a row of each as a value."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from app.storage.schema import Utc, metadata

studies = Table(
    "studies",
    metadata,
    Column("number", Integer, primary_key=True),  # the order of creation
    Column("id", String(32), nullable=False, unique=True),
    Column("owner", String(32), index=True),  # of a key; null where no key was asked for
    Column("created_at", Utc, nullable=False),
    Column("name", String(200), nullable=False),
    Column("body_mass_g", Float),
    Column("profile", String(32), nullable=False),
    Column("figures", Boolean, nullable=False),
    sqlite_autoincrement=True,  # a cursor stays valid when the newest record is deleted
)
entries = Table(
    "study_entries",
    metadata,
    Column("number", Integer, primary_key=True),  # the order of arrival
    Column("id", String(32), nullable=False, unique=True),
    Column("study_id", String(32), nullable=False),  # the unique constraint is its index
    Column("added_at", Utc, nullable=False),
    Column("file_name", String(255), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("body_mass_g", Float),
    Column("mouse_id", String(100)),
    Column("sex", String(1)),
    Column("group", String(100)),
    Column("analysis_id", String(32), index=True),  # null where the file was refused
    Column("error_code", String(64)),
    Column("error_detail", String(1000)),
    UniqueConstraint("study_id", "file_name", name="one_entry_per_name"),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True)
class Study:
    """A study as it is recorded; the fields are those of the table.

    Attributes
    ----------
    body_mass_g : float or None
        What holds for a recording whose own is not given.
    profile : str
    figures : bool
        What holds for all its recordings.
    """

    number: int
    id: str
    owner: str | None
    created_at: datetime
    name: str
    body_mass_g: float | None
    profile: str
    figures: bool


@dataclass(frozen=True)
class NewEntry:
    """A file that comes into a study, under a name of its own there."""

    file_name: str
    size_bytes: int
    sha256: str
    body_mass_g: float | None = None
    mouse_id: str | None = None
    sex: str | None = None
    group: str | None = None
    analysis_id: str | None = None
    error_code: str | None = None
    error_detail: str | None = None


@dataclass(frozen=True)
class Entry:
    """A file of a study, and how far its analysis is.

    Attributes
    ----------
    analysis_id : str or None
        None where the file was refused, or its failed analysis is no longer there.
    status : str
        That of the analysis; ``failed`` where the file was refused, ``removed`` where the analysis
        is no longer there.
    error_code, error_detail : str or None
        Why it was refused, has failed or is removed.
    """

    number: int
    id: str
    study_id: str
    added_at: datetime
    file_name: str
    size_bytes: int
    sha256: str
    body_mass_g: float | None
    mouse_id: str | None
    sex: str | None
    group: str | None
    analysis_id: str | None
    status: str
    error_code: str | None
    error_detail: str | None
