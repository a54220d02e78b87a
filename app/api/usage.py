"""What the service holds, and for whom: for those who look after it."""

from collections import Counter
from typing import get_args

from fastapi import APIRouter

from app.api import examples
from app.api.access import Who
from app.api.documentation import answers, shown
from app.api.schemas import CallerUsageOut, RetentionOut, StoredOut, UsageOut
from app.api.service import Here
from app.storage.schema import Status

router = APIRouter(tags=["service"])


@router.get(
    "/v1/usage",
    summary="What is stored, and for whom",
    response_model=UsageOut,
    responses=answers({200: shown(examples.USAGE, "Counted now.")}, "forbidden"),
)
def usage(service: Here, caller: Who) -> UsageOut:
    """Count analyses by status and by caller, and bytes on disk; for the role `admin` only."""
    caller.require_admin()
    names = {} if service.keys is None else service.keys.names()
    by_status = Counter[str](dict.fromkeys(get_args(Status), 0))
    counted, sent_bytes = Counter[str | None](), Counter[str | None]()
    for tally in service.records.tally():
        by_status[tally.status] += tally.analyses
        name = None if tally.owner is None else names.get(tally.owner)
        counted[name] += tally.analyses
        sent_bytes[name] += tally.sent_bytes
    return UsageOut(
        analyses=dict(by_status),
        callers=[
            CallerUsageOut(name=name, analyses=counted[name], sent_bytes=sent_bytes[name])
            for name in sorted(counted, key=lambda name: (name is None, name or ""))
        ],
        stored=StoredOut.model_validate(service.files.usage()),
        retention=RetentionOut.model_validate(service.settings),
    )
