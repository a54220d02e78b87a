"""Training windows, cut from shards and varied: what the networks see is never twice the same."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.pipeline.resample import NETWORK_COLUMNS, NETWORK_ROWS, normalised
from models.training.dataset import Shard, read_shard

Arrays = dict[str, NDArray[np.float32]]

GOOD_SHARE = 0.6
"""Share of followable columns from which an expert counts a window as good: walls that fade for
some columns of a beat are still followed by eye."""

LEARNT_SHARE = 0.7
"""The share that the classifier learns to tell: stricter, where pictures differ most."""


class Shards:
    """All shards of a folder, read again as new ones arrive."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[Path, Shard] = {}

    def refresh(self) -> None:
        """Read the shards that were not there before."""
        for path in sorted(self.folder.glob("*.npz")):
            if path not in self.known:
                self.known[path] = read_shard(path)

    def draw(self, rng: np.random.Generator) -> tuple[Shard, int]:
        """Return a shard and the index of a recording in it."""
        shards = list(self.known.values())
        shard = shards[rng.integers(len(shards))]
        return shard, int(rng.integers(len(shard.bright)))


def _vary_grey(rng: np.random.Generator, window: NDArray[np.float32]) -> NDArray[np.float32]:
    window = np.clip(window, 0, 1.5) ** np.float32(np.exp(rng.normal(0, 0.18)))
    window = window * np.float32(np.exp(rng.normal(0, 0.12)))
    if rng.random() < 0.3:
        window = window + np.float32(rng.uniform(0, 0.06)) * rng.standard_normal(
            window.shape, dtype=np.float32
        )
    return np.clip(window, 0, 1.5)


def _cut(picture: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """Cut a box (left, top, right, bottom) out and scale it to 256 × 256; black beyond the edge."""
    left, top, right, bottom = box
    height = picture.shape[0]
    above, below = max(0, int(np.ceil(-top))), max(0, int(np.ceil(bottom - height)))
    if above or below:
        picture = np.pad(picture, ((above, below), (0, 0)))
    size = (NETWORK_COLUMNS, NETWORK_ROWS)
    box = (left, top + above, right, bottom + above)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, box=box))


def segmenter_window(rng: np.random.Generator, shards: Shards) -> Arrays:
    """Return a window and its truth.

    ``window`` (1, 256, 256), ``mm_per_row`` (), ``borders`` (4, 256), ``in_view`` and
    ``followable`` (256,).
    """
    shard, index = shards.draw(rng)
    picture = shard.pictures[index]
    width = NETWORK_COLUMNS * np.exp(rng.uniform(np.log(0.75), np.log(1.35)))
    left = rng.uniform(0, picture.shape[1] - width)
    height = NETWORK_ROWS * rng.uniform(0.78, 1.12)
    top = rng.uniform(min(0.0, NETWORK_ROWS - height), max(0.0, NETWORK_ROWS - height))
    cut = _cut(picture, (left, top, left + width, top + height))
    bright = float(shard.bright[index] * np.exp(rng.normal(0, 0.2)))
    window = _vary_grey(rng, normalised(cut, bright))

    at = left + (np.arange(NETWORK_COLUMNS) + 0.5) * width / NETWORK_COLUMNS - 0.5
    native = np.arange(picture.shape[1])
    rows = [np.interp(at, native, border) for border in shard.borders[index]]
    borders = (np.stack(rows) + 0.5 - top) * NETWORK_ROWS / height - 0.5
    inside = (borders[:2].min(0) > 2) & (borders[:2].max(0) < NETWORK_ROWS - 3)
    nearest = np.clip(np.rint(at).astype(int), 0, native[-1])
    in_view = shard.in_view[index][nearest] & inside
    return {
        "window": window[None],
        "mm_per_row": np.float32(shard.mm_per_row[index] * height / NETWORK_ROWS),
        "borders": borders.astype(np.float32),
        "in_view": in_view.astype(np.float32),
        "followable": (shard.followable[index][nearest] * in_view).astype(np.float32),
    }


def quality_window(rng: np.random.Generator, shards: Shards) -> Arrays:
    """Return ``window`` (1, 256, 256) and ``target`` (): the share of readable columns, softened.

    The window lies as `app.pipeline.quality` lays it: 0.215 s and three quarters of the depth at
    the usual ratio, centred on the ventricle.
    """
    shard, index = shards.draw(rng)
    picture = shard.pictures[index]
    ratio = rng.choice([0.5, 0.6, 0.75, 0.9, 1.0], p=[0.1, 0.15, 0.5, 0.15, 0.1])
    width = 172 * ratio / 0.75 * rng.uniform(0.8, 1.25)
    height = NETWORK_ROWS * min(1.0, ratio * rng.uniform(0.9, 1.1))
    left = rng.uniform(0, picture.shape[1] - width)
    columns = slice(int(left), int(left + width))
    centre = float(shard.borders[index][:2, columns].mean()) + rng.normal(0, 0.04 * NETWORK_ROWS)
    top = np.clip(centre - height / 2, 0, NETWORK_ROWS - height)
    cut = _cut(picture, (left, top, left + width, top + height))
    bright = float(shard.bright[index] * np.exp(rng.normal(0, 0.2)))
    window = _vary_grey(rng, normalised(cut, bright))
    share = float(shard.followable[index][columns].mean())
    return {"window": window[None], "target": np.float32(softened(share, LEARNT_SHARE))}


def softened(followable_share: float, line: float) -> float:
    """Probability that a window is on the good side of ``line``: near it, experts differ."""
    return float(1 / (1 + np.exp(-(followable_share - line) / 0.05)))


def batches(
    draw: Callable[[np.random.Generator, Shards], Arrays], seed: int, shards: Shards, size: int
) -> Iterator[Arrays]:
    """Endless batches of ``size`` windows made by ``draw``, the same for the same seed."""
    rng = np.random.default_rng(seed)
    while True:
        windows = [draw(rng, shards) for _ in range(size)]
        yield {name: np.stack([w[name] for w in windows]) for name in windows[0]}
