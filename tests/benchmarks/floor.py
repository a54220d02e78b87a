"""What this machine needs at least: to look at every byte, and to do the networks' arithmetic."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
from onnx import shape_inference

_GEMM_SIDE = 1536


def floor_s(path: Path) -> float:
    """Seconds to read a file, hash it (SHA-256) and touch every byte of it, each once."""
    began = perf_counter()
    content = path.read_bytes()
    hashlib.sha256(content).hexdigest()
    int(np.frombuffer(content, np.uint8).sum())
    return perf_counter() - began


def peak_multiply_adds_per_s(repetitions: int = 5) -> float:
    """Most float32 multiply-adds a second: of a large matrix product, on all cores."""
    a = np.random.default_rng(0).random((_GEMM_SIDE, _GEMM_SIDE), np.float32)
    times_s = []
    for _ in range(repetitions):
        began = perf_counter()
        a @ a
        times_s.append(perf_counter() - began)
    return float(_GEMM_SIDE**3 / min(times_s))


def multiply_adds(network: Path) -> float:
    """Count the multiply-adds that a network's convolutions take for one window."""
    model = onnx.load(network)
    for port in model.graph.input:
        dimensions = port.type.tensor_type.shape.dim
        if len(dimensions) and not dimensions[0].HasField("dim_value"):
            dimensions[0].dim_value = 1
    graph = shape_inference.infer_shapes(model).graph
    shapes = {port.name: _shape(port) for port in (*graph.value_info, *graph.output)}
    weights: dict[str, Sequence[int]] = {weight.name: weight.dims for weight in graph.initializer}
    return float(
        sum(
            np.prod(shapes[node.output[0]]) * np.prod(weights[node.input[1]][1:])
            for node in graph.node
            if node.op_type == "Conv"
        )
    )


def _shape(port: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in port.type.tensor_type.shape.dim]
