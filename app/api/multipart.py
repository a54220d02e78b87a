"""``multipart/form-data`` (RFC 7578), read as a stream: the file goes straight to its sink."""

from collections.abc import Callable, Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.options import AnalysisOptions, clean_file_name
from app.api.problems import Problem

FIELD_BYTES = 4096
"""Longest value of an option."""

FORM_OVERHEAD_BYTES = 2**16
"""What a form may hold besides the file: boundaries, headers, options."""

OPTION_FIELDS: Mapping[str, int] = dict.fromkeys(AnalysisOptions.model_fields, FIELD_BYTES)
"""Parts of a form that are options of an analysis, and the most bytes of each."""


def form_bytes(accepted: Mapping[str, int]) -> int:
    """What a form with these parts may hold besides the file."""
    return FORM_OVERHEAD_BYTES + sum(size for size in accepted.values() if size > FIELD_BYTES)


class FormReader:
    """Takes the blocks of a form in turn.

    Parameters
    ----------
    boundary : bytes
        As the header ``Content-Type`` gives it.
    write : callable
        Takes the bytes of the part ``file``.
    accepted : mapping of str to int
        The names of the other parts, and the most bytes of each.

    Attributes
    ----------
    file_name : str or None
        The file's name as the form gives it, cleaned.
    fields : list of (name, value)
        The other parts, all of them of an accepted name.
    """

    def __init__(
        self,
        boundary: bytes,
        write: Callable[[memoryview], None],
        accepted: Mapping[str, int] = OPTION_FIELDS,
    ) -> None:
        self.file_name: str | None = None
        self.fields: list[tuple[str, str]] = []
        self._write = write
        self._accepted = accepted
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._part = ""
        self._value = bytearray()
        self._has_file = False
        self._complete = False
        self._room = form_bytes(accepted)
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError:
            raise _malformed() from None

    def feed(self, block: bytes) -> None:
        """Take the next block.

        Raises
        ------
        Problem
            ``malformed_request``, ``too_large`` or ``invalid_option``, or what the sink raises.
        """
        self._room -= len(block)
        try:
            self._parser.write(block)
        except FormParserError:
            raise _malformed() from None
        if self._room < 0:  # a body without a length may go on for ever
            raise Problem("too_large", "The form holds too much besides the recording.")

    def finish(self) -> None:
        """Note that the body is complete.

        Raises
        ------
        Problem
            ``malformed_request``: it breaks off, or has no part ``file``.
        """
        if not self._complete:
            raise _malformed()
        if not self._has_file:
            raise Problem("malformed_request", "The form has no part named 'file'.")

    def _on_part_begin(self) -> None:
        self._disposition, self._part, self._value = b"", "", bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        if b"name" not in parameters:
            raise Problem("malformed_request", "A part of the form has no name.")
        self._part = _decode(parameters[b"name"])
        if self._part == "file":
            if self._has_file:
                raise Problem("malformed_request", "The form has more than one part 'file'.")
            self._has_file = True
            if b"filename" in parameters:
                self.file_name = clean_file_name(_decode(parameters[b"filename"]))
        elif b"filename" in parameters and self._accepted.get(self._part, 0) <= FIELD_BYTES:
            detail = f"Send the file as the part 'file', not as the part {self._part[:60]!r}."
            raise Problem("malformed_request", detail)
        elif self._part not in self._accepted:
            raise Problem("invalid_option", f"There is no option {self._part[:60]!r}.")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "file":
            self._room += end - start
            self._write(memoryview(data)[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > self._accepted[self._part]:
            raise Problem("invalid_option", f"The option {self._part!r} is too long.")

    def _on_part_end(self) -> None:
        if self._part != "file":
            self.fields.append((self._part, _decode(self._value)))
            if len(self.fields) > len(self._accepted):
                raise Problem("invalid_option", "An option is given twice.")

    def _on_end(self) -> None:
        self._complete = True


def _decode(value: bytes | bytearray) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _malformed() -> Problem:
    return Problem("malformed_request", "The multipart body is broken or incomplete.")
