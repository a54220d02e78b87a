"""Tables and figure over the recordings of a study."""

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.output import study_tables, tables
from app.output.figures import draw_overview
from app.output.mice import MICE_COLUMNS, mice_csv, mice_of
from app.output.overview import MOST_GROUPS, OTHER_GROUPS, PANELS, overview
from app.output.published_tables import published_all_csv, published_stats_csv
from app.output.study_tables import Recording
from app.pipeline.features import features_of
from app.pipeline.results import FEATURE_NAMES
from tests.factories import make_analysis


def recording(name: str, **values: Any) -> Recording:
    plain: dict[str, Any] = {
        "id": "1" * 32,
        "file_name": name,
        "mouse_id": None,
        "sex": None,
        "group": None,
        "body_mass_g": 25.0,
        "profile": "robust",
        "figures": True,
        "status": "succeeded",
        "analysis": make_analysis(),
    }
    return Recording(**plain | values)


def refused(name: str) -> Recording:
    return recording(
        name,
        id=None,
        status="failed",
        error_code="not_dicom",
        error_detail="Not a DICOM file.",
        analysis=None,
    )


def scaled(factor: float):
    analysis = make_analysis()
    beats = tuple(replace(b, lvid_d_mm=b.lvid_d_mm * factor) for b in analysis.beats)
    return replace(analysis, beats=beats, features=features_of(beats))


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_beats_of_all_recordings() -> None:
    one = recording("a/m1.dcm", mouse_id="=1+1", sex="F", group="wt")
    rows = read("".join(study_tables.beats_csv([one, refused("x"), recording("b.dcm")])))

    own = read(tables.beats_csv(make_analysis()))
    assert len(rows) == 2 * len(own)
    assert [{k: row[k] for k in own[0]} for row in rows] == own * 2
    assert (rows[0]["mouse_id"], rows[0]["sex"], rows[0]["group"]) == ("'=1+1", "F", "wt")
    assert {row["file_name"] for row in rows} == {"a/m1.dcm", "b.dcm"}
    assert rows[-1]["mouse_id"] == ""


def test_the_summary_has_a_row_for_whatever_became_of_a_file() -> None:
    text = "".join(study_tables.summary_csv([recording("m.dcm"), refused("n.txt")]))
    good, bad = read(text)

    options = {"body_mass_g": 25.0, "profile": "robust", "figures": True}
    (own,) = read(
        tables.summary_csv(make_analysis(), id="1" * 32, file_name="m.dcm", options=options)
    )
    assert {name: good[name] for name in own} == own
    assert (good["status"], good["error_code"]) == ("succeeded", "")
    assert (bad["id"], bad["status"], bad["error_code"]) == ("", "failed", "not_dicom")
    assert bad["error_detail"] == "Not a DICOM file."
    assert bad["lvid_d_mm_n"] == ""


def test_published_tables_have_one_header() -> None:
    recordings = [recording("m.dcm"), refused("x"), recording("n.dcm")]

    for table, single in (
        (study_tables.published_all, published_all_csv),
        (study_tables.published_stats, published_stats_csv),
    ):
        first = single(make_analysis(), file_name="m.dcm")
        second = single(make_analysis(), file_name="n.dcm").partition("\r\n")[2]
        assert "".join(table(recordings)) == first + second


def test_several_recordings_of_a_mouse_are_averaged_over_beats() -> None:
    long, short = scaled(1.0), scaled(1.2)
    short = replace(short, beats=short.beats[:8])
    (mouse,) = mice_of(
        [
            recording("1.dcm", mouse_id="M1", group="wt", analysis=long),
            recording("2.dcm", mouse_id="M1", group="wt", body_mass_g=27.0, analysis=short),
            refused("3.dcm"),
        ]
    )

    beats = [b for b in (*long.beats, *short.beats) if b.accepted]
    assert mouse.features == features_of(beats)
    assert mouse.features["lvid_d_mm"].n == len(beats)
    assert mouse.features["lvid_d_mm"].mean == pytest.approx(
        np.mean([beat.lvid_d_mm for beat in beats])
    )
    (row,) = read(mice_csv([mouse]))
    assert tuple(row) == MICE_COLUMNS
    assert (row["recordings"], row["body_mass_g"]) == ("2", "26")
    assert row["file_names"] == "1.dcm; 2.dcm"
    assert row["lvid_d_mm_n"] == str(len(beats))


