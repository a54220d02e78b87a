"""The import of checkpoints in the published layout; needs torch, as the training does."""

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from app.pipeline.known_answer import check_known_answer
from app.pipeline.networks import find_mask_logits, judge_quality, load_networks
from models.import_published import main
from models.published.architecture import Classifier, Segmenter
from models.published.checkpoints import CheckpointError, read_checkpoint
from models.published.graph import segmenter_graph
from models.published.importing import import_published

NORMALISATIONS = ("running", "instance")
Run = Callable[..., int]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Both checkpoints with random weights, in the published layout."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    segmenter, classifier = folder / "heart-seg-net.pt", folder / "quality-clas-net.pth"
    torch.save({"epoch": 3, "net_state_dict": spread(Segmenter())}, segmenter)
    torch.save(spread(Classifier()), classifier)
    return segmenter, classifier


def spread(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights as if training had moved the norms, so that both normalisations differ."""
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return state


@pytest.fixture(scope="module")
def golden(reference_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The golden answers, and the checkpoints that they are for."""
    published = reference_data / "published"
    folder = tmp_path_factory.mktemp("golden")
    command = [sys.executable, published / "make_checkpoints.py", folder, "--seed", "1"]
    subprocess.run(command, check=True, timeout=120)
    answers = np.load(published / "golden_seed1.npz")
    return answers, folder / "heart-seg-net.pt", folder / "quality-clas-net.pth"


def test_the_layout_is_the_published_one(reference_data: Path) -> None:
    layouts = json.loads((reference_data / "published" / "layouts.json").read_text())
    for role, network in (("segmenter", Segmenter()), ("classifier", Classifier())):
        ours = [[name, list(value.shape)] for name, value in network.state_dict().items()]
        assert ours == layouts[role]


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_golden_networks(normalisation: str, golden: Any, tmp_path: Path) -> None:
    answers, segmenter, classifier = golden
    import_published(segmenter, classifier, tmp_path / "out", normalisation)  # type: ignore[arg-type]
    networks = load_networks(tmp_path / "out", threads=2)
    window = (answers["resized"] / 255).astype(np.float32)[None]
    logits = answers[f"segmenter_logit_{normalisation}"]
    apart = np.abs(find_mask_logits(networks, window)[0] - logits) / np.ptp(logits)
    assert (apart < 1e-3).mean() >= 0.98
    assert np.median(apart) < 1e-4
    probability = float(answers[f"classifier_probability_{normalisation}"])
    assert judge_quality(networks, window)[0] == pytest.approx(probability, abs=1e-4)


def test_the_two_normalisations_are_not_the_same(golden: Any, tmp_path: Path) -> None:
    """Lest a mix-up pass the comparison above."""
    answers, *_ = golden
    running, instance = (answers[f"segmenter_logit_{name}"] for name in NORMALISATIONS)
    apart = np.abs(running - instance) / np.ptp(running)
    assert (apart < 1e-3).mean() < 0.5


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_an_import(
    normalisation: str, checkpoints: tuple[Path, Path], tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "new" / "out"
    assert run(*checkpoints, out, "--normalisation", normalisation) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "ONNX Runtime answers as torch does: on 3 windows" in said.out
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md", "classifier.onnx", "manifest.json", "segmenter.onnx",
    ]  # fmt: skip
    assert stat.S_IMODE(out.stat().st_mode) == 0o755
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    networks = load_networks(out)
    check_known_answer(networks)
    assert (networks.segmenter.kind, networks.segmenter.grey) == ("mask", "unit")
    assert networks.classifier.grey == "unit"
    for network in (networks.segmenter, networks.classifier):
        card = network.card
        assert card["normalisation"] == normalisation
        assert network.info.version.startswith(f"{normalisation}-")
        assert "3941857" in card["source"]
        assert card["checkpoint"]["sha256"][:12] in network.info.version
        assert card["checkpoint"]["sha256"] in (out / "README.md").read_text()
    for name in ("segmenter", "classifier"):
        model = onnx.load(out / f"{name}.onnx", load_external_data=False)
        assert not [kept for kept in model.graph.initializer if kept.external_data]


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_windows_do_not_depend_on_those_beside_them(
    normalisation: str, checkpoints: tuple[Path, Path]
) -> None:
    """Unpooling indices count over the whole batch, and each window has statistics of its own."""
    import onnxruntime

    state = torch.load(checkpoints[0], weights_only=True)["net_state_dict"]
    weights = {name: value.numpy() for name, value in state.items()}
    session = onnxruntime.InferenceSession(segmenter_graph(weights, normalisation))  # type: ignore[arg-type]
    rng = np.random.default_rng(2)
    windows = rng.random((3, 1, 256, 256), np.float32) * np.float32([[[[1]]], [[[0.5]]], [[[2]]]])
    (together,) = session.run(["logits"], {"window": windows})
    for index in range(3):
        (alone,) = session.run(["logits"], {"window": windows[index : index + 1]})
        apart = np.abs(alone[0] - together[index]) / np.ptp(alone)
        assert (apart < 1e-3).mean() > 0.98


def run(segmenter: Path, classifier: Path, out: Path, *more: str) -> int:
    return main(
        ["--segmenter", str(segmenter), "--classifier", str(classifier), "--out", str(out), *more]
    )


def truncate(segmenter: Path, classifier: Path) -> None:
    segmenter.write_bytes(segmenter.read_bytes()[:-50_000])


def empty(segmenter: Path, classifier: Path) -> None:
    classifier.write_bytes(b"")


def swap(segmenter: Path, classifier: Path) -> None:
    contents = segmenter.read_bytes(), classifier.read_bytes()
    segmenter.write_bytes(contents[1])
    classifier.write_bytes(contents[0])


def lose_a_key(segmenter: Path, classifier: Path) -> None:
    state = torch.load(classifier, weights_only=True)
    del state["linear.bias"]
    torch.save(state, classifier)


def add_a_key(segmenter: Path, classifier: Path) -> None:
    loaded = torch.load(segmenter, weights_only=True)
    loaded["net_state_dict"]["encode5.conv1.weight"] = torch.zeros(3)
    torch.save(loaded, segmenter)


def reshape(segmenter: Path, classifier: Path) -> None:
    loaded = torch.load(segmenter, weights_only=True)
    loaded["net_state_dict"]["encode1.conv1.weight"] = torch.zeros(64, 1, 3, 3)
    torch.save(loaded, segmenter)


def retype(segmenter: Path, classifier: Path) -> None:
    state = torch.load(classifier, weights_only=True)
    torch.save({name: value.half() for name, value in state.items()}, classifier)


def poison(segmenter: Path, classifier: Path) -> None:
    state = torch.load(classifier, weights_only=True)
    state["linear.weight"][0, 7] = float("nan")
    torch.save(state, classifier)


def negate(segmenter: Path, classifier: Path) -> None:
    loaded = torch.load(segmenter, weights_only=True)
    loaded["net_state_dict"]["encode1.batchnorm1.running_var"].fill_(-1)
    torch.save(loaded, segmenter)


def flatten(segmenter: Path, classifier: Path) -> None:
    torch.save(torch.load(segmenter, weights_only=True)["net_state_dict"], segmenter)


def list_it(segmenter: Path, classifier: Path) -> None:
    torch.save(list(torch.load(classifier, weights_only=True).values()), classifier)


class Trap:
    """Would leave a mark if the import ran what a checkpoint holds."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.mark,)


def set_a_trap(segmenter: Path, classifier: Path) -> None:
    loaded = torch.load(segmenter, weights_only=True)
    torch.save(loaded | {"more": Trap(segmenter.with_name("mark"))}, segmenter)


def damage(segmenter: Path, classifier: Path) -> None:
    content = bytearray(segmenter.read_bytes())
    content[1000:1200] = bytes(200)
    segmenter.write_bytes(content)


def flip_a_bit(segmenter: Path, classifier: Path) -> None:
    """Among the weights, where torch itself does not notice."""
    content = bytearray(segmenter.read_bytes())
    content[len(content) // 2] ^= 0x40
    segmenter.write_bytes(content)
    torch.load(segmenter, weights_only=True)


def mark_a_folder(segmenter: Path, classifier: Path) -> None:
    """Mark weights as a folder in the zip file's own list, of which no check sum is kept."""
    content = bytearray(segmenter.read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"/data/1"))
    content[entry + 38] |= 0x10
    segmenter.write_bytes(content)
    torch.load(segmenter, weights_only=True)


