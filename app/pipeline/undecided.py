"""What a few changed columns may be: the beginning of a sweep, or a cursor on a frozen picture."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.pipeline.sweep import Change


@dataclass
class Undecided:
    """What the screens have shown while it was unclear.

    Attributes
    ----------
    change : Change or None
        What the last screen showed, if that leaves it open.
    is_cursor : bool
        Whether something was shown again that had been hidden: no bar does that.
    ends : list of (int, int)
        Numbers of screens that left it open, and the column up to which a bar would have drawn.
    grows : bool
        Whether by now more is overwritten, in one stretch, than when it was left open first, and
        all of that still is: a cursor that moves on shows again what it has hidden.
    """

    change: Change | None = None
    is_cursor: bool = False
    ends: list[tuple[int, int]] = field(default_factory=list)
    grows: bool = False
    _first_overwritten: int = 0
    _was_other: NDArray[np.bool_] | None = None

    def look_at(self, number: int, change: Change | None) -> bool:
        """Take what the next screen, of the given number, shows.

        Returns
        -------
        bool
            Whether it leaves open what it is.
        """
        if change is not None and self._was_other is not None:
            self.is_cursor |= change.undoes(self._was_other)
        self.change = None
        if change is None or self.is_cursor or change.shows_sweep or not change.may_be_sweep:
            return False
        if change.is_one_stretch:
            self._first_overwritten = self._first_overwritten or change.overwritten
            self.grows = change.continues(self._first_overwritten)
        if self.grows:
            return False
        self.change = change
        self.ends.append((number, change.end))
        before = self._was_other
        self._was_other = change.is_other if before is None else before | change.is_other
        return True
