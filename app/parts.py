"""The parts that a service and a worker have in common, put together alike."""

import sys
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from app.jobs.render import Renderer
from app.jobs.runner import Analyse, Runner
from app.metrics import Metrics
from app.pipeline.networks import Networks
from app.settings import Settings
from app.storage.files import Files
from app.storage.records import Records


def open_files(settings: Settings) -> Files:
    """Open the data folder, which is shared where workers are processes of their own.

    Raises
    ------
    StoreInUseError
        Another service works in it, and it is not shared.
    OSError
        It cannot be made or written to.
    """
    return Files(settings.data_dir, shared=settings.queue == "celery")


def open_records(settings: Settings, files: Files) -> Records:
    """Open the records: in the database that is set, or in a file of the data folder.

    Raises
    ------
    NewerStoreError
        A later version of the service made them.
    sqlalchemy.exc.SQLAlchemyError
        The database cannot be used.
    """
    if settings.database_url is None:
        return Records.in_file(files.records_path)
    return Records(settings.database_url.get_secret_value())


def refuse_start(reason: str) -> int:
    """Say why a service or a worker cannot start, and give the status to exit with."""
    print(f"Echo2Pheno cannot start: {reason}", file=sys.stderr)
    return 1


def unusable_database(error: SQLAlchemyError) -> str:
    """Say why the database cannot be used, without its address, which may hold a password."""
    cause = error.__cause__ or error
    return f"the database of the records does not answer or refuses ({type(cause).__name__})."


def missing_package(error: ModuleNotFoundError) -> str:
    """Say that a package is missing that only working with several machines needs."""
    return f"the package {error.name} is missing: `make install-scale` adds what scaling out needs."


def make_runner(
    settings: Settings,
    networks: Networks,
    analyse: Analyse,
    records: Records,
    files: Files,
    renderer: Renderer,
    metrics: Metrics,
) -> Runner:
    """Bind an analysis to the networks and the settings."""
    return Runner(
        analyse=partial(
            analyse, networks=networks, measuring=settings.measuring, limits=settings.limits
        ),
        time_limit_s=settings.analysis_time_limit_s,
        records=records,
        files=files,
        renderer=renderer,
        metrics=metrics,
        keep_uploads=settings.keep_uploads,
        patience_s=settings.lease_s if settings.queue == "celery" else 0.0,
        max_attempts=settings.max_attempts,
    )
