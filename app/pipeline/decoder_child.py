"""Decodes screens with GDCM in a process of its own: the program of that process.

Native code that reads the bytes of strangers may crash, hang or take all memory. Here only this
process can come to harm; `native_decoder` starts it and speaks to it. It is run as a script and
imports nothing of the service.

It reads one line of JSON that describes the screens, answers ``ready``, and then for every encoded
screen, sent as its length in eight bytes and its bytes, answers in the same way with the samples;
nothing at all where the screen cannot be decoded. It ends with its standard input.
"""

import ctypes
import json
import os
import re
import resource
import signal
import sys
from contextlib import nullcontext, suppress
from typing import Any, BinaryIO

import gdcm

_PR_SET_PDEATHSIG = 1
_LEAST_ROOM_BYTES = 2**24
READY = b"ready\n"
# What libjpeg says where it makes up what is missing, or finds code that no pixel needs.
_DAMAGED = re.compile(rb"Corrupt JPEG data|Premature end")


def confine(memory_bytes: int) -> None:
    """Give up what decoding does not need: further memory, files, processes, a core dump.

    Parameters
    ----------
    memory_bytes : int
        Most address space that the process may take.
    """
    if sys.platform == "linux":  # elsewhere the end of its input has to do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for limited, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_NPROC, 0),
    ):
        _, hard = resource.getrlimit(limited)
        lowest = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with nullcontext() if sys.platform == "linux" else suppress(ValueError, OSError):
            resource.setrlimit(limited, (lowest, lowest))


def decode(encoded: bytes, described: dict[str, Any]) -> bytes:
    """Decode one screen to its samples, pixel by pixel, little-endian.

    Parameters
    ----------
    encoded : bytes
    described : dict
        `PixelFormat`'s attributes, and ``transfer_syntax_uid``.
    """
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(encoded)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())

    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((described["columns"], described["rows"], 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(described["photometric"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if described["samples"] > 1:
        image.SetPlanarConfiguration(0)
    syntax = gdcm.TransferSyntax.GetTSType(described["transfer_syntax_uid"])
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    image.SetPixelFormat(
        gdcm.PixelFormat(
            described["samples"],
            described["bits_allocated"],
            described["bits_stored"],
            described["high_bit"],
            int(described["signed"]),
        )
    )
    samples: str = image.GetBuffer()
    return samples.encode("utf-8", "surrogateescape")  # GDCM hands bytes over as text


class Complaints:
    """What native code writes to the standard error of this process, without ever blocking."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(writer, False)
        os.dup2(writer, 2)
        os.close(writer)

    def take(self) -> bytes:
        """Return what has been written since the last time."""
        try:
            return os.read(self._reader, 2**16)
        except BlockingIOError:
            return b""


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Decode what comes until nothing comes any more."""
    described = json.loads(requests.readline())
    complaints = Complaints()
    gdcm.Trace.WarningOff()  # its own, which tell of nothing that is missing
    confine(described["memory_bytes"])
    bytearray(_LEAST_ROOM_BYTES)  # where there is no room at all, this fails before it is ready
    answers.write(READY)
    answers.flush()
    while head := requests.read(8):
        length = int.from_bytes(head, "little")
        encoded = requests.read(length)
        if len(encoded) < length:
            return
        try:
            samples = decode(encoded, described)
        except Exception:  # whatever makes GDCM refuse the screen
            samples = b""
        if _DAMAGED.search(complaints.take()):
            samples = b""
        answers.write(len(samples).to_bytes(8, "little"))
        answers.write(samples)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
