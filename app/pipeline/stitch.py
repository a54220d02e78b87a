"""The screens of one M-mode to one strip, whether they scroll or a bar overwrites them."""

from collections.abc import Callable
from contextlib import closing

from app.pipeline.dicom import Recording
from app.pipeline.errors import TooLarge, TooShort
from app.pipeline.growing import GrowingStrip
from app.pipeline.limits import Limits
from app.pipeline.registration import Screen
from app.pipeline.results import Region, Strip, Warning

MIN_DURATION_S = 0.3
_MAX_WARNINGS = 10


def stitch(
    recording: Recording,
    limits: Limits = Limits(),
    progress: Callable[[float], None] = lambda fraction: None,
) -> Strip:
    """Join the screens of a recording; only columns that a screen adds are kept of it.

    Columns that the scanner had not drawn yet, black from top to bottom at the left of the first
    screens, are left out; the starts of those screens are negative. Where a bar sweeps over the
    screen, the strip begins behind the bar of the first screen, and goes on with what each screen
    overwrites.

    Parameters
    ----------
    recording : Recording
    limits : Limits
    progress : callable
        Called with the fraction of the screens done, after each; may raise to stop.

    Returns
    -------
    Strip
        With a warning ``screens_do_not_overlap`` wherever a screen was appended whole,
        ``sweep_ordered`` where screens were put in order, and ``sweep_seam`` where a bar that
        stands still parts newer from older columns.

    Raises
    ------
    TooShort
        If the strip lasts less than 0.3 s.
    TooLarge
        If it is longer than allowed.
    SweepNotOrdered
        If a bar sweeps over the screen, and what a screen adds does not begin where it stood; or if
        narrow screens have lost too much to tell whether one does.
    CorruptPixelData
        If a screen cannot be decoded.
    """
    growing = GrowingStrip(recording.is_lossy)
    with closing(recording.stored_screens()) as screens:
        for number, (values, to_grey) in enumerate(screens, start=1):
            growing.add(Screen(values, to_grey))
            _check_size(growing.columns, recording.region, limits)
            progress(number / recording.info.frames)
    pixels, starts = growing.finish()
    seconds_per_column = recording.region.seconds_per_column
    duration_s = pixels.shape[1] * seconds_per_column
    if duration_s < MIN_DURATION_S:
        raise TooShort(
            f"The recording holds {duration_s:.2f} s of M-mode; at least {MIN_DURATION_S} s are "
            "needed."
        )
    return Strip(
        pixels,
        recording.region,
        recording.info.frames,
        starts,
        (*recording.warnings, *_warnings(growing, seconds_per_column)),
        tuple(seam for bar in growing.bars for seam in bar),
    )


def _check_size(columns: int, region: Region, limits: Limits) -> None:
    if columns > limits.max_strip_columns:
        raise TooLarge(
            f"The M-mode is longer than the {limits.max_strip_columns} columns that are read."
        )
    if columns * (region.y1 - region.y0) > limits.max_strip_pixels:
        raise TooLarge(
            f"The M-mode is larger than the {limits.max_strip_pixels} pixels that are read."
        )
    if columns * region.seconds_per_column > limits.max_duration_s:
        raise TooLarge(
            f"The M-mode is longer than the {limits.max_duration_s:g} seconds that are measured."
        )


def _warnings(growing: GrowingStrip, seconds_per_column: float) -> list[Warning]:
    code = "screens_do_not_overlap"
    warnings = [
        Warning(
            code,
            f"Screens {screen} and {screen + 1} do not overlap. The strip was joined at "
            f"{column * seconds_per_column:.2f} s; time is missing there, and a beat across the "
            "join is not to be trusted.",
        )
        for screen, column in growing.joins[:_MAX_WARNINGS]
    ]
    if len(growing.joins) > _MAX_WARNINGS:
        more = len(growing.joins) - _MAX_WARNINGS
        warnings.append(Warning(code, f"So it is at {more} more places."))
    if growing.is_sweep:
        warnings.append(
            Warning(
                "sweep_ordered",
                "The screens do not scroll: a bar overwrites them from left to right. Their "
                "columns were put in order of time.",
            )
        )
    if growing.bars:
        places = [f"{start * seconds_per_column:.2f} s" for start, _ in growing.bars]
        warnings.append(
            Warning(
                "sweep_seam",
                f"The screen is blank from top to bottom at {', '.join(places[:_MAX_WARNINGS])}, "
                "as by a bar that overwrites it from left to right. Time is missing there: "
                "what is on its right may be older than what is on its left.",
            )
        )
    return warnings
