import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from app.pipeline.errors import NetworksError
from app.pipeline.known_answer import check_known_answer, known_window
from app.pipeline.networks import Networks, find_borders, judge_quality, load_networks
from app.settings import Settings


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the shipped networks that a test may spoil."""
    for name in ("manifest.json", "segmenter.onnx", "classifier.onnx"):
        shutil.copy(Settings().models_dir / name, tmp_path / name)
    return tmp_path


def _edit(folder: Path, role: str, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[role].update(changes)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_shipped_networks_give_their_known_answer(networks: Networks) -> None:
    check_known_answer(networks)


def test_the_known_window_shows_the_ventricle_where_it_was_drawn(networks: Networks) -> None:
    borders, _ = find_borders(networks, known_window()[None], 0.0277)
    rows = borders[0, :2, :, 70].argmax(0) if borders.ndim == 3 else borders[0, :2, :, 70].argmax(1)
    # drawn at diastole (column 70) with edges at rows 70 and 165; the convention is wider
    assert rows[0] == pytest.approx(70 - 4, abs=6)
    assert rows[1] == pytest.approx(165 + 5, abs=7)


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_any_number_of_windows_gives_the_same_answers(count: int, networks: Networks) -> None:
    windows = np.repeat(known_window()[None], count, axis=0)
    borders, columns = find_borders(networks, windows, 0.03)
    assert borders.shape == (count, 4, 256, 256)
    assert columns.shape == (count, 2, 256)
    assert np.abs(borders - borders[:1]).max() < 1e-3
    probability = judge_quality(networks, windows)
    assert probability.shape == (count,)
    assert (probability > 0).all()
    assert (probability < 1).all()


def test_a_changed_file_is_refused(copied: Path) -> None:
    with (copied / "segmenter.onnx").open("r+b") as stream:
        stream.seek(2000)
        stream.write(b"\x00\x01\x02\x03")
    with pytest.raises(NetworksError, match=r"not the file that manifest\.json describes"):
        load_networks(copied)


def test_swapped_networks_are_refused(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["segmenter"], manifest["classifier"] = manifest["classifier"], manifest["segmenter"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(NetworksError, match=r"segmenter .* kind 'quality', not 'borders' or"):
        load_networks(copied)


@pytest.mark.parametrize("name", ["manifest.json", "segmenter.onnx", "classifier.onnx"])
def test_a_missing_file_is_named(name: str, copied: Path) -> None:
    (copied / name).unlink()
    with pytest.raises(NetworksError, match=name.replace(".", r"\.")):
        load_networks(copied)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"segmenter": 3}'])
def test_a_manifest_that_describes_nothing_is_refused(text: str, copied: Path) -> None:
    (copied / "manifest.json").write_text(text)
    with pytest.raises(NetworksError, match=r"manifest\.json"):
        load_networks(copied)


def test_a_file_outside_the_folder_is_refused(copied: Path) -> None:
    _edit(copied, "segmenter", file="../segmenter.onnx")
    with pytest.raises(NetworksError, match="beside"):
        load_networks(copied)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "a\nb"])
def test_a_name_that_no_file_can_have_is_refused_in_a_line(name: str, copied: Path) -> None:
    _edit(copied, "segmenter", file=name)
    with pytest.raises(NetworksError) as refused:
        load_networks(copied)
    assert "\n" not in str(refused.value)


def test_a_manifest_without_an_end_is_refused(copied: Path) -> None:
    (copied / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(NetworksError, match=r"manifest\.json"):
        load_networks(copied)


def test_a_weight_beyond_any_float_is_refused(copied: Path) -> None:
    weights = {"network": 10**400, "followable": 1, "intercept": 0}
    _edit(copied, "classifier", combination=weights)
    with pytest.raises(NetworksError, match="combination"):
        load_networks(copied)


def test_a_wrong_known_answer_is_noticed(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["known_answer"]["probability"] += 0.2
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(NetworksError, match="known answer"):
        check_known_answer(load_networks(copied))


def test_a_provider_that_is_not_there_is_named_with_those_that_are(copied: Path) -> None:
    with pytest.raises(NetworksError, match=r"no NoSuchProvider: .*CPUExecutionProvider"):
        load_networks(copied, providers=("NoSuchProvider", "CPUExecutionProvider"))
    with pytest.raises(NetworksError, match=r"needs a provider: .*CPUExecutionProvider"):
        load_networks(copied, providers=())


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_networks_do_not_run_elsewhere_than_was_asked(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider can be built in, and still be left out for want of its driver."""
    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    with pytest.raises(NetworksError, match="CUDAExecutionProvider cannot be used"):
        load_networks(copied, providers=there)
