"""Log lines are JSON, name their request, and quote no exception."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from app.logs import configure_logging, request_id


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure_logging("INFO", written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_an_object(stream: io.StringIO) -> None:
    token = request_id.set("abc")
    logging.getLogger("app.x").info("said", extra={"status": 201})
    logging.getLogger("app.x").debug("not said")
    request_id.reset(token)
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("time")
    assert said == {
        "level": "INFO",
        "logger": "app.x",
        "message": "said",
        "request_id": "abc",
        "status": 201,
    }


def test_an_exception_is_placed_but_not_quoted(stream: io.StringIO) -> None:
    try:
        try:
            raise KeyError("PATIENT^NAME")
        except KeyError as error:
            raise ValueError("/data/mickey.dcm") from error
    except ValueError:
        logging.getLogger("app.x").exception("broke")
    (line,) = stream.getvalue().splitlines()
    assert "builtins.ValueError" in line
    assert "builtins.KeyError" in line
    assert "test_logs.py" in line
    assert "PATIENT" not in line
    assert "mickey" not in line


def test_pydicom_is_silent(stream: io.StringIO) -> None:
    logging.getLogger("pydicom").error("Invalid value for VR PN: 'MICKEY'")
    assert stream.getvalue() == ""


def test_a_broken_form_is_not_told_twice(stream: io.StringIO) -> None:
    logging.getLogger("python_multipart.multipart").warning("Did not find CR at end of boundary")
    assert stream.getvalue() == ""
