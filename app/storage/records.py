"""The record of every analysis: what was asked, and how far it is. SQLite or PostgreSQL.

A record is written before an analysis is acknowledged, and every change of its status is one
statement that names the status it expects, so that a cancelled analysis cannot succeed later.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Engine,
    Update,
    and_,
    delete,
    exists,
    func,
    insert,
    not_,
    select,
    text,
    update,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from app.storage.engine import empty_log, open_engine
from app.storage.errors import KeyReusedError
from app.storage.schema import (
    REUSABLE,
    UNFINISHED,
    Record,
    Request,
    SentKey,
    Status,
    analyses,
    idempotency_keys,
)
from app.storage.study_schema import entries
from app.storage.upgrade import upgrade

NOBODYS = {"holder": None, "lease_until": None, "stage": None, "fraction": None}
"""What a record says where no worker has it."""

orphaned = and_(
    analyses.c.study_only.is_(True), ~exists().where(entries.c.analysis_id == analyses.c.id)
)
"""Whether an analysis was asked for by studies only, none of which has it any more."""

_UNTOLD = (analyses.c.status == "failed", analyses.c.acknowledged.is_(False))
_shown = not_(and_(*_UNTOLD))


class Records:
    """The table of analyses, behind SQLAlchemy; safe to use from several threads.

    Parameters
    ----------
    url : str
        SQLAlchemy address of the database; its tables are made, or brought to this version.

    Raises
    ------
    NewerStoreError
        A later version of the service made the database.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        upgrade(self._engine)
        self._hasty = self._engine
        """For what nobody has been told yet: the next commit through the other takes it along."""
        if self._engine.dialect.name == "sqlite":
            self._hasty = open_engine(url, at_once=False)

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
        self._hasty.dispose()

    def add(
        self, id: str, request: Request, *, force: bool = False, sent: SentKey | None = None
    ) -> Record:
        """Record a new analysis as queued, or find the one that answers the request already.

        Parameters
        ----------
        id : str
            The id that a new analysis gets; see `new_id`.
        request : Request
        force : bool
            Whether the analysis is a new one, although there may be one with this fingerprint. That
            one stays as it is, but answers no further request.
        sent : SentKey, optional
            What the caller calls this request; what it led to the first time answers it again.

        Returns
        -------
        Record
            The new one, whose ``id`` is the one given, or the existing one: with the same
            fingerprint, and queued, running or succeeded; or the one that `sent` stands for.

        Raises
        ------
        KeyReusedError
            `sent` stands for another request.
        """
        while True:
            existing = None if sent is None else self.find_sent(sent)
            if existing is not None:
                return existing
            if not force:
                existing = self.find(request.fingerprint)
            try:
                self._insert(id, request, existing, force=force, sent=sent)
            except IntegrityError:  # somebody else was faster with the same
                continue
            return existing or self._one(analyses.c.id == id)

    def _insert(
        self,
        id: str,
        request: Request,
        existing: Record | None,
        *,
        force: bool,
        sent: SentKey | None,
    ) -> None:
        values = vars(request) | {
            "id": id,
            "status": "queued",
            "attempts": 0,
            "created_at": datetime.now(UTC),
            "render_ms": 0.0,
        }
        with (self._engine if request.acknowledged else self._hasty).begin() as connection:
            if existing is None:
                if force:
                    connection.execute(
                        update(analyses)
                        .where(analyses.c.fingerprint == request.fingerprint)
                        .values(fingerprint=analyses.c.id)  # which no request ever has
                    )
                connection.execute(insert(analyses).values(values))
            if sent is not None:
                answer = id if existing is None else existing.id
                connection.execute(insert(idempotency_keys), vars(sent) | {"analysis_id": answer})

    def find_sent(self, sent: SentKey) -> Record | None:
        """Find the analysis that a request led to when it was sent the first time.

        Raises
        ------
        KeyReusedError
            That was another request.
        """
        keys = idempotency_keys
        mine = (keys.c.owner == sent.owner) & (keys.c.key_sha256 == sent.key_sha256)
        with self._engine.connect() as connection:
            row = connection.execute(select(keys).where(mine)).mappings().first()
        if row is None:
            return None
        found = self.get(row["analysis_id"])
        if found is None:  # removed while its key was being recorded
            with self._engine.begin() as connection:
                connection.execute(delete(keys).where(keys.c.number == row["number"]))
        elif row["request_sha256"] != sent.request_sha256:
            raise KeyReusedError
        return found

    def find(self, fingerprint: str) -> Record | None:
        """Find the analysis that answers a request with this fingerprint, if there is one."""
        return self._first(analyses.c.fingerprint == fingerprint, analyses.c.status.in_(REUSABLE))

    def get(self, id: str) -> Record | None:
        """Find an analysis by its id."""
        return self._first(analyses.c.id == id)

    def page(
        self, limit: int, before: int | None = None, owner: str | None = None
    ) -> Sequence[Record]:
        """List analyses, newest first.

        Parameters
        ----------
        limit : int
            Most records to give.
        before : int, optional
            Only those that arrived before the one with this number.
        owner : str, optional
            Only those of this owner.
        """
        query = select(analyses).where(_shown).order_by(analyses.c.number.desc()).limit(limit)
        if owner is not None:
            query = query.where(analyses.c.owner == owner)
        if before is not None:
            query = query.where(analyses.c.number < before)
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query).mappings()]

    def with_status(self, *statuses: Status) -> Sequence[Record]:
        """List the analyses in one of these states, oldest first."""
        query = select(analyses).where(analyses.c.status.in_(statuses))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(analyses.c.number)).mappings()
            return [_record(row) for row in rows]

    def count_queued(self, *, interactive: bool, owner: str | None = None) -> int:
        """Count the analyses that wait: those that somebody waits for, or all others.

        Parameters
        ----------
        interactive : bool
        owner : str, optional
            Only those of this owner.
        """
        asked = analyses.c.interactive.is_(True)
        query = (
            select(func.count())
            .select_from(analyses)
            .where(analyses.c.status == "queued", asked if interactive else asked.is_not(True))
        )
        if owner is not None:
            query = query.where(analyses.c.owner == owner)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def finished_before(self, moment: datetime) -> Sequence[str]:
        """Give the ids of the analyses that had ended before a moment, the first to end first."""
        query = select(analyses.c.id).where(
            analyses.c.status.not_in(UNFINISHED), analyses.c.finished_at < moment
        )
        with self._engine.connect() as connection:
            ordered = query.order_by(analyses.c.finished_at, analyses.c.number)
            return connection.execute(ordered).scalars().all()

    def count_by_status(self) -> Mapping[Status, int]:
        """Count the analyses in each state that any is in."""
        query = select(analyses.c.status, func.count()).group_by(analyses.c.status)
        with self._engine.connect() as connection:
            return dict(connection.execute(query).all())

    def owners(self) -> Mapping[str, str | None]:
        """Give the owner of every analysis, by its id."""
        query = select(analyses.c.id, analyses.c.owner)
        with self._engine.connect() as connection:
            return dict(connection.execute(query).all())

    def ids(self) -> set[str]:
        """Give the ids of all analyses."""
        with self._engine.connect() as connection:
            return set(connection.execute(select(analyses.c.id)).scalars())

    def acknowledge(self, id: str) -> Record | None:
        """Note that a caller knows the id; None where the analysis is gone."""
        return self._change(id, ("queued", "running", "succeeded"), acknowledged=True)

    def claim(self, id: str) -> bool:
        """Note that an analysis was asked for by itself too; whether it is still there."""
        query = update(analyses).where(analyses.c.id == id).values(study_only=False)
        with self._engine.begin() as connection:
            return connection.execute(query).rowcount > 0

    def start(self, id: str) -> Record | None:
        """Note that a queued analysis runs; None where it is no longer queued.

        After a power cut, unlike after the end of the process, it may be queued as before.
        """
        return self._change(
            id,
            ("queued",),
            engine=self._hasty,
            status="running",
            started_at=datetime.now(UTC),
            attempts=analyses.c.attempts + 1,
        )

    def requeue(self, id: str, *, counts: bool, holder: str | None = None) -> Record | None:
        """Put a running analysis back into the queue.

        Parameters
        ----------
        id : str
        counts : bool
            Whether the attempt counts: it does after a crash, not after an orderly stop.
        holder : str, optional
            Only if this worker holds it.
        """
        attempts = analyses.c.attempts if counts else analyses.c.attempts - 1
        values: dict[str, Any] = {"status": "queued", "started_at": None, "attempts": attempts}
        return self._change(id, ("running",), *_held_by(holder), **values, **NOBODYS)

    def succeed(self, id: str, total_ms: float, holder: str | None = None) -> Record | None:
        """Note that a running analysis is done.

        Returns
        -------
        Record or None
            None where it runs no longer, or another worker than this holder has it.
        """
        return self._change(
            id,
            ("running",),
            *_held_by(holder),
            status="succeeded",
            finished_at=datetime.now(UTC),
            total_ms=total_ms,
        )

    def fail(self, id: str, code: str, detail: str, holder: str | None = None) -> Record | None:
        """Note why an analysis ended without a result.

        One that no caller was told of is removed: whoever waits for it is refused directly. Where
        a worker of its own process held it, who waits is in another one and has to find the
        reason here: then it stays for a while, and nobody is shown it.

        Returns
        -------
        Record or None
            None where the record was removed, the analysis had ended already, or another worker
            than this holder has it.
        """
        mine = _held_by(holder)
        if holder is None:
            self._delete(id, analyses.c.status.in_(UNFINISHED), analyses.c.acknowledged.is_(False))
        return self._change(
            id,
            UNFINISHED,
            *mine,
            status="failed",
            finished_at=datetime.now(UTC),
            error_code=code,
            error_detail=detail,
        )

    def hasten(self, id: str) -> bool:
        """Note that somebody waits for a queued analysis now; whether nobody did before."""
        nobody = analyses.c.interactive.is_not(True)
        return self._change(id, ("queued",), nobody, interactive=True) is not None

    def many(self, ids: Collection[str]) -> Mapping[str, Record]:
        """Find analyses by their ids; those that are gone are absent."""
        query = select(analyses).where(analyses.c.id.in_(ids))
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings()
            return {record.id: record for record in map(_record, rows)}

    def forget_refused(self, moment: datetime) -> Sequence[Record]:
        """Remove the failed analyses that nobody was told of, ended before a moment; give them."""
        query = delete(analyses).where(*_UNTOLD, analyses.c.finished_at < moment)
        with self._engine.begin() as connection:
            rows = connection.execute(query.returning(*analyses.c)).mappings().all()
        return [_record(row) for row in rows]

    def cancel(self, id: str) -> Record | None:
        """Note that an unfinished analysis is cancelled; None where it has ended."""
        return self._change(
            id,
            UNFINISHED,
            status="cancelled",
            acknowledged=True,
            finished_at=datetime.now(UTC),
        )

    def begin_render(self, id: str) -> None:
        """Note that a figure is being drawn: should that kill the service, it shows."""
        attempts = func.coalesce(analyses.c.render_attempts, 0) + 1
        self._change(id, ("succeeded",), render_attempts=attempts)

    def end_render(self, id: str, milliseconds: float) -> None:
        """Note how long it took, or that it broke in an orderly way (0 ms)."""
        self._change(
            id,
            ("succeeded",),
            render_ms=analyses.c.render_ms + milliseconds,
            render_attempts=0,
        )

    def remove(self, id: str) -> bool:
        """Remove the record of an analysis that has ended; whether there was one.

        Studies that refer to it keep the reason why it failed.
        """
        return self._delete(id, analyses.c.status.not_in(UNFINISHED))

    def remove_orphan(self, id: str) -> Record | None:
        """Remove an analysis, whatever its state, that only studies asked for and none has.

        Asked and done at once: whoever claims it or refers to it just then keeps it, or finds it
        gone.

        Returns
        -------
        Record or None
            What was removed; None where it is wanted, or not there.
        """
        keys = delete(idempotency_keys).where(idempotency_keys.c.analysis_id == id)
        orphan = delete(analyses).where(analyses.c.id == id, orphaned)
        with self._engine.begin() as connection:
            # first waits for whoever refers to it: PostgreSQL would not look again for references
            connection.execute(holding(id))
            row = connection.execute(orphan.returning(*analyses.c)).mappings().first()
            if row is not None:
                connection.execute(keys)
        return None if row is None else _record(row)

    def _delete(self, id: str, *conditions: ColumnElement[bool]) -> bool:
        keys = delete(idempotency_keys).where(idempotency_keys.c.analysis_id == id)
        failed = (analyses.c.id == id, analyses.c.status == "failed")
        reason = {
            name: select(analyses.c[name]).where(*failed).scalar_subquery()
            for name in ("error_code", "error_detail")
        }
        keep_reason = update(entries).where(entries.c.analysis_id == id, exists().where(*failed))
        with self._engine.begin() as connection:
            connection.execute(keep_reason.values(analysis_id=None, **reason))
            query = delete(analyses).where(analyses.c.id == id, *conditions)
            removed = connection.execute(query).rowcount > 0
            if removed:
                connection.execute(keys)
        return removed

    def empty_log(self) -> None:
        """Leave nothing of what was removed in the log that SQLite keeps beside its database."""
        empty_log(self._engine)

    def check_writable(self) -> None:
        """Raise ``sqlalchemy.exc.SQLAlchemyError`` where nothing can be written."""
        with self._engine.begin() as connection:
            connection.execute(update(analyses).where(text("1 = 0")).values(attempts=0))

    def _change(
        self,
        id: str,
        expected: Sequence[Status],
        *also: ColumnElement[bool],
        engine: Engine | None = None,
        **values: Any,
    ) -> Record | None:
        query = (
            update(analyses)
            .where(analyses.c.id == id, analyses.c.status.in_(expected), *also)
            .values(**values)
            .returning(*analyses.c)
        )
        with (engine or self._engine).begin() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _record(row)

    def _first(self, *conditions: Any) -> Record | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(analyses).where(*conditions)).mappings().first()
        return None if row is None else _record(row)

    def _one(self, *conditions: Any) -> Record:
        with self._engine.connect() as connection:
            return _record(connection.execute(select(analyses).where(*conditions)).mappings().one())


def _held_by(holder: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if holder is None else (analyses.c.holder == holder,)


def holding(id: str) -> Update:
    """Change nothing of an analysis, and keep others from changing it until all is committed."""
    return update(analyses).where(analyses.c.id == id).values(study_only=analyses.c.study_only)


def new_id() -> str:
    """Make an id that cannot be guessed."""
    return secrets.token_hex(16)


def _record(row: RowMapping) -> Record:
    return Record(**row)
