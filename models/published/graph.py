"""Weights → ONNX graphs, written operator by operator.

Written by hand because no exporter knows max-unpooling. ONNX's MaxPool counts its indices over the
whole batch (`storage_order` 0), so scattering the values into a flat tensor of zeros puts each
back where it came from, for any number of windows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.published.architecture import (
    CLASSIFIER_CHANNELS,
    DECODERS,
    ENCODERS,
    SIDE,
    Normalisation,
)

Weights = Mapping[str, NDArray[np.generic]]

OPSET = 17
IR_VERSION = 8
EPSILON = 1e-5


class _Graph:
    """Collects nodes and the weights that they name."""

    def __init__(self, weights: Weights, normalisation: Normalisation) -> None:
        self._weights = weights
        self._normalisation = normalisation
        self._nodes: list[onnx.NodeProto] = []
        self._kept: dict[str, onnx.TensorProto] = {}

    def add(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: object) -> str:
        """Add an operator; returns the name of its first output, others end in ``_1``, ``_2``."""
        name = f"{op.lower()}{len(self._nodes)}"
        names = [name, *(f"{name}_{index}" for index in range(1, outputs))]
        self._nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self._kept[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name: str, shape: Sequence[int] | None = None) -> str:
        value = self._weights[name]
        return self.constant(name, value if shape is None else value.reshape(shape))

    def conv(self, x: str, name: str, padding: int) -> str:
        inputs = [x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.add("Conv", inputs, pads=[padding] * 4)

    def norm(self, x: str, name: str) -> str:
        inputs = [x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        if self._normalisation == "instance":
            return self.add("InstanceNormalization", inputs, epsilon=EPSILON)
        stored = [self.weight(f"{name}.running_mean"), self.weight(f"{name}.running_var")]
        return self.add("BatchNormalization", [*inputs, *stored], epsilon=EPSILON)

    def dense_block(self, x: str, name: str) -> str:
        slope = self.weight(f"{name}.prelu.weight", (1, 1, 1))

        def step(seen: str, index: int) -> str:
            normed = self.norm(seen, f"{name}.batchnorm{index}")
            active = self.add("PRelu", [normed, slope])
            return self.conv(active, f"{name}.conv{index}", 0 if index == 3 else 2)

        seen = self.add("Concat", [x, step(x, 1)], axis=1)
        seen = self.add("Concat", [seen, step(seen, 2)], axis=1)
        return step(seen, 3)

    def pool(self, x: str) -> tuple[str, str]:
        """2×2 maxima, and their indices in all of ``x``."""
        pooled = self.add("MaxPool", [x], 2, kernel_shape=[2, 2], strides=[2, 2])
        return pooled, f"{pooled}_1"

    def unpool(self, x: str, indices: str, like: str) -> str:
        """Each value of ``x`` at its index in zeros of the shape of ``like``."""
        flat = self.constant("flat", np.array([-1], np.int64))
        size = self.add("Reshape", [self.add("Size", [like]), flat])
        zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
        zeros = self.add("ConstantOfShape", [size], value=zero)
        values = self.add("Reshape", [x, flat])
        at = self.add("Reshape", [indices, flat])
        scattered = self.add("ScatterElements", [zeros, at, values], axis=0)
        return self.add("Reshape", [scattered, self.add("Shape", [like])])

    def model(self, result: str, output: str, shape: Sequence[int | str]) -> bytes:
        """Finish the graph: ``window`` in, ``output`` out."""
        self._nodes.append(helper.make_node("Identity", [result], [output]))
        kind = TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "published",
            [helper.make_tensor_value_info("window", kind, ["n", 1, SIDE, SIDE])],
            [helper.make_tensor_value_info(output, kind, shape)],
            list(self._kept.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="echo2pheno",
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def segmenter_graph(weights: Weights, normalisation: Normalisation) -> bytes:
    """Write the segmenter as ONNX.

    Parameters
    ----------
    weights : mapping of str to ndarray
        The state of `architecture.Segmenter`.
    normalisation : {'running', 'instance'}

    Returns
    -------
    bytes
        A model with the input ``window``, float32 (n, 1, 256, 256), grey 0..1, and the output
        ``logits`` of the same shape; its weights are in it.
    """
    graph = _Graph(weights, normalisation)
    kept: dict[str, tuple[str, str]] = {}
    x = "window"
    for name in ENCODERS:
        skip = graph.dense_block(x, name)
        x, indices = graph.pool(skip)
        kept[name] = skip, indices
    x = graph.dense_block(x, "bottleneck")
    for name, encoder in DECODERS:
        skip, indices = kept[encoder]
        x = graph.dense_block(
            graph.add("Concat", [skip, graph.unpool(x, indices, skip)], axis=1), name
        )
    logits = graph.conv(x, "classifier.conv", 0)
    return graph.model(logits, "logits", ["n", 1, SIDE, SIDE])


def classifier_graph(weights: Weights, normalisation: Normalisation) -> bytes:
    """Write the classifier as ONNX: ``window`` as for the segmenter, ``probability`` (n,) out."""
    graph = _Graph(weights, normalisation)
    half = graph.constant("half", np.float32(0.5))
    x = graph.add("Div", [graph.add("Sub", ["window", half]), half])
    for index in range(1, len(CLASSIFIER_CHANNELS)):
        name = f"conv_block{index}.double_conv"
        x = graph.add("Relu", [graph.conv(x, f"{name}.0", 1)])
        x = graph.add("MaxPool", [graph.norm(x, f"{name}.2")], kernel_shape=[2, 2], strides=[2, 2])
    x = graph.add("Flatten", [x])
    inputs = [x, graph.weight("linear.weight"), graph.weight("linear.bias")]
    x = graph.add("Sigmoid", [graph.add("Gemm", inputs, transB=1)])
    flat = graph.constant("flat", np.array([-1], np.int64))
    return graph.model(graph.add("Reshape", [x, flat]), "probability", ["n"])
