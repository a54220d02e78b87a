"""Waits for analyses that end in other processes: one look at the records for all who wait."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from anyio import to_thread

from app.jobs.queue import Outcome
from app.storage.records import Records
from app.storage.schema import Record

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2

LINGER_S = 1.0
"""How long an analysis is still looked at after the last one has stopped waiting for it."""


@dataclass
class _Watched:
    """An analysis that somebody waits for: how many do, and as what it was seen last."""

    waiting: int = 0
    left_at: float = 0.0
    record: Record | None = None
    ended: asyncio.Future[Outcome | None] = field(default_factory=asyncio.Future)


class Watcher:
    """Looks at the records of all analyses that somebody waits for, in one query, again and again.

    To be used from one event loop, apart from `seen` and `stop`.

    Parameters
    ----------
    records : Records
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._watched: dict[str, _Watched] = {}
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def seen(self, id: str) -> Record | None:
        """Give a record as it was seen last; None where nobody has just waited for it."""
        watched = self._watched.get(id)
        return None if watched is None else watched.record

    async def wait(self, id: str, timeout_s: float | None = None) -> Outcome | None:
        """Wait until an analysis has ended.

        Returns
        -------
        Outcome or None
            None after the time, where the analysis is gone, or where the service stops.
        """
        if self._stopped or timeout_s == 0:
            found = await to_thread.run_sync(self._records.get, id)
            return None if found is None else outcome_of(found)
        self._loop = asyncio.get_running_loop()
        watched = self._watched.setdefault(id, _Watched())
        watched.waiting += 1
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._look())
        try:
            done, _ = await asyncio.wait({watched.ended}, timeout=timeout_s)
            return watched.ended.result() if done else None
        finally:
            watched.waiting -= 1
            watched.left_at = monotonic()

    def stop(self) -> None:
        """Let everybody go who waits; safe to call from any thread."""
        self._stopped = True
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        for watched in self._watched.values():
            if not watched.ended.done():
                watched.ended.set_result(None)

    async def _look(self) -> None:
        while not self._stopped:
            self._forget()
            if not self._watched:
                return
            ids = list(self._watched)
            try:
                found = await to_thread.run_sync(self._records.many, ids)
            except Exception:  # of the database, which may be back the next time
                logger.warning("the database does not answer")
            else:
                self._tell(ids, found)
            await asyncio.sleep(LOOK_EVERY_S)

    def _forget(self) -> None:
        """Look no longer at what nobody waits for: who follows its progress comes back at once."""
        over = monotonic() - LINGER_S
        for id, watched in list(self._watched.items()):
            if not watched.waiting and watched.left_at < over:
                del self._watched[id]

    def _tell(self, ids: Collection[str], found: Mapping[str, Any]) -> None:
        for id in ids:
            watched = self._watched.get(id)
            if watched is None or watched.ended.done():
                continue
            watched.record = found.get(id)
            if watched.record is None:
                watched.ended.set_result(None)
            elif watched.record.finished:
                watched.ended.set_result(outcome_of(watched.record))


def outcome_of(record: Record) -> Outcome | None:
    """How an analysis ended; None where it has not."""
    match record.status:
        case "succeeded" | "cancelled" as status:
            return Outcome(status)
        case "failed":
            return Outcome("failed", record.error_code, record.error_detail)
        case _:
            return None
