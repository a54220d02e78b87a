"""Every setting of the service, read once from the environment (prefix ``ECHO2PHENO_``)."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.pipeline.limits import Limits
from app.pipeline.measuring import BorderConvention, MeasuringSettings

SHIPPED_MODELS_DIR = Path(__file__).resolve().parent.parent / "models"


def available_cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Settings(BaseSettings):
    """One frozen object, handed down from ``create_app``; nothing else reads the environment.

    Raises
    ------
    pydantic.ValidationError
        A value of the environment that is not of its field's type or range.
    """

    model_config = SettingsConfigDict(
        env_prefix="ECHO2PHENO_", frozen=True, extra="forbid", protected_namespaces=()
    )

    data_dir: Path = Field(
        Path("data"), description="Folder of uploads, records and results; made if it is missing."
    )
    models_dir: Path = Field(
        SHIPPED_MODELS_DIR, description="Folder of the two networks and their manifest."
    )
    host: str = Field("127.0.0.1", description="Address that the service listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that it listens on; 0 picks one.")
    root_path: str = Field(
        "", description="Path prefix that a gateway mounts the service on, such as /echo."
    )
    cores: int = Field(
        default_factory=available_cores,
        ge=1,
        description="Cores to use; all that the process may run on by default.",
    )
    workers: int = Field(
        0, ge=0, le=256, description="Analyses that run at once; 0 stands for one per core."
    )
    threads: int = Field(
        0, ge=0, le=256, description="Threads of a network's run; 0 shares the cores by workers."
    )
    max_upload_bytes: int = Field(2**32, gt=0, description="Largest recording accepted, in bytes.")
    max_frames: int = Field(
        Limits().max_frames, gt=0, description="Most screens that a recording may hold."
    )
    max_decoded_pixels: int = Field(
        Limits().max_decoded_pixels,
        gt=0,
        description="Most pixels that a recording may decode to, over all screens.",
    )
    max_strip_columns: int = Field(
        Limits().max_strip_columns, gt=0, description="Most columns of the stitched strip."
    )
    max_strip_pixels: int = Field(
        Limits().max_strip_pixels, gt=0, description="Most pixels of the stitched strip."
    )
    max_duration_s: float = Field(
        Limits().max_duration_s, gt=0, description="Longest M-mode that a recording may hold."
    )
    decoder_memory_bytes: int = Field(
        Limits().decoder_memory_bytes,
        ge=2**27,
        description="Most memory of the process that decodes JPEG lossless, JPEG-LS and JPEG 2000.",
    )
    decoder_time_limit_s: float = Field(
        Limits().decoder_time_limit_s,
        gt=0,
        description="Longest time that it may take over one screen.",
    )
    drain_max_bytes: int = Field(
        2**30,
        ge=0,
        description="Most bytes of a refused request that are read and thrown away.",
    )
    drain_time_limit_s: float = Field(
        30.0, ge=0, description="Longest time spent on throwing those bytes away."
    )
    analysis_time_limit_s: float = Field(
        600.0, gt=0, description="Longest time that one analysis may take."
    )
    shutdown_grace_s: float = Field(
        25.0,
        ge=0,
        description="How long running analyses may go on after SIGTERM; the others run again "
        "after the next start.",
    )
    max_attempts: int = Field(
        3, ge=1, description="How often an analysis is started again after the service died."
    )
    heart_rate_min_bpm: float = Field(
        MeasuringSettings().heart_rate_min_bpm, gt=0, description="Lowest plausible heart rate."
    )
    heart_rate_max_bpm: float = Field(
        MeasuringSettings().heart_rate_max_bpm, gt=0, description="Highest plausible heart rate."
    )
    border_convention: BorderConvention = Field(
        "expert",
        description="Where the endocardium is drawn: `expert`, through the bright echoes, or "
        "`inner_edges`, at the edges of the dark lumen (smaller diameters).",
    )
    figures: bool = Field(
        True, description="Whether figures are drawn ahead where a request does not say."
    )
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        Field(description="Least severe log lines to write."),
    ] = "INFO"

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, value: str) -> str:
        value = value.rstrip("/")
        if value and not value.startswith("/"):
            raise ValueError("a prefix starts with a slash, such as /echo")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _read_log_level(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_heart_rates(self) -> Self:
        if self.heart_rate_min_bpm >= self.heart_rate_max_bpm:
            raise ValueError("heart_rate_min_bpm must be below heart_rate_max_bpm")
        return self

    @property
    def worker_count(self) -> int:
        """Analyses that run at once, with the default worked out."""
        return self.workers or self.cores

    @property
    def thread_count(self) -> int:
        """Threads of one network's run, so that threads x workers = cores by default."""
        return self.threads or max(1, self.cores // self.worker_count)

    @property
    def limits(self) -> Limits:
        """How much a recording may hold."""
        return Limits(
            max_frames=self.max_frames,
            max_decoded_pixels=self.max_decoded_pixels,
            max_strip_columns=self.max_strip_columns,
            max_strip_pixels=self.max_strip_pixels,
            max_duration_s=self.max_duration_s,
            decoder_memory_bytes=self.decoder_memory_bytes,
            decoder_time_limit_s=self.decoder_time_limit_s,
        )

    @property
    def measuring(self) -> MeasuringSettings:
        """What the measurement depends on."""
        return MeasuringSettings(
            heart_rate_min_bpm=self.heart_rate_min_bpm,
            heart_rate_max_bpm=self.heart_rate_max_bpm,
            border_convention=self.border_convention,
        )
