"""What only several machines need is asked for when they are, and not before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HIDE = "import sys; sys.modules[{package!r}] = None; "
RUN = "from app.__main__ import main; sys.exit(main({command!r}))"


def run(code: str, **settings: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ECHO2PHENO_")}
    environment |= {f"ECHO2PHENO_{name}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("package", ["celery", "psycopg"])
def test_a_missing_package_is_named_in_one_sentence(
    tmp_path: Path, command: str, package: str
) -> None:
    if package == "psycopg":
        pytest.importorskip("celery", reason="Celery is not installed: `make install-scale`")
    done = run(
        HIDE.format(package=package) + RUN.format(command=[command]),
        QUEUE="celery",
        PORT=0,
        DATA_DIR=tmp_path / "data",
        BROKER_URL="amqp://me:CANARY@127.0.0.1:1//",
        DATABASE_URL="postgresql+psycopg://me:CANARY@127.0.0.1:1/none",
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"Echo2Pheno cannot start: the package {package} is missing: "
        "`make install-scale` adds what scaling out needs."
    ]


def test_nothing_of_celery_is_imported_by_a_service_alone() -> None:
    names = "{'celery', 'kombu', 'amqp', 'redis', 'psycopg'}"
    code = f"import sys, app.server, app.main, app.__main__; print({names} & set(sys.modules))"
    assert run(code).stdout == "set()\n"


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_database_that_does_not_answer_stops_the_start_without_a_secret(
    tmp_path: Path, command: str
) -> None:
    pytest.importorskip("celery", reason="Celery is not installed: `make install-scale`")
    done = run(
        "import sys; " + RUN.format(command=[command]),
        QUEUE="celery",
        PORT=0,
        DATA_DIR=tmp_path / "data",
        BROKER_URL="amqp://me:CANARY@127.0.0.1:1//",
        DATABASE_URL="postgresql+psycopg://me:CANARY@127.0.0.1:1/none",
    )
    assert done.returncode == 1
    assert "Echo2Pheno cannot start: the database" in done.stderr
    assert "CANARY" not in done.stdout + done.stderr
