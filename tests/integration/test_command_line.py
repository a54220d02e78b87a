"""The commands besides ``serve``, as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from app.api.schemas import AnalysisOut, FeaturesOut
from models.simulation.recording import simulate_recording
from models.simulation.scanner import write_screens

FIGURES = ("echocardiogram", "segmentation", "diastole", "systole", "heart_rate", "function")
TABLES = ("beats", "summary", "trace", "published_all", "published_stats")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "mouse 1.dcm"
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


def test_help_lists_every_command() -> None:
    said = run("--help")
    assert said.returncode == 0
    for command in ("serve", "analyze", "demo", "keys", "check"):
        assert f"\n    {command} " in said.stdout


def test_analyze(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("analyze", recording, "--body-mass-g", 25, "--out", out)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    AnalysisOut.model_validate(shown, extra="forbid")
    assert shown["status"] == "succeeded"
    assert shown["input"]["file_name"] == "mouse 1.dcm"
    assert shown["input"]["body_mass_g"] == 25
    assert shown["input"]["frames"] == 3
    for name in FIGURES:
        assert shown["links"]["figures"][name] == str(out / f"{name}.png")
        with Image.open(out / f"{name}.png") as figure:
            figure.load()
    for name in TABLES:
        assert len((out / f"{name}.csv").read_text().splitlines()) > 1


def test_analyze_without_a_folder_writes_nothing(recording: Path, tmp_path: Path) -> None:
    before = sorted(recording.parent.iterdir())
    done = run("analyze", recording)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["links"] is None
    assert sorted(recording.parent.iterdir()) == before


@pytest.mark.parametrize("kind", ["missing", "folder", "text"])
def test_analyze_of_something_else(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.dcm"
    if kind == "folder":
        path.mkdir()
    if kind == "text":
        path.write_text("not DICOM")
    done = run("analyze", path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["analyze"], ["analyze", "x.dcm", "--body-mass-g", "0"]]
)
def test_usage_errors(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_a_setting_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO2PHENO_WORKERS", "many")
    done = run("check")
    assert done.returncode == 2
    assert done.stderr.startswith("ECHO2PHENO_WORKERS: ")
    assert "Traceback" not in done.stderr


def test_check() -> None:
    done = run("check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("as expected") == 2


def test_check_of_networks_that_were_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.settings import SHIPPED_MODELS_DIR

    for name in ("manifest.json", "classifier.onnx", "segmenter.onnx"):
        (tmp_path / name).write_bytes((SHIPPED_MODELS_DIR / name).read_bytes())
    with (tmp_path / "segmenter.onnx").open("ab") as stream:
        stream.write(b"\0")
    monkeypatch.setenv("ECHO2PHENO_MODELS_DIR", str(tmp_path))
    done = run("check")
    assert done.returncode == 1
    assert "sha256" in done.stderr
    assert done.stderr.count("\n") == 1


def test_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = run("demo", "--out", out)
    assert done.returncode == 0, done.stderr
    features, end = json.JSONDecoder().raw_decode(done.stdout)
    FeaturesOut.model_validate(features, extra="forbid")
    assert features["heart_rate_bpm"]["n"] > 10
    named = done.stdout[end:].split("\n")
    for name in FIGURES:
        assert str(out / f"{name}.png") in named
        with Image.open(out / f"{name}.png") as figure:
            figure.load()
    assert json.loads((out / "analysis.json").read_text())["features"] == features
    for line in (out / "service.log").read_text().splitlines():
        json.loads(line)
