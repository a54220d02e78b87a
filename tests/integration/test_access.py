"""Keys, networks and gateways, as the process and its command line meet them."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.keys import add_key
from tests.integration.conftest import GATED, REAL, Start

DICOM = {"Content-Type": "application/dicom"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "*", "", "nowhere.invalid"])
def test_a_network_is_not_listened_to_without_keys(tmp_path: Path, host: str) -> None:
    ended = subprocess.run(
        [*REAL, "--host", host, "--port", "0"],
        env={"ECHO2PHENO_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Echo2Pheno cannot start: ")
    assert ended.stderr.count("\n") == 1
    for way_out in ("ECHO2PHENO_KEYS_FILE", "ECHO2PHENO_ALLOW_ANONYMOUS=true"):
        assert way_out in ended.stderr
    assert not (tmp_path / "data").exists()


def test_keys_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    ended = subprocess.run(
        REAL,
        env={
            "ECHO2PHENO_DATA_DIR": str(tmp_path / "data"),
            "ECHO2PHENO_KEYS_FILE": str(tmp_path / "none"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Echo2Pheno cannot start: there is no file of keys")
    assert ended.stderr.count("\n") == 1


def test_a_network_is_listened_to_where_that_is_wanted(start: Start, gate: Path) -> None:
    settings = {"test_gate": gate, "host": "0.0.0.0", "allow_anonymous": "true"}
    with (
        pytest.raises(AssertionError, match=r"ready on http://0\.0\.0\.0"),
        start(GATED, **settings),
    ):
        pass


def test_keys_made_on_the_command_line_open_a_running_service(
    gated, gate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHO2PHENO_KEYS_FILE", str(tmp_path / "keys.json"))

    def keys(*arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "app", "keys", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout.strip() if status == 0 else done.stderr

    first = keys("add", "anna")
    with gated(keys_file=tmp_path / "keys.json") as service, service.client() as client:

        def status(secret: str) -> int:
            headers = {"Authorization": f"Bearer {secret}"}
            return client.get("/v1/models", headers=headers).status_code

        boss = keys("add", "boss", "--role", "admin")
        assert (status(first), status(boss), status("x")) == (200, 200, 401)
        listed = [line.split("\t")[:2] for line in keys("list").splitlines()]
        assert listed == [["anna", "analyse"], ["boss", "admin"]]
        assert first.split("_", 2)[2] not in keys("list")
        second = keys("renew", "anna")
        assert (status(first), status(second)) == (401, 200)
        keys("remove", "anna")
        assert (status(second), status(boss)) == (401, 200)
        assert keys("remove", "anna", status=1) == "There is no key named anna.\n"
        log = service.log.read_text()
    for secret in (first, second, boss):
        assert secret not in log
    monkeypatch.delenv("ECHO2PHENO_KEYS_FILE")
    assert "ECHO2PHENO_KEYS_FILE" in keys("list", status=1)


@pytest.mark.parametrize(
    ("trusted", "seen"),
    [
        ("", "127.0.0.1"),
        ("10.0.0.0/8, 192.0.2.1", "127.0.0.1"),
        ("127.0.0.0/8", "203.0.113.7"),
        ("127.0.0.1,203.0.113.7", "198.51.100.9"),
    ],
)
def test_forwarded_headers_are_believed_of_configured_proxies_only(
    gated, gate: Path, trusted: str, seen: str
) -> None:
    forwarded = {
        "X-Forwarded-For": "198.51.100.9, 203.0.113.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "/evil",
    }
    gate.write_text("open")
    with gated(trusted_proxies=trusted) as service, service.client() as client:
        client.headers.update(forwarded)
        assert (
            client.post("/v1/analyses", content=b"x", headers=DICOM)
            .headers["location"]
            .startswith("/v1/analyses/")
        )
        assert "evil" not in client.get("/docs").text
        service.terminate()
        lines = service.log_lines()
    assert {line["client"] for line in lines if line["message"] == "request"} == {seen}


@pytest.mark.parametrize(
    ("host", "settings", "answered"),
    [
        ("localhost", {}, True),
        ("127.0.0.1:8000", {}, True),
        ("[::1]:8000", {}, True),
        ("echo.localhost:8000", {}, True),
        ("workstation", {}, True),
        ("evil.example", {}, False),
        ("127.0.0.1.evil.example:8000", {}, False),
        ("evil.example.", {}, False),
        ("lab.example", {"trusted_proxies": "127.0.0.1"}, True),
        ("lab.example", {"root_path": "/echo"}, True),
        ("lab.example", {"allow_anonymous": "true"}, True),
    ],
)
def test_a_site_that_is_made_to_point_here_is_told_nothing(
    gated, host: str, settings: dict[str, str], answered: bool
) -> None:
    with gated(**settings) as service, service.client() as client:
        answer = client.get("/v1/analyses", headers={"Host": host})
    if answered:
        assert (answer.status_code, answer.json()["items"]) == (200, [])
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_with_keys_any_name_will_do(gated, tmp_path: Path) -> None:
    secret = add_key(tmp_path / "keys.json", "anna", "analyse")
    with gated(keys_file=tmp_path / "keys.json") as service, service.client() as client:
        headers = {"Host": "lab.example", "Authorization": f"Bearer {secret}"}
        assert client.get("/v1/analyses", headers=headers).status_code == 200
