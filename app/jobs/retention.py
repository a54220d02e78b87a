"""What is removed by itself: results that are too old, and the oldest where there are too many."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from anyio import to_thread

from app.jobs.intake import Intake

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 600.0
_PAUSE_BY_SIZE_S = 60.0


@dataclass(frozen=True)
class Retention:
    """How long, and how much, is kept.

    Attributes
    ----------
    after_h : float or None
        Hours that a finished analysis stays; None for ever.
    max_bytes : int or None
        Most bytes that recordings and results may take; None where only the disk is a limit.
    """

    after_h: float | None
    max_bytes: int | None

    @property
    def pause_s(self) -> float | None:
        """How often there may be something to remove, in seconds; None for never."""
        pauses = []
        if self.after_h is not None:
            pauses.append(min(_LONGEST_PAUSE_S, 3600 * self.after_h / 20))
        if self.max_bytes is not None:
            pauses.append(_PAUSE_BY_SIZE_S)
        return max(_SHORTEST_PAUSE_S, min(pauses)) if pauses else None

    def apply(self, intake: Intake) -> int:
        """Remove what need not stay, with its files, the oldest first; how many analyses."""
        removed = 0
        if self.after_h is not None:
            removed += intake.expire(datetime.now(UTC) - timedelta(hours=self.after_h))
        if self.max_bytes is not None:
            removed += intake.shrink(self.max_bytes)
        return removed


@contextlib.asynccontextmanager
async def retaining(retention: Retention, intake: Intake) -> AsyncIterator[None]:
    """Have what need not stay removed, at once and then again and again.

    Yields
    ------
    None
        Until the context ends, the removing goes on.
    """
    pause_s = retention.pause_s
    if pause_s is None:
        yield
        return
    task = asyncio.create_task(_go_on(lambda: retention.apply(intake), pause_s))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _go_on(apply: Callable[[], int], pause_s: float) -> None:
    while True:
        try:
            await to_thread.run_sync(apply)
        except Exception:  # of the store; it may be better the next time
            logger.exception("results could not be removed")
        await asyncio.sleep(pause_s)
