"""Connections to the database: how SQLite is set up, and a full disk told from other errors."""

import sqlite3
from functools import partial
from typing import Any

from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event, make_url

from app.storage.errors import StorageFullError

# No room for the database or its log, or for the memory that its readers share.
_SQLITE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
_POSTGRESQL_FULL = "53100"
_BUSY_TIMEOUT_MS = 30_000


def open_engine(url: str, *, at_once: bool = True) -> Engine:
    """Make an engine whose statements raise `StorageFullError` where there is no room left.

    Parameters
    ----------
    url : str
        SQLAlchemy address of the database.
    at_once : bool
        Whether what is committed survives a power cut at once. Otherwise SQLite leaves that to
        the next commit that does: after a power cut all is there up to some moment.
    """
    engine = create_engine(url, **_options(make_url(url)))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", partial(_prepare_sqlite, at_once))
    event.listen(engine, "handle_error", _notice_full_disk)
    return engine


def empty_log(engine: Engine) -> None:
    """Have SQLite take what is in its log over into the database, and leave nothing in the log.

    Until then, what has been removed from the database is still to be read there. Where somebody
    reads or writes at this moment, some of it or all stays.
    """
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=0")  # else writers would wait along
        try:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")


def _options(url: URL) -> dict[str, Any]:
    if url.get_backend_name() != "postgresql":
        return {}
    return {
        "pool_pre_ping": True,  # a server that was restarted is noticed before a query is lost
        # A server takes 100 connections by default: enough for several processes with this many.
        "pool_size": 5,
        "max_overflow": 10,
        "pool_timeout": 10,
        # Of a host that is gone, a plain TCP connection would tell only after hours.
        "connect_args": {
            "connect_timeout": 5,
            "keepalives_idle": 30,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20000,  # milliseconds
            "options": "-c statement_timeout=30000 -c lock_timeout=20000",
        },
    }


def _notice_full_disk(context: ExceptionContext) -> None:
    cause = context.original_exception
    code, state = getattr(cause, "sqlite_errorcode", None), getattr(cause, "sqlstate", None)
    if code in _SQLITE_FULL or state == _POSTGRESQL_FULL:
        raise StorageFullError from cause


def _prepare_sqlite(at_once: bool, connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
    cursor.execute(f"PRAGMA synchronous={'FULL' if at_once else 'NORMAL'}")
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA secure_delete=ON")  # the name of a file goes with its record
    cursor.close()
