"""The pipeline as one readable function: a DICOM file in, an Analysis out."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.pipeline import published_rule
from app.pipeline.beats import find_beats
from app.pipeline.dicom import open_recording
from app.pipeline.features import features_of
from app.pipeline.halt import Halt, halted_by
from app.pipeline.limits import Limits
from app.pipeline.masks import segment_by_mask
from app.pipeline.measuring import MeasuringSettings
from app.pipeline.networks import Networks, require_convention
from app.pipeline.profiles import PROFILES, ProfileName
from app.pipeline.published_windows import borders_around, draw_mask, judge_squares
from app.pipeline.quality import judge
from app.pipeline.results import (
    Analysis,
    Beat,
    Borders,
    QualityWindow,
    Strip,
    Summary,
    Warning,
)
from app.pipeline.segment import segment
from app.pipeline.stitch import stitch

Stage = Literal["read", "stitch", "segment", "classify", "measure"]
Progress = Callable[[Stage, float], None]
"""Called with the stage and the fraction of the whole done; may raise to stop the analysis."""

_Stages = Callable[[Stage], AbstractContextManager[Callable[[float], None]]]

PIPELINE_VERSION = "2"
"""Changes whenever the same recording may be measured differently than before."""

FEW_BEATS = 3

# where each stage begins on the way from 0 to 1, by its usual share of the time
_BEGINS: dict[Stage, float] = {
    "read": 0.0, "stitch": 0.02, "segment": 0.3, "classify": 0.85, "measure": 0.97,
}  # fmt: skip


def analyse(
    path: Path,
    networks: Networks,
    *,
    body_mass_g: float | None = None,
    profile: ProfileName = "robust",
    measuring: MeasuringSettings = MeasuringSettings(),
    limits: Limits = Limits(),
    progress: Progress = lambda stage, fraction: None,
    halt: Halt | None = None,
) -> Analysis:
    """Measure one recording.

    Parameters
    ----------
    path : Path
        A DICOM file.
    networks : Networks
    body_mass_g : float, optional
        Of the animal; sets how long a quality window is. The profile 'published' needs it.
    profile : {'robust', 'published'}
    measuring : MeasuringSettings
    limits : Limits
    progress : callable
        Called from the analysing thread, many times; what it raises ends the analysis.
    halt : Halt, optional
        Ends the analysis from another thread, also between two calls of `progress`.

    Returns
    -------
    Analysis

    Raises
    ------
    errors.RecordingError
        If the file cannot be measured; its subclass and detail say why.
    errors.AnalysisCancelled
        If `halt` was requested.
    errors.NetworksError
        If the segmenter does not know the border convention.
    ValueError
        If there is no such profile, or it lacks the body mass.
    """
    if profile not in PROFILES:
        raise ValueError(f"There is no profile {profile!r}.")
    require_convention(networks, measuring.border_convention)
    halt = halt or Halt()
    networks = halted_by(networks, halt)
    timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(name: Stage) -> Iterator[Callable[[float], None]]:
        following = [b for b in _BEGINS.values() if b > _BEGINS[name]]
        share = min(following, default=1.0) - _BEGINS[name]

        def tell(fraction: float) -> None:
            halt.check()
            progress(name, _BEGINS[name] + share * fraction)

        tell(0)
        started = time.perf_counter()
        yield tell
        halt.check()
        timings_ms[name] = 1000 * (time.perf_counter() - started)

    with stage("read"):
        recording = open_recording(path, limits, halt)
    with stage("stitch") as done:
        strip = stitch(recording, limits, done)
    if profile == "published":
        if body_mass_g is None:
            raise ValueError("The profile 'published' needs the body mass.")
        found = _as_published(strip, networks, body_mass_g, measuring, stage)
    else:
        found = _robustly(strip, networks, body_mass_g, measuring, stage)
    return Analysis(
        file=recording.info,
        strip=strip,
        borders=found.borders,
        windows=found.windows,
        beats=found.beats,
        features=found.features,
        warnings=(
            *strip.warnings,
            *found.warnings,
            *_count_warnings(strip, found.windows, found.beats),
        ),
        classifier=networks.classifier.info,
        segmenter=networks.segmenter.info,
        profile=profile,
        body_mass_g=body_mass_g,
        measuring=measuring,
        timings_ms=timings_ms,
    )


@dataclass(frozen=True)
class _Found:
    """What a profile makes of a strip."""

    borders: Borders
    windows: tuple[QualityWindow, ...]
    beats: tuple[Beat, ...]
    features: Mapping[str, Summary]
    warnings: tuple[Warning, ...]


def _robustly(
    strip: Strip,
    networks: Networks,
    body_mass_g: float | None,
    measuring: MeasuringSettings,
    stage: _Stages,
) -> _Found:
    """Measure borders, and each beat by its own diastole and systole."""
    with stage("segment") as done:
        if networks.segmenter.kind == "mask":
            borders = segment_by_mask(strip, networks, done)
        else:
            borders = segment(strip, networks, measuring.border_convention, done)
    with stage("classify") as done:
        windows = judge(strip, borders, networks, body_mass_g, done)
    with stage("measure"):
        beats, warnings = find_beats(strip, borders, windows, measuring)
        return _Found(borders, windows, beats, features_of(beats), warnings)


def _as_published(
    strip: Strip,
    networks: Networks,
    body_mass_g: float,
    measuring: MeasuringSettings,
    stage: _Stages,
) -> _Found:
    """Measure a mask by the published rule."""
    with stage("segment") as done:
        mask = draw_mask(strip, networks, measuring.border_convention, done)
    with stage("classify") as done:
        windows = judge_squares(strip, mask, networks, body_mass_g, done)
    with stage("measure"):
        measurement = published_rule.measure(
            mask.sum(0), strip.mm_per_row, strip.seconds_per_column, windows
        )
        beats = published_rule.beats_of(measurement)
        return _Found(
            borders_around(mask),
            windows,
            beats,
            published_rule.features_of(measurement, beats),
            published_rule.warnings_of(measurement),
        )


def _count_warnings(
    strip: Strip, windows: tuple[QualityWindow, ...], beats: tuple[Beat, ...]
) -> Iterator[Warning]:
    """Warn where nothing, or hardly anything, counts."""
    accepted = sum(beat.accepted for beat in beats)
    if not any(window.label == "high" for window in windows):
        best = max((window.probability for window in windows), default=0.0)
        yield Warning(
            "no_high_quality_region",
            f"No part of the recording is of high quality (the best window has a probability of "
            f"{best:.2f}; 0.50 is needed), so no beat counts and every feature is absent.",
        )
    elif accepted < FEW_BEATS:
        yield Warning(
            "few_beats",
            f"Only {accepted} of {len(beats)} beats in {strip.duration_s:.1f} s count: "
            "the features rest on little.",
        )
