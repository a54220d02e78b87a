"""A service of a command's own is started again where it dies, and given up where it must be."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app import private_service as module
from app import server
from app.private_service import START_TRIES, PrivateServiceError, private_service
from app.settings import Settings
from app.storage import folder_lock
from app.storage.files import Files

LONG_S = 60.0
STUB = """
import pathlib, signal, sys
plan = pathlib.Path(sys.argv[1])
act, *left = plan.read_text().split()
plan.write_text(" ".join(left or [act]))  # the last act is played for ever
with plan.with_name("played").open("a") as played:
    played.write(act + "\\n")
if act == "fail":
    sys.exit(1)
if act == "hang":
    sys.stdin.read()
if act == "garble":
    sys.stdout.buffer.write(b"\\xff\\n")
    sys.exit(1)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("Echo2Pheno ready on http://127.0.0.1:1", flush=True)
if act == "die":
    sys.exit(1)
sys.stdin.read()
"""

Play = Callable[[str], Path]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Have a stand-in for the service do one thing after the other, start by start."""
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.01)
    (tmp_path / "stub.py").write_text(STUB)
    plan, played = tmp_path / "plan", tmp_path / "played"
    command = (sys.executable, str(tmp_path / "stub.py"), str(plan))
    monkeypatch.setattr(module, "COMMAND", command)

    def write(acts: str) -> Path:
        plan.write_text(acts)
        return played

    return write


def acts(played: Path) -> list[str]:
    return played.read_text().split() if played.exists() else []


def test_a_start_that_fails_for_a_moment_is_tried_again(play: Play, tmp_path: Path) -> None:
    played = play("die fail fail stay")
    given_up = threading.Event()
    with private_service({}, tmp_path / "log", give_up=given_up.set) as address:
        assert address == "http://127.0.0.1:1"
        while acts(played)[-1:] != ["stay"]:
            assert not given_up.is_set()
    assert acts(played) == ["die", "fail", "fail", "stay"]
    assert not given_up.is_set()


def test_a_start_that_hangs_has_failed(
    play: Play, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Impatient(threading.Timer):
        """Lets the first start take its time, and no other."""

        begun = 0

        def __init__(self, interval: float, act: Callable[[], object]) -> None:
            super().__init__(0.0 if Impatient.begun else interval, act)
            Impatient.begun += 1

    monkeypatch.setattr(threading, "Timer", Impatient)
    play("die hang")
    given_up = threading.Event()
    with (
        pytest.raises(PrivateServiceError, match="did not stop"),
        private_service({}, tmp_path / "log", give_up=given_up.set),
    ):
        assert given_up.wait(LONG_S)


@pytest.mark.parametrize(
    ("plan", "restarts", "played"),
    [
        ("die fail", 100, ["die", *["fail"] * START_TRIES]),
        ("die", 3, ["die"] * 4),
        ("die garble fail", 100, ["die", "garble", *["fail"] * (START_TRIES - 1)]),
    ],
    ids=["no start", "always dies", "says what is no text"],
)
def test_it_is_given_up_after_so_many_tries(
    play: Play, tmp_path: Path, plan: str, restarts: int, played: list[str]
) -> None:
    log = play(plan)
    given_up = threading.Event()

    def wait() -> None:
        with private_service({}, tmp_path / "log", restarts=restarts, give_up=given_up.set):
            assert given_up.wait(LONG_S)

    with pytest.raises(PrivateServiceError, match="did not stop as it should"):
        wait()
    assert acts(log) == played


def test_it_may_die_as_often_as_was_said(play: Play, tmp_path: Path) -> None:
    played = play("die die stay")
    given_up = threading.Event()
    with private_service({}, tmp_path / "log", restarts=2, give_up=given_up.set):
        while acts(played)[-1:] != ["stay"]:
            assert not given_up.is_set()
    assert not given_up.is_set()


def test_a_first_start_that_fails_is_said_at_once(play: Play, tmp_path: Path) -> None:
    played = play("fail")
    with (
        pytest.raises(PrivateServiceError, match="did not start"),
        private_service({}, tmp_path / "log"),
    ):
        pass
    assert acts(played) == ["fail"]


def test_it_begins_once_the_service_of_a_killed_command_has_left_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    earlier = Files(tmp_path)
    served: list[object] = []

    def serve(settings: Settings) -> int:
        Files(settings.data_dir).close()
        served.append(settings.data_dir)
        return 0

    monkeypatch.setenv("ECHO2PHENO_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr(module, "_end_with_parent", lambda: None)
    monkeypatch.setattr(folder_lock, "wait_until_free", lambda *_: earlier.close())
    assert module.main() == 0
    assert served == [tmp_path]
