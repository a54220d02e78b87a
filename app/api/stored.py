"""A stored file as an answer, whole even where its analysis is removed while it is sent."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.storage.errors import volume_trouble_noticed

_BLOCK_BYTES = 2**18


class StoredFile(StreamingResponse):
    """An open file as the body: what is open can be read to its end, removed or not.

    Starlette's own response opens it after the head of the answer is sent, when it is too late to
    say that it is gone; and it answers ranges with statuses and bodies that are not described. The
    files are small, so a range is not promised, and the whole is sent (RFC 9110, section 14.2).

    Parameters
    ----------
    path : Path
        Opened at once, so this blocks.
    media_type : str
    file_name : str, optional
        What a browser calls it when it saves it; without one, it is shown.

    Raises
    ------
    FileNotFoundError
        It is gone.
    VolumeUnavailableError
    """

    def __init__(self, path: Path, media_type: str, file_name: str | None = None) -> None:
        with volume_trouble_noticed():
            stream = path.open("rb")
            size = stream.seek(0, 2)
            stream.seek(0)
        headers = {"Content-Length": str(size)}
        if file_name is not None:
            headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
        super().__init__(_blocks(stream), media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it; a caller who leaves is noticed by the server, which then sends no more."""
        await self.stream_response(send)


async def _blocks(stream: BinaryIO) -> AsyncIterator[bytes]:
    with stream:
        while block := await to_thread.run_sync(stream.read, _BLOCK_BYTES):
            yield block
