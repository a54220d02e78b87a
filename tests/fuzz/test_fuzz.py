"""A bounded run of the fuzzing harness; a longer one is ``python -m tests.fuzz``."""

import random
import subprocess
import sys
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.fuzz.mutate import _pixels, mutated

ROOT = Path(__file__).resolve().parents[2]


def test_whatever_is_damaged_only_recording_errors_come_out(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    done = subprocess.run(  # in a process of its own, whose memory is bounded
        [sys.executable, "-m", "tests.fuzz", "--files", "500", "--keep", kept],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    counts = dict(reversed(line.split()) for line in done.stdout.splitlines())
    assert sum(map(int, counts.values())) == 500
    # damage of every kind is done, and not so much that nothing can be read any more
    assert {"read", "corrupt_pixel_data", "not_dicom", "no_calibration"} <= counts.keys()
    assert not kept.exists()


def test_a_seed_gives_the_same_bytes_again() -> None:
    assert mutated(7) == mutated(7) != mutated(8)


def test_pixels_that_are_a_number_by_now_are_left_alone() -> None:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.add_new("PixelData", "UL", 1_000)
    _pixels(random.Random(0), data_set)
    assert data_set.PixelData == 1_000
