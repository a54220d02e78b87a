"""The real pipeline behind a real server: recordings in, features, figures and refusals out."""

import collections
import contextlib
import csv
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pydicom.data
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from app.api.problems import CATALOGUE
from app.storage.files import Files
from models.simulation.recording import SimulatedRecording, simulate_recording
from models.simulation.scanner import write_screens
from tests.integration.conftest import REAL, Start

DICOM = {"Content-Type": "application/dicom"}


@pytest.fixture(scope="module")
def truth() -> SimulatedRecording:
    return simulate_recording(
        11, duration_s=1.5, rows=320, seconds_per_column=1 / 1200, acquisition="good"
    )


@pytest.fixture(scope="module")
def recording(truth: SimulatedRecording, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "recording.dcm"
    write_screens(
        truth.pixels,
        path,
        seconds_per_column=truth.seconds_per_column,
        mm_per_row=truth.mm_per_row,
        screens=9,
        seed=11,
    )
    return path


@pytest.fixture
def client(start: Start) -> Iterator[httpx.Client]:
    with start(REAL) as service, service.client() as client:
        yield client
        assert service.terminate() == 0


def send(client: httpx.Client, content: bytes, **options: object) -> httpx.Response:
    return client.post("/v1/analyses", content=content, headers=DICOM, params=options)


def test_a_simulated_recording(
    client: httpx.Client, recording: Path, truth: SimulatedRecording
) -> None:
    content = recording.read_bytes()
    answer = send(client, content, body_mass_g=25, file_name="simulated.dcm")
    assert answer.status_code == 201, answer.text
    shown = answer.json()
    strip = shown["recording"]
    assert abs(strip["columns"] - truth.pixels.shape[1]) <= 2
    assert abs(strip["rows"] - truth.pixels.shape[0]) <= 1
    assert strip["mm_per_row"] == pytest.approx(truth.mm_per_row, rel=1e-4)
    assert shown["input"]["frames"] == 9

    cycle_s = np.diff(truth.diastole_columns).mean() * truth.seconds_per_column
    measured = shown["features"]["heart_rate_bpm"]
    assert measured["n"] >= 5
    assert measured["median"] == pytest.approx(60 / cycle_s, rel=0.05)

    for name, link in shown["links"]["figures"].items():
        figure = Image.open(io.BytesIO(client.get(link).content))
        assert figure.format == "PNG"
        assert min(figure.size) >= 300, name
    rows = {
        name: list(csv.DictReader(io.StringIO(client.get(shown["links"][f"{name}_csv"]).text)))
        for name in ("beats", "summary", "trace")
    }
    assert len(rows["beats"]) == len(shown["beats"])
    assert list(rows["beats"][0]) == list(shown["beats"][0])
    assert len(rows["trace"]) == strip["columns"]
    assert list(rows["trace"][0]) == [
        "time_s", "upper_mm", "lower_mm", "lvid_mm", "quality_probability",
    ]  # fmt: skip
    (summary,) = rows["summary"]
    assert (summary["id"], summary["file_name"]) == (shown["id"], "simulated.dcm")
    assert float(summary["heart_rate_bpm_median"]) == pytest.approx(measured["median"])

    final = client.get(shown["links"]["self"]).json()
    assert all(time >= 0 for time in final["timings_ms"].values())
    models = client.get("/v1/models").json()
    for role, used in shown["models"].items():
        assert models[role]["sha256"] == used["sha256"]

    form = {"file": ("other.dcm", content)}
    again = client.post("/v1/analyses", files=form, data={"body_mass_g": "25"})
    assert (again.status_code, again.json()["id"]) == (200, shown["id"])


def _without(name: str) -> Callable[[Dataset], None]:
    return lambda dataset: delattr(dataset, name)


def _uncalibrated(dataset: Dataset) -> None:
    for region in dataset.SequenceOfUltrasoundRegions:
        region.PhysicalDeltaX = 0.0


def _all_two_dimensional(dataset: Dataset) -> None:
    for region in dataset.SequenceOfUltrasoundRegions:
        region.RegionSpatialFormat = 1


def _brief(dataset: Dataset) -> None:
    for region in dataset.SequenceOfUltrasoundRegions:
        region.PhysicalDeltaX = region.PhysicalDeltaX / 6  # 0.25 s in all


def _cut(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 3]


def _video(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.HEVCMP51
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


FAULTS = {
    "no_pixel_data": (422, _without("PixelData")),
    "no_m_mode_region": (422, _all_two_dimensional),
    "no_calibration": (422, _uncalibrated),
    "unsupported_transfer_syntax": (422, _video),
    "corrupt_pixel_data": (422, _cut),
    "too_short": (422, _brief),
}


def test_what_is_wrong_with_a_file(client: httpx.Client, recording: Path) -> None:
    for code, (status, spoil) in FAULTS.items():
        dataset = pydicom.dcmread(recording)
        spoil(dataset)
        spoilt = io.BytesIO()
        dataset.save_as(spoilt)
        for headers in ({}, {"Prefer": "wait=60"}):
            answer = client.post("/v1/analyses", content=spoilt.getvalue(), headers=DICOM | headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    for content in (b"", b"%PDF-1.7 not an image", bytes(100_000)):
        answer = send(client, content)
        assert (answer.status_code, answer.json()["code"]) == (415, "not_dicom")
    assert client.get("/v1/analyses").json()["items"] == []


def test_the_files_that_pydicom_is_tested_with(client: httpx.Client, recording: Path) -> None:
    """Broken, unusual and of other kinds: each is refused, and a good one is measured as before."""
    before = send(client, recording.read_bytes(), figures=False)
    assert before.status_code == 201, before.text
    folder = Path(pydicom.data.__file__).parent
    files = [path for path in sorted(folder.glob("*_files/**/*")) if path.is_file()]
    codes: collections.Counter[str] = collections.Counter()
    for path in files:
        answer = send(client, path.read_bytes())
        problem = answer.json()
        assert CATALOGUE[problem["code"]][0] == answer.status_code, (path.name, answer.text)
        assert answer.status_code in (413, 415, 422), (path.name, answer.text)
        codes[problem["code"]] += 1
    assert codes.total() > 150
    assert {"not_dicom", "no_pixel_data", "no_m_mode_region"} <= set(codes)
    (left,) = client.get("/v1/analyses").json()["items"]
    assert left["id"] == before.json()["id"]
    assert client.delete(left["links"]["self"]).status_code == 204
    after = send(client, recording.read_bytes(), figures=False)
    assert after.status_code == 201, after.text
    for part in ("features", "beats", "quality", "recording"):
        assert after.json()[part] == before.json()[part]


def test_too_many_pixels(start: Start, recording: Path) -> None:
    with start(REAL, max_decoded_pixels=1_000_000) as service, service.client() as client:
        answer = send(client, recording.read_bytes())
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("lacking", ["networks", "a provider", "a folder", "a folder of its own"])
def test_what_stops_the_start_is_told_in_one_line(tmp_path: Path, lacking: str) -> None:
    data, settings = tmp_path / "data", {}
    if lacking == "networks":
        settings["ECHO2PHENO_MODELS_DIR"] = str(tmp_path)
    elif lacking == "a provider":
        settings["ECHO2PHENO_ONNX_PROVIDERS"] = "NoSuchProvider"
    elif lacking == "a folder":
        data.write_text("a file")
    with contextlib.closing(Files(data)) if "own" in lacking else contextlib.nullcontext():
        ended = subprocess.run(
            REAL,
            env=settings | {"ECHO2PHENO_DATA_DIR": str(data)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("Echo2Pheno cannot start: ")
    assert ended.stderr.count("\n") == 1


def test_a_real_recording(reference_data: Path, start: Start, tmp_path: Path) -> None:
    with Image.open(reference_data / "real" / "r4_strip.png") as image:
        width, height = image.size
    file = tmp_path / "r4.dcm"
    subprocess.run(
        [
            sys.executable,
            reference_data / "tools" / "strip_to_dicom.py",
            reference_data / "real" / "r4_strip.png",
            file,
            "--seconds-per-column",
            str(1 / 1200),
            "--mm-per-row",
            "0.020645",
            "--encoding",
            "raw",
        ],
        check=True,
        timeout=120,
    )
    with start(REAL) as service, service.client() as client:
        with file.open("rb") as content:
            answer = client.post(
                "/v1/analyses",
                files={"file": ("r4.dcm", content)},
                data={"body_mass_g": "25"},
            )
        raw = send(client, file.read_bytes(), body_mass_g=25)
    assert answer.status_code == 201, answer.text
    assert (raw.status_code, raw.json()["id"]) == (200, answer.json()["id"])
    shown = answer.json()
    assert abs(shown["recording"]["columns"] - width) <= 2
    assert abs(shown["recording"]["rows"] - height) <= 1
    features = shown["features"]
    # counted by hand over the whole strip; the diameters by the published network and by hand
    assert features["heart_rate_bpm"]["median"] == pytest.approx(717, rel=0.03)
    assert 2.5 <= features["lvid_d_mm"]["median"] <= 2.85
    assert 0.85 <= features["lvid_s_mm"]["median"] <= 1.3