def test_mice_are_told_apart_and_put_in_order() -> None:
    mice = mice_of(
        [
            recording("a.dcm"),
            recording("b.dcm"),
            recording("c.dcm", mouse_id="M10", group="wt"),
            recording("d.dcm", mouse_id="M9", group="wt"),
            recording("e.dcm", mouse_id="M9", group="ko"),
            recording("f.dcm", mouse_id="M9", group="ko", sex="F"),
        ]
    )

    assert [(m.group, m.mouse_id, m.sex, *m.file_names) for m in mice] == [
        ("ko", "M9", "F", "f.dcm"),
        ("ko", "M9", None, "e.dcm"),
        ("wt", "M9", None, "d.dcm"),
        ("wt", "M10", None, "c.dcm"),
        (None, None, None, "a.dcm"),
        (None, None, None, "b.dcm"),
    ]


def texts(page: Any) -> list[str]:
    figure = page._figure
    return [text.get_text() for text in figure.texts] + [
        label.get_text() for axes in figure.axes for label in axes.get_xticklabels()
    ]


def test_the_overview_has_a_panel_per_feature_and_a_place_per_group() -> None:
    mice = mice_of(
        recording(f"{n}.dcm", mouse_id=f"M{n}", group=f"g{n % 3}", sex="FM"[n % 2])
        for n in range(9)
    )
    page = overview("A study ($5)", mice)

    assert sorted(panel.feature for panel in PANELS) == sorted(FEATURE_NAMES)
    assert len(page._figure.axes) == len(FEATURE_NAMES)
    for axes in page._figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["g0", "g1", "g2"]
        drawn = sum(line.get_xdata().size for line in axes.lines)
        assert drawn == 9
    assert r"A study (\$5)" in texts(page)
    assert any(text.endswith("9 recordings of 9 mice.") for text in texts(page))


def test_a_mouse_in_two_groups_is_one_mouse() -> None:
    none = replace(make_analysis(), beats=())
    recordings = [
        recording("1.dcm", mouse_id="M1", group="before"),
        recording("2.dcm", mouse_id="M1", group="after", analysis=none),
        recording("3.dcm", mouse_id="M2", group="before", analysis=none),
        recording("4.dcm", mouse_id="M2", group="after", analysis=none),
        recording("5.dcm", analysis=none),
        recording("6.dcm"),
    ]
    assert any(
        text.endswith(
            "6 recordings of 2 mice, 2 more without a mouse's name; 2 without a beat that counts."
        )
        for text in texts(overview("x", mice_of(recordings)))
    )


def test_many_groups_share_a_place() -> None:
    mice = mice_of(recording(f"{n}.dcm", mouse_id="M", group=f"g{n}") for n in range(20))
    axes = overview("x", mice)._figure.axes[0]

    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(labels) == MOST_GROUPS
    assert labels[-1] == OTHER_GROUPS


def test_long_names_of_groups_are_not_mixed_up() -> None:
    dose = "wild type, isoprenaline, {} mg/kg"
    mice = mice_of(recording(f"{n}.dcm", group=dose.format(n)) for n in (30, 60))
    axes = overview("x", mice)._figure.axes[0]

    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "wild ty…, 30 mg/kg",
        "wild ty…, 60 mg/kg",
    ]


@pytest.mark.parametrize("recordings", [[], [refused("x")], [recording("m.dcm")]])
def test_little_can_be_drawn_too(recordings: list[Recording]) -> None:
    image = Image.open(io.BytesIO(draw_overview("n", mice_of(recordings))))

    assert image.size[0] == 1600
    assert image.convert("L").getextrema()[0] < 50
