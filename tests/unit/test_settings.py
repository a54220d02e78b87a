"""Settings are read once, checked, and described."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import SHIPPED_MODELS_DIR, Settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("ECHO2PHENO_"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = Settings()
    assert str(settings.data_dir) == "data"
    assert settings.models_dir == SHIPPED_MODELS_DIR
    assert (SHIPPED_MODELS_DIR / "simulation").is_dir()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.analysis_time_limit_s == 600
    assert (settings.measuring.heart_rate_min_bpm, settings.measuring.heart_rate_max_bpm) == (
        200,
        900,
    )


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO2PHENO_DATA_DIR", "/somewhere")
    monkeypatch.setenv("ECHO2PHENO_MAX_FRAMES", "7")
    monkeypatch.setenv("ECHO2PHENO_LOG_LEVEL", "debug")
    monkeypatch.setenv("ECHO2PHENO_ROOT_PATH", "/echo/")
    settings = Settings()
    assert str(settings.data_dir) == "/somewhere"
    assert settings.limits.max_frames == 7
    assert settings.log_level == "DEBUG"
    assert settings.root_path == "/echo"


def test_what_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files leave a variable that they pass on."""
    for name in ("KEYS_FILE", "RESULTS_EXPIRE_AFTER_H", "TRUSTED_PROXIES", "ROOT_PATH"):
        monkeypatch.setenv(f"ECHO2PHENO_{name}", "")
    settings = Settings()
    assert (settings.keys_file, settings.results_expire_after_h) == (None, None)
    assert (settings.trusted_proxies, settings.root_path) == ("", "")


def test_proxies_may_have_room_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO2PHENO_TRUSTED_PROXIES", " 10.0.0.0/8 , ::1,")
    assert Settings().trusted_proxies == "10.0.0.0/8,::1"


def test_an_argument_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO2PHENO_PORT", "1234")
    assert Settings(port=4321).port == 4321


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("WORKERS", "many"),
        ("ROOT_PATH", "echo"),
        ("ROOT_PATH", "/v1"),
        ("ROOT_PATH", "/a/../b"),
        ("ROOT_PATH", '/"><script>'),
        ("ROOT_PATH", "//echo"),
        ("TRUSTED_PROXIES", "gateway"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "*"),
        ("DOCS_ACCESS", "everybody"),
        ("RESULTS_EXPIRE_AFTER_H", "0"),
        ("RESULTS_EXPIRE_AFTER_H", "inf"),
        ("MAX_UPLOADS_AT_ONCE", "0"),
        ("MAX_ATTEMPTS", "2"),
        ("MAX_QUEUED", "0"),
        ("LOG_LEVEL", "LOUD"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("HEART_RATE_MIN_BPM", "1000"),
    ],
)
def test_values_are_checked(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"ECHO2PHENO_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("cores", "workers", "threads", "expected"),
    [(8, 0, 0, (8, 1)), (8, 2, 0, (2, 4)), (2, 4, 0, (4, 1)), (8, 2, 3, (2, 3))],
)
def test_workers_share_the_cores(cores, workers, threads, expected) -> None:
    settings = Settings(cores=cores, workers=workers, threads=threads)
    assert (settings.worker_count, settings.thread_count) == expected


def test_providers_stand_between_commas() -> None:
    assert Settings().onnx_provider_names == ("CPUExecutionProvider",)
    given = Settings(onnx_providers=" CUDAExecutionProvider, CPUExecutionProvider,")
    assert given.onnx_provider_names == ("CUDAExecutionProvider", "CPUExecutionProvider")


def test_addresses_with_passwords_may_lie_in_files_and_are_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    addresses = {
        "BROKER_URL": "amqp://me:CANARY@broker:5672//",
        "DATABASE_URL": "postgresql+psycopg://me:CANARY@database/records",
    }
    monkeypatch.setenv("ECHO2PHENO_QUEUE", "celery")
    for name, address in addresses.items():
        path = tmp_path / name
        path.write_text(f"{address}\n")
        monkeypatch.setenv(f"ECHO2PHENO_{name}_FILE", str(path))
    settings = Settings()
    assert settings.broker_url is not None
    assert settings.database_url is not None
    read = [settings.broker_url.get_secret_value(), settings.database_url.get_secret_value()]
    assert read == list(addresses.values())
    assert "CANARY" not in f"{settings} {settings!r} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"QUEUE": "celery"}, "needs a broker_url and a database_url"),
        ({"BROKER_URL": "http://me:CANARY@broker"}, "begins with one of"),
        ({"BROKER_URL_FILE": "/nowhere/at/all"}, "broker_url_file names cannot be read"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused_without_a_secret(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], says: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"ECHO2PHENO_{name}", value)
    with pytest.raises(ValidationError) as refusal:
        Settings()
    messages = [error["msg"] for error in refusal.value.errors()]  # what the command line prints
    assert says in messages[0]
    assert "CANARY" not in str(messages)
