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
    """

    change: Change | None = None
    is_cursor: bool = False
    ends: list[tuple[int, int]] = field(default_factory=list)
    _was_other: NDArray[np.bool_] | None = None

    def look_at(self, change: Change | None) -> bool:
        """Take what the next screen shows.

        Returns
        -------
        bool
            Whether it leaves open what it is.
        """
        if change is not None and self._was_other is not None:
            self.is_cursor |= change.undoes(self._was_other)
        is_open = change is not None and change.may_be_sweep and not change.shows_sweep
        self.change = change if is_open and not self.is_cursor else None
        return self.change is not None

    def wait(self, number: int) -> None:
        """Leave it to the screens after this one, of the given number."""
        if self.change is None:
            raise ValueError("there is nothing to wait for")
        self.ends.append((number, self.change.end))
        other = self.change.is_other
        self._was_other = other if self._was_other is None else self._was_other | other
