from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logit

from app.pipeline import masks
from app.pipeline.masks import edge_shares, segment_by_mask
from app.pipeline.networks import Networks
from app.pipeline.published_windows import draw_mask, judge_squares, mask_between
from app.pipeline.quality import judge
from app.pipeline.results import Borders, Strip
from app.pipeline.segment import segment
from models.simulation.recording import simulate_recording
from tests.stand_in import heart
from tests.unit.pipeline.strips import make_strip

DT = 1 / 1200


def a_heart(columns: int = 2000, **options: slice) -> tuple[Strip, NDArray[np.int64]]:
    pixels, lumen_rows = heart(columns, **options)
    return make_strip(pixels, seconds_per_column=DT), lumen_rows


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[NDArray[np.bool_]], None]:
    """Let the segmenter answer with this mask of 256 rows, whatever it is shown."""

    def put(mask: NDArray[np.bool_]) -> None:
        starts: list[int] = []

        def find(_: Networks, windows: NDArray[np.float32]) -> NDArray[np.float32]:
            start = min(192 * len(starts), mask.shape[1] - 256)  # three quarters of a window on
            starts.append(start)
            return logit(np.where(mask[None, :, start : start + 256], 0.98, 0.02))

        monkeypatch.setattr(masks, "find_mask_logits", find)

    return put


def test_borders_lie_where_the_mask_ends(stand_ins: Networks) -> None:
    strip, lumen_rows = a_heart()
    borders = segment_by_mask(strip, stand_ins)
    assert np.isfinite(borders.upper_row).all()
    assert np.abs(borders.diameter_rows - lumen_rows).max() < 3
    assert abs((borders.diameter_rows - lumen_rows).mean()) < 0.5
    assert np.abs((borders.upper_row + borders.lower_row) / 2 - 149.5).max() < 1.5
    assert borders.confidence.min() > 0.6


def test_holes_and_specks_move_no_border(answer, stand_ins: Networks) -> None:
    across = np.arange(1024)
    half = 40 + 15 * np.cos(2 * np.pi * across / 80)
    row = np.arange(256)[:, None]
    mask = np.abs(row - 128) < half
    clean = mask.copy()
    below_the_wall = row - 128 + half  # rows below the upper border
    for left in range(60, 1000, 90):
        mask[124:130, left : left + 40] = False  # a hole
        another = slice(left + 10, left + 20)  # near the border
        near = below_the_wall[:, another]
        mask[:, another] &= ~((near > 9) & (near < 15))
        mask[30:35, left : left + 50] = True  # a speck
        mask[215:219, left : left + 60] = True
    answer(mask)
    strip = make_strip(np.zeros((256, 1024), np.uint8), seconds_per_column=1.25e-3)
    borders = segment_by_mask(strip, stand_ins)
    assert np.abs(borders.diameter_rows - clean.sum(0)).max() < 2.5
    assert np.abs(mask.sum(0) - clean.sum(0)).max() > 6  # which counting pixels would have felt


def test_no_mask_is_no_ventricle(answer, stand_ins: Networks) -> None:
    mask = np.zeros((256, 1024), bool)
    mask[90:160, :500] = True
    answer(mask)
    strip = make_strip(np.zeros((256, 1024), np.uint8), seconds_per_column=1.25e-3)
    borders = segment_by_mask(strip, stand_ins)
    assert np.isfinite(borders.upper_row[:495]).all()
    assert np.isnan(borders.upper_row[505:]).all()
    assert (borders.confidence[505:] == 0).all()


@pytest.mark.parametrize("columns", [40, 299, 300, 301, 900])
def test_strips_of_any_length(columns: int, stand_ins: Networks) -> None:
    strip, lumen_rows = a_heart(columns)
    borders = segment_by_mask(strip, stand_ins)
    assert np.abs(borders.diameter_rows - lumen_rows).max() < 3.5
    mask = draw_mask(strip, stand_ins)
    assert mask.shape == (300, columns)
    assert np.abs(mask.sum(0) - lumen_rows).max() <= 4


