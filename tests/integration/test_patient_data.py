"""Nothing that a file says of a patient leaves it: not in answers, logs, or the data folder."""

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from PIL import Image

from app.api.problems import CATALOGUE
from models.simulation.recording import simulate_recording
from models.simulation.scanner import write_screens
from tests.integration import canaries
from tests.integration.conftest import REAL, Process, Start

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

NAME = "NAMEGIVEN-0412.dcm"
DICOM = {"Content-Type": "application/dicom"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "plain.dcm"
    simulated = simulate_recording(
        5, duration_s=1.2, rows=300, seconds_per_column=1 / 1000, acquisition="good"
    )
    write_screens(
        simulated.pixels,
        path,
        seconds_per_column=simulated.seconds_per_column,
        mm_per_row=simulated.mm_per_row,
        screens=3,
        seed=5,
    )
    return path


def fetch(client: httpx.Client, shown: dict) -> dict[str, bytes]:
    """Everything that an analysis gives, by its name."""
    links = dict(shown["links"])
    figures = links.pop("figures")
    return {name: client.get(link).content for name, link in {**links, **figures}.items()}


def written(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.name, path.read_bytes()


def assert_silent(content: bytes, of: object, needles: tuple[str, ...] = canaries.NEEDLES) -> None:
    for needle in needles:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            assert needle.encode(encoding) not in content, (needle, of)


def assert_figure_is_silent(content: bytes, of: object) -> None:
    """A picture's text may be compressed, so it is read, not only looked through."""
    with Image.open(io.BytesIO(content)) as figure:
        assert set(figure.info) <= {"Software", "dpi"}, (of, figure.info)
        assert_silent(str(figure.info).encode(), of, (*canaries.NEEDLES, NAME))
        assert not figure.getexif()


def assert_log_is_silent(service: Process) -> None:
    assert_silent(service.log.read_bytes(), "log", (*canaries.NEEDLES, canaries.AGE, NAME))


def of_all(answer: httpx.Response) -> bytes:
    return answer.content + str(answer.headers).encode()


def test_an_analysis_tells_nothing_of_the_patient(
    start: Start, plain: Path, tmp_path: Path
) -> None:
    data_set = canaries.read(plain)
    assert canaries.hide_canaries(data_set) > 1500
    content = canaries.to_bytes(data_set)
    assert content.count(canaries.CANARY.encode()) > 1000
    with start(REAL, log_level="DEBUG") as service, service.client() as client:
        posted = client.post(
            "/v1/analyses", content=content, headers=DICOM, params={"file_name": NAME}
        )
        assert posted.status_code == 201, posted.text
        assert posted.json()["beats"], "it is a recording that can be measured"
        parts = fetch(client, posted.json())
        whole: Mapping[str, bytes] = {
            **parts,
            **{
                path: of_all(client.get(path))
                for path in ("/v1/analyses", "/metrics", "/v1/models", "/health/ready", "/docs")
            },
            "posted": of_all(posted),
        }
        for name, part in whole.items():
            assert_silent(part, name)
            if part.startswith(b"\x89PNG"):
                assert_figure_is_silent(part, name)
        told = {name for name, part in whole.items() if NAME.encode() in part}
        assert told >= {"self", "summary_csv", "/v1/analyses", "posted"}, "the caller's own"
        tables = {name for name in parts if name.endswith("_csv")}
        assert told <= {"self", "/v1/analyses", "posted"} | tables
        assert NAME not in str(posted.json()["links"]) + posted.headers["location"]
        for name, part in written(tmp_path / "data"):
            assert_silent(part, name)
        assert service.terminate() == 0
        assert service.popen.stdout.read() == ""
    for name, part in written(tmp_path / "data"):
        assert_silent(part, name)
    named = {name for name, part in written(tmp_path / "data") if NAME.encode() in part}
    assert "summary.csv" in named
    assert all(re.fullmatch(r".*\.csv|echo2pheno\.sqlite(-wal)?", name) for name in named), named
    assert_log_is_silent(service)


def test_a_refusal_tells_nothing_of_the_patient(start: Start, plain: Path, tmp_path: Path) -> None:
    data_set = canaries.read(plain)
    canaries.hide_canaries(data_set)
    seen = set()
    with start(REAL, log_level="DEBUG") as service, service.client() as client:
        for content in canaries.spoilt(data_set):
            for prefer in ("wait=60", "respond-async"):
                answer = client.post(
                    "/v1/analyses",
                    content=content,
                    headers=DICOM | {"Prefer": prefer},
                    params={"file_name": NAME},
                )
                assert_silent(of_all(answer), "answer")
                shown = answer.json()
                while shown["status"] in ("queued", "running"):
                    answer = client.get(shown["links"]["self"])
                    shown = answer.json()
                assert_silent(of_all(answer), "answer")
                code = (shown.get("error") or shown)["code"]
                seen.add(code)
                assert code in CATALOGUE
                assert code != "internal_error", answer.text
                if answer.status_code >= 400:
                    assert NAME not in answer.text
        for path in ("/v1/analyses", "/metrics"):
            assert_silent(of_all(client.get(path)), path)
        for name, part in written(tmp_path / "data"):
            assert_silent(part, name)
        assert service.terminate() == 0
    assert_log_is_silent(service)
    assert {"not_dicom", "no_pixel_data", "corrupt_pixel_data"} <= seen
    assert seen & {"no_m_mode_region", "no_calibration"}


def test_what_is_burnt_in_outside_the_m_mode_changes_nothing(
    start: Start, plain: Path, tmp_path: Path
) -> None:
    """Not a pixel of it is in a figure, a table or the strip: they are the same without it."""
    data_set = canaries.read(plain)
    region = data_set.SequenceOfUltrasoundRegions[1]
    assert region.RegionSpatialFormat == 2
    box = (
        region.RegionLocationMinX0,
        region.RegionLocationMinY0,
        region.RegionLocationMaxX1,
        region.RegionLocationMaxY1,
    )
    canaries.burn_in(data_set, box)
    parts: list[dict[str, bytes]] = []
    strips: list[dict[str, bytes]] = []
    with start(REAL) as service, service.client() as client:
        for content in (plain.read_bytes(), canaries.to_bytes(data_set)):
            posted = client.post("/v1/analyses", content=content, headers=DICOM)
            assert posted.status_code == 201, posted.text
            fetched = fetch(client, posted.json())
            for name in ("self", "summary_csv"):  # an id and times are their own
                fetched.pop(name)
            parts.append(fetched)
            folder = tmp_path / "data" / "analyses" / posted.json()["id"]
            strips.append({path.name: path.read_bytes() for path in folder.glob("*.npy")})
    assert set(parts[0]) > {"segmentation", "beats_csv", "trace_csv"}
    assert parts[0] == parts[1]
    assert "strip.npy" in strips[0]
    assert strips[0] == strips[1]


def test_the_canaries_are_found_where_they_are(plain: Path) -> None:
    data_set = canaries.read(plain)
    assert_silent(plain.read_bytes(), "a recording without")
    canaries.hide_canaries(data_set)
    content = canaries.to_bytes(data_set)
    for needle in (canaries.CANARY, canaries.DATE, canaries.TIME, canaries.UID):
        with pytest.raises(AssertionError):
            assert_silent(content, "a recording with", (needle,))
