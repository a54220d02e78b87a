"""Who works at what: analyses that workers in other processes hold, each for a while.

A worker that runs an analysis renews its lease all the time. Where it dies the lease expires, and
the analysis may be run again: whatever the broker does, nothing depends on it. All moments are the
database's, so that machines whose clocks differ agree.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Engine,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError

from app.storage.records import NOBODYS
from app.storage.schema import Record, Utc, analyses, workers

Hold = Literal["held", "cancelled", "lost"]
"""What became of a lease: it goes on, nobody wants the analysis any more, or another has it."""

_CANDIDATES = 20


@dataclass(frozen=True)
class Load:
    """How much there is to do, and who does it.

    Attributes
    ----------
    queued : mapping of str to int
        Analyses that wait, by line: ``interactive`` and ``bulk``.
    oldest_s : float
        How long the oldest of them has waited, in seconds.
    workers, slots, busy : int
        Processes seen lately, analyses that they can run at once, and do.
    """

    queued: Mapping[str, int]
    oldest_s: float
    workers: int
    slots: int
    busy: int


class Leases:
    """The leases in the table of analyses, and the table of workers; safe to use from threads.

    Parameters
    ----------
    engine : Engine
        Of the database that holds the analyses.
    lease_s : float
        How long a worker that says nothing keeps what it holds.
    """

    def __init__(self, engine: Engine, lease_s: float) -> None:
        self._engine = engine
        self.lease_s = lease_s

    def take(self, worker: str) -> Record | None:
        """Begin the queued analysis whose turn it is; None where none waits.

        Those that somebody waits for come first. Among them, and among the others, callers take
        turns: the next is of whoever has fewest running, and of these the one that came first.

        Parameters
        ----------
        worker : str
            The worker's own name. The record's ``holder`` begins with it, and is another one for
            every attempt: a worker that slept past its lease may run the same analysis once more,
            and the first attempt must not be taken for the second.
        """
        holder = f"{worker}/{secrets.token_hex(4)}"
        while numbers := self._next():
            for number in numbers:
                query = (
                    update(analyses)
                    .where(analyses.c.number == number, analyses.c.status == "queued")
                    .values(
                        status="running",
                        started_at=datetime.now(UTC),
                        attempts=analyses.c.attempts + 1,
                        holder=holder,
                        lease_until=self._moment(self.lease_s),
                        stage=None,
                        fraction=None,
                    )
                    .returning(*analyses.c)
                )
                with self._engine.begin() as connection:
                    row = connection.execute(query).mappings().first()
                if row is not None:  # else another worker was faster
                    return Record(**row)
        return None

    def _next(self) -> Sequence[int]:
        owner = func.coalesce(analyses.c.owner, "").label("owner")
        waiting = (
            select(owner, _line.label("line"), func.min(analyses.c.number).label("number"))
            .where(analyses.c.status == "queued")
            .group_by("owner", "line")
            .subquery()
        )
        running = (
            select(owner, func.count().label("n"))
            .where(analyses.c.status == "running")
            .group_by("owner")
            .subquery()
        )
        query = (
            select(waiting.c.number)
            .outerjoin(running, running.c.owner == waiting.c.owner)
            .order_by(waiting.c.line.desc(), func.coalesce(running.c.n, 0), waiting.c.number)
            .limit(_CANDIDATES)
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalars().all()

    def renew(self, id: str, holder: str, stage: str | None, fraction: float | None) -> Hold:
        """Hold an analysis for a while longer, and note how far it is.

        Parameters
        ----------
        id : str
        holder : str
            As `take` recorded it.
        stage, fraction : str and float, or None
            The stage, and the fraction 0..1 of the whole.
        """
        query = (
            update(analyses)
            .where(*_held(id, holder))
            .values(lease_until=self._moment(self.lease_s), stage=stage, fraction=fraction)
        )
        with self._engine.begin() as connection:
            if connection.execute(query).rowcount:
                return "held"
            status = select(analyses.c.status).where(analyses.c.id == id)
            return "cancelled" if connection.execute(status).scalar() == "cancelled" else "lost"

    def expired(self) -> Sequence[Record]:
        """List the analyses whose worker has said nothing for too long."""
        query = select(analyses).where(*self._expired()).order_by(analyses.c.number)
        with self._engine.connect() as connection:
            return [Record(**row) for row in connection.execute(query).mappings()]

    def requeue_expired(self, id: str) -> Record | None:
        """Put an analysis back into the queue if its lease has expired; the attempt counts."""
        query = (
            update(analyses)
            .where(analyses.c.id == id, *self._expired())
            .values(status="queued", started_at=None, sent_at=None, **NOBODYS)
            .returning(*analyses.c)
        )
        with self._engine.begin() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else Record(**row)

    def fail_expired(self, id: str, code: str, detail: str) -> Record | None:
        """Note that an analysis whose lease has expired is given up, and why."""
        query = (
            update(analyses)
            .where(analyses.c.id == id, *self._expired())
            .values(
                status="failed",
                finished_at=datetime.now(UTC),
                error_code=code,
                error_detail=detail,
            )
            .returning(*analyses.c)
        )
        with self._engine.begin() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else Record(**row)

    def _expired(self) -> tuple[ColumnElement[bool], ...]:
        until = analyses.c.lease_until
        return analyses.c.status == "running", or_(until.is_(None), until < self._moment())

    def note_sent(self, id: str) -> None:
        """Note that the broker has just been told of an analysis."""
        query = update(analyses).where(analyses.c.id == id).values(sent_at=self._moment())
        with self._engine.begin() as connection:
            connection.execute(query)

    def waits(self, older_s: float) -> bool:
        """Whether any queued analysis was not sent within so many seconds."""
        query = select(exists().where(self._unsent(older_s)))
        with self._engine.connect() as connection:
            return bool(connection.execute(query).scalar())

    def _unsent(self, older_s: float) -> ColumnElement[bool]:
        sent = analyses.c.sent_at
        return and_(
            analyses.c.status == "queued", or_(sent.is_(None), sent < self._moment(-older_s))
        )

    def claim_unsent(self, older_s: float, limit: int) -> Sequence[tuple[str, bool]]:
        """Find queued analyses that the broker was not told of lately, and note that it is now.

        Of several processes that ask at once, only one is given each.

        Parameters
        ----------
        older_s : float
            How long ago that was at least, in seconds.
        limit : int
            Most analyses to give.

        Returns
        -------
        sequence of (str, bool)
            Ids, and whether somebody waits for the result.
        """
        unsent = self._unsent(older_s)
        oldest = select(analyses.c.number).where(unsent).order_by(analyses.c.number).limit(limit)
        query = (
            update(analyses)
            .where(unsent, analyses.c.number.in_(oldest.scalar_subquery()))
            .values(sent_at=self._moment())
            .returning(analyses.c.id, analyses.c.interactive)
        )
        with self._engine.begin() as connection:
            return [(id, bool(waits)) for id, waits in connection.execute(query)]

    def unclaim(self, ids: Collection[str]) -> None:
        """Note that the broker was not told of analyses after all."""
        query = update(analyses).where(analyses.c.id.in_(ids)).values(sent_at=None)
        with self._engine.begin() as connection:
            connection.execute(query)

    def announce(self, holder: str, slots: int, busy: int) -> None:
        """Note that a worker is there."""
        values = {"slots": slots, "busy": busy, "seen_at": self._moment()}
        query = update(workers).where(workers.c.holder == holder).values(values)
        try:
            with self._engine.begin() as connection:
                if not connection.execute(query).rowcount:
                    connection.execute(insert(workers).values(values | {"holder": holder}))
        except IntegrityError:  # noted by another thread meanwhile
            return

    def dismiss(self, holder: str, *, silent_s: float | None = None) -> None:
        """Forget a worker that has ended, and those that have said nothing for so long."""
        gone = workers.c.holder == holder
        if silent_s is not None:
            gone = or_(gone, workers.c.seen_at < self._moment(-silent_s))
        with self._engine.begin() as connection:
            connection.execute(delete(workers).where(gone))

    def load(self, within_s: float) -> Load:
        """Measure how much there is to do, and who was seen within so many seconds."""
        age = select(
            _line, func.count(), func.min(analyses.c.created_at)
        ).where(analyses.c.status == "queued").group_by(_line)  # fmt: skip
        there = select(
            func.count(), func.coalesce(func.sum(workers.c.slots), 0),
            func.coalesce(func.sum(workers.c.busy), 0),
        ).where(workers.c.seen_at > self._moment(-within_s))  # fmt: skip
        with self._engine.connect() as connection:
            lines = connection.execute(age).all()
            count, slots, busy = connection.execute(there).one()
        queued = {"bulk": 0, "interactive": 0} | {line: n for line, n, _ in lines}
        now = datetime.now(UTC)
        waited = [(now - since).total_seconds() for _, _, since in lines]
        return Load(queued, max(waited, default=0.0), int(count), int(slots), int(busy))

    def _moment(self, later_s: float = 0.0) -> Any:
        """The database's time, so many seconds later."""
        if self._engine.dialect.name == "postgresql":
            now = func.timezone("UTC", func.clock_timestamp())
            return type_coerce(now + timedelta(seconds=later_s), Utc)
        return datetime.now(UTC) + timedelta(seconds=later_s)  # the file is on this machine


_line = case((analyses.c.interactive.is_(True), "interactive"), else_="bulk")


def _held(id: str, holder: str) -> tuple[ColumnElement[bool], ...]:
    return analyses.c.id == id, analyses.c.status == "running", analyses.c.holder == holder
