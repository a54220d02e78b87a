"""Screens that a bar overwrites are put in order of time, or refused."""

import io
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from app.pipeline.columns import find_bars
from app.pipeline.errors import SweepNotOrdered
from app.pipeline.growing import GrowingStrip
from app.pipeline.registration import Screen
from tests.strips import make_strip
from tests.sweeps import sweep

WIDTH = 430
Pixels = NDArray[np.uint8]


def join(
    screens: Iterable[Pixels], blurred: bool = False
) -> tuple[Pixels, tuple[int, ...], GrowingStrip]:
    growing = GrowingStrip(blurred)
    for screen in screens:
        growing.add(Screen(np.ascontiguousarray(screen)))
    return *growing.finish(), growing


def as_jpeg(screen: Pixels, quality: int = 75) -> Pixels:
    out = io.BytesIO()
    Image.fromarray(screen).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(out))


def as_jpeg_2000(screen: Pixels) -> Pixels:
    out = io.BytesIO()
    options = {"quality_mode": "rates", "quality_layers": [10], "irreversible": True}
    Image.fromarray(screen).save(out, "JPEG2000", **options)
    return np.asarray(Image.open(out))


@pytest.mark.parametrize(("bar", "grey"), [(8, 0), (0, 0), (1, 255), (20, 90)])
@pytest.mark.parametrize("step", [5, 30, 100, 350])
def test_screens_come_out_in_order(step: int, bar: int, grey: int) -> None:
    strip = make_strip(columns=1_500)
    ends = [600 + step * i for i in range(8) if 600 + step * i <= 1_500]

    pixels, starts, growing = join(sweep(strip, WIDTH, ends, bar, grey))

    assert growing.is_sweep
    np.testing.assert_array_equal(pixels, strip[:, 600 - WIDTH + bar : ends[-1]])
    assert growing.joins == []
    assert growing.bars == []
    assert len(starts) == len(ends)
    assert starts[-1] == pixels.shape[1] - WIDTH
    assert 0 <= np.diff(starts).min() <= np.diff(starts).max() < WIDTH


def test_small_steps_are_noticed_once_they_add_up() -> None:
    strip = make_strip(columns=900)
    ends = [*range(600, 700, 2), 730]

    pixels, _, growing = join(sweep(strip, WIDTH, ends))

    assert growing.is_sweep
    np.testing.assert_array_equal(pixels, strip[:, 600 - WIDTH + 8 : 730])


def test_dropped_and_repeated_screens_of_a_sweep() -> None:
    strip = make_strip(columns=1_500)
    ends = [600, 600, 640, 640, 640, 900, 930, 1_250, 1_250]

    pixels, _, growing = join(sweep(strip, WIDTH, ends))

    assert growing.is_sweep
    np.testing.assert_array_equal(pixels, strip[:, 600 - WIDTH + 8 : 1_250])


@pytest.mark.parametrize(
    "ends", [range(60, 1_200, 60), range(100, 1_200, 170), [30, 300, 420, 700]]
)
def test_a_screen_that_fills_before_it_is_overwritten(ends: Iterable[int]) -> None:
    strip = make_strip(columns=1_500)
    ends = list(ends)

    pixels, _, growing = join(sweep(strip, WIDTH, ends))

    assert growing.is_sweep
    np.testing.assert_array_equal(pixels, strip[:, : ends[-1]])


