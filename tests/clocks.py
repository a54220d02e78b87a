"""Time that tests move on by hand, where waiting for it would make them slow and shaky."""

import asyncio

import pytest


class HandClock:
    """The running event loop's clock, ahead of the real one by as much as a test says.

    Parameters
    ----------
    monkeypatch : pytest.MonkeyPatch
        Ends it with the test.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._real = loop.time
        self._ahead_s = 0.0
        monkeypatch.setattr(loop, "time", self.time)

    def time(self) -> float:
        """Tell the time in seconds."""
        return self._real() + self._ahead_s

    async def pass_s(self, seconds: float) -> None:
        """Have so much time pass at once, and what is due by then happen."""
        self._ahead_s += seconds
        for _ in range(3):  # a timer that is due runs in the next round, what it sets going after
            await asyncio.sleep(0)
