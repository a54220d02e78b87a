import numpy as np
import pytest

from models.simulation.recording import simulate_recording


def test_the_same_seed_gives_the_same_recording_and_another_seed_another() -> None:
    first, again = (simulate_recording(7, duration_s=0.6, rows=300) for _ in range(2))
    other = simulate_recording(8, duration_s=0.6, rows=300)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.lower_row, again.lower_row)
    assert first.pixels.shape != other.pixels.shape or not np.array_equal(
        first.pixels, other.pixels
    )


@pytest.mark.parametrize("seed", range(9_100_000, 9_100_012))
def test_the_truth_fits_the_anatomy_it_was_drawn_from(seed: int) -> None:
    recording = simulate_recording(seed, duration_s=1.5, rows=320, seconds_per_column=1e-3)
    rows, columns = recording.pixels.shape
    assert (rows, columns) == (320, 1500)
    assert recording.mm_per_row == pytest.approx(recording.anatomy.depth_mm / 320)
    assert (recording.upper_row < recording.upper_inner_row).all()
    assert (recording.upper_inner_row < recording.lower_inner_row).all()
    assert (recording.lower_inner_row < recording.lower_row).all()
    diameter_mm = (recording.lower_row - recording.upper_row) * recording.mm_per_row
    at_diastole = diameter_mm[recording.diastole_columns]
    # what is read off the picture may lie a little away from what it was drawn around
    assert np.median(at_diastole) == pytest.approx(recording.anatomy.lvid_d_mm, rel=0.08, abs=0.35)
    shortening = 1 - diameter_mm[recording.systole_columns].mean() / at_diastole.mean()
    assert shortening == pytest.approx(recording.anatomy.fractional_shortening, abs=0.13)
    alternating = np.sort(np.concatenate([recording.diastole_columns, recording.systole_columns]))
    is_systole = np.isin(alternating, recording.systole_columns)
    assert (is_systole[1:] != is_systole[:-1]).all()


def test_the_convention_is_as_much_wider_than_the_inner_edges_as_experts_draw() -> None:
    diastole, systole = [], []
    for seed in range(9_200_000, 9_200_060):
        recording = simulate_recording(seed, duration_s=0.8, rows=300, seconds_per_column=2e-3)
        wider = recording.lower_row - recording.upper_row
        wider = wider - (recording.lower_inner_row - recording.upper_inner_row)
        wider = wider * recording.mm_per_row
        diastole.append(np.median(wider[recording.diastole_columns]))
        systole.append(np.median(wider[recording.systole_columns]))
    assert np.median(diastole) == pytest.approx(0.30, abs=0.01)
    assert np.median(systole) == pytest.approx(0.27, abs=0.04)


def test_the_lumen_is_dark_between_bright_walls_where_the_truth_says_followable() -> None:
    inside, outside = [], []
    for seed in range(9_300_000, 9_300_020):
        recording = simulate_recording(seed, duration_s=0.8, rows=300, acquisition="good")
        row = np.arange(300)[:, None]
        inner = (row > recording.upper_inner_row + 3) & (row < recording.lower_inner_row - 3)
        reach = 0.3 / recording.mm_per_row
        wall = (row > recording.lower_inner_row + 2) & (row < recording.lower_inner_row + reach)
        good = recording.followable > 0.9
        if good.mean() > 0.5 and inner[:, good].any():
            inside.append(recording.pixels[inner & good[None, :]].mean())
            outside.append(recording.pixels[wall & good[None, :]].mean())
    assert len(inside) >= 12
    assert (np.array(outside) > np.array(inside) + 3).all()


def test_bad_acquisition_occurs_and_is_marked() -> None:
    mixed = [simulate_recording(s, duration_s=0.5, rows=300) for s in range(9_400_000, 9_400_030)]
    good = [
        simulate_recording(s, duration_s=0.5, rows=300, acquisition="good")
        for s in range(9_400_000, 9_400_030)
    ]
    share_mixed = np.mean([r.followable.mean() for r in mixed])
    share_good = np.mean([r.followable.mean() for r in good])
    assert share_good > share_mixed + 0.1
    assert any((~r.in_view).mean() > 0.5 for r in mixed)


def test_rows_and_columns_span_the_range_that_scanners_use() -> None:
    recordings = [simulate_recording(s, duration_s=0.3) for s in range(9_500_000, 9_500_025)]
    rows = [r.pixels.shape[0] for r in recordings]
    ms = [1e3 * r.seconds_per_column for r in recordings]
    assert min(rows) >= 300
    assert max(rows) <= 700
    assert max(rows) - min(rows) > 200
    assert min(ms) >= 0.4
    assert max(ms) <= 2
    assert max(ms) / min(ms) > 2.5
