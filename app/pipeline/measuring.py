"""What a measurement depends on besides the recording and the networks."""

from dataclasses import dataclass
from typing import Literal

BorderConvention = Literal["expert", "inner_edges"]

LEAST_CONFIDENCE = 0.25
"""Of a border, for a beat to count."""


@dataclass(frozen=True)
class MeasuringSettings:
    """Rules that a centre may choose; every result names the ones it was measured by.

    Attributes
    ----------
    heart_rate_min_bpm, heart_rate_max_bpm : float
        Rates that count as physiological, per minute.
    border_convention : {'expert', 'inner_edges'}
        Where the endocardium is drawn: as experts draw it, through the bright endocardial echoes,
        or at the inner edges of the dark lumen, which gives smaller diameters.
    """

    heart_rate_min_bpm: float = 200.0
    heart_rate_max_bpm: float = 900.0
    border_convention: BorderConvention = "expert"
