"""Tables: read back with the csv module and held against the values that went in."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest

from app.output.tables import beats_csv, summary_csv, trace_csv
from app.pipeline.results import FEATURE_NAMES, Borders, Summary
from tests.factories import COLUMNS, make_analysis

OPTIONS = {"body_mass_g": 25.0, "profile": "robust", "figures": True}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def summary_of(file_name: str | None = "mouse.dcm", **overrides: object) -> dict[str, str]:
    text = summary_csv(make_analysis(**overrides), id="a1", file_name=file_name, options=OPTIONS)
    (row,) = rows_of(text)
    return row


def test_beats_have_the_columns_of_the_contract_in_its_order() -> None:
    header = beats_csv(make_analysis()).splitlines()[0]

    assert header == (
        "diastole_s,systole_s,lvid_d_mm,lvid_s_mm,heart_rate_bpm,lv_vol_d_ul,lv_vol_s_ul,"
        "ejection_fraction_pct,fractional_shortening_pct,quality,accepted,rejected_because"
    )


def test_every_beat_has_a_row_accepted_or_not() -> None:
    analysis = make_analysis()
    rows = rows_of(beats_csv(analysis))

    assert len(rows) == len(analysis.beats)
    for row, beat in zip(rows, analysis.beats, strict=True):
        assert float(row["diastole_s"]) == pytest.approx(beat.diastole_s, abs=1e-6)
        assert float(row["lvid_d_mm"]) == pytest.approx(beat.lvid_d_mm, abs=1e-6)
        assert row["accepted"] == ("true" if beat.accepted else "false")
        assert row["rejected_because"] == (beat.rejected_because or "")
    assert {row["accepted"] for row in rows} == {"true", "false"}


def test_an_absent_value_is_an_empty_cell() -> None:
    lonely = replace(make_analysis().beats[5], systole_s=None, lvid_s_mm=None, heart_rate_bpm=None)
    (row,) = rows_of(beats_csv(make_analysis(beats=(lonely,))))

    assert (row["systole_s"], row["lvid_s_mm"], row["heart_rate_bpm"]) == ("", "", "")
    assert float(row["lv_vol_d_ul"]) > 0


def test_without_beats_the_header_stands_alone() -> None:
    assert len(beats_csv(make_analysis(beats=())).splitlines()) == 1


def test_numbers_carry_no_binary_noise() -> None:
    beat = replace(make_analysis().beats[5], lvid_d_mm=0.1 + 0.2, quality=1.0, lvid_s_mm=-1e-9)
    (row,) = rows_of(beats_csv(make_analysis(beats=(beat,))))

    assert (row["lvid_d_mm"], row["quality"], row["lvid_s_mm"]) == ("0.3", "1", "0")


def test_summary_has_every_statistic_of_every_feature_in_order() -> None:
    columns = list(summary_of())

    assert columns[:5] == ["id", "file_name", "body_mass_g", "profile", "figures"]
    assert columns[5:11] == [
        "lvid_d_mm_median",
        "lvid_d_mm_mean",
        "lvid_d_mm_min",
        "lvid_d_mm_max",
        "lvid_d_mm_sd",
        "lvid_d_mm_n",
    ]
    assert columns[5::6] == [f"{name}_median" for name in FEATURE_NAMES]
    assert len(columns) == 5 + 6 * 9


def test_summary_holds_the_options_and_the_features() -> None:
    features = {name: Summary(2.5, 2.6, 2.0, 3.0, None, 1) for name in FEATURE_NAMES}
    row = summary_of(features=features)

    assert (row["id"], row["file_name"]) == ("a1", "mouse.dcm")
    assert (row["body_mass_g"], row["profile"], row["figures"]) == ("25", "robust", "true")
    assert (row["heart_rate_bpm_median"], row["heart_rate_bpm_mean"]) == ("2.5", "2.6")
    assert (row["heart_rate_bpm_sd"], row["heart_rate_bpm_n"]) == ("", "1")


def test_summary_of_nothing_is_empty_but_for_the_counts() -> None:
    nothing = {name: Summary(None, None, None, None, None, 0) for name in FEATURE_NAMES}
    row = summary_of(None, features=nothing)

    assert row["file_name"] == ""
    for name in FEATURE_NAMES:
        assert [row[f"{name}_{s}"] for s in ("median", "mean", "min", "max", "sd")] == [""] * 5
        assert row[f"{name}_n"] == "0"


@pytest.mark.parametrize(
    "name",
    [
        "=1+1",
        "+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1+1",
        '=HYPERLINK("x")',
        "\uff1d1+1",
    ],
)
def test_a_file_name_is_never_run_as_a_formula(name: str) -> None:
    assert summary_of(name)["file_name"] == f"'{name}"


@pytest.mark.parametrize("name", ["mouse 1.dcm", 'a,"b".dcm', "größe=2.dcm", "", " a-b.dcm"])
def test_an_ordinary_file_name_stays_as_it_is(name: str) -> None:
    assert summary_of(name)["file_name"] == name


def test_trace_has_a_row_per_column_on_the_strips_time_axis() -> None:
    analysis = make_analysis()
    text = trace_csv(analysis)
    rows = rows_of(text)

    assert text.splitlines()[0] == "time_s,upper_mm,lower_mm,lvid_mm,quality_probability"
    assert len(rows) == COLUMNS
    times_s = [float(rows[column]["time_s"]) for column in (0, 1, 1200)]
    assert times_s == pytest.approx([0, 1 / 1200, 1], abs=1e-6)


def test_trace_gives_depths_in_mm_and_leaves_unseen_borders_empty() -> None:
    strip = make_analysis().strip
    upper = np.full(strip.columns, 100, np.float32)
    lower = np.full(strip.columns, 225.5, np.float32)
    upper[7] = lower[7] = math.nan
    seen = np.ones(strip.columns, np.float32)
    rows = rows_of(trace_csv(make_analysis(borders=Borders(upper, lower, seen))))

    depths = [float(rows[6][name]) for name in ("upper_mm", "lower_mm", "lvid_mm")]
    assert depths == pytest.approx([2.0, 4.51, 2.51], abs=1e-5)
    assert [rows[7][name] for name in ("upper_mm", "lower_mm", "lvid_mm")] == ["", "", ""]


def test_trace_has_the_probability_of_its_window_in_every_column() -> None:
    analysis = make_analysis()
    rows = rows_of(trace_csv(analysis))

    for window in analysis.windows:
        for column in (window.start_column, window.end_column - 1):
            assert float(rows[column]["quality_probability"]) == window.probability
    assert rows[7]["quality_probability"] != rows[-1]["quality_probability"]
