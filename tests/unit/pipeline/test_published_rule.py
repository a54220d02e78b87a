import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.signal import find_peaks

from app.output.published_tables import (
    ALL_COLUMNS,
    STATS_COLUMNS,
    published_all_csv,
    published_stats_csv,
)
from app.pipeline.published_rule import (
    CLOSEST_COLUMNS,
    Measurement,
    beats_of,
    features_of,
    measure,
    warnings_of,
)
from app.pipeline.published_windows import borders_around, quality_squares
from app.pipeline.results import QualityWindow
from tests.factories import make_analysis
from tests.unit.pipeline.strips import make_strip

DT, MM = 1 / 1000, 0.02


def window(start: int, end: int, probability: float) -> QualityWindow:
    label = "high" if probability >= 0.5 else "low"
    return QualityWindow(start, end, start * DT, end * DT, probability, label)  # type: ignore[arg-type]


def beating(columns: int, cycle: int = 100) -> np.ndarray:
    """Rows of lumen: 150 at 30, 130, …, and 50 halfway between."""
    phase = 2 * np.pi * (np.arange(columns) - 30) / cycle
    return np.rint(100 + 50 * np.cos(phase)).astype(int)


def measured(rows: np.ndarray, *windows: QualityWindow) -> Measurement:
    return measure(rows, MM, DT, windows or (window(0, rows.size, 0.9),))


@pytest.fixture(scope="module")
def golden(reference_data: Path) -> dict[str, Any]:
    folder = reference_data / "published"
    found: dict[str, Any] = json.loads((folder / "golden_measurement.json").read_text())
    with Image.open(folder / "golden_measurement_mask.png") as image:
        found["mask"] = np.asarray(image) > 0
    strip = make_strip(
        np.zeros(found["mask"].shape, np.uint8),
        seconds_per_column=found["seconds_per_column"],
        mm_per_row=found["mm_per_row"],
    )
    found["squares"] = quality_squares(strip, found["mask"], found["body_mass_g"])
    windows = [
        window(start, end, probability)
        for (start, end, _), probability in zip(
            found["squares"], found["quality_probability"], strict=True
        )
    ]
    found["measurement"] = measure(
        found["mask"].sum(0), strip.mm_per_row, strip.seconds_per_column, windows
    )
    return found


@pytest.fixture(scope="module")
def golden_measurement(golden: dict[str, Any]) -> Measurement:
    """Measure at the golden columns, whichever of equal ones this processor would find."""
    return replace(
        golden["measurement"],
        diastoles=np.array(golden["diastole_columns"]),
        systoles=np.array(golden["systole_columns"]),
    )


def test_the_golden_windows(golden: dict[str, Any]) -> None:
    assert [[a, b] for a, b, _ in golden["squares"]] == golden["quality_windows"]
    shapes = [[box.bottom - box.top, box.right - box.left] for _, _, box in golden["squares"]]
    assert shapes == golden["quality_window_shape"]


def is_what_the_rule_finds(columns: list[int], lvid_mm: np.ndarray) -> bool:
    """Whether largest diameters may be those that the rule keeps.

    The highest maximum stays and drives out those nearer than 85 columns, then the next highest.
    Many have the same whole number of pixels; which of those goes first depends on how the
    processor sorts them.
    """
    peaks, _ = find_peaks(lvid_mm)
    kept = np.asarray(columns)
    if not set(columns) <= set(peaks.tolist()) or np.diff(kept).min() < CLOSEST_COLUMNS:
        return False
    dropped = np.setdiff1d(peaks, kept)
    near = np.abs(dropped[:, None] - kept) < CLOSEST_COLUMNS
    return bool((near & (lvid_mm[kept] >= lvid_mm[dropped][:, None])).any(1).all())


def sorts_as_for_the_golden() -> bool:
    """Whether this processor sorts equal numbers as the one that the golden output came from."""
    found: Any = np.show_config("dicts")
    return bool({"X86_V4", "AVX512_SKX"} & set(found["SIMD Extensions"]["found"]))


