"""What is looked after while the service runs: results that have been kept long enough, first."""

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
    after = timedelta(hours=after_h)
    pause_s = min(_LONGEST_PAUSE_S, max(_SHORTEST_PAUSE_S, after.total_seconds() / 20))
    async with repeating(lambda: expire(datetime.now(UTC) - after), pause_s):
        yield


@contextlib.asynccontextmanager
async def shrinking(
    shrink: Callable[[int], int], limit_bytes: int | None, pause_s: float
) -> AsyncIterator[None]:
    """Have the oldest removed where there is too much, at once and then again and again.

    Parameters
    ----------
    shrink : callable
        Removes until what is left takes no more than so many bytes.
    limit_bytes : int or None
        None where only the disk is a limit.
    pause_s : float

    Yields
    ------
    None
        Until the context ends, the removing goes on.
    """
    if limit_bytes is None:
        yield
        return
    async with repeating(lambda: shrink(limit_bytes), pause_s):
        yield


@contextlib.asynccontextmanager
async def repeating(act: Callable[[], object], pause_s: float) -> AsyncIterator[None]:
    """Have something done in a thread, at once and then again and again.

    Parameters
    ----------
    act : callable
        What it raises is logged.
    pause_s : float

    Yields
    ------
    None
        Until the context ends, it goes on.
    """
    task = asyncio.create_task(_go_on(act, pause_s))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _go_on(act: Callable[[], object], pause_s: float) -> None:
    while True:
        try:
            await to_thread.run_sync(act)
        except Exception:  # of the store; it may be better the next time
            logger.exception("the data folder could not be tidied")
        await asyncio.sleep(pause_s)
