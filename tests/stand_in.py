"""A small pair of networks in the place of the published one, and a heart that it can see.

The segmenter takes for lumen what is dark over a few pixels; the classifier takes a bright enough
window for a good one. Both have the inputs and outputs that the importer writes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.pipeline.known_answer import known_answer_of
from app.pipeline.networks import load_networks

LUMEN_GREY, GOOD_GREY = 60 / 255, 60 / 255


def _model(nodes: list[Any], output: str, shape: list[Any], constants: dict[str, Any]) -> bytes:
    window = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", 1, 256, 256])
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
    kept = [numpy_helper.from_array(np.array(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "stand-in", [window], [result], kept)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def mask_segmenter() -> bytes:
    """Logits that grow as the mean of 3 × 3 pixels falls below ``LUMEN_GREY``."""
    return _model(
        [
            helper.make_node(
                "AveragePool", ["window"], ["mean"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]
            ),
            helper.make_node("Sub", ["threshold", "mean"], ["darker"]),
            helper.make_node("Mul", ["darker", "steep"], ["logits"]),
        ],
        "logits",
        ["n", 1, 256, 256],
        {"threshold": np.float32(LUMEN_GREY), "steep": np.float32(60)},
    )


def classifier() -> bytes:
    """Probability that grows as the mean of the window rises over ``GOOD_GREY``."""
    return _model(
        [
            helper.make_node("ReduceMean", ["window"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Sub", ["mean", "threshold"], ["brighter"]),
            helper.make_node("Mul", ["brighter", "steep"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["probability"]),
        ],
        "probability",
        ["n"],
        {"threshold": np.float32(GOOD_GREY), "steep": np.float32(60)},
    )


def write_stand_ins(folder: Path, **changes: dict[str, Any]) -> Path:
    """Write a folder of networks; ``changes`` are entries of the manifest by role."""
    manifest: dict[str, Any] = {"format": 1}
    for role, kind, content in (
        ("segmenter", "mask", mask_segmenter()),
        ("classifier", "quality", classifier()),
    ):
        file = folder / f"{role}.onnx"
        file.write_bytes(content)
        manifest[role] = {
            "file": file.name,
            "name": f"stand-in-{kind}",
            "version": "1",
            "sha256": hashlib.sha256(content).hexdigest(),
            "kind": kind,
            "grey": "unit",
        } | changes.get(role, {})
    path = folder / "manifest.json"
    path.write_text(json.dumps(manifest))
    manifest["known_answer"] = known_answer_of(load_networks(folder, 1))
    path.write_text(json.dumps(manifest))
    return folder


def heart(
    columns: int, rows: int = 300, cycle_columns: int = 105, dim: slice = slice(0, 0)
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw a dark lumen in bright tissue that beats; the columns ``dim`` are too dark to be good.

    Returns
    -------
    pixels : ndarray of uint8, shape (rows, columns)
    lumen_rows : ndarray of int, shape (columns,)
        How many rows of each column are lumen.
    """
    phase = 2 * np.pi * (np.arange(columns) - 20) / cycle_columns
    half = np.rint(48 + 20 * np.cos(phase)).astype(int)
    row = np.arange(rows)[:, None]
    lumen = np.abs(row - rows // 2 + 0.5) < half
    tissue = np.full(columns, 120.0)
    tissue[dim] = 80
    grain = np.random.default_rng(5).normal(0, 2, (rows, columns))
    pixels = np.where(lumen, 10, tissue) + grain
    return pixels.clip(0, 255).astype(np.uint8), 2 * half
