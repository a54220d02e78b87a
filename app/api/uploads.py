"""A body on its way to disk: hashed and counted as it arrives, never held in memory."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from anyio import CancelScope, Semaphore, WouldBlock, to_thread
from fastapi import Request
from python_multipart.multipart import parse_options_header

from app.api.multipart import FORM_OVERHEAD_BYTES, OPTION_FIELDS, FormReader
from app.api.problems import Problem
from app.jobs.intake import Upload
from app.storage.errors import volume_trouble_noticed
from app.storage.files import Files

BLOCK_BYTES = 2**20
"""How much is handed to a thread at once, to be written and hashed off the event loop."""

BEHIND_BYTES = 3 * 2**19
"""How much may have arrived that a thread has not taken yet."""

DICOM, FORM, ZIP = "application/dicom", "multipart/form-data", "application/zip"

_RECORDING = (
    f"Send the file as the part 'file' of {FORM}, or as the body itself with "
    f"'Content-Type: {DICOM}' (curl's --data-binary sends another type unless told)."
)
_RECORDINGS = (
    f"Send a recording or a ZIP archive as the part 'file' of {FORM}, or as the body itself with "
    f"'Content-Type: {DICOM}' or '{ZIP}' (curl's --data-binary sends another type unless told)."
)


class Sink:
    """A file of ours that counts and hashes what is written to it.

    Parameters
    ----------
    stream : binary file
    limit : int
        Most bytes that it takes.
    """

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Write on.

        Raises
        ------
        Problem
            ``too_large``.
        StorageFullError
        """
        self.size += len(data)
        if self.size > self._limit:
            raise too_large(self._limit)
        with volume_trouble_noticed():
            self._stream.write(data)
        self._hash.update(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class Reader(Protocol):
    """Takes the blocks of a body in turn."""

    def feed(self, block: bytes) -> None:
        """Take the next block."""

    def finish(self) -> None:
        """Note that the body is complete."""


class RawReader:
    """A body that is the file itself."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def feed(self, block: bytes) -> None:
        self._sink.write(block)

    def finish(self) -> None:
        """Do nothing: every body is a whole one."""


def too_large(limit: int) -> Problem:
    """Refuse a body of more bytes than this."""
    return Problem("too_large", f"The recording is larger than the {limit:,} bytes accepted here.")


def announced_bytes(request: Request) -> int:
    """Give the size that a request says its body has; 0 where it does not say."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdigit() else 0


def check_headers(
    request: Request,
    limit: int,
    *,
    archive_limit: int | None = None,
    form_bytes: int = FORM_OVERHEAD_BYTES,
) -> str:
    """Refuse what the headers alone show, before the body is asked for.

    Parameters
    ----------
    request : Request
    limit : int
        Most bytes that a recording may have.
    archive_limit : int, optional
        Most bytes that a ZIP archive may have, where one may be sent.
    form_bytes : int
        What a form may hold besides the file.

    Returns
    -------
    str
        The media type: `DICOM`, `FORM` or, where it may be, `ZIP`.

    Raises
    ------
    Problem
        ``unsupported_media_type``, ``too_large`` or ``malformed_request``.
    """
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    rooms = {DICOM: limit, FORM: max(limit, archive_limit or 0) + form_bytes}
    if archive_limit is not None:
        rooms[ZIP] = archive_limit
    if media_type not in rooms:
        detail = _RECORDING if archive_limit is None else _RECORDINGS
        raise Problem("unsupported_media_type", detail)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported_media_type", "Send the body without a Content-Encoding.")
    room = rooms[media_type]
    if announced_bytes(request) > room:
        raise too_large(room if media_type == ZIP else limit)
    return media_type


@asynccontextmanager
async def receive(
    request: Request,
    media_type: str,
    files: Files,
    limit: int,
    slots: Semaphore,
    *,
    fields: Mapping[str, int] = OPTION_FIELDS,
) -> AsyncIterator[tuple[Upload, list[tuple[str, str]]]]:
    """Stream the body of a request to a file.

    Parameters
    ----------
    request : Request
    media_type : str
        As `check_headers` gives it.
    files : Files
    limit : int
        Most bytes that the recording may have.
    slots : Semaphore
        One for each recording that may arrive at the same time.
    fields : mapping of str to int
        What else a form may hold: the names of its parts, and the most bytes of each.

    Yields
    ------
    upload : Upload
        The recording; its file is deleted at the end unless it was moved.
    fields : list of (name, value)
        The form's other parts.

    Raises
    ------
    Problem
        The body is too large or cannot be read, or no slot is free.
    StorageFullError
    """
    try:
        slots.acquire_nowait()
    except WouldBlock:
        detail = "Too many recordings are arriving; try again in a moment."
        raise Problem("not_ready", detail, {"Retry-After": "5"}) from None
    try:
        async with _arriving(request, media_type, files, limit, fields) as arrived:
            yield arrived
    finally:
        slots.release()


@asynccontextmanager
async def _arriving(
    request: Request, media_type: str, files: Files, limit: int, fields: Mapping[str, int]
) -> AsyncIterator[tuple[Upload, list[tuple[str, str]]]]:
    # all that touches the disk in threads: while the disk is busy, even opening a file may take
    part = await to_thread.run_sync(files.new_upload)
    stream = None
    try:
        stream = await to_thread.run_sync(_open, part)
        sink = Sink(stream, limit)
        form = _form_reader(request, sink, fields) if media_type == FORM else None
        await _feed(request, form or RawReader(sink))
        await to_thread.run_sync(_close, stream)
        name = form.file_name if form else None
        yield (
            Upload(path=part, size_bytes=sink.size, sha256=sink.sha256, file_name=name),
            form.fields if form else [],
        )
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(_discard, part, stream)


async def _feed(request: Request, reader: Reader) -> None:
    """Have a reader take a body in a thread, block by block, while the next block arrives."""
    block: list[bytes] = []
    size = 0
    taking: asyncio.Task[None] | None = None
    try:
        async for chunk in request.stream():
            block.append(chunk)
            size += len(chunk)
            taken = taking is None or taking.done()
            if size >= (BLOCK_BYTES if taken else BEHIND_BYTES):
                if taking is not None:
                    await taking
                taking = asyncio.create_task(to_thread.run_sync(_take, reader, block))
                block, size = [], 0
        if taking is not None:
            await taking
    finally:
        if taking is not None and not taking.done():  # it still writes to the file
            with CancelScope(shield=True):
                await asyncio.wait({taking})
    await to_thread.run_sync(_take, reader, block)
    reader.finish()


def _take(reader: Reader, block: list[bytes]) -> None:
    reader.feed(b"".join(block))


def _form_reader(request: Request, sink: Sink, fields: Mapping[str, int]) -> FormReader:
    _, parameters = parse_options_header(request.headers["content-type"])
    boundary = parameters.get(b"boundary")
    if not boundary:
        raise Problem("malformed_request", "The multipart body's boundary is not given.")
    return FormReader(boundary, sink.write, fields)


def _open(part: Path) -> BinaryIO:
    with volume_trouble_noticed():
        return part.open("wb")


def _close(stream: BinaryIO) -> None:
    with volume_trouble_noticed():
        stream.close()


def _discard(part: Path, stream: BinaryIO | None) -> None:
    """Delete what nobody took, and close it: what could not be written is wanted no more."""
    with suppress(OSError):
        if stream is not None:
            stream.close()
    part.unlink(missing_ok=True)
