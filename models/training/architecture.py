"""The two networks, in torch. Both read windows of 256 × 256 pixels."""

import itertools

import torch
from torch import Tensor, nn


def _convolutions(inputs: int, outputs: int, count: int = 2) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(count):
        layers += [
            nn.Conv2d(inputs if index == 0 else outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class BorderSegmenter(nn.Module):
    """A U-Net whose answer is, for every column, where each border may lie.

    Input ``window``, float32 (n, 1, 256, 256), as `app.pipeline.resample.normalised` makes it, and
    ``mm_per_row``, float32 (n,): how deep one of the 256 rows is, so that the border convention,
    which is given in millimetres, does not have to be guessed from the picture.

    Output ``borders``, (n, 4, 256, 256): logits over the rows (axis 2) of the upper, lower, upper
    inner and lower inner border; ``columns``, (n, 2, 256): logits that a ventricle is in view and
    that both its borders can be followed.
    """

    widths = (16, 32, 64, 96, 128)

    def __init__(self) -> None:
        super().__init__()
        first, *rest = self.widths
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            _convolutions(first, first, 1),
        )
        self.scale = nn.Linear(1, self.widths[2])
        self.down = nn.ModuleList(
            _convolutions(a, b) for a, b in zip(self.widths[:-1], rest, strict=True)
        )
        self.up = nn.ModuleList(
            _convolutions(a + b, a)
            for a, b in zip(self.widths[-2::-1], self.widths[:0:-1], strict=True)
        )
        self.head = nn.Sequential(
            nn.Conv2d(first, first, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(first, 16, 1)
        )
        self.columns = nn.Sequential(
            nn.Conv1d(2 * (self.widths[0] + self.widths[1]), 32, 9, padding=4),
            nn.ReLU(inplace=True),
            nn.Conv1d(32, 2, 5, padding=2),
        )
        self.pool = nn.MaxPool2d(2)
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.shuffle = nn.PixelShuffle(2)
        self.stretch = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, window: Tensor, mm_per_row: Tensor) -> tuple[Tensor, Tensor]:
        """Return border logits (n, 4, 256, 256) and column logits (n, 2, 256)."""
        features = self.stem(window)
        skips = []
        scale = self.scale((torch.log(mm_per_row) + 3.6).unsqueeze(1))
        for level, block in enumerate(self.down):
            skips.append(features)
            features = block(self.pool(features))
            if level == 1:
                features = features + scale[:, :, None, None]
        coarse = features
        for block in self.up:
            coarse = features
            features = block(torch.cat([skips.pop(), self.enlarge(features)], 1))
        borders = self.shuffle(self.head(features))
        summary = torch.cat([features.mean(2), features.amax(2)], 1)
        context = torch.cat([coarse.mean(2), coarse.amax(2)], 1)
        summary = torch.cat([summary, self.stretch(context)], 1)
        return borders, self.stretch(self.columns(summary))


class QualityClassifier(nn.Module):
    """Tells windows in which both borders can be followed from those in which they cannot.

    Input ``window``, float32 (n, 1, 256, 256); output a logit (n,).
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 32, 48, 64, 96)
        layers: list[nn.Module] = [
            nn.Conv2d(1, widths[0], 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for a, b in itertools.pairwise(widths):
            layers += [nn.MaxPool2d(2), _convolutions(a, b, 1)]
        self.features = nn.Sequential(*layers)
        self.answer = nn.Sequential(
            nn.Linear(2 * widths[-1], 48), nn.ReLU(inplace=True), nn.Linear(48, 1)
        )

    def forward(self, window: Tensor) -> Tensor:
        """Return the logit of high quality, (n,)."""
        features = self.features(window)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return self.answer(pooled).squeeze(1)
