"""The wire models of studies: what callers rely on. They change only by addition."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.api.options import Mass, clean_text
from app.api.schemas import ErrorOut
from app.pipeline.profiles import ProfileName
from app.samples import MAX_NAME_LENGTH, MAX_WORD_LENGTH, Sample, clean_path

EntryStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "removed"]


class StudyIn(BaseModel):
    """A study to be made: its name, and what holds for its recordings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200, examples=["Isoprenaline, week 4"])]
    body_mass_g: Mass = Field(
        None, description="Body mass in grams of mice whose own is not given.", examples=[25.0]
    )
    profile: ProfileName = Field("robust", description="Rules of measurement, as of an analysis.")
    figures: bool | None = Field(
        None, description="Whether figures are drawn ahead; see `POST /v1/analyses`."
    )

    @field_validator("name")
    @classmethod
    def _clean_name(cls, value: str) -> str:
        if not (name := clean_text(value)):
            raise ValueError("a name has letters in it")
        return name


class SampleIn(BaseModel):
    """What is said of a recording that comes into a study, in a query or in form parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    body_mass_g: Mass = Field(None, description="Body mass of the mouse in grams.", examples=[25.0])
    mouse_id: Annotated[
        str | None,
        Field(
            max_length=MAX_WORD_LENGTH,
            description="Which mouse it is: recordings of one are averaged.",
            examples=["M-0412"],
        ),
    ] = None
    sex: Annotated[Literal["F", "M"] | None, Field(description="`F` or `M`.")] = None
    group: Annotated[
        str | None,
        Field(
            max_length=MAX_WORD_LENGTH,
            description="Genotype, treatment or whatever the study compares.",
            examples=["wild type"],
        ),
    ] = None
    file_name: Annotated[
        str | None,
        Field(
            max_length=1000,
            description="Name in the study, with folders; a form's part `file` has one. "
            "An archive's files have names of their own.",
            examples=["day 1/mouse_0412.dcm"],
        ),
    ] = None

    @field_validator("mouse_id", "group")
    @classmethod
    def _clean_word(cls, value: str | None) -> str | None:
        return clean_text(value) or None if value else None

    @field_validator("sex", mode="before")
    @classmethod
    def _read_sex(cls, value: object) -> object:
        return value or None

    @field_validator("file_name")
    @classmethod
    def _clean_file_name(cls, value: str | None) -> str | None:
        return clean_path(value)[:MAX_NAME_LENGTH] or None if value else None

    @property
    def sample(self) -> Sample:
        return Sample(self.body_mass_g, self.mouse_id, self.sex, self.group)


class _Wire(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True, protected_namespaces=())


class EntryLinksOut(_Wire):
    """Absolute paths; `analysis` is null where the file was refused."""

    self: str
    analysis: str | None


class EntryOut(_Wire):
    """A file of a study, under its own name there, and how far its analysis is."""

    id: str
    file_name: str
    size_bytes: int
    sha256: str = Field(description="Empty where the file could not be read out of its archive.")
    body_mass_g: float | None
    mouse_id: str | None
    sex: str | None
    group: str | None
    added_at: datetime
    status: EntryStatus = Field(
        description="That of the analysis; `failed` where the file was refused, `removed` where "
        "the analysis is no longer there."
    )
    analysis_id: str | None
    error: ErrorOut | None
    links: EntryLinksOut


class EntriesOut(_Wire):
    """Files of a study in the order in which they came."""

    items: list[EntryOut]
    next_cursor: str | None


class AddedOut(_Wire):
    """What became of the files that were sent."""

    added: int = Field(description="Files that are new, those that cannot be measured included.")
    known: int = Field(
        description="Files that the study had before with the same sample, and not without a "
        "result: those are added anew."
    )
    failed: int = Field(description="How many of them all cannot be measured.")
    ignored: list[str] = Field(
        description="Files of an archive that are no recordings and are not meant to be, such as "
        "those in `__MACOSX`."
    )
    items: list[EntryOut]


class CountsOut(_Wire):
    """Files of a study by their state."""

    total: int
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    removed: int = 0


class StudyProgressOut(_Wire):
    """How much of a study is done; `fraction` is that of its files which have ended, 0..1."""

    finished: int
    fraction: float | None = Field(description="Null while the study is empty.")


class StudyLinksOut(_Wire):
    """Absolute paths, under the prefix that a gateway mounts the service on."""

    self: str
    analyses: str
    beats_csv: str
    summary_csv: str
    mice_csv: str
    published_all_csv: str
    published_stats_csv: str
    overview_png: str
    archive_zip: str


class StudyOut(_Wire):
    """A study and how far it is."""

    id: str
    name: str
    created_at: datetime
    body_mass_g: float | None
    profile: str
    figures: bool
    counts: CountsOut
    progress: StudyProgressOut
    links: StudyLinksOut


class FailureOut(_Wire):
    """A file without a result, and why."""

    file_name: str
    code: str
    detail: str


class StudyInFullOut(StudyOut):
    """A study with the files that have failed or whose results are removed, the first hundred."""

    failures: list[FailureOut]


class StudyPageOut(_Wire):
    """Studies, newest first; `next_cursor` leads to the next page, null on the last."""

    items: list[StudyOut]
    next_cursor: str | None
