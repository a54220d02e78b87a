import pytest

from app.pipeline import features
from app.pipeline.results import FEATURE_NAMES, Beat


def test_formulas_give_the_values_worked_out_by_hand() -> None:
    # 7·2.7³/(2.4 + 2.7) = 137.781/5.1; 7·1.1³/3.5 = 9.317/3.5
    assert features.teichholz_volume_ul(2.7) == pytest.approx(27.01588, abs=1e-5)
    assert features.teichholz_volume_ul(1.1) == pytest.approx(2.662, abs=1e-9)
    assert features.ejection_fraction_pct(27.01588, 2.662) == pytest.approx(90.1465, abs=1e-4)
    assert features.fractional_shortening_pct(2.7, 1.1) == pytest.approx(59.2593, abs=1e-4)
    assert features.cardiac_output_ml_per_min(24.35388, 690.0) == pytest.approx(16.80418, abs=1e-5)


def test_a_summary_is_that_of_the_sample() -> None:
    summary = features.summarise([2.0, 4.0, 9.0])
    assert (summary.median, summary.mean, summary.min, summary.max) == (4.0, 5.0, 2.0, 9.0)
    assert summary.sd == pytest.approx(13**0.5)  # (9 + 1 + 16) / 2
    assert summary.n == 3


def test_absent_values_are_absent_and_not_zero() -> None:
    none, one = features.summarise([]), features.summarise([5.0])
    assert (none.median, none.mean, none.min, none.max, none.sd, none.n) == (None,) * 5 + (0,)
    assert (one.median, one.sd, one.n) == (5.0, None, 1)


def _beat(**values: object) -> Beat:
    plain = {
        "diastole_column": 0, "diastole_s": 0.0, "lvid_d_mm": 2.0, "lv_vol_d_ul": 10.0,
        "quality": 1.0, "accepted": True,
    }  # fmt: skip
    return Beat(**{**plain, **values})  # type: ignore[arg-type]


def test_only_accepted_beats_count_and_only_where_they_have_a_value() -> None:
    beats = [
        _beat(lvid_d_mm=2.0, heart_rate_bpm=600.0),
        _beat(lvid_d_mm=3.0),
        _beat(lvid_d_mm=9.0, accepted=False, rejected_because="low_quality"),
    ]
    summaries = features.features_of(beats)
    assert tuple(summaries) == FEATURE_NAMES
    assert (summaries["lvid_d_mm"].mean, summaries["lvid_d_mm"].n) == (2.5, 2)
    assert (summaries["heart_rate_bpm"].mean, summaries["heart_rate_bpm"].n) == (600.0, 1)
    assert summaries["lvid_s_mm"].n == 0
