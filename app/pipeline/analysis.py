"""The pipeline as one readable function: a DICOM file in, an Analysis out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.pipeline.limits import Limits
from app.pipeline.results import Analysis

Stage = Literal["read", "stitch", "segment", "classify", "measure"]
Progress = Callable[[Stage, float], None]
"""Called with the stage and the fraction of the whole done; may raise to stop the analysis."""


@dataclass(frozen=True)
class MeasuringSettings:
    """What the measurement depends on besides the recording and the networks."""

    heart_rate_min_bpm: float = 200.0
    heart_rate_max_bpm: float = 900.0


def analyse(
    path: Path,
    networks: object,
    *,
    body_mass_g: float | None = None,
    profile: str = "robust",
    measuring: MeasuringSettings = MeasuringSettings(),
    limits: Limits = Limits(),
    progress: Progress = lambda stage, fraction: None,
) -> Analysis:
    raise RuntimeError("the pipeline is being built")