def exaggerate(segmenter: Path, classifier: Path) -> None:
    state = torch.load(classifier, weights_only=True)
    torch.save({k: 1e38 * v if v.is_floating_point() else v for k, v in state.items()}, classifier)


def put_a_word(segmenter: Path, classifier: Path) -> None:
    state = torch.load(classifier, weights_only=True)
    torch.save(state | {"linear.bias": "word"}, classifier)


def lose(segmenter: Path, classifier: Path) -> None:
    classifier.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (truncate, "heart-seg-net.pt is not a checkpoint that can be read"),
        (damage, "heart-seg-net.pt is not a checkpoint that can be read"),
        (flip_a_bit, "heart-seg-net.pt is not a checkpoint that can be read"),
        (mark_a_folder, "heart-seg-net.pt is not a checkpoint that can be read"),
        (exaggerate, "What was made of the checkpoints does not work"),
        (put_a_word, "it is not a plain set of tensors.\n"),
        (empty, "quality-clas-net.pth is not a checkpoint that can be read"),
        (swap, "it is one of the classifier"),
        (lose_a_key, "no 'linear.bias'"),
        (add_a_key, "an unknown 'encode5.conv1.weight'"),
        (reshape, "'encode1.conv1.weight' has the shape (64, 1, 3, 3)"),
        (retype, "is float16, wanted is float32"),
        (poison, "'linear.weight' holds values that are no numbers"),
        (negate, "negative variance"),
        (flatten, "it has no 'net_state_dict'"),
        (list_it, "not a plain set of tensors"),
        (set_a_trap, "holds more than tensors"),
        (lose, "quality-clas-net.pth cannot be read"),
    ],
)
def test_a_checkpoint_that_does_not_fit(
    spoil: Callable[[Path, Path], None],
    said: str,
    checkpoints: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
) -> None:
    copies = [tmp_path / path.name for path in checkpoints]
    for copy, path in zip(copies, checkpoints, strict=True):
        copy.write_bytes(path.read_bytes())
    spoil(*copies)
    there = sorted(tmp_path.iterdir())
    assert run(*copies, tmp_path / "new" / "out") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert said in told.err
    assert sorted(tmp_path.iterdir()) == there


