"""One run of a study from a folder: send what is not there yet, fetch what is done."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from app.background import BackgroundThreads
from app.client import Client, Json, ServiceError, Shape, checked
from app.output.cells import cell
from app.samples import clean_path
from app.study_folder import LocalFile, StudyFolder
from app.study_results import (
    ANALYSIS,
    NOT_FINISHED,
    RESULT_TABLES,
    STATE,
    Failure,
    StudyStateError,
    earlier_reasons,
    read_result,
    read_state,
    write_failures,
    write_whole,
)

RECORDINGS = "recordings"
TABLES = ("summary", "beats", "mice", "published_all", "published_stats")

POLL_S, LONGEST_POLL_S = 1.0, 15.0
TABLES_EVERY_S = 30.0
_FETCHERS = 2
_FAULT = 500
_UNFINISHED = ("queued", "running")
_GONE = ("removed", "cancelled")
_OF_ONE_FILE = (400, 409, 413, 415, 422, 500)
"""Statuses that are about the file that was sent; others would come again with the next."""

_TEXT_OR_NONE = (str, type(None))
_NUMBER_OR_NONE = (int, float, type(None))
_STUDY: Shape = {"id": str, "profile": str, "body_mass_g": _NUMBER_OR_NONE}
_ENTRY: Shape = {
    "file_name": str,
    "status": str,
    "analysis_id": _TEXT_OR_NONE,
    "size_bytes": int,
    "sha256": str,
    "body_mass_g": _NUMBER_OR_NONE,
    "mouse_id": _TEXT_OR_NONE,
    "sex": _TEXT_OR_NONE,
    "group": _TEXT_OR_NONE,
    "error": (dict, type(None)),
    "links": {"self": str},
}
_ERROR: Shape = {"code": str, "detail": str}
_TABLES: Shape = {"links": {**{f"{name}_csv": str for name in TABLES}, "overview_png": str}}

_WORTH_ANOTHER_TRY = ("storage_full", "time_limit")
"""Codes of failures that are the service's and may be over by the next run."""


class Stopped(Exception):
    """The user wants no more."""


@dataclass(frozen=True)
class StudyOptions:
    """What holds for a whole study."""

    name: str
    profile: str = "robust"
    body_mass_g: float | None = None
    figures: bool = True


@dataclass(frozen=True)
class Progress:
    """How far a run is, in files."""

    total: int
    sent: int
    ended: int
    fetched: int


