"""What the service holds, for whoever looks after it."""

from collections import Counter

from fastapi import APIRouter

from app.api import examples
from app.api.access import Who
from app.api.documentation import answers, shown
from app.api.problems import Problem
from app.api.schemas import CallerUsageOut, DiskOut, RetentionOut, UsageOut
from app.api.service import Here, Service

router = APIRouter(tags=["service"])


@router.get(
    "/v1/usage",
    summary="What the service holds",
    response_model=UsageOut,
    responses=answers({200: shown(examples.USAGE, "Analyses, disk, callers.")}, "forbidden"),
)
def get_usage(service: Here, caller: Who) -> UsageOut:
    """Count analyses by state and by caller, and what they take on disk; for the role `admin`."""
    if caller.role != "admin":
        raise Problem("forbidden", "Only a key of the role admin sees this.")
    settings, files = service.settings, service.files
    sizes = files.sizes_bytes()
    return UsageOut(
        analyses=dict(service.records.count_by_status()),
        disk=DiskOut(
            uploads_bytes=sum(size.upload for size in sizes.values()),
            results_bytes=sum(size.result for size in sizes.values()),
            records_bytes=files.records_bytes(),
            free_bytes=files.free_bytes(),
        ),
        callers=_callers(service, {id: size.total for id, size in sizes.items()}),
        retention=RetentionOut(
            results_expire_after_h=settings.results_expire_after_h,
            results_max_bytes=settings.results_max_bytes,
            keep_uploads=settings.keep_uploads,
        ),
    )


def _callers(service: Service, sizes_bytes: dict[str, int]) -> list[CallerUsageOut]:
    """Sum up by caller; one whose key is gone has no name, and so has nobody without keys."""
    analyses: Counter[str | None] = Counter()
    taken: Counter[str | None] = Counter()
    for id, owner in service.records.owners().items():
        analyses[owner] += 1
        taken[owner] += sizes_bytes.get(id, 0)
    names = {} if service.keys is None else service.keys.names()
    return [
        CallerUsageOut(
            key_id=owner,
            key_name=names.get(owner or ""),
            analyses=count,
            disk_bytes=taken[owner],
        )
        for owner, count in analyses.most_common()
    ]
