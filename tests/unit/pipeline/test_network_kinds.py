import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from app.pipeline.errors import NetworksError
from app.pipeline.known_answer import check_known_answer, known_answer_of, known_window
from app.pipeline.networks import (
    Networks,
    find_mask_logits,
    judge_quality,
    load_networks,
    require_convention,
)
from app.settings import Settings
from tests.stand_in import write_stand_ins


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_stand_ins(tmp_path)


def edit(folder: Path, role: str, **changes: Any) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest[role].update(changes)
    path.write_text(json.dumps(manifest))


def remodel(folder: Path, role: str, change: Any) -> None:
    """Change a network's file, and tell the manifest."""
    file = folder / f"{role}.onnx"
    model = onnx.load(file)
    change(model.graph)
    content = model.SerializeToString()
    file.write_bytes(content)
    edit(folder, role, sha256=hashlib.sha256(content).hexdigest())


def test_a_pair_with_a_mask_loads_and_gives_its_known_answer(folder: Path) -> None:
    networks = load_networks(folder)
    assert (networks.segmenter.kind, networks.segmenter.grey) == ("mask", "unit")
    assert networks.segmenter.card["kind"] == "mask"
    check_known_answer(networks)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_windows(count: int, stand_ins: Networks) -> None:
    windows = np.repeat(known_window()[None], count, axis=0)
    logits = find_mask_logits(stand_ins, windows)
    assert logits.shape == (count, 256, 256)
    assert (logits == logits[:1]).all()
    assert judge_quality(stand_ins, windows).shape == (count,)