def test_edges_are_distributions() -> None:
    rng = np.random.default_rng(1)
    for probability in (rng.random((256, 30)), np.zeros((256, 30)), np.ones((256, 30))):
        share, in_view = edge_shares(probability.astype(np.float32))
        assert share.shape == (2, 256, 30)
        assert np.abs(share.sum(1) - 1).max() < 1e-3
        assert share.min() >= 0
        assert ((in_view >= 0) & (in_view <= 1)).all()


def test_progress_can_stop_it_and_reaches_the_end(stand_ins: Networks) -> None:
    strip, _ = a_heart(1500)
    for run in (segment_by_mask, lambda s, n, p: draw_mask(s, n, "expert", p)):
        told: list[float] = []
        run(strip, stand_ins, told.append)
        assert told == sorted(told)
        assert told[-1] == 1
        assert len(told) >= 5

        def stop(fraction: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(strip, stand_ins, stop)


def test_only_the_new_columns_of_the_last_square_are_used(
    monkeypatch: pytest.MonkeyPatch, stand_ins: Networks
) -> None:
    counted = iter(range(100))

    def find(_: Networks, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = 10 * (next(counted) + 1)  # as many rows as there were windows, in tens
        return np.where(np.arange(256)[None, :, None] < rows, 1.0, -1.0).repeat(256, 2)

    monkeypatch.setattr("app.pipeline.published_windows.find_mask_logits", find)
    strip = make_strip(np.zeros((256, 600), np.uint8))
    used = draw_mask(strip, stand_ins).sum(0)
    assert used.tolist() == [10] * 256 + [20] * 256 + [30] * 88


def test_the_mask_of_border_networks_lies_between_the_borders(networks: Networks) -> None:
    recording = simulate_recording(9_600_004, duration_s=1.0, acquisition="good")
    strip = make_strip(
        recording.pixels,
        seconds_per_column=recording.seconds_per_column,
        mm_per_row=recording.mm_per_row,
    )
    borders, mask = segment(strip, networks), draw_mask(strip, networks)
    seen = np.isfinite(borders.upper_row)
    assert seen.mean() > 0.5
    assert not mask[:, ~seen].any()
    count = mask.sum(0)[seen]
    assert np.abs(count - borders.diameter_rows[seen]).max() <= 1
    assert abs((count - borders.diameter_rows[seen]).mean()) < 0.1
    inner = draw_mask(strip, networks, "inner_edges").sum(0)[seen]
    assert inner.mean() < count.mean()


def test_a_pixel_belongs_to_the_mask_when_its_centre_does() -> None:
    at = np.array([[2.0, 2.1, np.nan], [4.0, 3.9, np.nan]], np.float32)
    mask = mask_between(Borders(at[0], at[1], np.ones(3, np.float32)), 6)
    assert mask.T.astype(int).tolist() == [[0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0], [0] * 6]


def test_each_classifier_sees_the_windows_of_each_profile_in_its_own_grey(
    stand_ins: Networks, networks: Networks
) -> None:
    # what is dim is of low quality to the stand-in, which sees grey as it is
    strip, _ = a_heart(2000, dim=slice(0, 700))
    borders, mask = segment_by_mask(strip, stand_ins), draw_mask(strip, stand_ins)
    for windows in (
        judge(strip, borders, stand_ins, 25.0),
        judge_squares(strip, mask, stand_ins, 25.0),
    ):
        assert (windows[0].start_column, windows[-1].end_column) == (0, 2000)
        assert all(a.end_column == b.start_column for a, b in pairwise(windows))
        labels = {w.label for w in windows if w.end_column <= 700}
        assert labels == {"low"}
        assert {w.label for w in windows if w.start_column > 700} == {"high"}
    # twice the gain changes what the stand-in sees, and not what our own one does
    half = make_strip(heart(1000)[0] // 2, seconds_per_column=DT)
    full = make_strip(2 * half.pixels, seconds_per_column=DT)
    mask = draw_mask(full, stand_ins)
    own, other = (
        np.array([[w.probability for w in judge_squares(s, mask, n, 50.0)] for s in (half, full)])
        for n in (networks, stand_ins)
    )
    assert own[0] == pytest.approx(own[1], abs=0.02)
    assert other[0].max() < 0.5 < other[1].min()
