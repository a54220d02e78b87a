"""The compose file of several nodes: confined, pinned, secret, and of settings that exist."""

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from sqlalchemy import make_url

from app.settings import Settings

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.scale.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("api", "worker")

each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def seconds(duration: str) -> float:
    (number,) = re.fullmatch(r"(\d+)s", duration).groups()  # type: ignore[union-attr]
    return float(number)


def environment(name: str) -> dict[str, str]:
    return SERVICES[name].get("environment", {})


def mounted(name: str) -> set[str]:
    return {volume.split(":")[0] for volume in SERVICES[name].get("volumes", [])}


def test_all_of_it_is_there() -> None:
    assert set(SERVICES) == {"gateway", "api", "worker", "broker", "database"}
    for name in OURS:
        assert SERVICES[name]["deploy"]["replicas"] >= 2


@each_service
def test_it_is_confined_and_watched(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["healthcheck"]["test"][0] == "CMD"
    assert seconds(service["stop_grace_period"]) > Settings().shutdown_grace_s
    # What is made here has no tag to pin; it is built from this checkout.
    assert "build" in service or re.search(r":\d+\.\d+", service["image"])


@each_service
def test_no_secret_is_in_its_environment(name: str) -> None:
    for key, value in environment(name).items():
        if re.search("PASS|URL|SECRET", key):
            assert key.endswith("_FILE")
            assert value.startswith("/run/secrets/")
            assert value.removeprefix("/run/secrets/") in SERVICES[name]["secrets"]
        assert "://" not in value


def test_settings_exist_and_cores_are_those_that_it_gets() -> None:
    for name in OURS:
        named = {key for key in environment(name) if key.startswith("ECHO2PHENO_")}
        known = {f"ECHO2PHENO_{field.upper()}" for field in Settings.model_fields}
        assert named
        assert named <= known
        cpus = SERVICES[name]["deploy"]["resources"]["limits"]["cpus"]
        assert float(cpus) == float(environment(name)["ECHO2PHENO_CORES"])


@pytest.mark.parametrize("name", OURS)
def test_nodes_start_with_what_they_are_given(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in environment(name).items():
        monkeypatch.setenv(key, value.replace("/run/secrets", str(secrets)))
    settings = Settings()

    assert settings.queue == "celery"
    assert settings.broker_url is not None
    assert settings.database_url is not None
    assert urlsplit(settings.broker_url.get_secret_value()).username == "echo2pheno"
    assert make_url(settings.database_url.get_secret_value()).drivername == "postgresql+psycopg"


def test_only_the_gateway_is_reached_from_outside() -> None:
    networks = COMPOSE["networks"]
    outside = {name for name in networks if not (networks[name] or {}).get("internal")}

    assert outside == {"outside"}
    for name, service in SERVICES.items():
        assert ("outside" in service["networks"]) == (name == "gateway")
        assert ("ports" in service) == (name == "gateway")
    for name in ("broker", "database", "worker"):
        assert "front" not in SERVICES[name]["networks"], "the gateway does not reach it"
    assert "monitoring" not in SERVICES["database"]["networks"]


def test_nodes_share_the_volume_and_know_the_gateway() -> None:
    for name in OURS:
        assert "data" in mounted(name)
    assert "keys" in mounted("api")
    assert "keys" not in mounted("worker")
    (subnet,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    assert environment("api")["ECHO2PHENO_TRUSTED_PROXIES"] == subnet["subnet"]
    assert environment("api")["ECHO2PHENO_ROOT_PATH"] == environment("gateway")["GATEWAY_PREFIX"]
    template = (DOCKER / "gateway" / "echo2pheno.conf.template").read_text("utf-8")
    needed = set(re.findall(r"^[^#\n]*\$\{(GATEWAY_\w+)\}", template, re.MULTILINE))
    assert needed == {key for key in environment("gateway") if key.startswith("GATEWAY_")}


def test_whatever_it_mounts_is_there_or_is_made_by_the_operator() -> None:
    made = {"./gateway/certificates"}
    for name in SERVICES:
        for source in mounted(name):
            if source.startswith("."):
                assert source in made or (DOCKER / source).exists()
            else:
                assert source in COMPOSE["volumes"]


def test_what_the_image_is_built_from_is_there_and_let_through() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for name in OURS:
        build = SERVICES[name]["build"]
        for argument, value in build["args"].items():
            assert re.search(rf"^ARG {argument}=", dockerfile, re.MULTILINE)
            assert (DOCKER / build["context"] / value).is_file()
            assert f"!{value}" in ignored


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    script = DOCKER / "scale" / "make_secrets.sh"
    subprocess.run(["sh", script, folder], check=True, capture_output=True, timeout=60)
    return folder


def test_the_secrets_are_those_that_are_asked_for(secrets: Path) -> None:
    asked = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}

    assert {path.name for path in secrets.iterdir()} == asked
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    for secret in COMPOSE["secrets"].values():
        assert f"/{Path('docker', secret['file']).parent}/" in ignored


def test_both_ends_have_the_same_password_and_name(secrets: Path) -> None:
    broker = urlsplit((secrets / "broker_url").read_text())
    login = dict(
        line.split(" = ") for line in (secrets / "broker_login.conf").read_text().splitlines()
    )
    database = make_url((secrets / "database_url").read_text())

    assert login == {"default_user": broker.username, "default_pass": broker.password}
    assert broker.hostname in SERVICES["broker"]["networks"]["back"]["aliases"]
    assert database.password == (secrets / "database_password").read_text()
    assert database.username == environment("database")["POSTGRES_USER"]
    assert database.database == environment("database")["POSTGRES_DB"]
    assert database.host in SERVICES["database"]["networks"]["back"]["aliases"]
    passwords = {broker.password, database.password}
    assert len(passwords) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", str(password)) for password in passwords)


def test_secrets_are_made_once(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    script = DOCKER / "scale" / "make_secrets.sh"
    again = subprocess.run(["sh", script, secrets], capture_output=True, text=True, check=False)

    assert again.returncode == 1
    assert "made once" in again.stderr
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


def test_a_worker_is_not_taken_from_while_an_analysis_may_last() -> None:
    conf = (DOCKER / "scale" / "rabbitmq.conf").read_text("utf-8")
    (timeout_ms,) = re.findall(r"^consumer_timeout = (\d+)$", conf, re.MULTILINE)

    assert int(timeout_ms) / 1000 > Settings().analysis_time_limit_s
