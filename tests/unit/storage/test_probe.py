"""A volume that hangs does not hang whoever asks after it."""

import threading

import pytest

from app.storage.errors import VolumeUnavailableError
from app.storage.probe import Probe

LONG_S = 60.0


def test_it_passes_on_what_is_raised() -> None:
    def fail() -> None:
        raise PermissionError("not yours")

    with pytest.raises(PermissionError, match="not yours"):
        Probe(fail).check(LONG_S)


def test_whoever_asks_while_it_hangs_does_not_add_to_it() -> None:
    let_go, calls = threading.Event(), []

    def hang() -> None:
        calls.append(threading.current_thread())
        let_go.wait()

    probe = Probe(hang)
    for _ in range(3):
        with pytest.raises(VolumeUnavailableError):
            probe.check(0.001)
    assert len(calls) == 1
    assert calls[0].daemon, "the process can end while it hangs"
    let_go.set()
    calls[0].join()
    probe.check(LONG_S)
    assert len(calls) == 2


def test_a_time_limit_of_the_volume_itself_is_passed_on() -> None:
    def fail() -> None:
        raise TimeoutError("of the file system")

    with pytest.raises(TimeoutError, match="of the file system"):
        Probe(fail).check(LONG_S)
