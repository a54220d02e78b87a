"""What the command ``study`` says, and what it calls a study."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from app import __main__ as command_line
from app import study
from app.api.study_schemas import StudyIn
from app.study import default_name
from app.study_results import Failure


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (b"/lab/week 4", "week 4"),
        (b"/lab/St\xfcdie", "Stüdie"),
        (b"/lab/a\x07b", "ab"),
        (b"/lab/\x07", "study"),
        (b"/lab/" + b"x" * 255, "x" * 200),
        (b"/", "study"),
    ],
)
def test_a_study_is_named_after_its_folder_in_letters_that_a_service_takes(
    folder: bytes, name: str
) -> None:
    assert default_name(Path(os.fsdecode(folder))) == name
    assert StudyIn(name=name).name == name


def test_ctrl_c_before_anything_has_begun_shows_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "_study", interrupted)
    assert command_line.main(["study", "folder"]) == command_line.INTERRUPTED


@pytest.mark.parametrize(
    ("failed", "said"), [(0, "0 failures."), (1, "1 failure."), (2, "2 failures.")]
)
def test_failures_are_counted_in_words(tmp_path: Path, failed: int, said: str) -> None:
    console = Console(file=io.StringIO(), width=200)
    failures = [Failure(f"{n}.dcm", "too_short", "Short.") for n in range(failed)]
    study._conclude(console, ["0.dcm", "1.dcm"], failures, tmp_path)
    assert console.file.getvalue().endswith(f"recordings analysed, {said}\n")
