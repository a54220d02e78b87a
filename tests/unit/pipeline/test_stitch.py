"""Stitching against the strip and the starts that the screens were cut from."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from app.pipeline.dicom import open_recording
from app.pipeline.errors import TooLarge, TooShort
from app.pipeline.limits import Limits
from app.pipeline.registration import Screen, find_shift
from app.pipeline.results import Strip
from app.pipeline.stitch import stitch
from models.simulation.artefacts import jpeg
from models.simulation.recording import simulate_recording
from models.simulation.scanner import Encoding, Layout, write_screens
from tests.strips import make_strip

SECONDS_PER_COLUMN, MM_PER_ROW = 1 / 1200, 0.02
WIDTH = 430


def restitch(
    strip: NDArray[np.uint8],
    folder: Path,
    starts: list[int] | None = None,
    encoding: Encoding = "raw",
    width: int = WIDTH,
    **options: int,
) -> Strip:
    path = folder / "recording.dcm"
    write_screens(
        strip,
        path,
        seconds_per_column=SECONDS_PER_COLUMN,
        mm_per_row=MM_PER_ROW,
        width=width,
        starts=starts,
        encoding=encoding,
        **options,
    )
    return stitch(open_recording(path))


@pytest.mark.parametrize("encoding", ["raw", "rle"])
def test_lossless_screens_give_the_strip_back(tmp_path: Path, encoding: Encoding) -> None:
    strip = make_strip(columns=1003)
    starts = [0, 101, 202, 303, 404, 505, 573]  # the last shift is shorter

    stitched = restitch(strip, tmp_path, starts, encoding)

    np.testing.assert_array_equal(stitched.pixels, strip)
    assert stitched.starts == tuple(starts)
    assert stitched.frames == 7
    assert stitched.warnings == ()
    assert stitched.duration_s == pytest.approx(1003 / 1200)


@pytest.mark.parametrize("quality", [95, 75, 40])
def test_compression_noise_moves_no_screen(tmp_path: Path, quality: int) -> None:
    strip = make_strip(columns=1003)
    starts = [0, 101, 202, 303, 404, 505, 573]

    stitched = restitch(strip, tmp_path, starts, "jpeg", jpeg_quality=quality)

    assert stitched.starts == tuple(starts)
    assert stitched.pixels.shape == strip.shape
    assert stitched.warnings == ()
    assert np.abs(stitched.pixels.astype(int) - strip).mean() < 12


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_repeated_screens_add_nothing(tmp_path: Path, encoding: Encoding) -> None:
    strip = make_strip(columns=630)
    starts = [0, 0, 0, 90, 90, 200, 200]

    stitched = restitch(strip, tmp_path, starts, encoding)

    assert stitched.starts == tuple(starts)
    assert stitched.columns == 630
    assert stitched.warnings == ()


def test_a_shift_of_a_whole_beat_is_told_from_a_repeat(tmp_path: Path) -> None:
    strip = make_strip(columns=930, cycle_columns=100)
    starts = [0, 100, 200, 400, 500]  # one beat, one beat, two beats, one beat

    assert restitch(strip, tmp_path, starts).starts == tuple(starts)


def test_one_screen_is_its_own_strip(tmp_path: Path) -> None:
    strip = make_strip(columns=WIDTH)

    stitched = restitch(strip, tmp_path, screens=1)

    np.testing.assert_array_equal(stitched.pixels, strip)
    assert stitched.starts == (0,)


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_screen_without_overlap_is_appended_whole_and_named(
    tmp_path: Path, encoding: Encoding
) -> None:
    strip = make_strip(columns=1600)
    starts = [0, 110, 700, 810]  # whole beats are missing: what comes looks much the same

    stitched = restitch(strip, tmp_path, starts, encoding)

    assert stitched.starts == (0, 110, 540, 650)
    assert stitched.columns == 540 + 540
    (warning,) = stitched.warnings
    assert warning.code == "screens_do_not_overlap"
    assert "Screens 2 and 3" in warning.detail
    assert "0.45 s" in warning.detail  # 540 columns
    if encoding == "raw":
        expected = np.concatenate([strip[:, :540], strip[:, 700:1240]], axis=1)
        np.testing.assert_array_equal(stitched.pixels, expected)


def test_a_small_overlap_is_found(tmp_path: Path) -> None:
    strip = make_strip(columns=1200)
    starts = [0, WIDTH - 40, 2 * WIDTH - 90]

    assert restitch(strip, tmp_path, starts, "jpeg").starts == tuple(starts)


def test_warnings_of_many_gaps_are_summed_up(tmp_path: Path) -> None:
    strip = make_strip(rows=48, columns=16 * 150)

    stitched = restitch(strip, tmp_path, [150 * i for i in range(16)], width=100)

    assert stitched.columns == 16 * 100
    assert len(stitched.warnings) == 11
    assert "5 more places" in stitched.warnings[-1].detail


def test_columns_not_yet_drawn_are_left_out(tmp_path: Path) -> None:
    strip = make_strip(columns=900)
    starts = [-430, -410, -300, -160, -20, 120, 260, 400, 470]

    stitched = restitch(strip, tmp_path, starts)

    np.testing.assert_array_equal(stitched.pixels, strip)
    assert stitched.starts[2:] == tuple(starts[2:])
    assert max(stitched.starts[:2]) <= -410  # blank so far: they lie before the strip
    assert stitched.warnings == ()


def test_black_columns_within_the_recording_stay(tmp_path: Path) -> None:
    strip = make_strip(columns=900)
    strip[:, 300:420] = 0  # contact lost
    starts = [0, 90, 180, 270, 360, 450, 470]

    stitched = restitch(strip, tmp_path, starts)

    np.testing.assert_array_equal(stitched.pixels, strip)
    assert stitched.starts == tuple(starts)


@pytest.mark.parametrize("grey", [0, 255])
def test_a_flat_recording_is_one_screen(tmp_path: Path, grey: int) -> None:
    strip = np.full((48, 700), grey, np.uint8)

    stitched = restitch(strip, tmp_path, [0, 100, 200])

    np.testing.assert_array_equal(stitched.pixels, strip[:, :WIDTH])
    assert stitched.warnings == ()


def test_too_short(tmp_path: Path) -> None:
    with pytest.raises(TooShort, match=r"0\.29 s"):
        restitch(make_strip(columns=350), tmp_path, screens=3, width=340)
    assert restitch(make_strip(columns=361), tmp_path, screens=3, width=340).columns == 361


def test_a_strip_longer_than_allowed_is_refused(tmp_path: Path) -> None:
    restitch(make_strip(columns=900), tmp_path)
    recording = open_recording(tmp_path / "recording.dcm")

    assert stitch(recording, Limits(max_strip_columns=900)).columns == 900
    with pytest.raises(TooLarge):
        stitch(recording, Limits(max_strip_columns=899))


def test_progress_is_reported_and_may_stop(tmp_path: Path) -> None:
    restitch(make_strip(columns=630), tmp_path, [0, 50, 100, 200])
    recording = open_recording(tmp_path / "recording.dcm")
    fractions: list[float] = []
    stitch(recording, progress=fractions.append)
    assert fractions == [0.25, 0.5, 0.75, 1.0]

    class Stop(Exception):
        pass

    def stop(fraction: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        stitch(recording, progress=stop)


def test_marks_that_do_not_scroll_move_no_screen() -> None:
    strip = make_strip(columns=600)
    first, second = strip[:, :WIDTH].copy(), strip[:, 77 : 77 + WIDTH].copy()
    for screen in (first, second):
        screen[:, 200:210] = 255  # a cursor
    assert find_shift(Screen(first), Screen(second)) == 77


@pytest.mark.parametrize("quality", [None, 75])
@pytest.mark.parametrize("shift", [3, 17, 40])
@pytest.mark.parametrize("width", [56, 64, 90])
def test_a_cursor_on_narrow_screens_hides_no_overlap(
    width: int, shift: int, quality: int | None
) -> None:
    strip = make_strip(columns=600)
    screens = []
    for start in (100, 100 + shift):
        screen = strip[:, start : start + width].copy()
        screen[:, width // 3 : width // 3 + 2] = 255
        if quality:
            screen = jpeg(screen, quality)
        screens.append(Screen(screen))
    assert find_shift(*screens) == shift


def with_table(screen: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write a table of results on a screen."""
    shown = screen.copy()
    letters = 255 * np.random.default_rng(3).integers(0, 2, (15, 60))
    shown[20:50, 150:270] = np.kron(letters, np.ones((2, 2), int))
    return shown


