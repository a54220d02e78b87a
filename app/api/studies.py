"""The studies: made, looked at, listed and removed, and so the files in them."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import study_examples as examples
from app.api.access import Who
from app.api.analyses import PageQuery
from app.api.answers import cut_page, read_cursor, read_json, written
from app.api.documentation import answers, shown
from app.api.problems import Problem
from app.api.service import Here, prefix
from app.api.study_schemas import (
    EntriesOut,
    EntryOut,
    EntryStatus,
    StudyIn,
    StudyInFullOut,
    StudyPageOut,
)
from app.api.study_views import view_entry, view_study, view_study_in_full
from app.storage.study_schema import Entry, Study

router = APIRouter(tags=["studies"])

StudyId = Annotated[str, Path(description="The study's id.", examples=[examples.ID])]
EntryId = Annotated[
    str, Path(description="The file's id in the study.", examples=[examples.ENTRY_ID])
]


class EntriesQuery(BaseModel):
    """Which files of a study."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=1000, description="Most files on the page.")] = 100
    cursor: Annotated[
        str | None, Field(description="`next_cursor` of the page before.", max_length=64)
    ] = None
    status: Annotated[EntryStatus | None, Field(description="Only those in this state.")] = None


def see_study(service: Here, id: StudyId, caller: Who) -> Study:
    """Find a study for a caller.

    Raises
    ------
    Problem
        ``not_found``: there is none, or it is somebody else's.
    """
    study = service.studies.table.get(id)
    if study is None or not caller.sees(study):
        raise no_study()
    return study


def no_study() -> Problem:
    """Refuse an id that is nobody's, or somebody else's: neither can be told from the other."""
    return Problem("not_found", "There is no such study.")


@router.post(
    "/v1/studies",
    summary="Make a study",
    status_code=201,
    response_model=StudyInFullOut,
    responses=answers(
        {201: examples.made("StudyInFullOut")},
        "malformed_request",
        "forbidden",
        "too_large",
        "unsupported_media_type",
        "invalid_option",
    ),
    openapi_extra=examples.body_of(StudyIn),
)
async def create_study(request: Request, service: Here, caller: Who) -> Response:
    """Make an empty study; its options hold for every file that comes into it."""
    caller.require_change()
    asked = await read_json(request, StudyIn)
    figures = service.settings.figures if asked.figures is None else asked.figures

    def create() -> StudyInFullOut:
        study = service.studies.table.create(
            asked.name,
            owner=caller.owner,
            body_mass_g=asked.body_mass_g,
            profile=asked.profile,
            figures=figures,
        )
        return view_study_in_full(service.studies.table, study, prefix(request))

    made = await to_thread.run_sync(create)
    return written(made, 201, {"Location": made.links.self})


@router.get(
    "/v1/studies",
    summary="List studies",
    response_model=StudyPageOut,
    responses=answers({200: shown(examples.PAGE, "A page of studies.")}, "invalid_option"),
)
def list_studies(
    request: Request, service: Here, caller: Who, query: Annotated[PageQuery, Query()]
) -> Response:
    """List the caller's studies, newest first, a page at a time."""
    before = None if query.cursor is None else read_cursor(query.cursor)
    found = service.studies.table.page(query.limit + 1, before, caller.only)
    studies, cursor = cut_page(found, query.limit)
    items = [view_study(service.studies.table, study, prefix(request)) for study in studies]
    return written(StudyPageOut(items=items, next_cursor=cursor))


@router.get(
    "/v1/studies/{id}",
    summary="Look at a study",
    response_model=StudyInFullOut,
    responses=answers({200: shown(examples.STUDY)}, "not_found"),
)
def get_study(request: Request, service: Here, caller: Who, id: StudyId) -> Response:
    """Give a study: how many of its files are in which state, and why some have no result."""
    study = see_study(service, id, caller)
    return written(view_study_in_full(service.studies.table, study, prefix(request)))


@router.delete(
    "/v1/studies/{id}",
    summary="Remove a study",
    status_code=204,
    response_class=Response,
    responses=answers({204: {"description": "Removed."}}, "forbidden", "not_found"),
)
def delete_study(service: Here, caller: Who, id: StudyId) -> Response:
    """Remove a study, and the analyses that nothing else refers to, running ones too.

    An analysis stays that another study has, or that was asked for by itself.
    """
    caller.require_change()
    if not service.studies.remove(see_study(service, id, caller)):
        raise no_study()
    return Response(status_code=204)


@router.get(
    "/v1/studies/{id}/analyses",
    summary="List the files of a study",
    response_model=EntriesOut,
    responses=answers(
        {200: shown(examples.ENTRIES, "A page of files.")}, "not_found", "invalid_option"
    ),
)
def list_entries(
    request: Request,
    service: Here,
    caller: Who,
    id: StudyId,
    query: Annotated[EntriesQuery, Query()],
) -> Response:
    """List the files of a study in the order in which they came, with the analysis of each."""
    study = see_study(service, id, caller)
    after = 0 if query.cursor is None else read_cursor(query.cursor)
    table = service.studies.table
    statuses = () if query.status is None else (query.status,)
    found = table.entries(study.id, query.limit + 1, after, statuses)
    entries, cursor = cut_page(found, query.limit)
    return written(
        EntriesOut(
            items=[view_entry(entry, prefix(request)) for entry in entries], next_cursor=cursor
        )
    )


@router.get(
    "/v1/studies/{id}/analyses/{entry_id}",
    summary="Look at a file of a study",
    response_model=EntryOut,
    responses=answers({200: shown(examples.ENTRY, refused=examples.REFUSED)}, "not_found"),
)
def get_entry(
    request: Request, service: Here, caller: Who, id: StudyId, entry_id: EntryId
) -> Response:
    """Give a file of a study: what was said of it, and how far its analysis is."""
    entry = _see_entry(service, see_study(service, id, caller), entry_id)
    return written(view_entry(entry, prefix(request)))


@router.delete(
    "/v1/studies/{id}/analyses/{entry_id}",
    summary="Take a file out of a study",
    status_code=204,
    response_class=Response,
    responses=answers({204: {"description": "Removed."}}, "forbidden", "not_found"),
)
def delete_entry(service: Here, caller: Who, id: StudyId, entry_id: EntryId) -> Response:
    """Take a file out of a study; its analysis goes unless something else refers to it."""
    caller.require_change()
    entry = _see_entry(service, see_study(service, id, caller), entry_id)
    if not service.studies.remove_entry(entry):
        raise _no_entry()
    return Response(status_code=204)


def _see_entry(service: Here, study: Study, id: str) -> Entry:
    entry = service.studies.table.entry(study.id, id)
    if entry is None:
        raise _no_entry()
    return entry


def _no_entry() -> Problem:
    return Problem("not_found", "There is no such file in the study.")
