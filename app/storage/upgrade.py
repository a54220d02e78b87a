"""Brings the tables of a database to what this version works with, whatever version made them."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, inspect, select

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")

_LOCK = 0x6563686F3270686E
"""Names the lock on changes to the tables among all that may be held in a PostgreSQL database."""

FIRST = "v0001"
"""What a service from before Alembic made, with or without the column that it added itself."""


class NewerStoreError(Exception):
    """The database was made by a later version of the service."""


def upgrade(engine: Engine, to: str = "head") -> None:
    """Apply every step that a database lacks, all of them or none.

    Parameters
    ----------
    engine : Engine
    to : str
        The last step to apply; all that there are by default.

    Raises
    ------
    NewerStoreError
        The database knows steps that this version does not.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":  # its driver would commit each change by itself
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif engine.dialect.name == "postgresql":  # nodes that start together take turns
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        config.attributes["connection"] = connection
        at = _version_of(connection)
        if at is None and inspect(connection).has_table("analyses"):
            command.stamp(config, FIRST)
        elif at is not None and at not in _known(config):
            raise NewerStoreError("a later version of the service made the records in this folder.")
        command.upgrade(config, to)
        now = _version_of(connection)
        connection.commit()
    if now != at:
        logger.info("records brought to this version", extra={"before": at, "now": now})


def _version_of(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _known(config: Config) -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
