"""What a study leaves to fetch: tables over all its recordings, a figure, all of it in a ZIP."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Annotated

from anyio import from_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from app.api import study_examples as examples
from app.api.analyses import show_record
from app.api.artefacts import CSV, PNG
from app.api.documentation import answers, file_of
from app.api.service import Here, Service, prefix
from app.api.studies import see_study
from app.api.study_views import view_study_in_full
from app.jobs.render import FigureUnavailableError
from app.jobs.runner import BEATS, TRACE
from app.output import study_tables
from app.output.mice import mice_csv, mice_of
from app.output.study_tables import Recording
from app.output.zip_stream import ZipStream, blocks_of, portable
from app.storage.study_schema import Entry, Study

router = APIRouter(tags=["studies"])

Seen = Annotated[Study, Depends(see_study)]
Table = Callable[[Iterable[Recording]], Iterator[str]]


def _mice(recordings: Iterable[Recording]) -> Iterator[str]:
    yield mice_csv(mice_of(recordings))


TABLES: dict[str, Table] = {
    "summary.csv": study_tables.summary_csv,
    "beats.csv": study_tables.beats_csv,
    "mice.csv": _mice,
    "published_all.csv": study_tables.published_all,
    "published_stats.csv": study_tables.published_stats,
}
OVERVIEW = "overview.png"


def _described(example: str, what: str) -> dict[int | str, dict[str, object]]:
    return answers({200: file_of("text/csv", example, what)}, "not_found")


@router.get(
    "/v1/studies/{id}/summary.csv",
    summary="Get the features of a study's recordings",
    response_class=StreamingResponse,
    responses=_described(examples.SUMMARY_CSV, "A row per file, whatever became of it."),
)
def get_study_summary(service: Here, study: Seen) -> StreamingResponse:
    """Give a row per file: its features, or why it has none."""
    return _table(service, study, "summary.csv")


@router.get(
    "/v1/studies/{id}/beats.csv",
    summary="Get the beats of a study's recordings",
    response_class=StreamingResponse,
    responses=_described(examples.BEATS_CSV, "A row per beat."),
)
def get_study_beats(service: Here, study: Seen) -> StreamingResponse:
    """Give a row per beat of every recording, accepted or not."""
    return _table(service, study, "beats.csv")


@router.get(
    "/v1/studies/{id}/mice.csv",
    summary="Get the features of a study's mice",
    response_class=StreamingResponse,
    responses=_described(examples.MICE_CSV, "A row per mouse."),
)
def get_study_mice(service: Here, study: Seen) -> StreamingResponse:
    """Give a row per mouse: its recordings together, averaged over their beats that count."""
    return _table(service, study, "mice.csv")


@router.get(
    "/v1/studies/{id}/published_all.csv",
    summary="Get a study's beats as the published scripts write them",
    response_class=StreamingResponse,
    responses=_described(examples.PUBLISHED_ALL_CSV, "A row per beat that counts."),
)
def get_study_published_all(service: Here, study: Seen) -> StreamingResponse:
    """Give a row per beat that counts, in the columns of the published scripts."""
    return _table(service, study, "published_all.csv")


@router.get(
    "/v1/studies/{id}/published_stats.csv",
    summary="Get a study's features as the published scripts write them",
    response_class=StreamingResponse,
    responses=_described(examples.PUBLISHED_STATS_CSV, "A row per recording."),
)
def get_study_published_stats(service: Here, study: Seen) -> StreamingResponse:
    """Give a row of statistics per recording, in the columns of the published scripts."""
    return _table(service, study, "published_stats.csv")


@router.get(
    "/v1/studies/{id}/overview.png",
    summary="Get the figure of a study",
    response_class=Response,
    responses=answers({200: file_of(PNG, None, "The figure.")}, "not_found"),
)
def get_overview(service: Here, study: Seen) -> Response:
    """Draw how each feature is distributed, group by group, a point per mouse."""
    return Response(_overview(service, study), media_type=PNG)


@router.get(
    "/v1/studies/{id}/archive.zip",
    summary="Get all of a study",
    response_class=StreamingResponse,
    responses=answers(
        {200: file_of("application/zip", "(the bytes of the archive)", "All of the study.")},
        "not_found",
    ),
)
def get_study_archive(request: Request, service: Here, study: Seen) -> StreamingResponse:
    """Give tables, figures and results in one ZIP archive, written as it is sent."""
    return StreamingResponse(
        _archive(service, study, prefix(request)),
        media_type="application/zip",
        headers=_named("archive.zip"),
    )


def _table(service: Service, study: Study, name: str) -> StreamingResponse:
    rows = TABLES[name](service.studies.recordings(study))
    return StreamingResponse(rows, media_type=CSV, headers=_named(name))


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _overview(service: Service, study: Study) -> bytes:
    return service.draw_overview(study.name, mice_of(service.studies.recordings(study)))


def _archive(service: Service, study: Study, prefix: str) -> Iterator[bytes]:
    stream = ZipStream(study.created_at)
    table = service.studies.table
    shown = view_study_in_full(table, study, prefix).model_dump_json(indent=2)
    yield from stream.add("study.json", [shown.encode()])
    for name, write in TABLES.items():
        rows = write(service.studies.recordings(study))
        yield from stream.add(name, (row.encode() for row in rows))
    yield from stream.add(OVERVIEW, [_overview(service, study)], compress=False)
    taken: set[str] = set()
    for entry in table.all_entries(study.id):
        if entry.status == "succeeded" and entry.analysis_id is not None:
            folder = portable(entry.file_name, taken)
            taken.add(folder.lower())
            yield from _recording(
                service, study, entry, entry.analysis_id, stream, f"recordings/{folder}", prefix
            )
    yield from stream.end()


def _recording(
    service: Service,
    study: Study,
    entry: Entry,
    id: str,
    stream: ZipStream,
    folder: str,
    prefix: str,
) -> Iterator[bytes]:
    record = service.records.get(id)
    if record is None:  # removed since the archive was begun
        return
    try:
        own = show_record(service, replace(record, file_name=entry.file_name), prefix)
    except FileNotFoundError:
        return
    yield from stream.add(f"{folder}/analysis.json", [own.model_dump_json(indent=2).encode()])
    for name in (BEATS, TRACE):
        try:
            path = service.files.file(id, name)
        except FileNotFoundError:  # of an earlier version, or removed this very moment
            continue
        yield from stream.add(f"{folder}/{name}", blocks_of(path))
    for name in service.renderer.names if study.figures else ():
        try:
            # this generator runs in a thread, and the figure is waited for in the event loop
            figure = from_thread.run(service.renderer.figure, id, name)
        except FigureUnavailableError:
            continue
        yield from stream.add(f"{folder}/{name}.png", blocks_of(figure), compress=False)
