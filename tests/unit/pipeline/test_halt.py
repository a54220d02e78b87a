"""An analysis ends when that is requested, whatever it is doing."""

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from app.pipeline import native_decoder
from app.pipeline.analysis import Stage, analyse
from app.pipeline.errors import AnalysisCancelled
from app.pipeline.halt import Halt, halted_by
from app.pipeline.networks import Networks, find_mask_logits
from models.simulation.scanner import write_screens
from tests.stand_in import heart
from tests.strips import make_strip
from tests.unit.pipeline.test_native_decoder import program
from tests.wrappings import LOSSLESS

STAGES = get_args(Stage)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "recording.dcm"
    pixels, _ = heart(900)
    write_screens(pixels, path, seconds_per_column=1 / 1200, mm_per_row=0.02, width=600, screens=4)
    return path


def analyse_any(path: Path, networks: Networks, **more: Any) -> Any:
    return analyse(path, networks, body_mass_g=25.0, **more)


@pytest.mark.parametrize("profile", ["robust", "published"])
@pytest.mark.parametrize("stage", STAGES)
def test_it_ends_in_every_stage(
    recording: Path, stand_ins: Networks, stage: Stage, profile: Any
) -> None:
    halt, seen = Halt(), []

    def progress(name: Stage, fraction: float) -> None:
        seen.append(name)
        if name == stage:
            halt.request()

    with pytest.raises(AnalysisCancelled):
        analyse_any(recording, stand_ins, profile=profile, progress=progress, halt=halt)
    assert seen[-1] == stage
    assert seen.count(stage) == 1, "nothing more was done in the stage"


def test_what_is_not_halted_goes_on_with_the_same_networks(
    recording: Path, stand_ins: Networks
) -> None:
    halted = Halt()
    halted.request()
    with pytest.raises(AnalysisCancelled):
        analyse_any(recording, stand_ins, halt=halted)
    assert analyse_any(recording, stand_ins, halt=Halt()).beats


def endless() -> onnxruntime.InferenceSession:
    """A network that counts to 2**62 before it answers, as one much too large would."""
    state = helper.make_tensor_value_info("seen", TensorProto.FLOAT, None)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["more_out"]),
            helper.make_node("Add", ["seen", "one"], ["seen_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("count", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            state,
        ],
        [
            helper.make_tensor_value_info("more_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("seen_out", TensorProto.FLOAT, None),
        ],
        [numpy_helper.from_array(np.float32(1), "one")],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["times", "always", "window"], ["logits"], body=body)],
        "endless",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", 1, 256, 256])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1, 256, 256])],
        [
            numpy_helper.from_array(np.array(2**62, np.int64), "times"),
            numpy_helper.from_array(np.array(True), "always"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


class Watched:
    """A session that says when a run has begun."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.began = threading.Event()

    def run(self, *asked: Any) -> Any:
        self.began.set()
        return self.session.run(*asked)


def end_of(work: Any) -> BaseException | None:
    """Run something in a thread, and give what it raises; fail where it never ends."""
    raised: list[BaseException | None] = []

    def do() -> None:
        try:
            work()
            raised.append(None)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(60)
    assert raised, "it goes on for ever"
    return raised[0]


def test_a_run_of_a_network_is_ended_in_its_middle(stand_ins: Networks) -> None:
    watched, halt = Watched(endless()), Halt()
    networks = replace(stand_ins, segmenter=replace(stand_ins.segmenter, session=watched))

    def request() -> None:
        watched.began.wait()
        halt.request()

    threading.Thread(target=request).start()
    window = np.zeros((1, 256, 256), np.float32)
    error = end_of(lambda: find_mask_logits(halted_by(networks, halt), window))
    assert isinstance(error, AnalysisCancelled)
    assert watched.began.is_set()


def test_a_network_that_breaks_by_itself_is_no_cancellation(stand_ins: Networks) -> None:
    networks = halted_by(stand_ins, Halt())
    error = end_of(lambda: find_mask_logits(networks, np.zeros((1, 3, 3), np.float32)))
    assert error is not None
    assert not isinstance(error, AnalysisCancelled)


def test_a_decoder_is_ended_in_its_middle(
    tmp_path: Path, stand_ins: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, begun = tmp_path / "recording.dcm", tmp_path / "begun"
    write_screens(
        make_strip(rows=64, columns=505),
        path,
        seconds_per_column=1 / 1200,
        mm_per_row=0.02,
        width=430,
        starts=(0, 40, 75),
    )
    LOSSLESS["JPEG-LS, MONOCHROME2"](path)
    hanging = program(tmp_path, f"open({str(begun)!r}, 'w').close()\ntime.sleep(1000)\n")
    monkeypatch.setattr(native_decoder, "_PROGRAM", hanging)
    halt = Halt()

    def request() -> None:
        while not begun.exists():
            threading.Event().wait(0.01)
        halt.request()

    threading.Thread(target=request).start()
    error = end_of(lambda: analyse_any(path, stand_ins, halt=halt))
    assert isinstance(error, AnalysisCancelled)
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in running if os.fsencode(hanging) in command]


def test_what_is_to_be_ended_is_not_begun() -> None:
    halt, ended = Halt(), []
    with halt.ending(lambda: ended.append("outer")):
        halt.request()
        assert ended == ["outer"]
        with pytest.raises(AnalysisCancelled), halt.ending(lambda: ended.append("inner")):
            raise AssertionError("it began")
    halt.request()
    assert ended == ["outer"], "it is over"
