"""From the records of studies to their wire models."""

from app.api.problems import describe
from app.api.schemas import ErrorOut
from app.api.study_schemas import (
    AddedOut,
    CountsOut,
    EntryLinksOut,
    EntryOut,
    FailureOut,
    StudyInFullOut,
    StudyLinksOut,
    StudyOut,
    StudyProgressOut,
)
from app.jobs.studies import Added
from app.storage.studies import StudyRecords
from app.storage.study_schema import Entry, Study

SHOWN_FAILURES = 100
_UNFINISHED = ("queued", "running")
_WITHOUT_RESULT = ("failed", "removed")


def view_study(table: StudyRecords, study: Study, prefix: str) -> StudyOut:
    """Show a study as callers see it.

    Parameters
    ----------
    table : StudyRecords
        Where its files are counted.
    study : Study
    prefix : str
        Where a gateway mounts the service; empty, or ``/…`` without a slash at its end.
    """
    counts = table.counts(study.id)
    total = sum(counts.values())
    finished = total - sum(counts.get(status, 0) for status in _UNFINISHED)
    base = f"{prefix}/v1/studies/{study.id}"
    return StudyOut(
        id=study.id,
        name=study.name,
        created_at=study.created_at,
        body_mass_g=study.body_mass_g,
        profile=study.profile,
        figures=study.figures,
        counts=CountsOut(total=total, **counts),
        progress=StudyProgressOut(finished=finished, fraction=finished / total if total else None),
        links=StudyLinksOut(
            self=base,
            analyses=f"{base}/analyses",
            beats_csv=f"{base}/beats.csv",
            summary_csv=f"{base}/summary.csv",
            mice_csv=f"{base}/mice.csv",
            published_all_csv=f"{base}/published_all.csv",
            published_stats_csv=f"{base}/published_stats.csv",
            overview_png=f"{base}/overview.png",
            archive_zip=f"{base}/archive.zip",
        ),
    )


def view_study_in_full(table: StudyRecords, study: Study, prefix: str) -> StudyInFullOut:
    """Show a study with the files that have no result."""
    failures = [
        FailureOut(
            file_name=entry.file_name,
            code=entry.error_code or "internal_error",
            detail=entry.error_detail or "",
        )
        for entry in table.entries(study.id, SHOWN_FAILURES, statuses=_WITHOUT_RESULT)
    ]
    return StudyInFullOut(**vars(view_study(table, study, prefix)), failures=failures)


def view_entry(entry: Entry, prefix: str) -> EntryOut:
    """Show a file of a study as callers see it."""
    error = None
    if entry.error_code is not None:
        error = ErrorOut(**describe(entry.error_code, entry.error_detail or ""))
    there = entry.analysis_id is not None and entry.status != "removed"
    return EntryOut.model_validate(
        vars(entry)
        | {
            "error": error,
            "links": EntryLinksOut(
                self=f"{prefix}/v1/studies/{entry.study_id}/analyses/{entry.id}",
                analysis=f"{prefix}/v1/analyses/{entry.analysis_id}" if there else None,
            ),
        }
    )


def view_added(added: Added, prefix: str) -> AddedOut:
    """Show what became of files that were sent."""
    return AddedOut(
        added=len(added.entries) - added.known,
        known=added.known,
        failed=sum(entry.status == "failed" for entry in added.entries),
        ignored=list(added.ignored),
        items=[view_entry(entry, prefix) for entry in added.entries],
    )
