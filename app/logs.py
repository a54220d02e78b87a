"""JSON log lines on standard error, each with the id of the request that it belongs to.

Exceptions are written without their message: text from a decoder or from the operating system can
quote a header's values or a file's name, and neither belongs in a log.
"""

import logging
import sys
import warnings
from contextvars import ContextVar
from types import TracebackType
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _Formatter(JsonFormatter):
    def formatException(  # noqa: N802 - the name is logging's
        self, ei: _ExcInfo
    ) -> str:
        _, error, _ = ei
        return "" if error is None else " < ".join(describe(error))


class _RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = request_id.get()
        vars(record).pop("color_message", None)  # uvicorn's, for terminals
        return True


def describe(error: BaseException) -> list[str]:
    """Say where an exception and its causes came from, without a word of their messages.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    list of str
        For the exception and each cause its type, then ``file:line function`` per frame.
    """
    lines: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        lines.append(f"{type(seen).__module__}.{type(seen).__qualname__}")
        trace = seen.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            lines.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
            trace = trace.tb_next
        seen = seen.__cause__ or seen.__context__
    return lines


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Write every logger's lines as JSON objects, one a line.

    Parameters
    ----------
    level : str
        Least severe level written, such as ``INFO``.
    stream : text stream, optional
        Where the lines go; standard error by default.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(_RequestIdFilter())
    handler.setFormatter(
        _Formatter(
            "{asctime}{levelname}{name}{message}{request_id}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    # Alembic says at every start that it has begun; what it changes is a line of ours.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # A form that cannot be read is refused by us, in a line of ours.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # What pydicom says of a header may quote the header.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")
