"""Files that come into a study: one by one, or many in a ZIP archive."""

from collections.abc import Mapping
from dataclasses import replace

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from app.api import study_examples as examples
from app.api.access import Who
from app.api.answers import written
from app.api.documentation import answers, shown
from app.api.multipart import FIELD_BYTES, form_bytes
from app.api.problems import Problem, explain
from app.api.service import Here, Service, prefix
from app.api.studies import StudyId, no_study, see_study
from app.api.study_schemas import AddedOut, SampleIn
from app.api.study_views import view_added
from app.api.uploads import FORM, ZIP, announced_bytes, check_headers, receive, too_large
from app.jobs.archives import ArchiveError, ArchiveLimits, is_archive, open_archive
from app.jobs.intake import Line, Upload
from app.jobs.studies import Added, NameTakenError
from app.samples import MAX_SHEET_BYTES, Sheet, SheetError, clean_path, read_sheet
from app.storage.studies import StudyGoneError
from app.storage.study_schema import Study

router = APIRouter(tags=["studies"])

SHEET = "sheet"
FIELDS: Mapping[str, int] = dict.fromkeys(SampleIn.model_fields, FIELD_BYTES) | {
    SHEET: MAX_SHEET_BYTES
}


@router.post(
    "/v1/studies/{id}/analyses",
    summary="Add recordings to a study",
    status_code=202,
    response_model=AddedOut,
    responses=answers(
        {
            202: shown(examples.ADDED, "Taken in; look at the study for how far they are."),
            200: examples.known("AddedOut"),
        },
        "malformed_request",
        "forbidden",
        "not_found",
        "name_taken",
        "too_large",
        "unsupported_media_type",
        "invalid_option",
        "corrupt_archive",
        "queue_full",
        "storage_full",
    ),
    openapi_extra=examples.ADD_EXTRA,
)
async def add_to_study(request: Request, service: Here, caller: Who, id: StudyId) -> Response:
    """Take a DICOM file, or a ZIP archive of them, into a study and queue the analyses.

    What cannot be measured is taken in with the reason, so that the study knows of every file. Of
    a ZIP archive, folders stay in the names, `samples.csv` is its sample sheet, and what comes
    before an error stays. The same files with the same samples again answer 200, unless one of
    them has no result: what failed, was cancelled or is removed is taken in anew.
    """
    caller.require_change()
    study = await to_thread.run_sync(see_study, service, id, caller)
    settings = service.settings
    media_type = check_headers(
        request,
        settings.max_upload_bytes,
        archive_limit=settings.max_archive_bytes,
        form_bytes=form_bytes(FIELDS),
    )
    query = request.query_params.multi_items()
    if media_type != FORM:
        _read_fields(query)
    most = {FORM: max(settings.max_upload_bytes, settings.max_archive_bytes)}
    most[ZIP] = settings.max_archive_bytes
    limit = most.get(media_type, settings.max_upload_bytes)
    line = Line(interactive=False, owner=study.owner)
    with service.intake.arriving(line):
        # An archive counts as one here: once it is taken, all that it holds may wait.
        await to_thread.run_sync(service.intake.check_room, announced_bytes(request), line)
        async with receive(
            request, media_type, service.files, limit, service.upload_slots, fields=FIELDS
        ) as (upload, fields):
            asked, sheet = _read_fields([*query, *fields])
            added = await to_thread.run_sync(
                _take_in, service, study, upload, media_type, asked, sheet
            )
    answer = view_added(added, prefix(request))
    return written(answer, 202 if answer.added else 200)


def _take_in(
    service: Service,
    study: Study,
    upload: Upload,
    media_type: str,
    asked: SampleIn,
    sheet: Sheet | None,
) -> Added:
    try:
        if media_type == ZIP or (media_type == FORM and is_archive(upload.path)):
            return _take_in_archive(service, study, upload, asked, sheet)
        if upload.size_bytes > service.settings.max_upload_bytes:
            raise too_large(service.settings.max_upload_bytes)
        name = asked.file_name or clean_path(upload.file_name or "") or "recording"
        named = replace(upload, file_name=name)
        sample = asked.sample if sheet is None else asked.sample.or_else(sheet.find(name))
        entry, known = service.studies.add(study, named, sample)
        return Added([entry], int(known))
    except NameTakenError:
        detail = "The study has another file of this name: send a file_name of its own, or remove "
        raise Problem("name_taken", f"{detail}the other one first.") from None
    except StudyGoneError:
        raise no_study() from None
    except SheetError as error:
        raise Problem("invalid_option", error.detail) from None
    except ArchiveError as error:
        raise Problem(error.code, error.detail) from None


def _take_in_archive(
    service: Service, study: Study, upload: Upload, asked: SampleIn, sheet: Sheet | None
) -> Added:
    if asked.file_name is not None:
        raise Problem("invalid_option", "The files in an archive have names of their own.")
    settings = service.settings
    if upload.size_bytes > settings.max_archive_bytes:
        raise too_large(settings.max_archive_bytes)
    limits = ArchiveLimits(
        members=settings.max_archive_files,
        member_bytes=settings.max_upload_bytes,
        total_bytes=settings.max_archive_unpacked_bytes,
        ratio=settings.max_archive_ratio,
    )
    with open_archive(upload.path, limits) as archive:
        return service.studies.add_archive(study, archive, asked.sample, sheet)


def _read_fields(pairs: list[tuple[str, str]]) -> tuple[SampleIn, Sheet | None]:
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise Problem("invalid_option", f"The option {name[:60]!r} is given twice.")
        values[name] = value
    sheet = values.pop(SHEET, None)
    try:
        sample = SampleIn.model_validate(values)
        return sample, None if sheet is None else read_sheet(sheet.encode())
    except ValidationError as error:
        raise Problem("invalid_option", explain(error.errors())) from None
    except SheetError as error:
        raise Problem("invalid_option", error.detail) from None
