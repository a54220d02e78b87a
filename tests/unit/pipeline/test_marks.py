"""Marks that change on the screen are told from a picture that is overwritten by their rows."""

import numpy as np

from app.pipeline.marks import rows_that_stand, rows_with_marks
from tests.strips import make_strip


def test_marks_are_found_by_their_rows() -> None:
    before = make_strip(rows=128, columns=60)
    after = before.copy()
    after[9:15] = 255 - before[9:15]
    marked = rows_with_marks(before, after, 1.0)
    assert set(range(9, 15)) <= set(np.flatnonzero(marked).tolist()) <= set(range(8, 16))


def test_marks_are_found_beside_what_is_overwritten() -> None:
    strip = make_strip(rows=128, columns=260)
    before, after = strip[:, :60].copy(), strip[:, 200:].copy()
    after[:, :20] = before[:, :20]
    after[9:15, :20] = 255
    marked = rows_with_marks(before, after, 1.0)
    assert set(range(9, 15)) <= set(np.flatnonzero(marked).tolist()) <= set(range(8, 16))


def test_another_beat_and_a_cursor_are_no_marks() -> None:
    strip = make_strip(rows=128, columns=260)
    before = strip[:, :60]
    assert not rows_with_marks(before, strip[:, 200:], 1.0).any()
    assert not rows_with_marks(before, np.full_like(before, 255), 1.0).any()


def test_half_a_picture_is_no_mark() -> None:
    before = make_strip(rows=128, columns=60)
    after = before.copy()
    after[:64] = 255 - before[:64]
    assert not rows_with_marks(before, after, 1.0).any()


def test_pictures_of_few_rows_or_no_columns_have_no_marks() -> None:
    low, other = make_strip(rows=20, columns=60), make_strip(rows=20, columns=60, seed=1)
    assert not rows_with_marks(low, other, 1.0).any()
    high = make_strip(rows=128, columns=60)[:, :0]
    assert not rows_with_marks(high, high, 1.0).any()


def test_what_stands_on_a_picture_that_moves_is_found() -> None:
    strip = make_strip(rows=128, columns=500)
    before, after = strip[:, :400].copy(), strip[:, 60:460].copy()
    letters = 255 * np.random.default_rng(0).integers(0, 2, (10, 50))
    for screen in (before, after):
        screen[40:60, 100:200] = np.kron(letters, np.ones((2, 2), int))
    stands = np.flatnonzero(rows_that_stand(before, after))
    assert set(range(40, 60)) <= set(stands.tolist()) <= set(range(32, 68))
    assert not rows_that_stand(strip[:, :400], strip[:, 60:460]).any()
    assert not rows_that_stand(before, before).any()
    assert not rows_that_stand(before[:20], after[:20]).any()
