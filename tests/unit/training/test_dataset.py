from pathlib import Path

import numpy as np
import pytest

from models.simulation.recording import simulate_recording
from models.training import dataset


def test_the_truth_moves_to_the_networks_grid_with_the_picture() -> None:
    recording = simulate_recording(3, duration_s=1.0, rows=512, seconds_per_column=0.625e-3)
    picture, shard = dataset.on_network_grid(recording)
    assert picture.shape == (256, 800)  # half the rows, half the columns
    columns = np.arange(10, 790)
    wanted = (recording.upper_row[2 * columns] + recording.upper_row[2 * columns + 1]) / 2
    assert shard.borders[0, 0, columns] == pytest.approx((wanted + 0.5) / 2 - 0.5, abs=0.02)
    assert shard.mm_per_row[0] == pytest.approx(2 * recording.mm_per_row)


def test_shards_are_complete_or_absent_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "PER_SHARD", 2)
    dataset.write_shards(tmp_path, 0, 4)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "seeds-000000000.npz",
        "seeds-000000002.npz",
    ]
    shard = dataset.read_shard(tmp_path / "seeds-000000002.npz")
    assert shard.pictures.shape == (2, 256, 1024)
    assert shard.borders.shape == (2, 4, 1024)
    before = (tmp_path / "seeds-000000000.npz").stat().st_mtime_ns
    dataset.write_shards(tmp_path, 0, 4)  # nothing is made again
    assert (tmp_path / "seeds-000000000.npz").stat().st_mtime_ns == before
