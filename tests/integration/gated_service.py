"""The service, or its worker, with a core that waits until a file says ``open``; run by tests.

A recording may say more: ``deaf`` to hear of no end, ``lasts 100 ms``, ``poison`` to kill.
"""

import os
import re
import signal
import sys
import threading
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

from app.logs import configure_logging
from app.main import create_app
from app.pipeline.errors import CorruptPixelData
from app.pipeline.results import Analysis
from app.server import run
from app.settings import Settings
from tests.factories import CLASSIFIER, SEGMENTER, make_analysis

GATE = "ECHO2PHENO_TEST_GATE"


def load(settings: Settings) -> Any:
    return SimpleNamespace(
        classifier=SimpleNamespace(info=CLASSIFIER, card={}),
        segmenter=SimpleNamespace(info=SEGMENTER, card={}),
    )


def analyse(path: Path, networks: Any, **asked: Any) -> Analysis:
    gate = Path(os.environ[GATE])
    content = path.read_bytes()
    if b"bad" in content:
        raise CorruptPixelData("Cut off.")
    deaf = b"deaf" in content
    if b"poison" in content:
        os.kill(os.getpid(), signal.SIGKILL)
    if lasts := re.search(rb"lasts (\d+) ms", content):
        end = monotonic() + int(lasts[1]) / 1000
        while monotonic() < end:
            asked["progress"]("segment", 0.4)
            threading.Event().wait(0.005)
    while gate.read_text() != "open":
        if not deaf:  # as a long call into native code
            asked["progress"]("segment", 0.4)
        threading.Event().wait(0.01)
    return make_analysis(body_mass_g=asked["body_mass_g"])


def draw(name: str, analysis: Analysis) -> bytes:
    return name.encode()


def serve(settings: Settings) -> int:
    configure_logging(settings.log_level)
    app = create_app(
        settings,
        load=load,
        inspect=lambda path, limits: None,
        analyse=analyse,
        draw=draw,
        draw_overview=lambda name, mice: f"{len(mice)} mice".encode(),
    )
    return run(app, settings)


def work(settings: Settings) -> int:
    from app import worker  # what it needs is not installed everywhere

    configure_logging(settings.log_level)
    return worker.run(settings, load(settings), analyse=analyse, draw=draw)


if __name__ == "__main__":
    sys.exit(work(Settings()) if sys.argv[1:] == ["worker"] else serve(Settings()))
