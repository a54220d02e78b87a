"""A stored analysis comes back as it was."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from app.pipeline.results import Borders, Strip
from app.storage.serial import LayoutError, load_analysis, save_analysis
from tests.factories import make_analysis


def test_every_field_comes_back(tmp_path: Path) -> None:
    analysis = make_analysis()

    save_analysis(tmp_path, analysis)
    loaded = load_analysis(tmp_path)

    for name in ("pixels",):
        np.testing.assert_array_equal(getattr(loaded.strip, name), getattr(analysis.strip, name))
    for name in ("upper_row", "lower_row", "confidence"):
        np.testing.assert_array_equal(
            getattr(loaded.borders, name), getattr(analysis.borders, name)
        )
    no_arrays = {
        "strip": Strip(
            np.zeros((1, 1), np.uint8), analysis.strip.region, 15, analysis.strip.starts
        ),
        "borders": Borders(*(np.zeros(1, np.float32) for _ in range(3))),
    }
    assert asdict(replace(loaded, **no_arrays)) == asdict(replace(analysis, **no_arrays))


def test_loading_does_not_read_the_strip(tmp_path: Path) -> None:
    save_analysis(tmp_path, make_analysis())
    assert isinstance(load_analysis(tmp_path).strip.pixels, np.memmap)


def test_numpy_scalars_are_stored_as_numbers(tmp_path: Path) -> None:
    beat = replace(make_analysis().beats[0], quality=np.float32(0.5), diastole_column=np.int64(7))
    save_analysis(tmp_path, make_analysis(beats=(beat,)))
    loaded = load_analysis(tmp_path).beats[0]
    assert (loaded.quality, loaded.diastole_column) == (0.5, 7)


def test_another_layout_is_refused(tmp_path: Path) -> None:
    save_analysis(tmp_path, make_analysis())
    path = tmp_path / "analysis.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layout": 99}))
    with pytest.raises(LayoutError):
        load_analysis(tmp_path)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    save_analysis(tmp_path, make_analysis())
    np.save(tmp_path / "borders.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(LayoutError):
        load_analysis(tmp_path)
