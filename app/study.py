"""The command ``study``: a folder of recordings in, tables and figures out."""

import fcntl
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from app import INTERRUPTED
from app.client import Client, ServiceError
from app.private_service import MOST_RESTARTS, PREFIX, PrivateServiceError, private_service
from app.samples import SheetError, clean_path
from app.settings import Settings
from app.study_folder import read_folder, readable
from app.study_results import FAILURES, Failure, StudyStateError
from app.study_run import Progress, Stopped, StudyOptions, StudyRun

MAX_STUDY_NAME_LENGTH = 200
"""Longest name of a study, in characters."""

_LOST = "The service on this machine cannot be started again; the same command goes on from here."
_DATA = ".service"
_LOG = "service.log"
_SHOWN_FAILURES = 40


def default_name(folder: Path) -> str:
    """Name a study after its folder, in letters that a service takes."""
    return clean_path(readable(folder.resolve().name))[:MAX_STUDY_NAME_LENGTH] or "study"


def study(
    folder: Path,
    *,
    server: str | None,
    key_file: Path | None,
    sheet: Path | None,
    out: Path | None,
    options: StudyOptions,
    uploads: int,
) -> int:
    """Analyse a folder of recordings; run again, it goes on where it was stopped.

    Parameters
    ----------
    folder : Path
    server : str or None
        Address of the service; None for one of its own, on this machine's cores.
    key_file : Path or None
        Holds the key that the service asks for.
    sheet : Path or None
        Sample sheet in CSV.
    out : Path or None
        Folder of results; the folder's name with ``-results`` by default.
    options : StudyOptions
    uploads : int
        Files that are sent at once.

    Returns
    -------
    int
        0; 1 where a file has no result or the study could not be run; 130 after Ctrl-C.
    """
    console = Console(stderr=True)
    results = out or folder.resolve().with_name(f"{folder.resolve().name}-results")
    stop, lost = threading.Event(), threading.Event()

    def give_up() -> None:
        lost.set()
        stop.set()  # nobody waits for what will not be back

    server = server and server.rstrip("/")
    try:
        key = None if key_file is None else key_file.read_text(encoding="ascii").strip()
        found = read_folder(folder, sheet, results)
        if not (found.files or found.missing or found.unreadable):
            return _refuse(console, f"There are no recordings in {folder}.")
        if found.skipped:
            console.print(_text(f"Not recordings, and left out: {_some(found.skipped)}"))
        if found.renamed:
            renamed = [f"{was} as {name}" for name, was in found.renamed.items()]
            console.print(_text(f"Their names are taken, so they go by others: {_some(renamed)}"))
        with (
            _alone(results),
            _service(server, results, len(found.files), give_up) as address,
            _waiting_client(address, key, stop) as client,
            _bars(console, len(found.files)) as tell,
        ):
            run = StudyRun(
                client,
                server,
                found,
                results,
                options,
                uploads=uploads,
                stop=stop,
                tell=tell,
                lost=lambda: ServiceError(_LOST) if lost.is_set() else None,
            )
            failures = run.run()
    except (KeyboardInterrupt, Stopped):
        stop.set()
        console.print("Stopped. The same command goes on from here.")
        return INTERRUPTED
    except (ServiceError, SheetError) as error:
        detail = error.detail
        return _refuse(console, f"{detail} See {results / _LOG}." if lost.is_set() else detail)
    except PrivateServiceError as error:
        return _refuse(console, f"{error} (see {results / _LOG}).")
    except StudyStateError as error:
        return _refuse(console, str(error))
    except UnicodeDecodeError:
        return _refuse(console, f"{key_file} holds no key: keys are plain letters and digits.")
    except OSError as error:
        return _refuse(console, _reason(error))
    _conclude(console, [file.name for file in found.files], failures, results)
    return 1 if failures else 0


@contextmanager
def _alone(results: Path) -> Iterator[None]:
    """Keep another run out of a folder of results: both would write the same files.

    Raises
    ------
    StudyStateError
        Another run is at work there.
    OSError
        The folder cannot be made.
    """
    results.mkdir(parents=True, exist_ok=True)
    folder = os.open(results, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise StudyStateError(f"Another run is at work in {results}.") from None
    except OSError:
        pass  # not every file system of a network knows locks
    try:
        yield
    finally:
        os.close(folder)


@contextmanager
def _service(
    server: str | None, results: Path, files: int, give_up: Callable[[], None]
) -> Iterator[str]:
    if server is not None:
        yield server
        return
    kept = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    for name in ("KEYS_FILE", "ROOT_PATH", "HOST", "PORT"):
        kept.pop(f"{PREFIX}{name}", None)
    settings = kept | {
        f"{PREFIX}DATA_DIR": str(results / _DATA),
        f"{PREFIX}SHUTDOWN_GRACE_S": "2",  # what was not done runs with the next start
    }
    # any recording may kill it as often as it is tried
    restarts = MOST_RESTARTS + files * Settings().max_attempts
    log = results / _LOG
    with private_service(settings, log, restarts=restarts, give_up=give_up) as address:
        yield address


@contextmanager
def _waiting_client(address: str, key: str | None, stop: threading.Event) -> Iterator[Client]:
    """Make a client whose pauses end when the user wants to stop."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise Stopped

    with Client(address, key, sleep=sleep) as client:
        yield client


@contextmanager
def _bars(console: Console, total: int) -> Iterator[Callable[[Progress], None]]:
    columns = (
        TextColumn("{task.description:9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console) as bars:
        sent, ended = (bars.add_task(name, total=total) for name in ("sent", "analysed"))

        def tell(progress: Progress) -> None:
            bars.update(sent, completed=progress.sent)
            bars.update(ended, completed=progress.ended)

        yield tell


def _conclude(
    console: Console, files: Sequence[str], failures: Sequence[Failure], results: Path
) -> None:
    if failures:
        table = Table("file", "code", "why", title="Without a result", title_justify="left")
        for failure in failures[:_SHOWN_FAILURES]:
            table.add_row(*map(_text, (failure.file_name, failure.code, failure.detail)))
        console.print(table)
        if len(failures) > _SHOWN_FAILURES:
            more = len(failures) - _SHOWN_FAILURES
            console.print(_text(f"and {more} more in {results / FAILURES}"))
    done = len(set(files) - {failure.file_name for failure in failures})
    failed = "1 failure" if len(failures) == 1 else f"{len(failures)} failures"
    console.print(f"{done} of {len(files)} recordings analysed, {failed}.", highlight=False)
    _print_path(results)


def _print_path(path: Path) -> None:
    """Print a path so that a script can open it, whatever bytes it is made of."""
    try:
        print(path)
    except UnicodeEncodeError:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")


def _refuse(console: Console, reason: str) -> int:
    console.print(_text(f"python -m app study: {reason}"))
    return 1


def _reason(error: OSError) -> str:
    why = error.strerror or "cannot be used"
    return why if error.filename is None else f"{os.fsdecode(error.filename)}: {why}"


def _text(words: str) -> Text:
    """Make of words what a terminal shows as it is: brackets are no markup, odd bytes a mark."""
    return Text(words.encode(errors="surrogateescape").decode(errors="replace"))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
