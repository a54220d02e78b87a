"""These need torch (`make install-train`); without it they are not collected."""

from pathlib import Path

import numpy as np
import pytest
import torch

from app.pipeline.known_answer import check_known_answer, known_window
from app.pipeline.networks import find_borders, judge_quality, load_networks
from models.training import dataset, train
from models.training.architecture import BorderSegmenter
from models.training.export import averaged, export
from models.training.start import start_from

SHIPPED = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "PER_SHARD", 3)
        dataset.write_shards(folder, 0, 3)
    return folder


def test_training_learns_resumes_and_exports(shards: Path, tmp_path: Path) -> None:
    for task in ("segmenter", "classifier"):
        path = train.train(task, shards, tmp_path, steps=2, seed=1, batch_size=2)
        first = torch.load(path, weights_only=True)
        train.train(task, shards, tmp_path, steps=3, seed=1, batch_size=2)
        second = torch.load(path, weights_only=True)
        assert (first["step"], second["step"]) == (2, 3)
        changed = [
            name
            for name, weight in first["network"].items()
            if not torch.equal(weight, second["network"][name])
        ]
        assert len(changed) > len(first["network"]) / 2
    difference = export(
        tmp_path / "segmenter-1.pt", tmp_path / "classifier-1.pt", tmp_path / "out", "0.0.1"
    )
    assert difference < 1e-3
    networks = load_networks(tmp_path / "out", threads=1)
    check_known_answer(networks)
    assert networks.segmenter.info.version == "0.0.1"


def test_the_loss_is_lowest_at_the_truth() -> None:
    class Answering(torch.nn.Module):
        def __init__(self, rows: float) -> None:
            super().__init__()
            self.rows = rows

        def forward(
            self, window: torch.Tensor, mm_per_row: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            distance = torch.arange(256.0) - self.rows
            logits = (-0.5 * (distance / train.TARGET_WIDTH_ROWS) ** 2)[None, None, :, None]
            return logits.expand(1, 4, 256, 256), torch.full((1, 2, 256), 8.0)

    batch = {
        "window": torch.zeros(1, 1, 256, 256),
        "mm_per_row": torch.ones(1),
        "borders": torch.full((1, 4, 256), 100.0),
        "in_view": torch.ones(1, 256),
        "followable": torch.ones(1, 256),
    }
    right, near, far = (
        float(train.segmenter_loss(Answering(r), batch)) for r in (100.0, 103.0, 140.0)
    )
    assert right < near < far


def test_the_segmenter_knows_the_scale_it_is_told() -> None:
    torch.manual_seed(0)
    network = BorderSegmenter().eval()
    window = torch.rand(1, 1, 256, 256)
    with torch.inference_mode():
        small, large = (network(window, torch.tensor([mm]))[0] for mm in (0.02, 0.05))
    assert not torch.allclose(small, large)


@pytest.mark.parametrize("task", ["segmenter", "classifier"])
def test_training_goes_on_from_what_a_file_holds(task: str, shards: Path, tmp_path: Path) -> None:
    path = train.train(task, shards, tmp_path, steps=1, seed=1, batch_size=2, start=SHIPPED)
    network = averaged(train.TASKS[task][0](), path)
    shipped = load_networks(SHIPPED, threads=1)
    window = known_window()[None]
    with torch.inference_mode():
        tensor = torch.from_numpy(window[:, None])
        if task == "segmenter":
            answer = network(tensor, torch.tensor([0.0277]))[0].numpy()
            before = find_borders(shipped, window, 0.0277)[0]
        else:
            answer = torch.sigmoid(network(tensor)).numpy()
            before = judge_quality(shipped, window)
    # one step at a rate that is still warming up moves the average hardly at all
    assert np.abs(answer - before).max() < 0.02 * np.ptp(before) + 1e-3


def test_a_file_of_another_network_is_no_start() -> None:
    with pytest.raises(ValueError, match="other layers"):
        start_from(BorderSegmenter(), SHIPPED / "classifier.onnx")