def test_signs_kept_beside_the_values(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    state = torch.load(checkpoints[1], weights_only=True)
    kept_beside = {name: torch._neg_view(-value) for name, value in state.items()}
    torch.save(kept_beside, tmp_path / "beside.pth")
    found = read_checkpoint(tmp_path / "beside.pth", "classifier")
    assert all(np.array_equal(found.weights[name], state[name].numpy()) for name in state)


def test_a_name_that_no_file_can_have(
    checkpoints: tuple[Path, Path], tmp_path: Path, capsys: Any
) -> None:
    assert run(Path("a\0b"), checkpoints[1], tmp_path / "out") == 1
    assert "no name that a file can have" in capsys.readouterr().err


def test_the_command_says_where_damage_would_not_be_noticed(
    checkpoints: tuple[Path, Path], tmp_path: Path, capsys: Any
) -> None:
    older = tmp_path / "older.pth"
    loaded = torch.load(checkpoints[1], weights_only=True)
    torch.save(loaded, older, _use_new_zipfile_serialization=False)
    assert run(checkpoints[0], older, tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert f"{older} carries no check sums" in told
    assert str(checkpoints[0]) not in told


def test_checkpoints_of_older_torch(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    for path, role in zip(checkpoints, ("segmenter", "classifier"), strict=True):
        older = tmp_path / path.name
        loaded = torch.load(path, weights_only=True)
        torch.save(loaded, older, _use_new_zipfile_serialization=False)
        found, same = read_checkpoint(older, role), read_checkpoint(path, role)
        assert found.sha256 != same.sha256
        assert all(torch.equal(found.state[name], same.state[name]) for name in same.state)
        older.write_bytes(older.read_bytes()[:-100_000])
        with pytest.raises(CheckpointError, match="truncated"):
            read_checkpoint(older, role)


def test_a_folder_that_holds_something_is_left_alone(
    checkpoints: tuple[Path, Path], tmp_path: Path, capsys: Any
) -> None:
    kept = tmp_path / "out" / "kept.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    assert run(*checkpoints, kept.parent) == 1
    assert "new, or empty" in capsys.readouterr().err
    assert [path.name for path in kept.parent.iterdir()] == ["kept.txt"]


def test_what_breaks_midway_leaves_nothing(
    checkpoints: tuple[Path, Path], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.published import importing

    monkeypatch.setattr(importing, "check_known_answer", lambda networks: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(*checkpoints, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_answer_unlike_torchs_is_no_import(
    checkpoints: tuple[Path, Path], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.published import importing

    def wrong(weights: Any, normalisation: str) -> bytes:
        return segmenter_graph(weights, "instance")

    monkeypatch.setattr(importing, "segmenter_graph", wrong)
    assert run(*checkpoints, tmp_path / "out") == 1
    assert "does not answer as torch does" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "models.import_published", "--out", tmp_path / "out"]
    named = ["--segmenter", checkpoints[0], "--classifier", checkpoints[1]]
    done = subprocess.run(
        [*command, *named], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "manifest.json").exists()


def test_a_terminated_command_leaves_nothing(
    checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "models.import_published", "--out", tmp_path / "out"]
    named = ["--segmenter", checkpoints[0], "--classifier", checkpoints[1]]
    with subprocess.Popen([*command, *named], stdout=subprocess.PIPE, text=True) as importing:
        while not any(tmp_path.iterdir()):
            assert importing.poll() is None
        importing.terminate()
        told, _ = importing.communicate(timeout=300)
    assert (importing.returncode, told) == (128 + signal.SIGTERM, "")
    assert list(tmp_path.iterdir()) == []
