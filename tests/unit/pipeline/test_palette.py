"""Segments of a palette are expanded to its entries, and to no more."""

import numpy as np
import pytest

from app.pipeline.palette import expand


def test_each_kind_of_segment() -> None:
    lines = [0, 2, 10, 20, 1, 4, 60]
    np.testing.assert_array_equal(expand(np.array(lines), 6, 2), [10, 20, 30, 40, 50, 60])
    again = [*lines, 2, 2, 0, 0]  # both once more
    np.testing.assert_array_equal(
        expand(np.array(again), 12, 2), [10, 20, 30, 40, 50, 60, 10, 20, 30, 40, 50, 60]
    )
    last = [*lines, 2, 1, 8, 0]  # the line alone, by its offset in bytes, from where it is
    np.testing.assert_array_equal(
        expand(np.array(last), 10, 2), [10, 20, 30, 40, 50, 60, 60, 60, 60, 60]
    )


def test_padding_is_left_alone() -> None:
    np.testing.assert_array_equal(expand(np.array([0, 3, 1, 2, 3, 0]), 3, 1), [1, 2, 3])


@pytest.mark.parametrize("entries", [5, 7])
def test_the_number_of_entries_has_to_be_right(entries: int) -> None:
    with pytest.raises(ValueError, match="entries"):
        expand(np.array([0, 2, 10, 20, 1, 4, 60]), entries, 2)
