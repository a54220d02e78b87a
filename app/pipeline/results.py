"""The values that the stages of the pipeline hand on, in the order in which they arise.

All are frozen; arrays in them are not to be written to. Columns and rows count from 0 at the top
left of the M-mode strip, and a row or column number stands for the centre of that pixel.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.pipeline.measuring import MeasuringSettings

FEATURE_NAMES = (
    "lvid_d_mm",
    "lvid_s_mm",
    "heart_rate_bpm",
    "lv_vol_d_ul",
    "lv_vol_s_ul",
    "stroke_volume_ul",
    "cardiac_output_ml_per_min",
    "ejection_fraction_pct",
    "fractional_shortening_pct",
)

RejectedBecause = Literal[
    "low_quality", "no_systole", "implausible_rate", "implausible_diameter", "uncertain_border"
]


@dataclass(frozen=True)
class Warning:
    """Something the user should know of a result that is nevertheless given.

    Attributes
    ----------
    code : str
        A stable word to act on, such as ``no_high_quality_region``.
    detail : str
        What was seen, and where, in a lab user's words.
    """

    code: str
    detail: str


@dataclass(frozen=True)
class Region:
    """The M-mode region of the screen and its calibration (DICOM PS3.3 C.8.5.5).

    Attributes
    ----------
    index : int
        Position in the Sequence of Ultrasound Regions, from 0.
    x0, y0, x1, y1 : int
        Corners in pixels of the screen; the maximum corner is exclusive.
    seconds_per_column, mm_per_row : float
        Calibration, both positive and finite.
    """

    index: int
    x0: int
    y0: int
    x1: int
    y1: int
    seconds_per_column: float
    mm_per_row: float


@dataclass(frozen=True)
class Strip:
    """One continuous M-mode image.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (rows, columns)
        Grey values; depth runs down, time to the right.
    region : Region
        Where on the screen it came from, and its calibration.
    frames : int
        Number of screens in the file.
    starts : tuple of int
        For every screen the strip's column at which the screen's first column lies; negative where
        that column was not drawn yet. Of a display that sweeps, the column at which a screen
        that scrolls and ends at the same moment would begin.
    seams : tuple of int
        Columns within a screen before which time is missing: those of a sweep's bar.
    warnings : tuple of Warning
    """

    pixels: NDArray[np.uint8]
    region: Region
    frames: int
    starts: tuple[int, ...]
    warnings: tuple[Warning, ...] = ()
    seams: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def seconds_per_column(self) -> float:
        return self.region.seconds_per_column

    @property
    def mm_per_row(self) -> float:
        return self.region.mm_per_row

    @property
    def duration_s(self) -> float:
        return self.columns * self.seconds_per_column

    @property
    def joins(self) -> tuple[int, ...]:
        """Columns before which time is missing: screens appended whole, and the seams."""
        width = self.region.x1 - self.region.x0
        whole = (b for a, b in itertools.pairwise(self.starts) if b - a >= width)
        return tuple(sorted({*whole, *self.seams}))


@dataclass(frozen=True)
class Borders:
    """Where the left-ventricular lumen begins and ends in every column of a strip.

    Attributes
    ----------
    upper_row, lower_row : ndarray of float32, shape (columns,)
        Sub-pixel rows of the upper (anterior) and lower (posterior) endocardium; NaN in both where
        no ventricle is seen.
    confidence : ndarray of float32, shape (columns,)
        0..1: how sure the segmenter is of both borders; 0 where they are absent.
    followable : ndarray of float32, shape (columns,), optional
        0..1: probability that a reader could follow both borders, where the segmenter tells it.
        It serves the judgement of quality and is not stored.
    """

    upper_row: NDArray[np.float32]
    lower_row: NDArray[np.float32]
    confidence: NDArray[np.float32]
    followable: NDArray[np.float32] | None = None

    @property
    def diameter_rows(self) -> NDArray[np.float32]:
        """Lumen diameter in rows, shape (columns,), NaN where absent."""
        return self.lower_row - self.upper_row


@dataclass(frozen=True)
class QualityWindow:
    """How good the acquisition is over a stretch of the strip.

    Attributes
    ----------
    start_column, end_column : int
        The columns that the window labels, end exclusive. The windows tile the strip.
    start_s, end_s : float
        The same in seconds.
    probability : float
        0..1, that an expert would measure here.
    label : {'high', 'low'}
        'high' from a probability of 0.5.
    """

    start_column: int
    end_column: int
    start_s: float
    end_s: float
    probability: float
    label: Literal["high", "low"]


@dataclass(frozen=True)
class Beat:
    """One cardiac cycle: a diastole, and the systole that follows it. Absent values are None.

    Attributes
    ----------
    diastole_column, systole_column : int
        Columns of largest and smallest diameter.
    diastole_s, systole_s : float
        The same in seconds from the start of the strip.
    lvid_d_mm, lvid_s_mm : float
        Left-ventricular internal diameter at the two, in mm.
    heart_rate_bpm : float
        60 over the time to the next diastole.
    lv_vol_d_ul, lv_vol_s_ul, stroke_volume_ul : float
        Teichholz volumes in microlitres.
    cardiac_output_ml_per_min, ejection_fraction_pct, fractional_shortening_pct : float
    quality : float
        Probability of the window that holds the diastole, or the systole's if that is lower.
    accepted : bool
        Whether the beat counts in the features.
    rejected_because : str or None
        The first rule that rejected it.
    """

    diastole_column: int
    diastole_s: float
    lvid_d_mm: float
    lv_vol_d_ul: float
    quality: float
    accepted: bool
    rejected_because: RejectedBecause | None = None
    systole_column: int | None = None
    systole_s: float | None = None
    lvid_s_mm: float | None = None
    lv_vol_s_ul: float | None = None
    heart_rate_bpm: float | None = None
    stroke_volume_ul: float | None = None
    cardiac_output_ml_per_min: float | None = None
    ejection_fraction_pct: float | None = None
    fractional_shortening_pct: float | None = None


@dataclass(frozen=True)
class Summary:
    """A feature over the accepted beats; None where there is none (``sd`` below two beats)."""

    median: float | None
    mean: float | None
    min: float | None
    max: float | None
    sd: float | None
    n: int


@dataclass(frozen=True)
class NetworkInfo:
    """Which network was used: its name, version, and the sha256 of its ONNX file."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class FileInfo:
    """What a DICOM header says of the file itself."""

    transfer_syntax_uid: str
    frames: int


