"""A client for scripts: recordings in, analyses and studies out. It needs httpx, nothing else.

Analyse one recording, and a folder of them as a study::

    from pathlib import Path
    from app.client import Client

    with Client("http://127.0.0.1:8000", key=None) as client:
        analysis = client.analyse(Path("mouse.dcm"), body_mass_g=25)
        print(analysis["features"]["ejection_fraction_pct"]["median"])
        client.download(analysis["links"]["figures"]["segmentation"], Path("segmentation.png"))

        study = client.create_study("Week 4", profile="robust")
        for path in Path("week 4").glob("*.dcm"):
            client.add_file(study["id"], path, mouse_id=path.stem, group="wild type")
        study = client.wait_for_study(study["id"])
        for failure in study["failures"]:
            print(failure["file_name"], failure["detail"])
        client.download(study["links"]["mice_csv"], Path("mice.csv"))

Answers are the service's JSON as it stands in ``/docs``. A busy or restarting service and broken
connections are tried again, with growing pauses or those that the service asks for.
"""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

Json = dict[str, Any]

BUSY = (429, 503)
"""Statuses that ask for another try."""

GATEWAY = (502, 504)
"""So do these where they are not the service's own words: a gateway does not reach it just now."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
POLL_S = 1.0
ANSWER_LIMIT_S = 700.0
"""How long an answer may take: an analysis has 600 s by default."""

_FINISHED = ("succeeded", "failed", "cancelled")
_FIELDS = ("body_mass_g", "mouse_id", "sex", "group")


Shape = Mapping[str, Any]
"""Names that an answer has, each with a type, several, or the shape of what is below it."""

_TEXT_OR_NONE = (str, type(None))
_ENDED: Shape = {"status": str, "error": (dict, type(None))}
_PAGE: Shape = {"items": list, "next_cursor": _TEXT_OR_NONE}
_COUNTED: Shape = {"progress": {"finished": int}, "counts": {"total": int}}


class ServiceError(Exception):
    """The service refused a request, or cannot be reached.

    Attributes
    ----------
    detail : str
        Why, in words.
    code : str or None
        The code of the problem; None where the service gave none.
    status : int or None
        Of HTTP; None where there was no answer.
    """

    def __init__(self, detail: str, code: str | None = None, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.status = status


class Client:
    """Talks to one service; safe to use from several threads.

    Parameters
    ----------
    address : str
        Of the service, with the prefix that a gateway mounts it on: ``https://lab/echo``.
    key : str, optional
        Sent as a bearer token.
    patience_s : float
        How long a call is tried again while the service cannot be reached or is not ready. Where
        it answers that its queue is full, it is alive, and the patience begins anew.
    transport : httpx.BaseTransport, optional
        In the place of the network.
    sleep, clock : callable, optional
        Wait for so many seconds, and tell them.

    Raises
    ------
    ServiceError
        The address is none, or the key cannot be one.
    """

    def __init__(
        self,
        address: str,
        key: str | None = None,
        *,
        patience_s: float = 300.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _is_address(address):
            raise ServiceError(f"{address} is no address: it begins with http:// or https://.")
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise ServiceError("The key is none: keys are plain letters and digits.")
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(ANSWER_LIMIT_S, connect=20.0),
            transport=transport,
            # a proxy of the environment is no way to a service on this machine
            trust_env=urlsplit(address).hostname not in ("127.0.0.1", "localhost", "::1"),
        )
        self._address = address.rstrip("/")
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(self._address))
        self._patience_s = patience_s
        self._sleep = sleep
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def analyse(
        self,
        path: Path,
        *,
        body_mass_g: float | None = None,
        profile: str = "robust",
        figures: bool | None = None,
        wait: bool = True,
    ) -> Json:
        """Analyse one recording.

        Parameters
        ----------
        path : Path
            A DICOM file.
        body_mass_g : float, optional
        profile : {'robust', 'published'}
        figures : bool, optional
            Whether figures are drawn ahead.
        wait : bool
            Whether to wait for the result; without, the analysis is queued.

        Returns
        -------
        dict
            The analysis.

        Raises
        ------
        ServiceError
            It was refused or has failed, or the service cannot be reached.
        OSError
            The file cannot be read.
        """
        given = {"body_mass_g": body_mass_g, "profile": profile, "figures": figures}
        query = _query(given | {"file_name": path.name})
        headers = {"Prefer": "respond-async"}
        answer = checked(self._send_file("/v1/analyses", path, query, headers), {"id": str})
        if wait:
            answer = self.wait_for_analysis(answer["id"])
            if answer["status"] != "succeeded":
                detail = f"The analysis was {answer['status']}."
                error = checked(answer, _ENDED)["error"] or {"detail": detail}
                checked(error, {"detail": str})
                raise ServiceError(error["detail"], error.get("code"), error.get("status"))
        return answer

    def analysis(self, id: str) -> Json:
        """Look at an analysis."""
        return self._get(f"/v1/analyses/{id}")

    def wait_for_analysis(self, id: str) -> Json:
        """Wait until an analysis has ended, however it ended."""
        while (shown := checked(self.analysis(id), {"status": str}))["status"] not in _FINISHED:
            self._sleep(POLL_S)
        return shown

    def create_study(
        self,
        name: str,
        *,
        body_mass_g: float | None = None,
        profile: str = "robust",
        figures: bool | None = None,
    ) -> Json:
        """Make an empty study; the options hold for all its recordings.

        Raises
        ------
        ServiceError
        """
        body = {"name": name, "body_mass_g": body_mass_g, "profile": profile, "figures": figures}
        return checked(self._json("POST", "/v1/studies", json=body), {"id": str})

    def study(self, id: str) -> Json:
        """Look at a study: its counts, its failures, its links.

        Raises
        ------
        ServiceError
            ``code`` is ``not_found`` where there is none.
        """
        return self._get(f"/v1/studies/{id}")

    def add_file(
        self,
        study_id: str,
        path: Path,
        *,
        file_name: str | None = None,
        body_mass_g: float | None = None,
        mouse_id: str | None = None,
        sex: str | None = None,
        group: str | None = None,
    ) -> Json:
        """Add a recording to a study; what the study has already is not analysed again.

        Parameters
        ----------
        study_id : str
        path : Path
        file_name : str, optional
            Name in the study, with folders; the file's own by default.
        body_mass_g : float, optional
        mouse_id, sex, group : str, optional
            ``sex`` is ``F`` or ``M``.

        Returns
        -------
        dict
            The file as the study has it now; its ``status`` is ``failed``, and ``error`` says why,
            where it cannot be measured.

        Raises
        ------
        ServiceError
        OSError
            The file cannot be read.
        """
        sample = dict(zip(_FIELDS, (body_mass_g, mouse_id, sex, group), strict=True))
        query = _query(sample | {"file_name": file_name or path.name})
        added = self._send_file(f"/v1/studies/{study_id}/analyses", path, query)
        items = checked(added, {"items": list})["items"]
        return checked(items[0] if items else None, {})

    def files(self, study_id: str) -> Iterator[Json]:
        """Go through the files of a study, in the order in which they came."""
        query: dict[str, str] = {"limit": "1000"}
        while True:
            page = checked(self._get(f"/v1/studies/{study_id}/analyses", params=query), _PAGE)
            yield from (checked(item, {}) for item in page["items"])
            if page["next_cursor"] is None:
                return
            if page["next_cursor"] == query.get("cursor"):  # it would go on for ever
                raise _not_ours(httpx.codes.OK)
            query["cursor"] = page["next_cursor"]

    def remove_file(self, link: str) -> None:
        """Take a file out of its study, by its ``links.self``."""
        self._request("DELETE", link)

    def wait_for_study(
        self, id: str, progress: Callable[[Json], None] = lambda study: None
    ) -> Json:
        """Wait until every file of a study has ended.

        Parameters
        ----------
        id : str
        progress : callable, optional
            Told of the study each time it was looked at.

        Returns
        -------
        dict
            The study.
        """
        while True:
            study = checked(self.study(id), _COUNTED)
            progress(study)
            if study["progress"]["finished"] == study["counts"]["total"]:
                return study
            self._sleep(POLL_S)

    def delete_study(self, id: str) -> None:
        """Remove a study, and the analyses that nothing else refers to."""
        self._request("DELETE", f"/v1/studies/{id}")

    def download(self, link: str, target: Path) -> None:
        """Fetch a figure, table or archive into a file, whole or not at all.

        Parameters
        ----------
        link : str
            As an answer's ``links`` have it.
        target : Path
            Folders that are missing are made.

        Raises
        ------
        ServiceError
        OSError
            The file cannot be written.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")

        def fetch() -> httpx.Response:
            with self._http.stream("GET", self._url(link)) as response:
                if response.is_success:
                    with part.open("wb") as stream:
                        for block in response.iter_bytes():
                            stream.write(block)
                else:
                    response.read()
                return response

        try:
            self._until_answered(fetch)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _send_file(
        self,
        link: str,
        path: Path,
        query: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        def send() -> httpx.Response:
            with path.open("rb") as stream:
                return self._http.post(
                    self._url(link),
                    params=query,
                    content=stream,
                    headers={"Content-Type": "application/dicom", **(headers or {})},
                )

        return _answer(self._until_answered(send))

    def _get(self, link: str, **options: Any) -> Json:
        return self._json("GET", link, **options)

    def _json(self, method: str, link: str, **options: Any) -> Json:
        return _answer(self._request(method, link, **options))

    def _request(self, method: str, link: str, **options: Any) -> httpx.Response:
        url = self._url(link)
        return self._until_answered(lambda: self._http.request(method, url, **options))

    def _url(self, link: str) -> str:
        """Give the address of a link, which has the gateway's prefix, or of a path of ours."""
        if not link.startswith("/"):  # it could lead anywhere
            raise _not_ours(httpx.codes.OK)
        prefix = urlsplit(self._address).path
        has_prefix = link.startswith(f"{prefix}/v1/")
        return f"{self._origin}{link}" if has_prefix else f"{self._address}{link}"

    def _until_answered(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Send until there is an answer other than a plea for patience."""
        deadline = self._clock() + self._patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            asked_s = 0.0
            try:
                with _named_errors():
                    response = send()
                if response.is_success:
                    return response
                refusal = _refusal(response)
                waits = BUSY if refusal.code is not None else (*BUSY, *GATEWAY)
                if response.status_code not in waits:
                    raise refusal
                asked_s = _retry_after_s(response)
                if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    deadline = self._clock() + self._patience_s
            except ServiceError as error:
                if error.status is not None:
                    raise
                refusal = error
            if self._clock() >= deadline:
                raise refusal
            jitter = random.uniform(0.5, 1.0)  # noqa: S311 - so that many clients do not come as one
            self._sleep(max(pause_s * jitter, asked_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise ServiceError(f"The service cannot be reached ({reason}).") from error
    except (httpx.DecodingError, httpx.InvalidURL) as error:
        raise _not_ours(httpx.codes.OK) from error


def checked(answer: object, shape: Shape) -> Json:
    """Make sure that an answer has what its reader needs.

    Parameters
    ----------
    answer : object
        From JSON.
    shape : mapping

    Returns
    -------
    dict
        The answer itself.

    Raises
    ------
    ServiceError
        It lacks something, or has it as another type: another server than ours may say anything.
    """
    if not isinstance(answer, dict):
        raise _not_ours(httpx.codes.OK)
    for name, kind in shape.items():
        value = answer.get(name)
        if isinstance(kind, Mapping):
            checked(value, kind)
        elif name not in answer or not isinstance(value, kind):
            raise _not_ours(httpx.codes.OK)
    return answer


def _is_address(text: str) -> bool:
    try:
        return httpx.URL(text).scheme in ("http", "https") and bool(urlsplit(text).hostname)
    except (httpx.InvalidURL, ValueError):
        return False


def _answer(response: httpx.Response) -> Json:
    """Read an answer; another server than ours may answer anything."""
    try:
        answer = _json(response)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _not_ours(response.status_code)
    return answer


def _json(response: httpx.Response) -> object:
    """Read JSON; raises ValueError where it has a text that can neither be written nor sent."""
    answer = response.json()
    if b"\\ud" in response.content.lower():  # half of a pair of surrogates, perhaps
        json.dumps(answer, ensure_ascii=False).encode()
    return answer


def _not_ours(status: int) -> ServiceError:
    detail = "What answers there is not this service: is the address right?"
    return ServiceError(detail, None, status)


def _refusal(response: httpx.Response) -> ServiceError:
    try:
        problem = checked(_json(response), {"detail": str, "code": str})
        return ServiceError(problem["detail"], problem["code"], response.status_code)
    except (ValueError, RecursionError, ServiceError):
        detail = f"The service answered {response.status_code}: is the address right?"
        return ServiceError(detail, None, response.status_code)


def _retry_after_s(response: httpx.Response) -> float:
    """Read ``Retry-After``: seconds, or a moment (RFC 9110, section 10.2.3)."""
    given = response.headers.get("retry-after", "").strip()
    if given.isdecimal():
        return float(min(int(given[:9]), 3600))
    try:
        moment = parsedate_to_datetime(given)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), 3600.0)


def _sendable(text: str) -> str:
    """Put a mark for each byte that Python took from the file system without understanding it."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _query(values: Mapping[str, object]) -> dict[str, str]:
    written = {True: "true", False: "false"}
    return {
        name: written[value] if isinstance(value, bool) else _sendable(str(value))
        for name, value in values.items()
        if value is not None
    }
