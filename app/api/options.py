"""What a caller may ask of an analysis, and how long they want to wait for it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from app.api.problems import Problem, explain
from app.jobs.intake import NEEDS_MASS, Options
from app.pipeline.profiles import ProfileName
from app.samples import MAX_BODY_MASS_G

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

KEY_LENGTH = 255
"""Longest ``Idempotency-Key``."""


def _as_written(value: object) -> object:
    if isinstance(value, str) and "_" in value:  # 2_5 would be read as 25
        raise ValueError("a number has no underscore")
    return value


Mass = Annotated[
    Annotated[float, Field(gt=0, le=MAX_BODY_MASS_G, allow_inf_nan=False)] | None,
    BeforeValidator(_as_written),
]
"""A body mass in grams."""


class AnalysisOptions(BaseModel):
    """The options of ``POST /v1/analyses``, as they stand in a query or in form parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    body_mass_g: Annotated[
        Mass,
        Field(
            description="Body mass of the mouse in grams; it sets how long a quality window lasts.",
            examples=[25.0],
        ),
    ] = None
    profile: Annotated[
        ProfileName,
        Field(
            description="Rules of measurement: `robust`, or `published`, that of the published "
            "scripts to the letter, which needs `body_mass_g`."
        ),
    ] = "robust"
    figures: Annotated[
        bool | None,
        Field(
            description="Whether figures are drawn ahead; otherwise each is drawn when it is "
            "asked for. True unless the service is set up differently."
        ),
    ] = None
    force: Annotated[
        bool,
        Field(description="Whether to analyse anew where the same analysis exists already."),
    ] = False
    file_name: Annotated[
        str | None,
        Field(
            description="Name shown with the result, for a raw body, which has none.",
            max_length=1000,
            examples=["mouse_0412.dcm"],
        ),
    ] = None

    @field_validator("file_name")
    @classmethod
    def _clean_file_name(cls, value: str | None) -> str | None:
        return clean_file_name(value)

    def settle(self, *, figures: bool) -> Options:
        """Fill in what was left open.

        Parameters
        ----------
        figures : bool
            What holds where the caller did not say.

        Raises
        ------
        Problem
            ``invalid_option``: these options do not go together.
        """
        if self.profile == "published" and self.body_mass_g is None:
            raise Problem("invalid_option", NEEDS_MASS)
        return Options(
            body_mass_g=self.body_mass_g,
            profile=self.profile,
            figures=figures if self.figures is None else self.figures,
        )


def clean_file_name(value: str | None) -> str | None:
    """Keep of a file's name what can be shown: no folders, no control characters, 255 at most."""
    if value is None:
        return None
    name = _CONTROL.sub("", value).replace("\\", "/").rsplit("/", 1)[-1].strip()
    return name[:255] or None


def clean_text(value: str) -> str:
    """Keep of a name what can be shown: no control characters, no space around it."""
    return _CONTROL.sub("", value).strip()


def read_options(pairs: Iterable[tuple[str, str]]) -> AnalysisOptions:
    """Read the options of a request.

    Parameters
    ----------
    pairs : iterable of (name, value)
        Of the query and of the form's parts together.

    Raises
    ------
    Problem
        ``invalid_option``: one is unknown, out of range or given twice.
    """
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise Problem("invalid_option", f"The option {name[:60]!r} is given twice.")
        values[name] = value
    try:
        return AnalysisOptions.model_validate(values)
    except ValidationError as error:
        raise Problem("invalid_option", explain(error.errors())) from None


@dataclass(frozen=True)
class Preference:
    """What the header ``Prefer`` asks for (RFC 7240, sections 4.1 and 4.3).

    Attributes
    ----------
    respond_async : bool
    wait_s : int or None
    """

    respond_async: bool = False
    wait_s: int | None = None

    @property
    def timeout_s(self) -> float | None:
        """How long to wait before answering 202; None where the caller did not say."""
        if self.wait_s is not None:
            return float(self.wait_s)
        return 0.0 if self.respond_async else None

    def applied(self, *, accepted: bool) -> Mapping[str, str]:
        """Give the header that says which preferences were honoured.

        Parameters
        ----------
        accepted : bool
            Whether the answer is a 202.
        """
        honoured = []
        if self.respond_async and accepted:
            honoured.append("respond-async")
        if self.wait_s is not None:
            honoured.append(f"wait={self.wait_s}")
        return {"Preference-Applied": ", ".join(honoured)} if honoured else {}


def read_preference(headers: Iterable[str]) -> Preference:
    """Read every ``Prefer`` header; what is unknown or malformed is ignored, as the RFC says."""
    respond_async, wait_s = False, None
    for part in ",".join(headers).split(","):
        name, _, value = part.split(";")[0].partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name == "respond-async":
            respond_async = True
        elif name == "wait" and wait_s is None and value.isascii() and value.isdigit():
            wait_s = min(int(value[:9]), 86_400)
    return Preference(respond_async, wait_s)


def read_idempotency_key(headers: Sequence[str]) -> str | None:
    """Read the header ``Idempotency-Key``: any text, or a quoted string as its draft has it.

    Raises
    ------
    Problem
        ``invalid_option``: it is there twice, empty or too long.
    """
    if not headers:
        return None
    key = headers[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(headers) > 1 or not 0 < len(key) <= KEY_LENGTH:
        detail = f"The header Idempotency-Key holds one text of 1 to {KEY_LENGTH} characters."
        raise Problem("invalid_option", detail)
    return key