def test_the_golden_extremes(golden: dict[str, Any]) -> None:
    found: Measurement = golden["measurement"]
    for columns, wanted, lvid_mm in (
        (found.diastoles.tolist(), golden["diastole_columns"], found.lvid_mm),
        (found.systoles.tolist(), golden["systole_columns"], -found.lvid_mm),
    ):
        assert is_what_the_rule_finds(columns, lvid_mm)
        assert is_what_the_rule_finds(wanted, lvid_mm)
        assert not is_what_the_rule_finds([c for c in wanted if c != wanted[7]], lvid_mm)
        assert not is_what_the_rule_finds([wanted[0] + 1, *wanted[1:]], lvid_mm)
        if sorts_as_for_the_golden():
            assert columns == wanted


def test_the_golden_values(golden: dict[str, Any], golden_measurement: Measurement) -> None:
    found = golden_measurement
    for values, name in (
        (found.lvid_mm[found.diastoles], "lvid_d_mm"),
        (found.lvid_mm[found.systoles], "lvid_s_mm"),
        (found.heart_rates_bpm, "heart_rate_bpm"),
    ):
        assert values.tolist() == pytest.approx(golden[name], abs=1e-9)
    volumes = [beat.lv_vol_d_ul for beat in beats_of(found)]
    assert volumes == pytest.approx(golden["lv_vol_d_ul"], abs=1e-9)


def test_the_golden_tables(golden: dict[str, Any], golden_measurement: Measurement) -> None:
    found = golden_measurement
    beats = beats_of(found)
    analysis = make_analysis(profile="published", beats=beats, features=features_of(found, beats))
    assert list(ALL_COLUMNS) == golden["csv_all_header"]
    assert list(STATS_COLUMNS) == golden["csv_stats_header"]
    header, *rows = published_all_csv(analysis, file_name="m.dcm").splitlines()
    # none of the golden names holds a comma
    assert header.split(",") == golden["csv_all_header"]
    assert len(rows) == len(golden["csv_all_rows"])
    for row, wanted in zip(rows, golden["csv_all_rows"], strict=True):
        name, *cells = row.split(",")
        assert name == "m.dcm"
        assert [float(cell) for cell in cells] == pytest.approx(wanted, abs=1e-9)
    header, row = published_stats_csv(analysis, file_name="m.dcm").splitlines()
    assert header.split(",") == golden["csv_stats_header"]
    name, *cells = row.split(",")
    assert name == "m.dcm"
    assert [float(cell) for cell in cells] == pytest.approx(golden["csv_stats_row"], abs=1e-9)


def test_a_steady_heart() -> None:
    found = measured(beating(1000))
    assert found.diastoles.tolist() == list(range(30, 1000, 100))
    assert found.systoles.tolist() == list(range(80, 1000, 100))
    assert found.heart_rates_bpm == pytest.approx([600.0] * 9)
    beats = beats_of(found)
    assert [beat.systole_column for beat in beats] == found.systoles.tolist()
    assert beats[-1].heart_rate_bpm is None
    features = features_of(found, beats)
    assert features["lvid_d_mm"].n == features["lvid_s_mm"].n == 10
    assert features["lvid_d_mm"].median == pytest.approx(150 * MM)
    assert features["heart_rate_bpm"].n == features["cardiac_output_ml_per_min"].n == 9
    assert features["fractional_shortening_pct"].mean == pytest.approx(100 * 2 / 3)


def test_peaks_are_85_columns_apart_whatever_they_last() -> None:
    for cycle, kept in ((84, 168), (86, 86)):
        found = measured(beating(2000, cycle))
        assert set(np.diff(found.diastoles)) == {kept}


def test_what_lies_in_a_window_of_low_quality_does_not_count() -> None:
    found = measured(
        beating(1000), window(0, 300, 0.9), window(300, 600, 0.4), window(600, 1000, 0.5)
    )
    assert found.counted_diastoles.tolist() == [30, 130, 230, 630, 730, 830, 930]
    assert found.counted_systoles.tolist() == [80, 180, 280, 680, 780, 880, 980]
    beats = beats_of(found)
    assert [b.diastole_column for b in beats] == found.diastoles.tolist()
    assert [b.accepted for b in beats] == [b.quality >= 0.5 for b in beats]
    assert {b.rejected_because for b in beats if not b.accepted} == {"low_quality"}
    assert [b.systole_column for b in beats if not b.accepted] == [380, 480, 580]


