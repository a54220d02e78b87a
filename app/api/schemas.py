"""The wire models: what callers rely on. They change only by addition.

Times in seconds, lengths in millimetres, volumes in microlitres, rates per minute, percentages
0..100. An absent value is null.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer


class _Wire(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True, protected_namespaces=())


class InputOut(_Wire):
    """The file that was sent, and what was asked of it."""

    file_name: str | None
    size_bytes: int
    sha256: str
    transfer_syntax_uid: str | None = Field(description="Null until the file is read.")
    frames: int | None = Field(description="Screens in the file; null until it is read.")
    body_mass_g: float | None
    profile: str


class RegionOut(_Wire):
    """The M-mode region on the screen, in pixels; the maximum corner is exclusive."""

    index: int
    x0: int
    y0: int
    x1: int
    y1: int


class RecordingOut(_Wire):
    """The strip that the screens were stitched to, and its calibration."""

    rows: int
    columns: int
    duration_s: float
    seconds_per_column: float
    mm_per_row: float
    region: RegionOut


class WindowOut(_Wire):
    """How good the acquisition is over a stretch of the strip."""

    start_s: float
    end_s: float
    probability: float
    label: Literal["high", "low"]


class QualityOut(_Wire):
    """Quality over the strip; `high_fraction` is the share of it in windows of high quality."""

    high_fraction: float
    windows: list[WindowOut]


class SummaryOut(_Wire):
    """A feature over the accepted beats; `sd` is the sample's, null below two beats."""

    median: float | None
    mean: float | None
    min: float | None
    max: float | None
    sd: float | None
    n: int


class FeaturesOut(_Wire):
    """Every feature, over accepted beats only."""

    lvid_d_mm: SummaryOut
    lvid_s_mm: SummaryOut
    heart_rate_bpm: SummaryOut
    lv_vol_d_ul: SummaryOut
    lv_vol_s_ul: SummaryOut
    stroke_volume_ul: SummaryOut
    cardiac_output_ml_per_min: SummaryOut
    ejection_fraction_pct: SummaryOut
    fractional_shortening_pct: SummaryOut


class BeatOut(_Wire):
    """One cardiac cycle: a diastole and the systole that follows it.

    By the profile `published`, the i-th diastole that counts beside the i-th systole that counts.
    """

    diastole_s: float
    systole_s: float | None
    lvid_d_mm: float
    lvid_s_mm: float | None
    heart_rate_bpm: float | None
    lv_vol_d_ul: float
    lv_vol_s_ul: float | None
    ejection_fraction_pct: float | None
    fractional_shortening_pct: float | None
    quality: float
    accepted: bool
    rejected_because: str | None


class MeasuringOut(_Wire):
    """Rules of the centre that the result was measured by."""

    heart_rate_min_bpm: float
    heart_rate_max_bpm: float
    border_convention: str = Field(description="`expert` or `inner_edges`.")


class WarningOut(_Wire):
    """Something to know of a result that is nevertheless given."""

    code: str
    detail: str


class NetworkOut(_Wire):
    """Which network was used; `sha256` is that of its ONNX file."""

    name: str
    version: str
    sha256: str


class NetworksOut(_Wire):
    """Both networks that an analysis used."""

    classifier: NetworkOut
    segmenter: NetworkOut


class LinksOut(_Wire):
    """Absolute paths, under the prefix that a gateway mounts the service on."""

    self: str | None
    figures: dict[str, str]
    beats_csv: str
    summary_csv: str
    trace_csv: str
    published_all_csv: str
    published_stats_csv: str


class TimingsOut(_Wire):
    """Milliseconds per stage; `render` is null until all figures are drawn, `total` is without."""

    read: float | None = None
    stitch: float | None = None
    segment: float | None = None
    classify: float | None = None
    measure: float | None = None
    render: float | None = None
    total: float | None = None


class ErrorOut(_Wire):
    """Why an analysis failed (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class ProblemOut(ErrorOut):
    """Why a request was refused (RFC 9457)."""

    request_id: str | None


class ProgressOut(_Wire):
    """How far a running analysis is; `fraction` is of the whole, 0..1."""

    stage: str
    fraction: float


class EventOut(_Wire):
    """The state of an analysis, as an event tells it; `progress` is null unless it runs."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: ProgressOut | None
    error: ErrorOut | None


class AnalysisOut(_Wire):
    """One analysis, whatever its state."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: ProgressOut | None = Field(None, description="Only while the analysis runs.")
    input: InputOut
    recording: RecordingOut | None
    quality: QualityOut | None
    features: FeaturesOut | None
    beats: list[BeatOut] | None
    warnings: list[WarningOut]
    measuring: MeasuringOut | None
    models: NetworksOut | None
    links: LinksOut | None
    timings_ms: TimingsOut
    error: ErrorOut | None

    @model_serializer(mode="wrap")
    def _leave_out_progress(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        if self.progress is None:
            written.pop("progress", None)
        return written


class PageOut(_Wire):
    """Analyses, newest first; `next_cursor` leads to the next page, null on the last."""

    items: list[AnalysisOut]
    next_cursor: str | None


class LoadedNetworkOut(NetworkOut):
    """A loaded network and its card: what it was trained on, and how well it did."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ModelsOut(_Wire):
    """The networks that every new analysis uses."""

    classifier: LoadedNetworkOut
    segmenter: LoadedNetworkOut


class HealthOut(_Wire):
    """That the service is there."""

    status: Literal["ok"]
    warning: str | None = Field(None, description="What has to be looked after; usually absent.")


class DiskOut(_Wire):
    """What is taken on disk, and what is free there, in bytes."""

    uploads_bytes: int
    results_bytes: int
    records_bytes: int
    free_bytes: int


class CallerUsageOut(_Wire):
    """What one key's analyses are and take; without a name where the key is gone."""

    key_id: str | None = Field(description="Null for what came in without keys.")
    key_name: str | None
    analyses: int
    disk_bytes: int


class RetentionOut(_Wire):
    """How long results stay; null stands for ever."""

    results_expire_after_h: float | None
    results_max_bytes: int | None
    keep_uploads: bool


class UsageOut(_Wire):
    """What the service holds."""

    analyses: dict[str, int] = Field(description="How many there are in each state that any is in.")
    disk: DiskOut
    callers: list[CallerUsageOut]
    retention: RetentionOut
