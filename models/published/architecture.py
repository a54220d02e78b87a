"""The published networks in torch, under the names that their checkpoints use.

The segmenter is a QuickNAT (Roy et al., NeuroImage 2019): dense blocks around 2×2 pooling whose
indices say where unpooling puts each value back. The classifier is a plain stack of convolutions.
Both take grey 0..1 here; whatever else they want of their input is part of them.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Normalisation = Literal["running", "instance"]
"""Batch norm by its stored statistics, or by those of each window."""

SIDE = 256
FILTERS = 64
ENCODERS = ("encode1", "encode2", "encode3", "encode4")
DECODERS = (
    ("decode4", "encode4"),
    ("decode1", "encode3"),
    ("decode2", "encode2"),
    ("decode3", "encode1"),
)
"""In the order in which they run, each with the encoder whose skip and indices it takes."""
CLASSIFIER_CHANNELS = (1, 64, 128, 256, 128, 64)


class Norm(nn.BatchNorm2d):
    """Batch norm that can normalise each window by its own statistics instead."""

    normalisation: Normalisation = "running"

    def forward(self, input: Tensor) -> Tensor:
        if self.normalisation == "instance":
            return functional.instance_norm(
                input, weight=self.weight, bias=self.bias, use_input_stats=True, eps=self.eps
            )
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class DenseBlock(nn.Module):
    """Two 5×5 convolutions and a 1×1 one, each on all that came before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, FILTERS, 5, padding=2)
        self.conv2 = nn.Conv2d(channels + FILTERS, FILTERS, 5, padding=2)
        self.conv3 = nn.Conv2d(channels + 2 * FILTERS, FILTERS, 1)
        self.batchnorm1 = Norm(channels)
        self.batchnorm2 = Norm(channels + FILTERS)
        self.batchnorm3 = Norm(channels + 2 * FILTERS)
        self.prelu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        o3 = self.conv1(self.prelu(self.batchnorm1(x)))
        seen = torch.cat([x, o3], 1)
        o7 = self.conv2(self.prelu(self.batchnorm2(seen)))
        seen = torch.cat([seen, o7], 1)
        return self.conv3(self.prelu(self.batchnorm3(seen)))


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(FILTERS, 1, 1)


class Segmenter(nn.Module):
    """Grey 0..1, shape (n, 1, 256, 256), to a logit per pixel of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        for name in ENCODERS:
            self.add_module(name, DenseBlock(1 if name == "encode1" else FILTERS))
        self.bottleneck = DenseBlock(FILTERS)
        for name in ("decode1", "decode2", "decode3", "decode4"):
            self.add_module(name, DenseBlock(2 * FILTERS))
        self.classifier = _Head()

    def forward(self, window: Tensor) -> Tensor:
        kept: dict[str, tuple[Tensor, Tensor]] = {}
        x = window
        for name in ENCODERS:
            skip = self.get_submodule(name)(x)
            x, indices = functional.max_pool2d(skip, 2, return_indices=True)
            kept[name] = skip, indices
        x = self.bottleneck(x)
        for name, encoder in DECODERS:
            skip, indices = kept[encoder]
            unpooled = functional.max_unpool2d(x, indices, 2, output_size=skip.shape[-2:])
            x = self.get_submodule(name)(torch.cat([skip, unpooled], 1))
        return self.classifier.conv(x)


class _ConvBlock(nn.Module):
    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), Norm(filters), nn.MaxPool2d(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class Classifier(nn.Module):
    """Grey 0..1, shape (n, 1, 256, 256), to the probability of high quality, shape (n,)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = len(CLASSIFIER_CHANNELS) - 1
        for index in range(self.blocks):
            block = _ConvBlock(CLASSIFIER_CHANNELS[index], CLASSIFIER_CHANNELS[index + 1])
            self.add_module(f"conv_block{index + 1}", block)
        remaining = SIDE // 2**self.blocks
        self.linear = nn.Linear(CLASSIFIER_CHANNELS[-1] * remaining**2, 1)

    def forward(self, window: Tensor) -> Tensor:
        x = (window - 0.5) / 0.5
        for index in range(self.blocks):
            x = self.get_submodule(f"conv_block{index + 1}")(x)
        return torch.sigmoid(self.linear(x.flatten(1)))[:, 0]


def normalise_by(network: nn.Module, normalisation: Normalisation) -> nn.Module:
    """Set how all of a network's norms normalise; returns the network, ready to answer."""
    for module in network.modules():
        if isinstance(module, Norm):
            module.normalisation = normalisation
    return network.eval()