def test_lists_are_paired_by_their_position_and_the_table_stops_at_the_shortest() -> None:
    # the first systole that counts lies before the first diastole that does
    found = measured(
        beating(1000), window(0, 60, 0.1), window(60, 560, 0.9), window(560, 1000, 0.1)
    )
    assert found.counted_diastoles.tolist() == [130, 230, 330, 430, 530]
    assert found.counted_systoles.tolist() == [80, 180, 280, 380, 480]
    beats = [beat for beat in beats_of(found) if beat.accepted]
    assert [b.systole_column for b in beats] == [80, 180, 280, 380, 480]
    fewer = measured(beating(1000), window(0, 20, 0.1), window(20, 40, 0.9), window(40, 1000, 0.1))
    (lonely,) = [beat for beat in beats_of(fewer) if beat.accepted]
    assert (lonely.systole_column, lonely.lvid_s_mm) == (None, None)
    features = features_of(fewer, beats_of(fewer))
    assert (features["lvid_d_mm"].n, features["lvid_s_mm"].n) == (1, 0)
    analysis = make_analysis(profile="published", beats=beats_of(fewer), features=features)
    assert len(published_all_csv(analysis, file_name="x").splitlines()) == 1
    row = published_stats_csv(analysis, file_name="x").splitlines()[1].split(",")
    assert [float(cell) for cell in row[1:4]] == [pytest.approx(3.0), 0.0, pytest.approx(600.0)]


def test_a_column_without_lumen_measures_nothing_and_counts() -> None:
    rows = beating(1000)
    rows[80] = 0
    found = measured(rows)
    assert found.lvid_mm[found.systoles].tolist()[0] == 0.0
    beat = beats_of(found)[0]
    assert (beat.lvid_s_mm, beat.lv_vol_s_ul, beat.ejection_fraction_pct) == (0.0, 0.0, 100.0)


@pytest.mark.parametrize(
    ("rows", "code"), [(np.zeros(500, int), "no_ventricle"), (np.full(500, 90), "no_beats")]
)
def test_nothing_to_measure(rows: np.ndarray, code: str) -> None:
    found = measured(rows)
    assert [warning.code for warning in warnings_of(found)] == [code]
    assert beats_of(found) == ()
    features = features_of(found, ())
    assert {(summary.n, summary.median) for summary in features.values()} == {(0, None)}


@pytest.mark.parametrize(("columns", "body_mass_g"), [(1000, 10), (999, 20), (150, 25), (600, 50)])
def test_squares_tile_the_strip(columns: int, body_mass_g: float) -> None:
    strip = make_strip(np.zeros((300, columns), np.uint8))
    squares = quality_squares(strip, np.zeros((300, columns), bool), body_mass_g)
    assert (squares[0][0], squares[-1][1]) == (0, columns)
    for (_, end, _), (start, _, _) in itertools.pairwise(squares):
        assert end == start
    side = {10: 150, 20: 180, 25: 225, 50: 300}[body_mass_g]
    for start, end, box in squares:
        assert box.right - box.left == min(side, columns)
        assert box.left <= start < end == box.right
        assert 0 <= box.top < box.bottom <= 300


@pytest.mark.parametrize(("row", "top", "bottom"), [(150, 37, 262), (20, 0, 225), (280, 167, 300)])
def test_squares_follow_the_mask_in_depth(row: int, top: int, bottom: int) -> None:
    mask = np.zeros((300, 900), bool)
    mask[row - 5 : row + 6] = True
    box = quality_squares(make_strip(np.zeros((300, 900), np.uint8)), mask, 25)[0][2]
    assert (box.top, box.bottom) == (top, bottom)


def test_borders_are_as_far_apart_as_what_is_measured() -> None:
    mask = np.zeros((100, 4), bool)
    mask[20:50, 0] = True
    mask[[20, 21, 40, 41], 1] = True
    mask[99, 3] = True
    borders = borders_around(mask)
    assert borders.diameter_rows.tolist()[:2] == [30, 4]
    assert (borders.upper_row[0], borders.lower_row[0]) == (19.5, 49.5)
    assert np.isnan(borders.upper_row[2])
    assert borders.confidence.tolist() == [1, 1, 0, 1]
    assert borders.lower_row[3] == 99.5