@dataclass(frozen=True)
class Analysis:
    """All that is learnt from one recording.

    Attributes
    ----------
    file : FileInfo
        What the file said of itself, without a word about its subject.
    strip : Strip
    borders : Borders
    windows : tuple of QualityWindow
    beats : tuple of Beat
        Every beat found, accepted or not, in order of time.
    features : mapping of str to Summary
        One entry for each of ``FEATURE_NAMES``.
    warnings : tuple of Warning
    classifier, segmenter : NetworkInfo
    profile : str
    body_mass_g : float or None
    measuring : MeasuringSettings
    timings_ms : mapping of str to float
        Milliseconds of the stages read, stitch, segment, classify and measure.
    """

    file: FileInfo
    strip: Strip
    borders: Borders
    windows: tuple[QualityWindow, ...]
    beats: tuple[Beat, ...]
    features: Mapping[str, Summary]
    warnings: tuple[Warning, ...]
    classifier: NetworkInfo
    segmenter: NetworkInfo
    profile: str
    body_mass_g: float | None
    measuring: MeasuringSettings
    timings_ms: Mapping[str, float]

    @property
    def high_fraction(self) -> float:
        """Share of the strip's columns that lie in windows of high quality, 0..1."""
        high = sum(w.end_column - w.start_column for w in self.windows if w.label == "high")
        return high / self.strip.columns
