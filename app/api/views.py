"""From records and results to the wire models."""

from collections.abc import Mapping
from typing import Any

from app.api.problems import describe
from app.api.schemas import (
    AnalysisOut,
    BeatOut,
    ErrorOut,
    FeaturesOut,
    InputOut,
    LinksOut,
    MeasuringOut,
    NetworkOut,
    NetworksOut,
    ProgressOut,
    QualityOut,
    RecordingOut,
    RegionOut,
    TimingsOut,
    WarningOut,
    WindowOut,
)
from app.jobs.queue import Progress
from app.pipeline.results import Analysis
from app.storage.schema import Record


def view(
    record: Record,
    analysis: Analysis | None,
    links: LinksOut | None,
    *,
    progress: Progress | None = None,
    rendered: bool = False,
) -> AnalysisOut:
    """Show an analysis as callers see it.

    Parameters
    ----------
    record : Record
    analysis : Analysis, optional
        Its result, where it has succeeded.
    links : LinksOut, optional
        Where its parts are found.
    progress : Progress, optional
        Shown while it runs.
    rendered : bool
        Whether all figures are drawn.
    """
    running = record.status == "running"
    return AnalysisOut(
        id=record.id,
        status=record.status,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        progress=ProgressOut.model_validate(progress) if progress and running else None,
        input=InputOut(
            file_name=record.file_name,
            size_bytes=record.size_bytes,
            sha256=record.sha256,
            transfer_syntax_uid=analysis.file.transfer_syntax_uid if analysis else None,
            frames=analysis.file.frames if analysis else None,
            body_mass_g=record.body_mass_g,
            profile=record.profile,
        ),
        links=links,
        error=error_of(record),
        **_result(record, analysis, rendered=rendered),
    )


def links(prefix: str, id: str, figure_names: tuple[str, ...]) -> LinksOut:
    """Give the absolute paths of an analysis and its parts.

    Parameters
    ----------
    prefix : str
        Where a gateway mounts the service; empty, or ``/…`` without a slash at its end.
    id : str
    figure_names : tuple of str
    """
    base = f"{prefix}/v1/analyses/{id}"
    return LinksOut(
        self=base,
        figures={name: f"{base}/figures/{name}.png" for name in figure_names},
        beats_csv=f"{base}/beats.csv",
        summary_csv=f"{base}/summary.csv",
        trace_csv=f"{base}/trace.csv",
        published_all_csv=f"{base}/published_all.csv",
        published_stats_csv=f"{base}/published_stats.csv",
    )


def _result(record: Record, analysis: Analysis | None, *, rendered: bool) -> Mapping[str, Any]:
    if analysis is None:
        return {
            "recording": None,
            "quality": None,
            "features": None,
            "beats": None,
            "warnings": [],
            "measuring": None,
            "models": None,
            "timings_ms": TimingsOut(),
        }
    strip = analysis.strip
    return {
        "recording": RecordingOut(
            rows=strip.rows,
            columns=strip.columns,
            duration_s=strip.duration_s,
            seconds_per_column=strip.seconds_per_column,
            mm_per_row=strip.mm_per_row,
            region=RegionOut.model_validate(strip.region),
        ),
        "quality": QualityOut(
            high_fraction=analysis.high_fraction,
            windows=[WindowOut.model_validate(window) for window in analysis.windows],
        ),
        "features": FeaturesOut.model_validate(dict(analysis.features)),
        "beats": [BeatOut.model_validate(beat) for beat in analysis.beats],
        "warnings": [WarningOut.model_validate(warning) for warning in analysis.warnings],
        "measuring": MeasuringOut.model_validate(analysis.measuring),
        "models": NetworksOut(
            classifier=NetworkOut.model_validate(analysis.classifier),
            segmenter=NetworkOut.model_validate(analysis.segmenter),
        ),
        "timings_ms": TimingsOut(
            **dict(analysis.timings_ms),
            render=record.render_ms if rendered else None,
            total=record.total_ms,
        ),
    }


def error_of(record: Record) -> ErrorOut | None:
    """Say why an analysis failed; None where it did not."""
    if record.error_code is None:
        return None
    return ErrorOut(**describe(record.error_code, record.error_detail or ""))
