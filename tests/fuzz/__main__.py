"""Feeds damaged recordings to the pipeline: ``python -m tests.fuzz --files 20000 --seed 0``.

Whatever is wrong with a file has to come out as a `RecordingError`, within bounds on time and
memory. Each file that does otherwise is named by its seed and kept; the status is then 1.
"""

import argparse
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType

from app.pipeline.dicom import open_recording
from app.pipeline.errors import RecordingError
from app.pipeline.limits import Limits
from app.pipeline.stitch import stitch
from tests.fuzz.mutate import mutated

LIMITS = Limits(decoder_time_limit_s=10)
LONGEST_S = 60  # a guard against hanging, not a measure of speed
MEMORY_BYTES = 3 * 2**30


class TookTooLongError(Exception):
    """A file that would not end."""


def outcome(path: Path) -> str:
    """Read a recording as an analysis does; give the code of its refusal, or ``read``."""
    try:
        strip = stitch(open_recording(path, LIMITS), LIMITS)
    except RecordingError as error:
        if "SIMULATED" in error.detail or "MOUSE" in error.detail:
            raise AssertionError("the detail tells of the subject") from error
        return error.code
    if strip.pixels.dtype != "uint8" or len(strip.starts) != strip.frames:
        raise AssertionError("the strip does not hold together")
    return "read"


def run(files: int, seed: int, native_share: float, kept: Path) -> Counter[str]:
    """Try as many files, and count how they end; ``broken`` ones are written to a folder."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLongError

    signal.signal(signal.SIGALRM, stop)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.dcm"
        for number in range(seed, seed + files):
            content = mutated(number, native_share)
            path.write_bytes(content)
            signal.alarm(LONGEST_S)
            try:
                ended = outcome(path)
            except Exception:  # the point of it all
                ended = "broken"
                kept.mkdir(parents=True, exist_ok=True)
                (kept / f"{number}.dcm").write_bytes(content)
                print(f"seed {number}:", file=sys.stderr)
                traceback.print_exc()
            finally:
                signal.alarm(0)
            counts[ended] += 1
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first file; then one by one")
    parser.add_argument("--native-share", type=float, default=0.2)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="for broken files")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.filterwarnings("ignore", category=UserWarning)  # pydicom, about what is written
    counts = run(given.files, given.seed, given.native_share, given.keep)
    for code, count in counts.most_common():
        print(f"{count:8d} {code}")
    return int(counts["broken"] > 0)


if __name__ == "__main__":
    sys.exit(main())
