"""Figures drawn by child processes against those drawn here."""

import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.output.drawers import Drawers, DrawingError
from app.output.figures import draw
from app.output.sending import pack, unpack
from tests.factories import make_analysis


@pytest.fixture(scope="module")
def drawers():
    drawers = Drawers(2)
    yield drawers
    drawers.close()


def mapped(folder: Path):
    """An analysis whose strip is mapped from a file, as those are that were stored."""
    analysis = make_analysis()
    np.save(folder / "strip.npy", analysis.strip.pixels)
    pixels = np.load(folder / "strip.npy", mmap_mode="r")
    return replace(analysis, strip=replace(analysis.strip, pixels=pixels))


def test_figures_are_the_same_as_those_drawn_here(drawers: Drawers, tmp_path: Path) -> None:
    analysis = mapped(tmp_path)
    names = ("segmentation", "diastole", "function")
    with ThreadPoolExecutor(3) as callers:
        drawn = list(callers.map(lambda name: drawers.draw(name, analysis), names))
    assert drawn == [draw(name, analysis) for name in names]


def test_a_mapped_strip_is_sent_by_its_place(tmp_path: Path) -> None:
    analysis = mapped(tmp_path)
    packed = pack(analysis)
    assert len(packed) < analysis.strip.pixels.nbytes / 2
    np.testing.assert_array_equal(unpack(packed).strip.pixels, analysis.strip.pixels)
    some = analysis.strip.pixels[:, 3:7]
    np.testing.assert_array_equal(unpack(pack(some)), some)


def test_files_that_are_gone_are_told(drawers: Drawers, tmp_path: Path) -> None:
    analysis = mapped(tmp_path)
    (tmp_path / "strip.npy").unlink()
    with pytest.raises(FileNotFoundError):
        drawers.draw("segmentation", analysis)


def test_what_breaks_is_logged_without_its_text(
    drawers: Drawers, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(DrawingError):
        drawers.draw("no such figure", make_analysis())
    (record,) = caplog.records
    assert record.trace[0] == "KeyError"
    assert "no such figure" not in str(record.trace)


def test_a_process_that_died_is_replaced(drawers: Drawers) -> None:
    analysis = make_analysis()
    before = drawers.draw("diastole", analysis)
    for drawer in drawers._all:
        if drawer._process is not None:
            os.kill(drawer._process.pid, signal.SIGKILL)
            drawer._process.wait()
    assert drawers.draw("diastole", analysis) == before


def test_nothing_is_left_running() -> None:
    drawers = Drawers(1)
    drawers.draw("diastole", make_analysis())
    process = drawers._all[0]._process
    assert process is not None
    drawers.close()
    assert process.poll() is not None