@pytest.mark.parametrize("shift", [2, 3, 5, 60, 210])
def test_a_table_that_stands_on_the_picture_hides_no_overlap(shift: int) -> None:
    strip = make_strip(rows=128, columns=1_200)
    first, second = strip[:, :WIDTH], strip[:, shift : shift + WIDTH]
    assert find_shift(Screen(with_table(first)), Screen(with_table(second))) == shift


def test_a_table_alone_makes_no_overlap() -> None:
    strip = make_strip(rows=128, columns=1_500)
    for start in range(WIDTH, 1_000, 33):
        other = strip[:, start : start + WIDTH]
        first, second = Screen(with_table(strip[:, :WIDTH])), Screen(with_table(other))
        assert find_shift(first, second) is None


def test_a_table_that_appears_on_a_picture_that_has_stopped_moves_no_screen() -> None:
    stopped = make_strip(rows=220, columns=WIDTH)
    assert find_shift(Screen(stopped), Screen(with_table(stopped))) == 0
    assert find_shift(Screen(with_table(stopped)), Screen(stopped)) == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_wide_cursor_that_moves_elsewhere_hides_no_overlap(seed: int) -> None:
    strip = make_strip(columns=600, seed=seed)
    first, second = strip[:, :WIDTH].copy(), strip[:, 140 : 140 + WIDTH].copy()
    first[:, 200:212] = second[:, 170:182] = 255
    assert find_shift(Screen(first), Screen(second)) == 140


