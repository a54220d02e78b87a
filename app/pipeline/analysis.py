"""The pipeline as one readable function: a DICOM file in, an Analysis out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from app.pipeline.beats import find_beats
from app.pipeline.dicom import open_recording
from app.pipeline.features import features_of
from app.pipeline.limits import Limits
from app.pipeline.measuring import MeasuringSettings
from app.pipeline.networks import Networks
from app.pipeline.profiles import AVAILABLE_PROFILES, ProfileName
from app.pipeline.quality import judge
from app.pipeline.results import Analysis, Beat, QualityWindow, Strip, Warning
from app.pipeline.segment import segment
from app.pipeline.stitch import stitch

Stage = Literal["read", "stitch", "segment", "classify", "measure"]
Progress = Callable[[Stage, float], None]
"""Called with the stage and the fraction of the whole done; may raise to stop the analysis."""

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
) -> Analysis:
    """Measure one recording.

    Parameters
    ----------
    path : Path
        A DICOM file.
    networks : Networks
    body_mass_g : float, optional
        Of the animal; sets how long a quality window is.
    profile : {'robust'}
    measuring : MeasuringSettings
    limits : Limits
    progress : callable
        Called from the analysing thread, many times; what it raises ends the analysis.

    Returns
    -------
    Analysis

    Raises
    ------
    errors.RecordingError
        If the file cannot be measured; its subclass and detail say why.
    ValueError
        If the profile is not available.
    """
    if profile not in AVAILABLE_PROFILES:
        raise ValueError(f"The profile {profile!r} is not available.")
    timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(name: Stage) -> Iterator[Callable[[float], None]]:
        following = [b for b in _BEGINS.values() if b > _BEGINS[name]]
        share = min(following, default=1.0) - _BEGINS[name]
        progress(name, _BEGINS[name])
        started = time.perf_counter()
        yield lambda fraction: progress(name, _BEGINS[name] + share * fraction)
        timings_ms[name] = 1000 * (time.perf_counter() - started)

    with stage("read"):
        recording = open_recording(path, limits)
    with stage("stitch") as done:
        strip = stitch(recording, limits, done)
    with stage("segment") as done:
        borders = segment(strip, networks, measuring.border_convention, done)
    with stage("classify") as done:
        windows = judge(strip, borders, networks, body_mass_g, done)
    with stage("measure"):
        beats, beat_warnings = find_beats(strip, borders, windows, measuring)
        features = features_of(beats)
    return Analysis(
        file=recording.info,
        strip=strip,
        borders=borders,
        windows=windows,
        beats=beats,
        features=features,
        warnings=(*strip.warnings, *beat_warnings, *_count_warnings(strip, windows, beats)),
        classifier=networks.classifier.info,
        segmenter=networks.segmenter.info,
        profile=profile,
        body_mass_g=body_mass_g,
        measuring=measuring,
        timings_ms=timings_ms,
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
