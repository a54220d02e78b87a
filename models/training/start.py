"""Weights to go on from: what an ONNX file holds, put back into the torch network it came from."""

import itertools
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import nn


def start_from(network: nn.Module, path: Path) -> None:
    """Fill a network with the weights of the file that was once exported from it.

    The export folds every batch normalisation into the convolution before it. Here the
    convolution gets the folded weights and the normalisation becomes the addition of the bias:
    the network answers as the file does as long as its normalisations keep their statistics,
    so it has to be trained on in evaluation mode.

    Raises
    ------
    ValueError
        The file's weights are not those of such a network.
    """
    held = {
        weight.name: torch.from_numpy(numpy_helper.to_array(weight).copy())
        for weight in onnx.load(path).graph.initializer
    }
    nameless = [value for name, value in held.items() if "::" in name]
    folded = list(zip(nameless[0::2], nameless[1::2], strict=True))
    named = {name.removeprefix("network."): v for name, v in held.items() if "::" not in name}
    normalised = _normalised(network)
    if len(folded) != len(normalised):
        raise ValueError(f"{path.name} has other layers than {type(network).__name__}.")
    weights = network.state_dict()
    for (convolution, normalisation), (weight, bias) in zip(normalised, folded, strict=True):
        eps = network.get_submodule(normalisation).eps
        named |= {
            f"{convolution}.weight": weight,
            f"{normalisation}.weight": torch.ones_like(bias),
            f"{normalisation}.bias": bias,
            f"{normalisation}.running_mean": torch.zeros_like(bias),
            f"{normalisation}.running_var": torch.full_like(bias, 1 - eps),
            f"{normalisation}.num_batches_tracked": weights[f"{normalisation}.num_batches_tracked"],
        }
    try:
        network.load_state_dict(named)
    except RuntimeError as error:
        raise ValueError(f"{path.name} is not of {type(network).__name__}: {error}") from error


def _normalised(network: nn.Module) -> list[tuple[str, str]]:
    """Names of each convolution that a batch normalisation follows, and of that, in order."""
    layers = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    return [
        (before, after)
        for (before, _), (after, module) in itertools.pairwise(layers)
        if isinstance(module, nn.BatchNorm2d)
    ]
