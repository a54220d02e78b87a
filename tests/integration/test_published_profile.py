"""The profile `published` over HTTP, on a small pair of networks in the place of the published."""

import csv
import io
import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from scipy.signal import find_peaks

from app.output.published_tables import ALL_COLUMNS, STATS_COLUMNS
from models.simulation.scanner import write_screens
from tests.integration.conftest import REAL, Start
from tests.stand_in import heart

COLUMNS, ROWS, DIM = 3000, 300, slice(900, 1575)
DT, MM = 1 / 1200, 0.02
SIDE = 225  # of a quality window at 25 g
DICOM = {"Content-Type": "application/dicom"}


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    return heart(COLUMNS, ROWS, dim=DIM)


@pytest.fixture(scope="module")
def recording(drawn, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("drawn") / "heart.dcm"
    write_screens(drawn[0], path, seconds_per_column=DT, mm_per_row=MM, screens=25)
    return path.read_bytes()


@pytest.fixture
def client(start: Start, stand_in_folder: Path) -> Iterator[httpx.Client]:
    with start(REAL, models_dir=stand_in_folder) as service, service.client() as client:
        yield client
        assert service.terminate() == 0


def send(client: httpx.Client, content: bytes, **options: object) -> dict[str, Any]:
    answer = client.post("/v1/analyses", content=content, headers=DICOM, params=options)
    assert answer.status_code == 201, answer.text
    return answer.json()


def table(client: httpx.Client, shown: dict[str, Any], name: str) -> list[dict[str, str]]:
    answer = client.get(shown["links"][f"{name}_csv"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_the_published_profile(client: httpx.Client, recording: bytes, drawn) -> None:
    shown = send(client, recording, body_mass_g=25, profile="published", file_name="heart.dcm")
    assert shown["input"]["profile"] == "published"
    assert {role: m["name"] for role, m in shown["models"].items()} == {
        "segmenter": "stand-in-mask", "classifier": "stand-in-quality",
    }  # fmt: skip
    columns = shown["recording"]["columns"]
    assert columns == COLUMNS

    windows = shown["quality"]["windows"]
    bounds = [0, *range(SIDE, columns, SIDE), columns]
    assert [w["start_s"] for w in windows] == pytest.approx([b * DT for b in bounds[:-1]])
    assert windows[-1]["end_s"] == pytest.approx(columns * DT)
    dim = [start in range(DIM.start, DIM.stop) for start in bounds[:-1]]
    assert [w["label"] == "low" for w in windows] == dim

    # the rule again, on what was drawn; the stand-in misses an edge by a row or two
    lumen_rows = drawn[1]
    features, beats = shown["features"], shown["beats"]
    kept = np.ones(columns, bool)
    kept[DIM] = False
    expected_d, expected_s = lumen_rows.max() * MM, lumen_rows.min() * MM
    assert features["lvid_d_mm"]["median"] == pytest.approx(expected_d, abs=3 * MM)
    assert features["lvid_s_mm"]["median"] == pytest.approx(expected_s, abs=3 * MM)
    assert features["heart_rate_bpm"]["median"] == pytest.approx(60 / 105 / DT, rel=0.02)
    diastoles, _ = find_peaks(lumen_rows, distance=85)
    assert len(beats) == len(diastoles)
    assert features["lvid_d_mm"]["n"] == sum(b["accepted"] for b in beats)
    assert abs(features["lvid_d_mm"]["n"] - kept[diastoles].sum()) <= 2
    assert {b["rejected_because"] for b in beats} == {None, "low_quality"}
    for beat in beats:
        # diameters are whole pixels
        assert beat["lvid_d_mm"] / MM == pytest.approx(round(beat["lvid_d_mm"] / MM), abs=1e-9)
    assert all(a["diastole_s"] < b["diastole_s"] for a, b in itertools.pairwise(beats))

    rows = table(client, shown, "published_all")
    assert tuple(rows[0]) == ALL_COLUMNS
    counted = [b for b in beats if b["accepted"] and b["heart_rate_bpm"] and b["systole_s"]]
    assert len(rows) == len(counted)
    for row, beat in zip(rows, counted, strict=True):
        assert row["file"] == "heart.dcm"
        assert float(row["lvid;d"]) == beat["lvid_d_mm"]
        assert float(row["lvid;s time"]) == beat["systole_s"]
        assert float(row["heart rate"]) == beat["heart_rate_bpm"]
        assert row["heart rate time"] == row["lvid;d time"]
    (stats,) = table(client, shown, "published_stats")
    assert tuple(stats) == STATS_COLUMNS
    for name, feature in (("diastole", "lvid_d_mm"), ("heartrate", "heart_rate_bpm")):
        for short, long in (("median", "median"), ("avg", "mean"), ("max", "max"), ("min", "min")):
            assert float(stats[f"{short}_{name}"]) == features[feature][long]

    trace = table(client, shown, "trace")
    for beat in beats[:5]:
        row = trace[round(beat["diastole_s"] / DT)]
        assert float(row["lvid_mm"]) == pytest.approx(beat["lvid_d_mm"], abs=1e-4)
    for link in shown["links"]["figures"].values():
        with Image.open(io.BytesIO(client.get(link).content)) as figure:
            assert figure.width == 1600
    again = client.post(
        "/v1/analyses", content=recording, headers=DICOM,
        params={"body_mass_g": 25, "profile": "published"},
    )  # fmt: skip
    assert (again.status_code, again.json()["id"]) == (200, shown["id"])


def test_the_same_networks_with_the_profile_robust(
    client: httpx.Client, recording: bytes, drawn
) -> None:
    shown = send(client, recording, body_mass_g=25, file_name="heart.dcm")
    features = shown["features"]
    assert features["lvid_d_mm"]["median"] == pytest.approx(drawn[1].max() * MM, abs=3 * MM)
    assert features["lvid_s_mm"]["median"] == pytest.approx(drawn[1].min() * MM, abs=4 * MM)
    assert features["heart_rate_bpm"]["median"] == pytest.approx(60 / 105 / DT, rel=0.01)
    accepted = [beat for beat in shown["beats"] if beat["accepted"]]
    assert 0 < len(accepted) < len(shown["beats"])
    rows = table(client, shown, "published_all")
    assert [float(row["lvid;d time"]) for row in rows] == [b["diastole_s"] for b in accepted]
    for row, beat in zip(rows, accepted, strict=True):
        absent = beat["heart_rate_bpm"] is None
        assert (row["heart rate"] == "", row["heart rate time"] == "") == (absent, absent)


def test_nothing_of_high_quality(client: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "dim.dcm"
    pixels, _ = heart(1500, ROWS, dim=slice(0, 1500))
    write_screens(pixels, path, seconds_per_column=DT, mm_per_row=MM, screens=6)
    for profile, cell in (("published", "0.0"), ("robust", "")):
        shown = send(client, path.read_bytes(), body_mass_g=25, profile=profile)
        assert {(f["n"], f["median"]) for f in shown["features"].values()} == {(0, None)}
        assert "no_high_quality_region" in [w["code"] for w in shown["warnings"]]
        assert table(client, shown, "published_all") == []
        (stats,) = table(client, shown, "published_stats")
        assert {stats[name] for name in STATS_COLUMNS[1:]} == {cell}
        assert stats["file"] == ""


def test_without_body_mass(client: httpx.Client, recording: bytes) -> None:
    answer = client.post(
        "/v1/analyses", content=recording, headers=DICOM, params={"profile": "published"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")
    assert "body_mass_g" in answer.json()["detail"]


def test_the_networks_are_named(client: httpx.Client) -> None:
    models = client.get("/v1/models").json()
    assert (models["segmenter"]["name"], models["segmenter"]["kind"]) == ("stand-in-mask", "mask")
    assert models["segmenter"]["grey"] == "unit"
    assert len(models["classifier"]["sha256"]) == 64


def test_the_published_profile_with_the_shipped_networks(start: Start, recording: bytes) -> None:
    with start(REAL) as service, service.client() as client:
        shown = send(client, recording, body_mass_g=25, profile="published")
        assert len(shown["quality"]["windows"]) == -(-COLUMNS // SIDE)
        assert shown["models"]["segmenter"]["name"] == "echo2pheno-borders"


@pytest.mark.parametrize("wrong", ["file", "hash", "convention"])
def test_what_does_not_hold_together_stops_the_start(
    wrong: str, stand_in_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "networks"
    shutil.copytree(stand_in_folder, folder)
    settings = {
        "ECHO2PHENO_MODELS_DIR": str(folder),
        "ECHO2PHENO_DATA_DIR": str(tmp_path / "data"),
    }
    if wrong == "file":
        (folder / "classifier.onnx").unlink()
    elif wrong == "hash":
        (folder / "segmenter.onnx").write_bytes((folder / "classifier.onnx").read_bytes())
    else:
        settings["ECHO2PHENO_BORDER_CONVENTION"] = "inner_edges"
    ended = subprocess.run(
        REAL, env=settings, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Echo2Pheno cannot start: ")
    assert ended.stderr.count("\n") == 1
    named = {"file": "classifier.onnx", "hash": "sha256", "convention": "inner_edges"}
    assert named[wrong] in ended.stderr
