"""A service around a core that the tests hold in their hands."""

import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.main import create_app
from app.pipeline import errors
from app.pipeline.results import Analysis
from app.settings import Settings
from tests.factories import CLASSIFIER, SEGMENTER, make_analysis

PREAMBLE = bytes(128) + b"DICM"
GOOD = PREAMBLE + b" a recording"
PNG = b"\x89PNG\r\n\x1a\n"

FAULTS: dict[str, Exception] = {
    "no_pixel_data": errors.NoPixelData("No image."),
    "no_m_mode_region": errors.NoMModeRegion("No M-mode."),
    "no_calibration": errors.NoCalibration("No calibration."),
    "unsupported_transfer_syntax": errors.UnsupportedTransferSyntax("No such encoding."),
    "corrupt_pixel_data": errors.CorruptPixelData("Cut off."),
    "sweep_not_ordered": errors.SweepNotOrdered("Too much is missing."),
    "too_short": errors.TooShort("Only 0.1 s."),
    "too_large": errors.TooLarge("Too many screens."),
    "time_limit": errors.AnalysisTimedOut(),
    "internal_error": ValueError("secret: MOUSE^MICKEY in /srv/data/x.dcm"),
}


@dataclass
class Core:
    """Stands in for the pipeline: what it does depends on what the file says."""

    open: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    analysed: list[dict[str, Any]] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)

    def load(self, settings: Settings) -> Any:
        def network(info: Any) -> Any:
            return SimpleNamespace(info=info, card={"trained_on": "simulated recordings"})

        return SimpleNamespace(classifier=network(CLASSIFIER), segmenter=network(SEGMENTER))

    def inspect(self, path: Path, limits: Any) -> None:
        content = path.read_bytes()
        if not content.startswith(PREAMBLE):
            raise errors.NotDicom("Not a DICOM file.")
        if b"header:" in content:
            raise FAULTS[content.rsplit(b":", 1)[1].decode()]

    def analyse(self, path: Path, networks: Any, **asked: Any) -> Analysis:
        content = path.read_bytes()
        self.started.set()
        while not self.open.wait(0.005):
            asked["progress"]("segment", 0.4)
        asked["progress"]("measure", 0.9)
        if b"pixels:" in content:
            raise FAULTS[content.rsplit(b":", 1)[1].decode()]
        self.analysed.append(asked)
        return make_analysis(body_mass_g=asked["body_mass_g"])

    def draw(self, name: str, analysis: Analysis) -> bytes:
        self.drawn.append(name)
        return PNG + name.encode()

    def draw_overview(self, name: str, mice: Any) -> bytes:
        return PNG + f"{name}: {len(mice)}".encode()


@pytest.fixture
def core() -> Core:
    """A core that answers at once; clear ``open`` to make it wait."""
    made = Core()
    made.open.set()
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        workers=1,
        shutdown_grace_s=5,
        max_upload_bytes=200_000,
        drain_max_bytes=5_000_000,
    )


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Run an app's lifespan, and a client that talks to it in process."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client,
    ):
        yield client


Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def serve(core: Core, settings: Settings) -> Serve:
    """Make a service around the core; settings can be changed, and it can be started again."""

    def start(**changes: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        return serving(make_app(core, settings.model_copy(update=changes)))

    return start


def files_below(folder: Path) -> list[Path]:
    """List the files in a folder, of which some may go meanwhile, and folders with them."""
    return [Path(at, name) for at, _, names in os.walk(folder) for name in names]


def uploads(data_dir: Path) -> dict[str, Path]:
    """Find the recordings that are kept, by the ids of their analyses."""
    return {path.name: path for path in files_below(data_dir / "uploads")}


def make_app(core: Core, settings: Settings, **parts: Any) -> FastAPI:
    return create_app(
        settings,
        load=core.load,
        inspect=core.inspect,
        analyse=core.analyse,
        draw=core.draw,
        draw_overview=core.draw_overview,
        **parts,
    )


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    async with serve() as client:
        yield client


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def post_raw(
    client: httpx.AsyncClient, content: bytes = GOOD, headers: Any = None, **options: Any
) -> httpx.Response:
    return await client.post(
        "/v1/analyses",
        params=options,
        content=content,
        headers={"Content-Type": "application/dicom"} | (headers or {}),
    )


async def post_form(
    client: httpx.AsyncClient, content: bytes = GOOD, name: str = "m.dcm", **options: Any
) -> httpx.Response:
    return await client.post("/v1/analyses", files={"file": (name, content)}, data=options)


async def until(client: httpx.AsyncClient, id: str, *statuses: str) -> dict[str, Any]:
    """Ask for an analysis until it is in one of these states."""
    while True:
        shown = (await client.get(f"/v1/analyses/{id}")).json()
        if shown["status"] in statuses:
            return shown
        assert shown["status"] in ("queued", "running"), shown["error"]