@pytest.mark.parametrize("quality", [95, 80])
@pytest.mark.parametrize("width", [430, 1_000])
@pytest.mark.parametrize("first", [5, 20, 33, 34, 50, 65])
def test_a_screen_that_has_hardly_begun_to_fill_is_no_obstacle(
    first: int, width: int, quality: int
) -> None:
    strip = make_strip(columns=width + 300)
    ends = [first, first + 60, first + width // 2, width + 100, width + 200]
    pixels, _, growing = join(
        compressed(screen, lambda pixels: as_jpeg(pixels, quality))
        for screen in sweep(strip, width, ends, bar=0)
    )
    assert growing.is_sweep
    assert growing.joins == []
    assert abs(pixels.shape[1] - ends[-1]) <= 8


def test_a_screen_that_fills_and_is_never_overwritten() -> None:
    strip = make_strip(columns=400)

    pixels, starts, growing = join(sweep(strip, WIDTH, [100, 180, 260, 400]))

    assert not growing.is_sweep
    np.testing.assert_array_equal(pixels, strip)
    assert starts == (0, 0, 0, 0)
    assert growing.joins == []


def test_a_screen_that_fills_and_then_scrolls() -> None:
    strip = make_strip(columns=900)
    filling = sweep(strip, WIDTH, [120, 300, 430], bar=0)
    scrolling = [strip[:, start : start + WIDTH] for start in (60, 170, 300, 470)]

    pixels, starts, growing = join([*filling, *scrolling])

    np.testing.assert_array_equal(pixels, strip)
    assert starts == (0, 0, 0, 60, 170, 300, 470)
    assert not growing.is_sweep


@pytest.mark.parametrize("compress", [np.asarray, as_jpeg])
def test_what_a_label_stood_on_while_the_screen_filled_loses_no_time(
    compress: Callable[[Pixels], Pixels],
) -> None:
    strip = make_strip(columns=900)
    filling = sweep(strip, WIDTH, [120, 200, 300, 430], bar=0)
    filling[1:3, 2:12, 400:418:2] = 255
    scrolling = [strip[:, start : start + WIDTH] for start in (60, 170, 300, 470)]
    pixels, starts, growing = join(compressed(s, compress) for s in [*filling, *scrolling])
    assert not growing.is_sweep
    assert starts == (0, 0, 0, 0, 60, 170, 300, 470)
    assert pixels.shape[1] == 900


@pytest.mark.parametrize("compress", [as_jpeg, as_jpeg_2000])
def test_compression_noise_keeps_the_order(compress: Callable[[Pixels], Pixels]) -> None:
    strip = make_strip(columns=1_500)
    ends = [600, 640, 700, 760, 900, 1_100, 1_180]

    pixels, _, growing = join(compress(screen) for screen in sweep(strip, WIDTH, ends))

    assert growing.is_sweep
    assert abs(pixels.shape[1] - (1_180 - 600 + WIDTH - 8)) <= 24
    inner = pixels[:, 24:-24].astype(int)  # at either end the bar's blurred edge remains
    off = [
        np.abs(inner - strip[:, start : start + inner.shape[1]]).mean(axis=0).max()
        for start in range(600 - WIDTH, 600 - WIDTH + 48)
    ]
    assert min(off) < 30


def test_lost_contact_does_not_break_the_order() -> None:
    strip = make_strip(columns=1_500)
    strip[:, 640:720] = 0
    strip[:, 900:1_100] = 0
    ends = list(range(600, 1_400, 40))

    pixels, _, growing = join(sweep(strip, WIDTH, ends))

    assert growing.is_sweep
    np.testing.assert_array_equal(pixels, strip[:, 600 - WIDTH + 8 : ends[-1]])


def test_a_mark_that_stays_is_no_obstacle() -> None:
    strip = make_strip(columns=1_500)
    screens = sweep(strip, WIDTH, range(600, 1_000, 40))
    screens[:, 20:30, 200:240] = 255  # a label on the picture

    pixels, _, growing = join(screens)

    assert growing.is_sweep
    assert pixels.shape[1] == 960 - 600 + WIDTH - 8


@pytest.mark.parametrize("compress", [np.asarray, as_jpeg])
@pytest.mark.parametrize("far", [340, 370])
@pytest.mark.parametrize("near", [12, 20, 30])
def test_a_bar_that_has_hardly_moved_and_then_nearly_around_is_followed(
    near: int, far: int, compress: Callable[[Pixels], Pixels]
) -> None:
    ends = [600, 600 + near, 600 + near + far, 650 + near + far]
    screens = sweep(make_strip(columns=1_500), WIDTH, ends)
    pixels, starts, growing = join(compressed(screen, compress) for screen in screens)
    assert growing.is_sweep
    assert growing.joins == []
    assert abs(pixels.shape[1] - (ends[-1] - 600 + WIDTH - 8)) <= 8
    assert len(starts) == 4


@pytest.mark.parametrize("ends", [[600, 640, 1_300], [600, 640, 640 + 430], [600, 700, 1_060, 500]])
def test_what_cannot_be_put_in_order_is_refused(ends: list[int]) -> None:
    strip = make_strip(columns=1_500)
    with pytest.raises(SweepNotOrdered, match="overwrites"):
        join(sweep(strip, WIDTH, ends))


def test_changes_in_several_places_are_refused() -> None:
    strip = make_strip(columns=1_500)
    first, second = strip[:, :WIDTH].copy(), strip[:, :WIDTH].copy()
    for start in (30, 130, 230, 330):
        second[:, start : start + 60] = strip[:, start + 733 : start + 793]
    with pytest.raises(SweepNotOrdered):
        join([first, second])


@pytest.mark.parametrize("width", [1, 3, 10])
def test_a_cursor_on_a_frozen_picture_is_no_sweep(width: int) -> None:
    strip = make_strip(columns=WIDTH)
    screens = np.repeat(strip[None], 9, axis=0)
    for number, screen in enumerate(screens):
        screen[:, 100 + 10 * number : 100 + 10 * number + width] = 255

    pixels, starts, growing = join(screens)

    assert not growing.is_sweep
    assert starts == (0,) * 9
    assert pixels.shape[1] == WIDTH
    hidden = np.abs(pixels.astype(int) - strip).max(axis=0) > 0
    assert hidden.sum() == 0  # every column was seen once


def test_a_line_that_moves_over_a_frozen_picture_is_no_sweep() -> None:
    strip = make_strip(rows=200, columns=WIDTH)
    screens = np.repeat(strip[None], 5, axis=0)
    for number, screen in enumerate(screens):
        across = np.arange(WIDTH)
        screen[180 + np.round(8 * np.sin((across + 13 * number) / 10)).astype(int), across] = 200

    pixels, starts, growing = join(screens)

    assert not growing.is_sweep
    assert starts == (0,) * 5
    assert pixels.shape[1] == WIDTH


def test_the_bar_of_a_single_screen_is_a_seam() -> None:
    (screen,) = sweep(make_strip(columns=1_500), WIDTH, [600])

    pixels, _, growing = join([screen, screen])

    np.testing.assert_array_equal(pixels, screen)
    assert growing.bars == [(170, 178)]
    assert not growing.is_sweep


def test_lost_contact_is_no_bar_where_the_screens_scroll() -> None:
    strip = make_strip(columns=900)
    strip[:, 300:320] = 0
    _, _, growing = join(strip[:, start : start + WIDTH] for start in (0, 90, 180, 270))
    assert growing.bars == []
    assert not growing.is_sweep


def test_bars_are_narrow_and_lie_within_the_picture() -> None:
    screen = make_strip(columns=400)
    assert find_bars(screen) == []
    screen[:, :10] = screen[:, -10:] = 0  # not drawn
    screen[:, 100:106] = 30
    screen[:, 200:300] = 0  # contact lost
    assert find_bars(screen) == [(100, 106)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_sweep_that_is_recognised_comes_out_in_order_or_is_refused(data: st.DataObject) -> None:
    width = data.draw(st.integers(120, 500), label="width")
    bar = data.draw(st.integers(0, 12), label="bar")
    first = data.draw(st.integers(width, 3 * width), label="first")
    largest = int(0.6 * width)
    steps = data.draw(st.lists(st.integers(22, largest), min_size=1, max_size=8), label="steps")
    ends = np.cumsum([first, *steps]).tolist()
    seed = data.draw(st.integers(0, 50), label="seed")
    strip = make_strip(rows=64, columns=ends[-1], seed=seed)

    try:
        pixels, starts, growing = join(sweep(strip, width, ends, bar))
    except SweepNotOrdered:
        return

    assume(growing.is_sweep)
    np.testing.assert_array_equal(pixels, strip[:, first - width + bar :])
    assert starts[-1] == pixels.shape[1] - width


@pytest.mark.parametrize("quality", [95, 85, 50])
@pytest.mark.parametrize("width", [1, 3, 5])
def test_a_blurred_cursor_on_a_frozen_screen_adds_nothing(width: int, quality: int) -> None:
    frozen = make_strip(columns=WIDTH)
    screens = []
    for at in range(20, 400, 37):
        screen = frozen.copy()
        screen[:, at : at + width] = 255
        screens.append(as_jpeg(screen, quality))
    pixels, _, growing = join(screens, blurred=True)
    assert pixels.shape[1] == WIDTH
    assert not growing.is_sweep


def among_other_things(screen: Pixels) -> Pixels:
    """Put the M-mode on a screen where it does not begin with a block of JPEG."""
    rows, columns = screen.shape
    whole = np.full((rows + 60, columns + 90), 20, np.uint8)
    whole[27 : 27 + rows, 30:40:3] = 180  # a scale beside it
    whole[27 : 27 + rows, 45 : 45 + columns] = screen
    return whole


def compressed(screen: Pixels, compress: Callable[[Pixels], Pixels]) -> Pixels:
    rows, columns = screen.shape
    return compress(among_other_things(screen))[27 : 27 + rows, 45 : 45 + columns]


def under_a_cursor(width: int, moves: int, screens: int, is_dashed: bool = False) -> Pixels:
    """Move a cursor over a frozen picture."""
    shown = np.repeat(make_strip(columns=WIDTH)[None], screens, axis=0)
    for number, screen in enumerate(shown):
        at = 200 + moves * number if abs(moves) < 20 else 20 + moves * number
        for row in range(0, len(screen), 8):
            screen[row : row + (4 if is_dashed else 8), at : at + width] = 255
    return shown


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("quality", [95, 75, 50])
@pytest.mark.parametrize("moves", [-15, -2, 2, 5, 9, 15, 37])
@pytest.mark.parametrize("width", [1, 3, 5, 9, 15])
def test_a_cursor_on_a_frozen_screen_is_no_sweep_after_jpeg(
    width: int, moves: int, quality: int, is_known: bool
) -> None:
    screens = under_a_cursor(width, moves, 11)
    jpegs = (compressed(screen, lambda pixels: as_jpeg(pixels, quality)) for screen in screens)
    pixels, starts, growing = join(jpegs, blurred=is_known)
    assert not growing.is_sweep
    assert pixels.shape[1] == WIDTH
    assert starts == (0,) * 11


@pytest.mark.parametrize("compress", [np.asarray, as_jpeg, as_jpeg_2000])
@pytest.mark.parametrize("moves", [-15, 1, 2, 5, 9, 37])
@pytest.mark.parametrize("width", [3, 9, 15])
def test_a_dashed_cursor_on_a_frozen_screen_is_no_sweep(
    width: int, moves: int, compress: Callable[[Pixels], Pixels]
) -> None:
    screens = under_a_cursor(width, moves, 11, is_dashed=True)
    pixels, starts, growing = join(compressed(screen, compress) for screen in screens)
    assert not growing.is_sweep
    assert pixels.shape[1] == WIDTH
    assert starts == (0,) * 11


@pytest.mark.parametrize("screens", [2, 3])
@pytest.mark.parametrize("moves", [2, 9, 15])
@pytest.mark.parametrize("width", [1, 5, 9])
def test_few_screens_under_a_cursor_are_no_sweep_after_jpeg(
    width: int, moves: int, screens: int
) -> None:
    shown = under_a_cursor(width, moves, screens)
    pixels, _, growing = join((compressed(screen, as_jpeg) for screen in shown), blurred=True)
    assert not growing.is_sweep
    assert pixels.shape[1] == WIDTH


def test_a_frozen_screen_under_a_cursor_goes_on_to_scroll() -> None:
    strip = make_strip(columns=900)
    frozen = np.repeat(strip[None, :, :WIDTH], 4, axis=0)
    for number, screen in enumerate(frozen):
        screen[::2, 200 + 9 * number : 209 + 9 * number] = 255
    scrolling = [strip[:, start : start + WIDTH] for start in (60, 170, 300)]
    pixels, starts, growing = join([*frozen, *scrolling])
    assert not growing.is_sweep
    assert pixels.shape[1] == 300 + WIDTH
    assert starts == (0, 0, 0, 0, 60, 170, 300)


@pytest.mark.parametrize("compress", [np.asarray, as_jpeg])
@pytest.mark.parametrize("columns", [20, 34, 40])
def test_what_stays_beside_an_m_mode_that_scrolls_makes_no_sweep_of_it(
    columns: int, compress: Callable[[Pixels], Pixels]
) -> None:
    strip, beside = make_strip(columns=900), make_strip(columns=columns, seed=9)
    screens = [strip[:, start : start + WIDTH].copy() for start in (0, 60, 170, 300)]
    for screen in screens:
        screen[:, -columns:] = beside
    _, starts, growing = join(compress(screen) for screen in screens)
    assert not growing.is_sweep
    assert starts == (0, 60, 170, 300)


def test_what_waits_for_later_screens_keeps_its_place() -> None:
    strip = make_strip(columns=900)
    ends = [600, 620, 620, 630, 700]
    pixels, starts, growing = join(sweep(strip, WIDTH, ends))
    assert growing.is_sweep
    np.testing.assert_array_equal(pixels, strip[:, 600 - WIDTH + 8 : 700])
    assert starts == (-8, 12, 12, 22, 92)


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("quality", [95, 75, 50])
@pytest.mark.parametrize("step", [12, 30, 98, 200])
@pytest.mark.parametrize("bar", [0, 8, 40, 100])
@pytest.mark.parametrize("first", [100, 330, 600])
def test_a_sweep_is_ordered_after_jpeg(
    first: int, bar: int, step: int, quality: int, is_known: bool
) -> None:
    """Whether the display is empty, nearly full or swept over before at the first screen."""
    strip = make_strip(columns=1_500)
    ends = list(range(first, min(1_400, max(first, WIDTH) + bar + max(100, 3 * step)), step))
    screens = (
        compressed(screen, lambda pixels: as_jpeg(pixels, quality))
        for screen in sweep(strip, WIDTH, ends, bar)
    )
    pixels, _, growing = join(screens, blurred=is_known)
    assert growing.is_sweep
    assert growing.joins == []
    begins = max(0, first + bar - WIDTH)
    assert abs(pixels.shape[1] - (ends[-1] - begins)) <= 8
    inner = pixels[:, 24:-24].astype(int)
    off = [
        np.abs(inner - strip[:, at : at + inner.shape[1]]).mean(axis=0).max()
        for at in range(begins + 16, begins + 32)
    ]
    assert min(off) < 30


@pytest.mark.parametrize("quality", [95, 75, 50])
@pytest.mark.parametrize("bar", [0, 8])
def test_a_bar_that_creeps_on_is_a_sweep_before_it_has_come_far(bar: int, quality: int) -> None:
    strip = make_strip(columns=1_500)
    ends = [600 + 4 * number for number in range(13)]
    pixels, _, growing = join(
        (
            compressed(screen, lambda pixels: as_jpeg(pixels, quality))
            for screen in sweep(strip, WIDTH, ends, bar)
        ),
        blurred=True,
    )
    assert growing.is_sweep
    assert abs(pixels.shape[1] - (ends[-1] - (600 - WIDTH + bar))) <= 10


@pytest.mark.parametrize("compress", [np.asarray, as_jpeg, as_jpeg_2000])
@pytest.mark.parametrize("share", [0.04, 0.1, 0.25, 0.45, 0.7])  # of the screen
@pytest.mark.parametrize("bar", [2, 9])
@pytest.mark.parametrize("width", [60, 90, 120])
def test_a_narrow_sweep_comes_out_in_order_or_is_refused(
    width: int, bar: int, share: float, compress: Callable[[Pixels], Pixels]
) -> None:
    strip = make_strip(columns=1_500)
    step = int(share * width)
    ends = [600 + step * number for number in range(max(6, 2 * width // step))]
    screens = [compressed(screen, compress) for screen in sweep(strip, width, ends, bar)]
    try:
        pixels, _, growing = join(screens, blurred=compress is not np.asarray)
    except SweepNotOrdered:
        assert width < 100 or share >= 0.2
        return
    assert growing.is_sweep
    assert growing.joins == []
    assert abs(pixels.shape[1] - (ends[-1] - (600 - width + bar))) <= 10


def test_a_narrow_sweep_without_a_bar_is_refused_where_it_dissolves() -> None:
    strip = make_strip(columns=900)
    with pytest.raises(SweepNotOrdered):
        join(
            (
                compressed(screen, as_jpeg)
                for screen in sweep(strip, 40, [600 + 4 * number for number in range(15)], bar=0)
            ),
            blurred=True,
        )


@pytest.mark.parametrize("compress", [np.asarray, as_jpeg])
@pytest.mark.parametrize("bar", [8, 20, 60])
def test_screens_with_nothing_but_a_bar_in_common_are_refused(
    bar: int, compress: Callable[[Pixels], Pixels]
) -> None:
    screens = sweep(make_strip(columns=2_500), WIDTH, [600, 1_210, 1_900], bar)
    with pytest.raises(SweepNotOrdered, match="a bar overwrites them"):
        join(compressed(screen, compress) for screen in screens)


@pytest.mark.parametrize("width", [64, 100, 200])
def test_narrow_screens_that_do_not_overlap_are_joined_where_nothing_is_lost(width: int) -> None:
    strip = make_strip(columns=1_200)
    screens = [strip[:, start : start + width] for start in (0, 300, 650)]
    _, _, growing = join(screens)
    assert len(growing.joins) == 2
    jpegs = [compressed(screen, as_jpeg) for screen in screens]
    if width < 128:
        with pytest.raises(SweepNotOrdered, match="too narrow"):
            join(jpegs, blurred=True)
        scrolling = compressed(strip[:, 650 + width // 2 : 650 + width // 2 + width], as_jpeg)
        jpegs.append(scrolling)  # now they are known to scroll
    _, _, growing = join(jpegs, blurred=True)
    assert len(growing.joins) == 2


@pytest.mark.parametrize("compress", [np.asarray, as_jpeg])
def test_a_gap_that_stands_on_screens_that_do_not_overlap_is_no_bar(
    compress: Callable[[Pixels], Pixels],
) -> None:
    strip = make_strip(columns=2_500)
    screens = [strip[:, start : start + WIDTH].copy() for start in (0, 600, 1_300, 1_900)]
    for number, screen in enumerate(screens):
        screen[:, 200 : 206 + number % 2] = 0  # a line in the layout
    _, _, growing = join(compressed(screen, compress) for screen in screens)
    assert len(growing.joins) == 3


@pytest.mark.parametrize("step", [30, 98])
@pytest.mark.parametrize("first", [100, 600])
def test_a_sweep_is_ordered_after_jpeg_2000(first: int, step: int) -> None:
    strip = make_strip(columns=1_500)
    ends = list(range(first, max(first, WIDTH) + 8 + max(100, 3 * step), step))
    screens = (compressed(screen, as_jpeg_2000) for screen in sweep(strip, WIDTH, ends))
    pixels, _, growing = join(screens, blurred=True)
    assert growing.is_sweep
    assert abs(pixels.shape[1] - (ends[-1] - max(0, first + 8 - WIDTH))) <= 8


@pytest.mark.parametrize("quality", [90, 75, 50])
@pytest.mark.parametrize("step", [30, 98])
@pytest.mark.parametrize("bar", [8, 24, 40])
def test_a_sweep_with_a_wide_bar_is_ordered_under_compression(
    bar: int, step: int, quality: int
) -> None:
    strip = make_strip(columns=1_500)
    ends = [600 + step * i for i in range(8)]
    screens = [as_jpeg(screen, quality) for screen in sweep(strip, WIDTH, ends, bar, 0)]
    pixels, _, growing = join(screens, blurred=True)
    assert growing.is_sweep
    assert growing.joins == []
    assert abs(pixels.shape[1] - (ends[-1] - ends[0] + WIDTH - bar)) <= 8


def with_clock(screen: Pixels, number: int) -> Pixels:
    """Write on a screen what looks different on every one: a clock of 90 columns."""
    shown = screen.copy()
    digits = np.random.default_rng(number).integers(0, 2, (5, 45))
    shown[4:14, 150:240] = 255 * np.kron(digits, np.ones((2, 2), int))
    return shown


def with_line(screen: Pixels, number: int) -> Pixels:
    """Draw a line that moves by itself from the left edge to the right."""
    shown = screen.copy()
    across = np.arange(screen.shape[1])
    shown[-12 + 6 * ((across + 41 * number) % 90 < 6), across] = 255
    return shown


@pytest.mark.parametrize("compress", [np.asarray, as_jpeg])
def test_a_label_that_appears_on_a_frozen_screen_is_no_sweep(
    compress: Callable[[Pixels], Pixels],
) -> None:
    frozen = make_strip(rows=160, columns=WIDTH)
    screens = [frozen] * 3 + [with_clock(frozen, 0)] * 3 + [with_clock(frozen, 1)]
    pixels, starts, growing = join([compressed(screen, compress) for screen in screens])
    assert not growing.is_sweep
    assert starts == (0,) * 7
    assert pixels.shape[1] == WIDTH


@pytest.mark.parametrize("compress", [np.asarray, as_jpeg])
@pytest.mark.parametrize("write", [with_clock, with_line])
@pytest.mark.parametrize("step", [30, 140, 250])
def test_a_sweep_under_a_clock_or_a_line_is_ordered(
    step: int, write: Callable[[Pixels, int], Pixels], compress: Callable[[Pixels], Pixels]
) -> None:
    strip = make_strip(rows=160, columns=3_000)
    ends = [600, 700, *range(700 + step, min(2_900, 700 + 40 * step), step)]
    screens = [
        compressed(write(screen, number), compress)
        for number, screen in enumerate(sweep(strip, WIDTH, ends))
    ]
    pixels, _, growing = join(screens)
    assert growing.is_sweep
    begins = 600 - WIDTH + 8
    assert 0 <= pixels.shape[1] - (ends[-1] - begins) <= 24  # parts of a bar under a line count
    off = [
        np.abs(pixels[30:-30, 40:-40].astype(int) - strip[30:-30, at : at + pixels.shape[1] - 80])
        .mean(axis=0)
        .max()
        for at in range(begins + 16, begins + 48)
    ]
    assert min(off) < 30
