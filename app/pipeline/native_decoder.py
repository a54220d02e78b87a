"""Decoding by native code in a child process, which may die without taking the service along."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from app.pipeline.errors import CorruptPixelData
from app.pipeline.grey import PixelFormat
from app.pipeline.limits import Limits

_PROGRAM = Path(__file__).with_name("decoder_child.py")
_READY = b"ready\n"


class DecoderFault(Exception):
    """The decoder cannot be started here: a fault of the installation or the settings."""


class NativeDecoder:
    """A child process that decodes the screens of one recording, one after the other.

    A context manager: the process lives between its start and its end, and is then killed,
    whatever it is doing. It is not forked from the service but begun afresh, so that threads do
    not matter, and knows nothing of the service's environment.

    Parameters
    ----------
    transfer_syntax_uid : str
    pixel_format : PixelFormat
    limits : Limits
        Its ``decoder_memory_bytes`` and ``decoder_time_limit_s`` count.
    """

    def __init__(self, transfer_syntax_uid: str, pixel_format: PixelFormat, limits: Limits) -> None:
        self._format = pixel_format
        self._described = asdict(pixel_format) | {
            "transfer_syntax_uid": transfer_syntax_uid,
            # what a single sample stands for does not matter here, least of all a palette
            "photometric": "MONOCHROME2" if pixel_format.samples == 1 else pixel_format.photometric,
            "memory_bytes": limits.decoder_memory_bytes,
        }
        self._time_limit_s = limits.decoder_time_limit_s
        self._timed_out = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return self._format.bits_stored

    def __enter__(self) -> Self:
        """Start the process.

        Raises
        ------
        DecoderFault
            If it does not come up.
        """
        self._process = subprocess.Popen(  # noqa: S603 - our own program, and no shell
            [sys.executable, "-I", "-B", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # a dynamic loader may need to be told where Python itself lies
            env={k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"},
            start_new_session=True,  # an interrupt at the terminal is for the service alone
        )
        try:
            started = self._exchange(json.dumps(self._described).encode() + b"\n", len(_READY))
        except BaseException:
            self._kill()
            raise
        if started != _READY:
            self._kill()
            raise DecoderFault("the process that decodes images did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()

    def decode(self, encoded: bytes) -> NDArray[Any]:
        """Decode one screen.

        Returns
        -------
        ndarray of uint8 or uint16, shape (rows, columns) or (rows, columns, 3)

        Raises
        ------
        CorruptPixelData
            If it cannot be decoded within the limits, or is not as large as the header says.
        """
        f = self._format
        shape = (f.rows, f.columns) if f.samples == 1 else (f.rows, f.columns, f.samples)
        expected = f.rows * f.columns * f.samples * f.bytes_per_sample
        answer = self._exchange(len(encoded).to_bytes(8, "little") + encoded, 8)
        if len(answer) == 8 and int.from_bytes(answer, "little") == expected:
            samples = self._exchange(b"", expected)
            if len(samples) == expected:
                stored = np.frombuffer(samples, "u1" if f.bytes_per_sample == 1 else "<u2")
                return stored.reshape(shape)
        if self._timed_out.is_set():
            raise CorruptPixelData(
                f"Decoding one screen took longer than {self._time_limit_s:g} seconds: the image "
                "data is damaged. Export the recording again."
            )
        raise CorruptPixelData("The image data is damaged and cannot be decoded.")

    def stop(self) -> None:
        """End the process, from any thread: what it is asked for is then damaged."""
        if self._process is not None:
            self._process.kill()

    def _exchange(self, request: bytes, answer_bytes: int) -> bytes:
        """Send bytes and read an answer, shorter than asked for where the process died."""
        process = self._process
        assert process is not None  # noqa: S101 - only called between start and end
        watchdog = threading.Timer(self._time_limit_s, self._stop_overdue)
        watchdog.daemon = True
        watchdog.start()
        try:
            return _talk(process, request, answer_bytes)
        finally:
            watchdog.cancel()

    def _stop_overdue(self) -> None:
        self._timed_out.set()
        self.stop()

    def _kill(self) -> None:
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):  # what is left unsent stays unsent
                _close(pipe)


def _talk(process: subprocess.Popen[bytes], request: bytes, answer_bytes: int) -> bytes:
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - as begun
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(request)
        process.stdin.flush()
        return process.stdout.read(answer_bytes)
    return b""


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        pipe.close()
