"""The pipeline without a service: one file in, JSON out, figures and tables in a folder."""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from app.api.options import clean_file_name
from app.api.schemas import LinksOut
from app.api.views import view
from app.jobs.runner import BEATS, PUBLISHED_ALL, PUBLISHED_STATS, SUMMARY, TRACE, write_tables
from app.networks import configured_networks
from app.output import figures
from app.output.names import FIGURE_NAMES
from app.pipeline.analysis import analyse
from app.pipeline.errors import NetworksError, RecordingError
from app.pipeline.known_answer import check_known_answer
from app.pipeline.networks import require_convention
from app.pipeline.profiles import ProfileName
from app.pipeline.results import Analysis
from app.settings import Settings
from app.storage.records import new_id
from app.storage.schema import Record


def analyze(
    settings: Settings,
    file: Path,
    body_mass_g: float | None,
    out: Path | None,
    profile: ProfileName = "robust",
) -> int:
    """Analyse one file; its analysis goes to standard output as JSON, as the service sends it.

    Parameters
    ----------
    settings : Settings
    file : Path
    body_mass_g : float, optional
    out : Path, optional
        Folder for the figures and tables; made if it is missing. Without it there are none.
    profile : {'robust', 'published'}
        The latter needs the body mass.

    Returns
    -------
    int
        0, or 1 where the file cannot be measured; standard error says why in one line.
    """
    try:
        return _analyze(settings, file, body_mass_g, out, profile)
    except (NetworksError, RecordingError) as error:
        return _refuse(getattr(error, "detail", str(error)))
    except OSError as error:
        return _refuse(f"{error.filename or file}: {error.strerror or 'cannot be read or written'}")


def check(settings: Settings) -> int:
    """Load the networks, check their sha256 and what they answer to a known input.

    Returns
    -------
    int
        0 where both are as the manifest says, else 1.
    """
    try:
        networks = configured_networks(settings)
        check_known_answer(networks)
    except NetworksError as error:
        return _refuse(str(error))
    for network in (networks.classifier, networks.segmenter):
        print(f"{network.info.name} {network.info.version} {network.info.sha256}: as expected")
    return 0


def _analyze(
    settings: Settings,
    file: Path,
    body_mass_g: float | None,
    out: Path | None,
    profile: ProfileName,
) -> int:
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    alone = settings.model_copy(update={"workers": 1})  # one analysis has all cores
    networks = configured_networks(alone)
    require_convention(networks, settings.border_convention)
    created_at, began = datetime.now(UTC), perf_counter()
    analysis = analyse(
        file,
        networks,
        body_mass_g=body_mass_g,
        profile=profile,
        measuring=settings.measuring,
        limits=settings.limits,
    )
    record = Record(
        number=0,
        id=new_id(),
        fingerprint="",
        status="succeeded",
        acknowledged=True,
        attempts=1,
        created_at=created_at,
        started_at=created_at,
        finished_at=datetime.now(UTC),
        file_name=clean_file_name(file.name),
        size_bytes=file.stat().st_size,
        sha256=sha256,
        body_mass_g=body_mass_g,
        profile=profile,
        figures=out is not None,
        total_ms=1000 * (perf_counter() - began),
        render_ms=0.0,
        error_code=None,
        error_detail=None,
    )
    links = None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_tables(out, record, analysis)
        record = replace(record, render_ms=_write_figures(out, analysis, figures.draw))
        links = LinksOut(
            self=None,
            figures={name: str(out / f"{name}.png") for name in FIGURE_NAMES},
            beats_csv=str(out / BEATS),
            summary_csv=str(out / SUMMARY),
            trace_csv=str(out / TRACE),
            published_all_csv=str(out / PUBLISHED_ALL),
            published_stats_csv=str(out / PUBLISHED_STATS),
        )
    shown = view(record, analysis, links, rendered=out is not None)
    print(shown.model_dump_json(indent=2))
    return 0


def _write_figures(out: Path, analysis: Analysis, draw: Callable[[str, Analysis], bytes]) -> float:
    began = perf_counter()
    for name in FIGURE_NAMES:
        (out / f"{name}.png").write_bytes(draw(name, analysis))
    return 1000 * (perf_counter() - began)


def _refuse(reason: str) -> int:
    print(f"python -m app: {reason}", file=sys.stderr)
    return 1