class StudyRun:
    """Takes a folder through a service, and its results into another folder.

    What was done is remembered by the service, which knows every file by its bytes, and by the
    results on disk: a run that was stopped goes on where it was.

    Parameters
    ----------
    client : Client
    server : str or None
        What the results are remembered to come from; None for this machine.
    folder : StudyFolder
    out : Path
        Made if it is missing.
    options : StudyOptions
    uploads : int
        Files that are sent at once.
    stop : threading.Event
        Set by whoever wants the run to end early.
    tell : callable
        Told how far it is, again and again.
    lost : callable, optional
        Gives the error that the service will not be back with, once that is known.
    """

    def __init__(
        self,
        client: Client,
        server: str | None,
        folder: StudyFolder,
        out: Path,
        options: StudyOptions,
        *,
        uploads: int,
        stop: threading.Event,
        tell: Callable[[Progress], None],
        lost: Callable[[], ServiceError | None] = lambda: None,
    ) -> None:
        self._client = client
        self._server = server
        self._folder = folder
        self._out = out
        self._options = options
        self._uploads = uploads
        self._stop = stop
        self._tell = tell
        self._lost = lost
        self._entries: Mapping[str, Json] | None = None
        self._sent = 0
        self._refused: dict[str, Failure] = {}
        self._broken: dict[str, Failure] = {}  # tables that cannot be had
        self._lock = threading.Lock()

    def run(self) -> Sequence[Failure]:
        """Do all that is left to do.

        Returns
        -------
        sequence of Failure
            The files that have no result, of all runs together, and tables that the service breaks
            on; also in ``failures.csv``.

        Raises
        ------
        ServiceError
            The service cannot be reached, or lets nobody in, or has no room; ``failures.csv`` says
            then what has no result.
        StudyStateError
        Stopped
        OSError
            The results cannot be written.
        """
        self._out.mkdir(parents=True, exist_ok=True)
        try:
            return self._run()
        except (ServiceError, Stopped) as error:
            reason = self._lost() or error
            if isinstance(reason, ServiceError):
                with suppress(OSError):  # what ended the study is what has to be said
                    write_failures(self._out, self._unfinished(reason))
            raise reason from None

    def _run(self) -> Sequence[Failure]:
        study = self._open_study()
        known = self._list(study)
        self._forget(known)
        with (
            BackgroundThreads(self._uploads, "upload") as senders,
            BackgroundThreads(_FETCHERS, "fetch") as fetchers,
        ):
            try:
                sending = [
                    senders.submit(self._send, study, file, known.get(file.name))
                    for file in self._folder.files
                ]
                entries = self._fetch_until_done(study, sending, fetchers)
            except BaseException as error:
                self._stop.set()
                if isinstance(error, ServiceError) and error.status is not None:
                    with suppress(ServiceError, Stopped, OSError):  # it is there, and may go on
                        self._write_tables(study)
                raise
        self._write_tables(study)
        failures = self._failures(entries)
        write_failures(self._out, failures)
        return failures

    def _list(self, study: Json) -> Mapping[str, Json]:
        """Ask for the files that the study has, by their names."""
        entries = {}
        for entry in self._client.files(study["id"]):
            if checked(entry, _ENTRY)["error"] is not None:
                checked(entry["error"], _ERROR)
            entries[entry["file_name"]] = entry
        self._entries = entries
        return entries

    def _open_study(self) -> Json:
        state = self._out / STATE
        if state.exists():
            known = read_state(state)
            if known["server"] != self._server:
                there = known["server"] or "this machine"
                raise StudyStateError(
                    f"{self._out} holds results of {there}; say with --out where others go."
                )
            try:
                study = checked(self._client.study(known["id"]), _STUDY)
            except ServiceError as error:
                if error.code != "not_found":
                    raise
            else:
                self._check(study)
                return study
        study = self._client.create_study(
            self._options.name,
            body_mass_g=self._options.body_mass_g,
            profile=self._options.profile,
            figures=self._options.figures,
        )
        text = json.dumps({"server": self._server, "id": study["id"], "name": self._options.name})
        write_whole(state, text)
        return study

    def _check(self, study: Json) -> None:
        for name in ("profile", "body_mass_g"):
            if study[name] != getattr(self._options, name):
                raise StudyStateError(
                    f"{self._out} holds results with {name} {study[name]}; say with --out where "
                    "those with another go."
                )

    def _forget(self, known: Mapping[str, Json]) -> None:
        """Take out of the study what has no result and is no longer in the folder."""
        for name in known.keys() - {file.name for file in self._folder.files}:
            if known[name]["status"] in ("failed", *_GONE):
                self._take_out(known[name])

    def _take_out(self, entry: Json) -> None:
        try:
            self._client.remove_file(entry["links"]["self"])
        except ServiceError as error:
            if error.code != "not_found":  # it is out, perhaps by a request whose answer was lost
                raise

    def _send(self, study: Json, file: LocalFile, known: Json | None) -> None:
        if self._stop.is_set():
            raise Stopped
        try:
            if known is None or not self._is_there(file, known):
                if known is not None and known["sha256"] != file.sha256:
                    self._take_out(known)  # the file has changed
                sample = vars(file.sample)
                self._client.add_file(study["id"], file.path, file_name=file.name, **sample)
        except ServiceError as error:
            if error.status not in _OF_ONE_FILE:
                raise
            self._refuse(file.name, error.code or "refused", error.detail)
        except OSError as error:
            self._refuse(file.name, "unreadable", f"It cannot be read: {error.strerror}.")
        with self._lock:
            self._sent += 1

    def _is_there(self, file: LocalFile, known: Json) -> bool:
        mass_g = file.sample.body_mass_g
        expected = vars(file.sample) | {
            "body_mass_g": self._options.body_mass_g if mass_g is None else mass_g
        }
        error = known["error"] or {"code": None}
        return (
            known["status"] not in _GONE
            and error["code"] not in _WORTH_ANOTHER_TRY
            and all(known[name] == value for name, value in expected.items())
            and known["size_bytes"] == file.path.stat().st_size
            and known["sha256"] == file.sha256
        )

    def _refuse(self, name: str, code: str, detail: str) -> None:
        with self._lock:
            self._refused[name] = Failure(name, code, detail)

    def _fetch_until_done(
        self, study: Json, sending: Sequence[Future[None]], fetchers: BackgroundThreads
    ) -> Mapping[str, Json]:
        # by name as well: the same bytes under two names are one analysis
        fetching: dict[tuple[str, str], Future[None]] = {}
        written_at, written_for = monotonic(), 0
        ours = {file.name for file in self._folder.files}
        while True:
            all_sent = all(future.done() for future in sending)
            began = monotonic()
            entries = self._list(study)
            # a long list is asked for less often, so that looking is not most of the work
            pause_s = min(max(POLL_S, 5 * (monotonic() - began)), LONGEST_POLL_S)
            for future in (*sending, *fetching.values()):
                if future.done():
                    future.result()  # raises what went wrong
            for entry in entries.values():
                result = entry["file_name"], entry["analysis_id"]
                if entry["status"] == "succeeded" and result not in fetching:
                    fetching[result] = fetchers.submit(self._fetch, entry)
            ended = {n for n, e in entries.items() if e["status"] not in _UNFINISHED}
            fetched = sum(future.done() for future in fetching.values())
            gone = len(self._refused.keys() - ended)
            self._tell(Progress(len(ours), self._sent, len(ended & ours) + gone, fetched))
            if all_sent and len(ended) == len(entries) and fetched == len(fetching):
                return entries
            if fetched > written_for and monotonic() - written_at > TABLES_EVERY_S:
                self._write_tables(study)
                written_at, written_for = monotonic(), fetched
            if self._stop.wait(pause_s):
                raise Stopped

    def _fetch(self, entry: Json) -> None:
        """Fetch the result of a file, unless it is there; what says so is written last."""
        if self._stop.is_set():
            raise Stopped
        folder = self._out / RECORDINGS / clean_path(entry["file_name"])  # whatever a server says
        complete = folder / "analysis.json"
        analysis = read_result(complete, entry["analysis_id"])
        is_new = analysis is None
        try:
            if analysis is None:
                complete.unlink(missing_ok=True)
                analysis = checked(self._client.analysis(entry["analysis_id"]), ANALYSIS)
                for name in RESULT_TABLES:
                    self._client.download(analysis["links"][f"{name}_csv"], folder / f"{name}.csv")
            if self._options.figures:  # those may be wanted that an earlier run left out
                for name, link in analysis["links"]["figures"].items():
                    figure = folder / f"{clean_path(name)}.png"
                    if is_new or not figure.exists():
                        self._client.download(str(link), figure)
        except ServiceError as error:
            if error.status not in (404, 500):
                raise
            self._refuse(entry["file_name"], error.code or "not_fetched", error.detail)
            return
        if is_new:
            write_whole(complete, json.dumps(analysis, indent=2))

    def _write_tables(self, study: Json) -> None:
        links = checked(study, _TABLES)["links"]
        wanted = {f"{name}.csv": links[f"{name}_csv"] for name in TABLES}
        for name, link in (wanted | {"overview.png": links["overview_png"]}).items():
            self._broken.pop(name, None)
            try:
                self._client.download(link, self._out / name)
            except ServiceError as error:
                if error.status != _FAULT:
                    raise
                code = error.code or "not_fetched"
                self._broken[name] = Failure(name, code, error.detail)

    def _failures(self, entries: Mapping[str, Json]) -> Sequence[Failure]:
        failures = [
            Failure(name, "not_found", "The sample sheet names it, and the folder lacks it.")
            for name in self._folder.missing
        ]
        failures += [Failure(f.name, "unreadable", f.reason) for f in self._folder.unreadable]
        failures += [*self._refused.values(), *self._broken.values()]
        for name, entry in entries.items():
            if entry["status"] != "succeeded" and name not in self._refused:
                error = entry["error"] or {
                    "code": entry["status"],
                    "detail": f"Its analysis was {entry['status']}.",
                }
                failures.append(Failure(name, error["code"], error["detail"]))
        return sorted(failures, key=lambda failure: failure.file_name)

    def _unfinished(self, error: ServiceError) -> Sequence[Failure]:
        """What is known of the files when the service is lost."""
        entries = self._entries or {}
        ended = {name: e for name, e in entries.items() if e["status"] not in _UNFINISHED}
        failures = list(self._failures(ended))
        named = {failure.file_name for failure in failures}
        earlier = earlier_reasons(self._out) if self._entries is None else {}
        for file in self._folder.files:
            if file.name not in named and not self._has_result(file, entries.get(file.name)):
                code, detail = earlier.get(cell(file.name), (NOT_FINISHED, error.detail))
                failures.append(Failure(file.name, code, detail))
        return sorted(failures, key=lambda failure: failure.file_name)

    def _has_result(self, file: LocalFile, entry: Json | None) -> bool:
        complete = self._out / RECORDINGS / file.name / "analysis.json"
        if entry is None:
            return complete.exists()
        return read_result(complete, entry["analysis_id"]) is not None
