"""How an attempt under a lease ends where database or volume are away meanwhile."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from app.jobs.queue import Control, Outcome
from app.jobs.runner import Runner
from app.metrics import Metrics
from app.pipeline.errors import CorruptPixelData
from app.storage.errors import VolumeUnavailableError
from app.storage.files import Files
from app.storage.leases import Leases
from app.storage.records import Records
from tests.factories import make_analysis
from tests.unit.storage.test_records import request

SHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes
AWAY = OperationalError("", None, Exception())


class Unsteady:
    """Records that are away for a call or more, before or after they have done it."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.away: dict[str, int] = {}
        self.after: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._records, name)

        def call(*asked: Any, **named: Any) -> Any:
            if self.away.get(name, 0) > 0:
                self.away[name] -= 1
                if name in self.after:
                    act(*asked, **named)
                raise AWAY
            return act(*asked, **named)

        return call


class Bench:
    """A runner with all that it needs, and an analysis that it is told how to do."""

    def __init__(self, records: Records, folder: Path) -> None:
        self.records = records
        self.unsteady = Unsteady(records)
        self.files = Files(folder, shared=True)
        self.leases = Leases(records.engine, 60)
        self.analyse: Callable[..., Any] = lambda path, **asked: make_analysis()

    def run(self, control: Control | None = None, patience_s: float = 20.0) -> Outcome | None:
        runner = Runner(
            analyse=lambda *asked, **named: self.analyse(*asked, **named),
            time_limit_s=60,
            records=self.unsteady,  # type: ignore[arg-type]
            files=self.files,
            renderer=None,  # type: ignore[arg-type]
            metrics=Metrics(),
            patience_s=patience_s,
            max_attempts=3,
        )
        taken = self.leases.take("w")
        assert taken is not None
        return runner.run(taken, control or Control())

    @property
    def status(self) -> str:
        found = self.records.get("a")
        return "gone" if found is None else found.status


@pytest.fixture
def bench(records: Records, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(records, tmp_path / "data")
    records.add("a", replace(request(), sha256=SHA, figures=False))
    made.files.keep_upload(made.files.new_upload(), "a", SHA)
    yield made
    made.files.close()


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'records.sqlite'}"


def test_a_result_waits_for_a_database_that_is_away(bench: Bench) -> None:
    bench.unsteady.away = {"succeed": 1}
    assert bench.run() == Outcome("succeeded")
    assert bench.status == "succeeded"
    assert bench.files.has_result("a")
    assert not bench.files.has_upload("a", SHA)


@pytest.mark.parametrize("act", ["succeed", "fail"])
def test_what_was_recorded_although_no_answer_came_counts(bench: Bench, act: str) -> None:
    bench.unsteady.away, bench.unsteady.after = {act: 1}, {act}
    if act == "fail":
        bench.analyse = _corrupt
    outcome = bench.run()
    assert outcome is not None
    assert outcome.status == bench.status == {"succeed": "succeeded", "fail": "failed"}[act]
    assert bench.files.has_result("a") is (act == "succeed")


def test_a_database_that_stays_away_fails_no_analysis(bench: Bench) -> None:
    bench.unsteady.away = {"succeed": 1}
    with pytest.raises(OperationalError):
        bench.run(patience_s=-1.0)
    assert bench.status == "running", "its lease runs out, and it is run again"
    assert bench.files.has_upload("a", SHA)


def test_a_volume_that_is_away_counts_as_no_attempt(bench: Bench) -> None:
    def analyse(path: Path, **asked: Any) -> Any:
        raise VolumeUnavailableError(errno.EROFS, "read-only")

    bench.analyse = analyse
    for _ in range(5):
        assert bench.run() is None
        found = bench.records.get("a")
        assert found is not None
        assert (found.status, found.attempts, found.holder) == ("queued", 0, None)


def test_a_recording_that_is_gone_is_tried_a_few_times(bench: Bench) -> None:
    bench.files.drop_upload("a", SHA)
    assert [bench.run(), bench.run()] == [None, None]
    outcome = bench.run()
    assert outcome is not None
    assert (outcome.status, outcome.code) == ("failed", "internal_error")
    assert bench.status == "failed"


def test_an_attempt_that_lost_its_lease_leaves_the_result_of_the_next(bench: Bench) -> None:
    def analyse(path: Path, **asked: Any) -> Any:
        if not overtaken:
            overtaken.append(True)
            bench.records.requeue("a", counts=True)  # as a sweep does once the lease is over
            assert bench.run() == Outcome("succeeded")
            written.append(bench.files.file("a", "beats.csv").stat().st_mtime_ns)
        return make_analysis()

    overtaken: list[bool] = []
    written: list[int] = []
    bench.analyse = analyse
    # the upload is read before the other attempt deletes it, as an open file would be
    assert bench.run() is None
    assert bench.status == "succeeded"
    assert bench.files.file("a", "beats.csv").stat().st_mtime_ns == written[0]


def test_an_analysis_that_was_removed_meanwhile_leaves_nothing(bench: Bench) -> None:
    def analyse(path: Path, **asked: Any) -> Any:
        bench.records.cancel("a")
        bench.records.remove("a")
        return make_analysis()

    bench.analyse = analyse
    assert bench.run() == Outcome("cancelled")
    assert bench.status == "gone"
    assert not bench.files.has_result("a")
    assert not bench.files.has_upload("a", SHA)


def _corrupt(path: Path, **asked: Any) -> Any:
    raise CorruptPixelData("Cut off.")
