"""Whether the store can be written to, looked at beside those who ask.

A write waits for those before it, and they for the disk: under load that takes a tenth of a second
and more, which whoever asks for the service's health should not have to wait for.
"""

import logging
import threading
from collections.abc import Callable
from time import monotonic

logger = logging.getLogger(__name__)

FRESH_S = 1.0
"""How old an answer may be before the store is looked at again, in seconds."""

TRUSTED_S = 5.0
"""How old it may be before those who ask wait for the next."""


class StoreWatch:
    """Remembers that the store was well; safe to call from several threads.

    Parameters
    ----------
    *checks : callable
        Each raises what is wrong with a part of the store.
    clock : callable
        Gives seconds.
    """

    def __init__(self, *checks: Callable[[], None], clock: Callable[[], float] = monotonic) -> None:
        self._checks = checks
        self._clock = clock
        self._well_at: float | None = None
        self._looking = False
        self._lock = threading.Lock()

    def is_well(self) -> bool:
        """Whether the store was well a moment ago; does not block.

        Where that is not quite fresh any more, somebody begins to look beside.
        """
        with self._lock:
            age_s = None if self._well_at is None else self._clock() - self._well_at
            if age_s is None or age_s >= TRUSTED_S:
                return False
            if age_s >= FRESH_S and not self._looking:
                self._looking = True
                threading.Thread(target=self._look_beside, name="store", daemon=True).start()
            return True

    def __call__(self) -> None:
        """Go on where the store is well, or was a moment ago; else raise what is wrong with it."""
        if not self.is_well():
            self._look()

    def _look(self) -> None:
        well_at: float | None = self._clock()
        try:
            for check in self._checks:
                check()
        except BaseException:
            well_at = None
            raise
        finally:
            with self._lock:
                self._well_at, self._looking = well_at, False

    def _look_beside(self) -> None:
        try:
            self._look()
        except Exception as error:  # told to whoever asks next
            logger.warning("the store cannot be written to", extra={"error": type(error).__name__})
