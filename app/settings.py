"""Every setting of the service, read once from the environment (prefix ``ECHO2PHENO_``)."""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.pipeline.limits import Limits
from app.pipeline.measuring import BorderConvention, MeasuringSettings

Access = Literal["open", "key", "closed"]

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_OURS = frozenset({"/v1", "/v1/analyses", "/v1/studies", "/health"})

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
    queue: Literal["in_process", "celery"] = Field(
        "in_process",
        description="Where analyses run: `in_process`, in threads of the service, or `celery`, in "
        "workers (`python -m app worker`) that a broker tells of them.",
    )
    broker_url: SecretStr | None = Field(
        None,
        description="Address of the broker, for `celery`: `amqp://user:password@host:5672/vhost` "
        "or `redis://…`.",
    )
    broker_url_file: Path | None = Field(
        None, description="File that holds that address, which is a secret."
    )
    database_url: SecretStr | None = Field(
        None,
        description="Address of the records' database as SQLAlchemy has it, such as "
        "`postgresql+psycopg://user:password@host/echo2pheno`; a file in the data folder by "
        "default.",
    )
    database_url_file: Path | None = Field(
        None, description="File that holds that address, which is a secret."
    )
    lease_s: float = Field(
        45.0,
        ge=1,
        le=3600,
        description="How long a worker that says nothing keeps its analysis; then another runs it.",
    )
    worker_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which a worker serves its metrics at /metrics; 0 for none.",
    )
    models_dir: Path = Field(
        SHIPPED_MODELS_DIR, description="Folder of the two networks and their manifest."
    )
    host: str = Field("127.0.0.1", description="Address that the service listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that it listens on; 0 picks one.")
    root_path: str = Field(
        "", description="Path prefix that a gateway mounts the service on, such as /echo."
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses and networks (CIDR), with commas between, of the gateways whose "
        "X-Forwarded-For and X-Forwarded-Proto are believed; nobody's by default.",
    )
    keys_file: Path | None = Field(
        None, description="File of the keys that callers need; see `python -m app keys`."
    )
    allow_anonymous: bool = Field(
        False,
        description="Whether the service may listen beyond this machine's loopback without a "
        "file of keys.",
    )
    docs_access: Access = Field(
        "open",
        description="Who reads /docs and /openapi.json where keys are in use: `open` for anybody, "
        "`key` for whoever has one, `closed` for nobody, with or without keys.",
    )
    health_access: Access = Field(
        "open", description="The same for /health/live and /health/ready."
    )
    metrics_access: Access = Field("key", description="The same for /metrics.")
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
    onnx_providers: str = Field(
        "CPUExecutionProvider",
        description="ONNX Runtime's execution providers, with commas between, the preferred one "
        "first; each must be there.",
    )
    max_upload_bytes: int = Field(2**32, gt=0, description="Largest recording accepted, in bytes.")
    max_archive_bytes: int = Field(
        2**36, gt=0, description="Largest ZIP archive of recordings accepted, in bytes."
    )
    max_archive_files: int = Field(10_000, gt=0, description="Most files in such an archive.")
    max_archive_unpacked_bytes: int = Field(
        2**38, gt=0, description="Most bytes that such an archive may unpack to."
    )
    max_archive_ratio: float = Field(
        200.0, ge=1, description="How many times its own size such an archive may unpack to."
    )
    max_frames: int = Field(
        Limits().max_frames, gt=0, description="Most screens that a recording may hold."
    )
    max_frame_pixels: int = Field(
        Limits().max_frame_pixels, gt=0, description="Most pixels that one screen may have."
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
    max_uploads_at_once: int = Field(
        32, ge=1, description="Most recordings that arrive at the same time."
    )
    max_requests_at_once: int = Field(
        512,
        ge=1,
        description="Most requests that are open at the same time, besides those to /health.",
    )
    upload_idle_limit_s: float = Field(
        30.0, gt=0, description="Longest silence in the middle of an upload."
    )
    upload_min_bytes_per_s: float = Field(
        10_000.0,
        gt=0,
        description="Slowest that an upload may be on average, after the first silence allowed.",
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
        5,
        ge=3,
        description="How often an analysis is started before it is given up as what kills the "
        "service.",
    )
    max_queued: int = Field(
        1000,
        ge=1,
        description="Most analyses that wait for a worker: of those that a caller waits for, and "
        "of all others, each.",
    )
    max_queued_per_key: int = Field(
        500, ge=1, description="The same for one key, where keys are in use."
    )
    min_free_bytes: int = Field(
        2**23, ge=0, description="What an upload has to leave free on the disk."
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
    keep_uploads: bool = Field(
        False,
        description="Whether a recording is kept, as it was sent, until its analysis is removed.",
    )
    results_expire_after_h: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Hours after which a finished analysis is removed with its files.",
    )
    results_max_bytes: int | None = Field(
        None,
        gt=0,
        description="Bytes that results and kept recordings may take together; beyond, the "
        "analyses that finished first are removed.",
    )
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        Field(description="Least severe log lines to write."),
    ] = "INFO"

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, value: str) -> str:
        value = value.rstrip("/")
        if not _PREFIX.fullmatch(value):
            raise ValueError("a prefix starts with a slash and holds no special characters: /echo")
        if value in _OURS or any(part in (".", "..") for part in value.split("/")):
            raise ValueError("this prefix could be taken for an address of the service itself")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_trusted_proxies(cls, value: str) -> str:
        proxies = [part.strip() for part in value.split(",") if part.strip()]
        for proxy in proxies:
            ip_network(proxy)  # a ValueError of its own says what is wrong
        return ",".join(proxies)

    @field_validator(
        *("keys_file", "results_expire_after_h", "results_max_bytes"),
        *("broker_url", "broker_url_file", "database_url", "database_url_file"),
        mode="before",
    )
    @classmethod
    def _read_empty_as_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("broker_url")
    @classmethod
    def _check_broker(cls, url: SecretStr | None) -> SecretStr | None:
        kinds = ("amqp://", "amqps://", "redis://", "rediss://")
        if url is not None and not url.get_secret_value().startswith(kinds):
            raise ValueError(f"it begins with one of {', '.join(kinds)}")  # and is a secret
        return url

    @field_validator("log_level", mode="before")
    @classmethod
    def _read_log_level(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, values: dict[str, object]) -> dict[str, object]:
        for name in ("broker_url", "database_url"):
            path = values.get(f"{name}_file")
            if path and not values.get(name):
                try:
                    text = Path(str(path)).read_text("utf-8").strip()
                except (OSError, UnicodeDecodeError):
                    raise ValueError(f"the file that {name}_file names cannot be read") from None
                values = values | {name: text}
        return values

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        if self.queue == "celery" and not (self.broker_url and self.database_url):
            raise ValueError("queue=celery needs a broker_url and a database_url")
        return self

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
    def onnx_provider_names(self) -> tuple[str, ...]:
        """The execution providers, one by one."""
        return tuple(name for part in self.onnx_providers.split(",") if (name := part.strip()))

    @property
    def limits(self) -> Limits:
        """How much a recording may hold."""
        return Limits(
            max_frames=self.max_frames,
            max_frame_pixels=self.max_frame_pixels,
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
