from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.pipeline.networks import Networks
from app.pipeline.segment import follow, segment
from models.simulation.recording import SimulatedRecording, simulate_recording
from tests.unit.pipeline.strips import make_strip

TEST_SEED = 9_600_000  # between those trained on and those that models are evaluated on


def _shares(rows_at: NDArray[np.float64], width: float = 1.3) -> NDArray[np.float32]:
    """Distributions over 256 rows around the given rows, shape (borders, 256, columns)."""
    distance = np.arange(256)[None, :, None] - rows_at[:, None, :]
    share = np.exp(-0.5 * (distance / width) ** 2) + 1e-5
    return (share / share.sum(1, keepdims=True)).astype(np.float32)


def _curves(columns: int = 900) -> NDArray[np.float64]:
    time = np.arange(columns)
    return np.stack(
        [80 + 20 * np.sin(2 * np.pi * time / 70), 160 - 25 * np.sin(2 * np.pi * time / 70)]
    )


def test_decoding_is_sub_pixel() -> None:
    curves = _curves()
    rows, near = follow([_shares(curves)])
    assert np.abs(rows - curves).max() < 0.1
    assert near.min() > 0.95


def test_a_hole_is_bridged_and_its_confidence_says_so() -> None:
    curves = _curves()
    share = _shares(curves)
    share[:, :, 300:312] = 1 / 256  # nothing is known here
    rows, near = follow([share])
    assert np.abs(rows - curves)[:, 300:312].max() < 8
    assert near[:, 300:312].max() < 0.1
    elsewhere = np.ones(900, bool)
    elsewhere[300:312] = False
    assert np.abs(rows - curves)[:, elsewhere].max() < 0.3


def test_a_brighter_echo_elsewhere_does_not_make_the_border_jump() -> None:
    curves = _curves()
    share = _shares(curves)
    stray = _shares(np.full_like(curves, 220.0))
    share[:, :, 500:515] = 0.35 * share[:, :, 500:515] + 0.65 * stray[:, :, 500:515]
    rows, _ = follow([share])
    assert np.abs(rows - curves).max() < 1.0


def _good(seed: int, **options: float) -> SimulatedRecording:
    return simulate_recording(seed, duration_s=1.5, acquisition="good", **options)  # type: ignore[arg-type]


def test_borders_of_simulated_hearts_lie_where_the_truth_does(networks: Networks) -> None:
    shared = total = 0.0
    errors_mm: list[NDArray[np.float32]] = []
    missing = columns = 0
    for seed in range(TEST_SEED, TEST_SEED + 30):
        recording = _good(seed)
        good = recording.followable > 0.9
        strip = make_strip(
            recording.pixels,
            seconds_per_column=recording.seconds_per_column,
            mm_per_row=recording.mm_per_row,
        )
        borders = segment(strip, networks)
        missing += int(np.isnan(borders.upper_row)[good].sum())
        columns += int(good.sum())
        good &= np.isfinite(borders.upper_row)
        upper, lower = borders.upper_row[good], borders.lower_row[good]
        true_upper, true_lower = recording.upper_row[good], recording.lower_row[good]
        overlap = np.minimum(lower, true_lower) - np.maximum(upper, true_upper)
        shared += 2 * float(overlap.clip(0).sum())
        total += float((lower - upper).sum() + (true_lower - true_upper).sum())
        for found, true in ((upper, true_upper), (lower, true_lower)):
            errors_mm.append(np.abs(found - true) * recording.mm_per_row)
    assert columns > 20_000
    assert missing / columns < 0.04
    assert shared / total > 0.96
    assert np.median(np.concatenate(errors_mm)) < 0.05


def test_no_seam_shows_where_windows_meet(networks: Networks) -> None:
    recording = _good(TEST_SEED + 20, rows=320, seconds_per_column=1.25e-3)
    whole = make_strip(
        recording.pixels, seconds_per_column=1.25e-3, mm_per_row=recording.mm_per_row
    )
    cut = 100  # so that windows begin and end elsewhere
    later = make_strip(
        np.ascontiguousarray(recording.pixels[:, cut:]),
        seconds_per_column=1.25e-3,
        mm_per_row=recording.mm_per_row,
    )
    first, second = segment(whole, networks), segment(later, networks)
    inner = slice(100, -100)
    clear = (recording.followable > 0.9)[cut:][inner]
    for a, b in ((first.upper_row, second.upper_row), (first.lower_row, second.lower_row)):
        difference = np.abs(a[cut:][inner] - b[inner])[clear] * recording.mm_per_row
        assert np.isfinite(difference).mean() > 0.98
        assert np.nanmedian(difference) < 0.02
        assert np.nanpercentile(difference, 99) < 0.15


def test_inner_edges_lie_inside_the_borders_that_experts_draw(networks: Networks) -> None:
    errors_mm: list[NDArray[np.float32]] = []
    wider_mm: list[NDArray[np.float32]] = []
    truly_wider_mm: list[NDArray[np.float32]] = []
    for seed in range(TEST_SEED + 40, TEST_SEED + 50):
        recording = _good(seed, rows=320, seconds_per_column=1.25e-3)
        mm = recording.mm_per_row
        strip = make_strip(recording.pixels, seconds_per_column=1.25e-3, mm_per_row=mm)
        inner, expert = segment(strip, networks, "inner_edges"), segment(strip, networks)
        clear = (recording.followable > 0.9) & np.isfinite(inner.upper_row + expert.upper_row)
        for found, true in (
            (inner.upper_row, recording.upper_inner_row),
            (inner.lower_row, recording.lower_inner_row),
        ):
            errors_mm.append(np.abs(found - true)[clear] * mm)
        wider_mm.append((expert.diameter_rows - inner.diameter_rows)[clear] * mm)
        true_expert = recording.lower_row - recording.upper_row
        true_inner = recording.lower_inner_row - recording.upper_inner_row
        truly_wider_mm.append((true_expert - true_inner)[clear] * mm)
    assert np.median(np.concatenate(errors_mm)) < 0.08
    truth = np.median(np.concatenate(truly_wider_mm))
    assert np.median(np.concatenate(wider_mm)) == pytest.approx(truth, abs=0.05)
    assert truth > 0.2


def test_nothing_is_drawn_where_there_is_nothing(networks: Networks) -> None:
    rng = np.random.default_rng(1)
    noise = rng.rayleigh(12, (344, 1200)).clip(0, 255).astype(np.uint8)
    borders = segment(make_strip(noise), networks)
    assert np.isnan(borders.upper_row).mean() > 0.95
    assert borders.confidence.max() < 0.5 or np.isnan(borders.upper_row).all()


@pytest.mark.parametrize("columns", [1, 37, 256, 300])
def test_short_strips_are_measured_too(columns: int, networks: Networks) -> None:
    recording = _good(TEST_SEED + 20, rows=300, seconds_per_column=1e-3)
    strip = make_strip(np.ascontiguousarray(recording.pixels[:, :columns]))
    borders = segment(strip, networks)
    assert borders.upper_row.shape == borders.confidence.shape == (columns,)


def test_progress_rises_to_one_and_can_stop_the_work(networks: Networks) -> None:
    strip = make_strip(np.zeros((300, 7000), np.uint8))  # followed in two stretches
    seen: list[float] = []
    segment(strip, networks, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(strip, networks, progress=stop)


def test_the_expert_draws_nearly_the_same(reference_data: Path, networks: Networks) -> None:
    from models.training.real import evaluate_traced

    scores = evaluate_traced(networks, reference_data / "real")
    assert scores["dice"] >= 0.95
    assert scores["columns_without_border_pct"] < 1
