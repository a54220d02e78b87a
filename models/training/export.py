"""Checkpoints → ONNX files, their manifest, and the proof that they answer as torch does."""

import hashlib
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.pipeline.known_answer import check_known_answer, known_answer_of, known_window
from app.pipeline.networks import find_borders, judge_quality, load_networks
from models.simulation.convention import (
    LOWER_BEYOND_D_MM,
    LOWER_BEYOND_S_MM,
    UPPER_BEYOND_D_MM,
    UPPER_BEYOND_S_MM,
)
from models.training.architecture import BorderSegmenter, QualityClassifier

CONVENTION = (
    "expert: upper border through the bright endocardial echo of the anterior wall, lower border "
    "through the body of the posterior wall's echo, beneath the systolic tips; outside the visible "
    f"inner edges by {UPPER_BEYOND_D_MM} mm above and {LOWER_BEYOND_D_MM} mm below in diastole, "
    f"{UPPER_BEYOND_S_MM} mm and {LOWER_BEYOND_S_MM} mm in systole"
)
TRAINED_ON = "simulated M-mode recordings only (models/simulation); no real recording"


class _Probability(nn.Module):
    """The classifier with its logit turned into a probability."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: Tensor) -> Tensor:
        return torch.sigmoid(self.network(window))


def averaged(network: nn.Module, checkpoint: Path) -> nn.Module:
    """Load the running average of the weights that a checkpoint holds, ready to answer."""
    state = torch.load(checkpoint, weights_only=True)["average"]
    weights = {
        name.removeprefix("module."): value
        for name, value in state.items()
        if name.startswith("module.")
    }
    network.load_state_dict(weights)
    return network.eval()


def export(segmenter: Path, classifier: Path, out: Path, version: str) -> float:
    """Write ``segmenter.onnx``, ``classifier.onnx`` and ``manifest.json`` into ``out``.

    Returns
    -------
    float
        Largest difference between torch and ONNX Runtime on the known window.
    """
    borders = averaged(BorderSegmenter(), segmenter)
    quality = _Probability(averaged(QualityClassifier(), classifier)).eval()
    window = torch.zeros(2, 1, 256, 256)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder, warnings.catch_warnings():
        # the exporter that needs no further package announces its retirement
        warnings.simplefilter("ignore", DeprecationWarning)
        written = Path(folder)
        torch.onnx.export(
            borders, (window, torch.full((2,), 0.03)), str(written / "segmenter.onnx"),
            input_names=["window", "mm_per_row"], output_names=["borders", "columns"],
            dynamic_axes={k: {0: "n"} for k in ("window", "mm_per_row", "borders", "columns")},
            opset_version=17, dynamo=False,
        )  # fmt: skip
        torch.onnx.export(
            quality, (window,), str(written / "classifier.onnx"),
            input_names=["window"], output_names=["probability"],
            dynamic_axes={"window": {0: "n"}, "probability": {0: "n"}},
            opset_version=17, dynamo=False,
        )  # fmt: skip
        manifest: dict[str, Any] = {"format": 1}
        for role, name in (("segmenter", "borders"), ("classifier", "quality")):
            file = written / f"{role}.onnx"
            manifest[role] = {
                "file": file.name,
                "name": f"echo2pheno-{name}",
                "version": version,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "kind": name,
                "grey": "scaled",
                "input": "256 rows of the whole depth, columns of 1.25 ms, grey scaled by the "
                "strip's 99th percentile, gamma 0.6",
                "trained_on": TRAINED_ON,
            }
        manifest["segmenter"]["convention"] = CONVENTION
        path = written / "manifest.json"
        path.write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
        networks = load_networks(written, 1)
        difference = _difference(networks, borders, quality)
        manifest["known_answer"] = known_answer_of(networks)
        path.write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
        check_known_answer(load_networks(written, 1))
        for file in written.iterdir():
            file.replace(out / file.name)
    return difference


def _difference(networks: Any, borders: nn.Module, quality: nn.Module) -> float:
    window = known_window()[None]
    with torch.inference_mode():
        tensor = torch.from_numpy(window[:, None])
        logits, columns = borders(tensor, torch.tensor([0.0277]))
        probability = quality(tensor)
    answer = find_borders(networks, window, 0.0277)
    return float(
        max(
            np.abs(answer[0] - logits.numpy()).max(),
            np.abs(answer[1] - columns.numpy()).max(),
            np.abs(judge_quality(networks, window) - probability.numpy()).max(),
        )
    )
