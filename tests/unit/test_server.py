"""Who could reach an address, told before anything listens on it."""

import asyncio
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest
import uvloop

from app import server
from app.settings import Settings

THIS_MACHINE = ["127.0.0.1", "127.0.0.2", "127.1", "0x7f.1", "2130706433", "localhost", "LOCALHOST"]
EVERYBODY = ["*", "", "0", "0x0", "0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0"]
NOBODY = ["::ffff:0.0.0.0", "nowhere.invalid", " 127.0.0.1", "[::1]", "a..b", "x" * 70, "192.0.2.1"]


@pytest.fixture(autouse=True)
def _logging_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "configure_logging", lambda level: None)


def is_refused(host: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """Start without keys; where the address is taken, it ends for want of networks."""
    settings = Settings(host=host, data_dir=folder / "data", models_dir=folder / "none", port=0)
    assert server.serve(settings) == 1
    said = capsys.readouterr().err
    assert ("could use it" in said) != ("networks" in said), said
    return "could use it" in said


def listened_to(host: str) -> set[str]:
    """IPv4 addresses that a server of this host is bound to."""

    async def bound() -> set[str]:
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(
            asyncio.Protocol, host=host, port=0, family=socket.AF_INET
        )
        async with listening:
            return {at.getsockname()[0] for at in listening.sockets}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bound())


@pytest.mark.parametrize("host", THIS_MACHINE)
def test_only_this_machine_needs_no_keys(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not is_refused(host, tmp_path, capsys)
    assert all(ip_address(at).is_loopback for at in listened_to(host))


@pytest.mark.parametrize("host", EVERYBODY)
def test_every_interface_by_any_spelling_needs_keys(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_refused(host, tmp_path, capsys)
    assert ":" in host or listened_to(host) == {"0.0.0.0"}


@pytest.mark.parametrize("host", NOBODY)
def test_what_is_not_this_machine_needs_keys(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_refused(host, tmp_path, capsys)


def test_a_name_of_this_machine_and_of_another_needs_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    found = [(*kind, ("127.0.0.1", 0)), (*kind, ("192.0.2.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **how: found)
    assert is_refused("two.example", tmp_path, capsys)
