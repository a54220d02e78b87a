"""The child process that decodes: its limits, its death, and what it does not know."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames

from app.pipeline import native_decoder
from app.pipeline.dicom import open_recording
from app.pipeline.errors import CorruptPixelData
from app.pipeline.limits import Limits
from app.pipeline.native_decoder import DecoderFault
from models.simulation.scanner import write_screens
from tests.strips import make_strip
from tests.wrappings import LOSSLESS

ROOT = Path(__file__).parents[3]
STRIP = make_strip(rows=64, columns=505)
STARTS = (0, 40, 75)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "recording.dcm"
    write_screens(
        STRIP, path, seconds_per_column=1 / 1200, mm_per_row=0.02, width=430, starts=STARTS
    )
    LOSSLESS["JPEG-LS, MONOCHROME2"](path)
    return path


def program(folder: Path, body: str) -> Path:
    """Write a program that comes up like the decoder, and then does as the body says."""
    path = folder / "child.py"
    path.write_text(
        "import os, sys, time\n"
        "described = sys.stdin.buffer.readline()\n"
        "os.write(1, b'ready\\n')\n"
        "length = int.from_bytes(sys.stdin.buffer.read(8), 'little')\n"
        "encoded = sys.stdin.buffer.read(length)\n" + textwrap.dedent(body)
    )
    return path


def refused(path: Path, limits: Limits = Limits()) -> CorruptPixelData:
    with pytest.raises(CorruptPixelData) as caught:
        list(open_recording(path, limits).screens())
    return caught.value


def decoders() -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            parent = (process / "stat").read_text().rsplit(")", 1)[1].split()[1]
        except OSError:  # it has ended meanwhile
            continue
        if b"decoder_child.py" in command and int(parent) == os.getpid():
            found.append(int(process.name))
    return found


DEATHS = {
    "segmentation fault": "os.kill(os.getpid(), 11)",
    "abort": "os.abort()",
    "killed for its memory": "os.kill(os.getpid(), 9)",
    "an exit in the middle": "os.write(1, (103200).to_bytes(8, 'little') + bytes(99)); os._exit(3)",
    "an answer of another size": "os.write(1, (10**15).to_bytes(8, 'little')); time.sleep(60)",
    "an answer of nothing": "os.write(1, bytes(8)); time.sleep(60)",
    "half a length": "os.write(1, bytes(3)); os._exit(0)",
    "an exit without an answer": "os._exit(0)",
}


@pytest.mark.parametrize("how", DEATHS)
def test_its_death_is_corrupt_pixel_data(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(native_decoder, "_PROGRAM", program(tmp_path, DEATHS[how]))
    assert "damaged" in refused(whole).detail


def test_it_is_stopped_when_a_screen_takes_too_long(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_decoder, "_PROGRAM", program(tmp_path, "time.sleep(3600)"))
    assert "longer than 1 seconds" in refused(whole, Limits(decoder_time_limit_s=1)).detail


def test_a_screen_beyond_its_memory_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "wide.dcm"
    strip = np.full((800, 16_000), 100, np.uint8)  # takes 64 MB as the decoder's whole numbers
    write_screens(strip, path, seconds_per_column=1e-4, mm_per_row=0.02, width=16_000, screens=1)
    LOSSLESS["JPEG 2000 lossless, MONOCHROME2"](path)
    assert len(list(open_recording(path).screens())) == 1
    refused(path, Limits(decoder_memory_bytes=2**27))


def test_a_decoder_that_cannot_start_is_no_fault_of_the_file(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(DecoderFault):
        list(open_recording(whole, Limits(decoder_memory_bytes=1000)).screens())


def test_it_knows_nothing_of_the_environment(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHO2PHENO_SECRET", "do not tell")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    said = tmp_path / "said"
    body = f"open({str(said)!r}, 'w').write(repr(dict(os.environ))); os._exit(0)"
    monkeypatch.setattr(native_decoder, "_PROGRAM", program(tmp_path, body))
    refused(whole)
    assert set(eval(said.read_text())) <= {"LD_LIBRARY_PATH", "LC_CTYPE"}


def test_it_can_neither_open_nor_write_a_file(tmp_path: Path) -> None:
    code = """
        from app.pipeline.decoder_child import confine
        confine(2**30)
        try:
            open("/etc/hostname")
        except OSError as error:
            print(error.errno)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "24\n"  # too many open files


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to hold")


def test_one_process_decodes_all_screens_and_ends_with_them(whole: Path) -> None:
    seen = set()
    for number, screen in enumerate(open_recording(whole).screens()):
        np.testing.assert_array_equal(screen, STRIP[:, STARTS[number] : STARTS[number] + 430])
        seen.update(decoders())
    assert len(seen) == 1
    assert decoders() == []


def test_it_ends_when_the_analysis_stops_halfway(whole: Path) -> None:
    screens = open_recording(whole).screens()
    next(screens)
    assert len(decoders()) == 1
    screens.close()  # type: ignore[attr-defined]
    assert decoders() == []


def test_it_ends_with_its_parent(whole: Path, tmp_path: Path) -> None:
    hanging = program(
        tmp_path,
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(3600)",
    )
    text = hanging.read_text().replace("os.write(1, b'ready", "confine(2**30)\nos.write(1, b'ready")
    # what it may open is left alone here, for it has to tell its number
    hanging.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import resource; resource.RLIMIT_NOFILE = resource.RLIMIT_CORE\n"
        "resource.RLIMIT_FSIZE = resource.RLIMIT_CORE\n"
        "from app.pipeline.decoder_child import confine\n" + text
    )
    code = (
        "import sys, pathlib\n"
        "from app.pipeline import dicom, native_decoder\n"
        "native_decoder._PROGRAM = pathlib.Path(sys.argv[1])\n"
        "list(dicom.open_recording(pathlib.Path(sys.argv[2])).screens())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, hanging, whole], cwd=ROOT)
    wait_until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    pid = int((tmp_path / "pid").read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.parametrize("name", ["JPEG-LS", "JPEG lossless", "JPEG 2000 lossless"])
def test_damage_within_a_screen_is_named_or_read(whole: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "recording.dcm"
    write_screens(
        STRIP, path, seconds_per_column=1 / 1200, mm_per_row=0.02, width=430, starts=STARTS
    )
    LOSSLESS[f"{name}, MONOCHROME2"](path)
    data_set = pydicom.dcmread(path)
    frames = list(generate_frames(data_set.PixelData, number_of_frames=3))
    frames[1] = frames[1][:30]
    data_set.PixelData = encapsulate(frames)
    data_set.save_as(path)
    screens = open_recording(path).screens()
    next(screens)
    with pytest.raises(CorruptPixelData, match="damaged"):
        next(screens)
