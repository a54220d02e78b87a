"""Draws figures in a process of its own: the program of that process.

`drawers` starts it and speaks to it. What is to be drawn comes as its length in eight bytes and
what `sending.pack` made of it; the answer is one byte that says how it went, a length and a PNG
file, or what went wrong. The process ends with its standard input.
"""

import gc
import os
import sys
from typing import BinaryIO

from app.output.sending import unpack

DRAWN, GONE, BROKEN = b"+", b"0", b"!"


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Draw what comes until nothing comes any more."""
    import app.output.figures  # noqa: F401 - takes a second: the first request is on its way

    gc.freeze()
    while head := requests.read(8):
        length = int.from_bytes(head, "little")
        packed = requests.read(length)
        if len(packed) < length:
            return
        went, content = _draw(packed)
        answers.write(went + len(content).to_bytes(8, "little"))
        answers.write(content)
        answers.flush()
        del packed, content
        gc.collect()  # figures refer to themselves: they would pile up


def _draw(packed: bytes) -> tuple[bytes, bytes]:
    from app.output import figures

    try:
        what, *given = unpack(packed)
        draw = figures.draw if what == "figure" else figures.draw_overview
        return DRAWN, draw(*given)
    except FileNotFoundError:
        return GONE, b""
    except Exception as error:
        return BROKEN, _trace(error).encode()


def _trace(error: Exception) -> str:
    """Where it happened, without the error's text, which might quote what was drawn."""
    lines, trace = [type(error).__qualname__], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return "\n".join(lines)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints does not do so between answers
    serve(sys.stdin.buffer, answers)
