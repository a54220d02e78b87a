"""What is done about analyses and files that a process left behind, whatever the queue."""

from app.storage.files import Files
from app.storage.records import Records
from app.storage.schema import Record


def given_up(record: Record) -> tuple[str, str]:
    """Say why an analysis that stopped the service again and again is not started once more.

    Returns
    -------
    code, detail : str
        Of its failure.
    """
    return (
        "internal_error",
        f"The service stopped {record.attempts} times during this analysis, which is not "
        "started again. Send the file once more if you want to try.",
    )


def tidy(records: Records, files: Files, *, keep_uploads: bool) -> None:
    """Delete the files that no record refers to.

    Parameters
    ----------
    records : Records
    files : Files
    keep_uploads : bool
        Whether the recording of an analysis that has ended stays as long as its record.
    """
    uploads = {record.id for record in records.with_status("queued", "running")}
    if keep_uploads:
        uploads |= {record.id for record in records.with_status("succeeded", "failed")}
    results = {record.id for record in records.with_status("succeeded")}
    files.tidy(uploads=uploads, results=results)
