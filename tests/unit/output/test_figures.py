"""What holds of every figure."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import get_args

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from app.output.figures import FIGURES, draw
from app.output.names import FIGURE_NAMES
from app.pipeline.results import Analysis, Beat, Borders, RejectedBecause
from tests.factories import make_analysis
from tests.unit.output.plain import NOTHING, SECONDS_PER_COLUMN, plain_analysis, plain_beat


def bare_beat(beat: Beat) -> Beat:
    return replace(
        beat,
        systole_column=None,
        systole_s=None,
        lvid_s_mm=None,
        lv_vol_s_ul=None,
        heart_rate_bpm=None,
        ejection_fraction_pct=None,
        fractional_shortening_pct=None,
        accepted=False,
        rejected_because="no_systole",
    )


def unseen() -> Analysis:
    analysis = plain_analysis(probabilities=(0.1, 0.2))
    absent = np.full(analysis.strip.columns, np.nan, np.float32)
    return replace(analysis, borders=Borders(absent, absent, np.zeros_like(absent)))


def ten_minutes() -> Analysis:
    columns = round(600 / SECONDS_PER_COLUMN)
    reasons = get_args(RejectedBecause)
    beats = [
        replace(
            plain_beat(column, accepted=False),
            rejected_because=reasons[column // 100 % len(reasons)],
        )
        for column in range(100, columns - 100, 100)
    ]
    probabilities = np.random.default_rng(1).random(2790).tolist()
    pixels = np.zeros((40, columns), np.uint8)
    return plain_analysis(
        pixels, upper_row=10, lower_row=30, probabilities=probabilities, beats=beats
    )


CASES = {
    "two_seconds": make_analysis,
    "nothing_seen": unseen,
    "no_systole": lambda: plain_analysis(beats=[bare_beat(plain_beat(100))]),
    "all_rejected": lambda: plain_analysis(beats=[plain_beat(100, accepted=False)]),
    "three_tenths_of_a_second": lambda: plain_analysis(np.zeros((300, 300), np.uint8)),
    "very_deep": lambda: plain_analysis(np.full((2000, 1200), 9, np.uint8)),
    "ten_minutes": ten_minutes,
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Analysis:
    return CASES[request.param]()


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_whatever_the_recording_a_figure_is_bounded_and_nothing_is_cut_off(
    case: Analysis, name: str
) -> None:
    with Image.open(io.BytesIO(draw(name, case))) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image)

    assert pixels.shape[1] == 1600
    assert 400 < pixels.shape[0] <= 3600
    assert len(np.unique(pixels)) > 10
    for edge in (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:]):
        assert (edge == 255).all()


def test_there_are_the_six_figures_of_the_contract() -> None:
    assert tuple(FIGURES) == FIGURE_NAMES
    assert set(FIGURE_NAMES) == {
        "echocardiogram",
        "segmentation",
        "diastole",
        "systole",
        "heart_rate",
        "function",
    }


def test_another_name_is_refused() -> None:
    with pytest.raises(KeyError):
        draw("volume", make_analysis())


def test_a_figure_says_nothing_beyond_its_pixels() -> None:
    with Image.open(io.BytesIO(draw("function", make_analysis()))) as image:
        image.load()
        assert not image.info


def test_threads_that_draw_at_once_draw_the_same() -> None:
    analysis = make_analysis()
    alone = {name: draw(name, analysis) for name in FIGURE_NAMES}

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda name: (name, draw(name, analysis)), FIGURE_NAMES))

    assert all(content == alone[name] for name, content in together)


def test_figures_neither_take_nor_leave_matplotlib_settings() -> None:
    analysis = replace(make_analysis(), features=NOTHING)
    usual = draw("diastole", analysis)

    with mpl.rc_context({"font.size": 40, "axes.facecolor": "black"}):
        unusual = draw("diastole", analysis)
        assert mpl.rcParams["font.size"] == 40

    assert unusual == usual