def test_columns_drawn_twice_move_no_screen() -> None:
    strip = np.repeat(make_strip(columns=300), 2, axis=1)  # a slow sweep on a wide screen
    for shift in (0, 50, 51, 120):
        other = Screen(strip[:, shift : shift + WIDTH])
        assert find_shift(Screen(strip[:, :WIDTH]), other) == shift


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_shift_that_leaves_an_overlap_is_found(data: st.DataObject) -> None:
    seed, width = data.draw(st.integers(0, 50)), data.draw(st.integers(40, 500))
    shift = data.draw(st.integers(0, width - min(32, width // 4)))
    noise = data.draw(st.sampled_from([0, 1, 4]))
    strip = make_strip(rows=64, columns=1000, seed=seed).astype(float)
    rng = np.random.default_rng(seed)

    def screen(start: int) -> Screen:
        cut = strip[:, start : start + width]
        noisy = cut + noise * rng.standard_normal(cut.shape)
        return Screen(np.clip(np.round(noisy), 0, 255).astype(np.uint8))

    assert find_shift(screen(0), screen(shift)) == shift


def test_a_simulated_recording_comes_back(tmp_path: Path) -> None:
    strip = simulate_recording(5, duration_s=1.5, rows=200).pixels

    stitched = restitch(strip, tmp_path, width=700, screens=9)

    np.testing.assert_array_equal(stitched.pixels, strip)


@pytest.mark.parametrize("inclusive", [False, True])
def test_a_real_recording_comes_back(reference_data: Path, tmp_path: Path, inclusive: bool) -> None:
    strip = np.asarray(Image.open(reference_data / "real" / "r4_strip.png").convert("L"))
    path = tmp_path / "recording.dcm"
    starts = np.round(np.linspace(0, strip.shape[1] - 1024, 49)).astype(int)
    write_screens(
        strip,
        path,
        seconds_per_column=1 / 1200,
        mm_per_row=0.020645,
        starts=starts,
        layout=Layout(inclusive_corners=inclusive),
    )

    stitched = stitch(open_recording(path))

    lost = int(inclusive)  # the corner is read as lying outside
    np.testing.assert_array_equal(
        stitched.pixels, strip[: strip.shape[0] - lost, : strip.shape[1] - lost]
    )
    assert stitched.starts == tuple(starts)


def test_a_real_recording_in_jpeg_keeps_its_time(reference_data: Path, tmp_path: Path) -> None:
    strip = np.asarray(Image.open(reference_data / "real" / "r4_strip.png").convert("L"))
    path = tmp_path / "recording.dcm"
    starts = write_screens(
        strip,
        path,
        seconds_per_column=1 / 1200,
        mm_per_row=0.020645,
        screens=20,
        encoding="jpeg",
        jpeg_quality=75,
    )

    assert stitch(open_recording(path)).starts == starts