def test_a_wrong_known_answer_of_a_mask_is_noticed(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["known_answer"]["logit_fields"][1][2] += 0.1 * manifest["known_answer"]["logit_spread"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(NetworksError, match="logits are"):
        check_known_answer(load_networks(folder))


def test_the_known_answer_of_another_kind_is_no_answer(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["known_answer"] = {"border_rows": [[1], [2]], "probability": 0.5}
    path.write_text(json.dumps(manifest))
    with pytest.raises(NetworksError, match="no usable known answer"):
        check_known_answer(load_networks(folder))


@pytest.mark.parametrize(
    ("role", "changes", "said"),
    [
        ("segmenter", {"kind": "landmarks"}, "'landmarks', not 'borders' or 'mask'"),
        ("segmenter", {"kind": None}, "None, not"),
        ("segmenter", {"kind": ["mask"]}, "not 'borders' or 'mask'"),
        ("segmenter", {"kind": "borders", "grey": "scaled"}, r"wanted is window .*, mm_per_row"),
        ("segmenter", {"kind": "borders", "grey": "unit"}, "'unit'; of the kind 'borders'"),
        ("segmenter", {"grey": "inverted"}, "'inverted'"),
        ("classifier", {"kind": "mask"}, "'mask', not 'quality'"),
        ("classifier", {"grey": 255}, "255"),
    ],
)
def test_a_manifest_that_contradicts_its_networks(
    role: str, changes: dict[str, Any], said: str, folder: Path
) -> None:
    edit(folder, role, **changes)
    with pytest.raises(NetworksError, match=said):
        load_networks(folder)


def rename(graph: onnx.GraphProto) -> None:
    graph.output[0].name = graph.node[-1].output[0] = "answer"


def narrow(graph: onnx.GraphProto) -> None:
    for node in (graph.input[0], graph.output[0]):
        node.type.tensor_type.shape.dim[3].dim_value = 128


def fix_batch(graph: onnx.GraphProto) -> None:
    for node in (graph.input[0], graph.output[0]):
        node.type.tensor_type.shape.dim[0].dim_value = 1


def to_double(graph: onnx.GraphProto) -> None:
    for node in (graph.input[0], graph.output[0]):
        node.type.tensor_type.elem_type = TensorProto.DOUBLE
    for kept in graph.initializer:
        value = numpy_helper.to_array(kept).astype(np.float64)
        kept.CopyFrom(numpy_helper.from_array(value, kept.name))


@pytest.mark.parametrize(
    ("role", "change", "said"),
    [
        ("segmenter", rename, "gives answer .* wanted is logits"),
        ("segmenter", narrow, "takes window .*n×1×256×128; wanted is .*n×1×256×256"),
        ("segmenter", fix_batch, "takes window .*1×1×256×256; wanted is .*n×1×256×256"),
        ("classifier", to_double, r"takes window tensor\(double\)"),
    ],
)
def test_a_network_with_other_inputs_or_outputs(
    role: str, change: Any, said: str, folder: Path
) -> None:
    remodel(folder, role, change)
    with pytest.raises(NetworksError, match=said):
        load_networks(folder)


def test_files_that_are_exchanged_behind_the_manifests_back(folder: Path) -> None:
    files = [folder / f"{role}.onnx" for role in ("segmenter", "classifier")]
    contents = [file.read_bytes() for file in files]
    for role, file, content in zip(("segmenter", "classifier"), files, contents[::-1], strict=True):
        file.write_bytes(content)
        edit(folder, role, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(NetworksError, match=r"segmenter\.onnx gives probability"):
        load_networks(folder)


def test_a_mask_beside_our_own_classifier(folder: Path) -> None:
    shipped = Settings().models_dir
    entry = json.loads((shipped / "manifest.json").read_text())["classifier"]
    (folder / "classifier.onnx").write_bytes((shipped / "classifier.onnx").read_bytes())
    edit(folder, "classifier", **({"grey": "scaled"} | entry))
    networks = load_networks(folder)
    assert (networks.segmenter.grey, networks.classifier.grey) == ("unit", "scaled")


def test_a_mask_knows_one_convention(stand_ins: Networks, networks: Networks) -> None:
    require_convention(networks, "inner_edges")
    require_convention(stand_ins, "expert")
    with pytest.raises(NetworksError, match="inner_edges"):
        require_convention(stand_ins, "inner_edges")


@pytest.mark.parametrize(
    "weights",
    [
        {"network": 1.0, "intercept": 0.0},
        {"network": 1.0, "followable": "1", "intercept": 0.0},
        {"network": 1.0, "followable": float("nan"), "intercept": 0.0},
        {"network": 1.0, "followable": 1.0, "intercept": 0.0, "regularity": 1.0},
        [1.0, 1.0, 0.0],
    ],
)
def test_a_combination_that_lacks_a_weight_stops_the_start(folder: Path, weights: Any) -> None:
    edit(folder, "classifier", combination=weights)
    with pytest.raises(NetworksError, match="followable, intercept, network"):
        load_networks(folder)


def test_a_combination_is_kept_in_the_card(folder: Path) -> None:
    weights = {"network": 0.5, "followable": 0.8, "intercept": -0.1}
    edit(folder, "classifier", combination=weights)
    assert load_networks(folder).classifier.card["combination"] == weights


@pytest.mark.parametrize("role", ["segmenter", "classifier"])
def test_a_network_that_answers_with_no_number_is_noticed(role: str, folder: Path) -> None:
    def poison(graph: Any) -> None:
        for constant in graph.initializer:
            if constant.name == "steep":
                constant.CopyFrom(numpy_helper.from_array(np.float32(np.nan), "steep"))

    remodel(folder, role, poison)
    with pytest.raises(NetworksError, match="finite"):
        known_answer_of(load_networks(folder))


def test_a_network_that_loads_and_does_not_run_is_noticed(folder: Path) -> None:
    def break_in_pieces(graph: Any) -> None:
        """Ask for a shape that no 256 × 256 numbers can have, behind what tells at loading."""
        graph.initializer.append(numpy_helper.from_array(np.array([7, 7, -1]), "odd"))
        graph.node.insert(0, helper.make_node("Reshape", ["window", "odd"], ["pieces"]))
        graph.node.insert(1, helper.make_node("Shape", ["window"], ["as_it_was"]))
        graph.node.insert(2, helper.make_node("Reshape", ["pieces", "as_it_was"], ["whole"]))
        graph.node[3].input[0] = "whole"

    remodel(folder, "segmenter", break_in_pieces)
    with pytest.raises(NetworksError, match="do not run"):
        known_answer_of(load_networks(folder))
