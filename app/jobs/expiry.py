"""Results that are removed by themselves after a time, where the centre wants that."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

from anyio import to_thread

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 600.0


@contextlib.asynccontextmanager
async def expiring(expire: Callable[[datetime], int], after_h: float | None) -> AsyncIterator[None]:
    """Have what ended long ago removed, at once and then again and again.

    Parameters
    ----------
    expire : callable
        Removes what had ended before a moment.
    after_h : float or None
        Hours that a result stays; None for ever.

    Yields
    ------
    None
        Until the context ends, the removing goes on.
    """
    if after_h is None:
        yield
        return
    task = asyncio.create_task(_go_on(expire, timedelta(hours=after_h)))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _go_on(expire: Callable[[datetime], int], after: timedelta) -> None:
    pause_s = min(_LONGEST_PAUSE_S, max(_SHORTEST_PAUSE_S, after.total_seconds() / 20))
    while True:
        try:
            await to_thread.run_sync(expire, datetime.now(UTC) - after)
        except Exception:  # of the store; it may be better the next time
            logger.exception("expired results could not be removed")
        await asyncio.sleep(pause_s)
