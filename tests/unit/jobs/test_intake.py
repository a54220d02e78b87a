"""Analyses are taken in so that whoever asks next finds them whole."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from app.jobs.intake import Intake, Options, Upload
from app.metrics import Metrics
from app.storage.files import Files
from app.storage.records import Records

OPTIONS = Options(body_mass_g=None, profile="robust", figures=True)
CATCH_UP_S = 0.3


def test_nobody_is_told_of_an_analysis_that_the_queue_does_not_know(tmp_path: Path) -> None:
    # Whoever finds it waits for its job at once, and would not wait for one that is not there.
    files, events = Files(tmp_path), []
    records = Records.in_file(files.records_path)

    def upload() -> Upload:
        path = files.new_upload()
        path.write_bytes(b"the same")
        return Upload(path, size_bytes=8, sha256="0" * 64, file_name=None)

    def find_it() -> None:
        events.append(("found", intake.admit(upload(), OPTIONS, acknowledged=False)[0].id))

    second = threading.Thread(target=find_it)

    def submit(id: str, **line: Any) -> None:
        second.start()
        second.join(CATCH_UP_S)
        events.append(("submitted", id))

    intake = Intake(
        records=records,
        files=files,
        queue=cast(Any, SimpleNamespace(submit=submit)),
        renderer=cast(Any, None),
        metrics=Metrics(),
        identity={},
        max_attempts=1,
    )
    record, created = intake.admit(upload(), OPTIONS, acknowledged=False)
    second.join()
    assert created
    assert events == [("submitted", record.id), ("found", record.id)]
    records.close()
    files.close()


def test_what_a_worker_has_taken_and_not_begun_leaves_nothing(tmp_path: Path) -> None:
    # It finds no record any more, and knows no recording that it could clear up.
    files = Files(tmp_path)
    records = Records.in_file(files.records_path)
    queue = SimpleNamespace(submit=lambda *_, **line: None, cancel=lambda _: True)
    intake = Intake(
        records=records,
        files=files,
        queue=cast(Any, queue),
        renderer=cast(Any, None),
        metrics=Metrics(),
        identity={},
        max_attempts=1,
    )
    path = files.new_upload()
    upload = Upload(path, size_bytes=0, sha256="0" * 64, file_name=None)
    record, _ = intake.admit(upload, OPTIONS, acknowledged=True, study_only=True)
    assert intake.remove_orphan(record.id)
    assert not files.has_upload(record.id, record.sha256)
    records.close()
    files.close()
