"""What the command ``study`` says, and what it calls a study."""

import os
from pathlib import Path

import pytest

from app import __main__ as command_line
from app.api.study_schemas import StudyIn
from app.study import default_name


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
