"""Make a folder of networks from the published checkpoints, which you have downloaded.

    python -m models.import_published --segmenter heart-seg-net.pt \
        --classifier quality-clas-net.pth --out DIR [--normalisation running|instance]

Needs torch (`make install-train`); the service that runs the folder does not.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the import; returns the status to exit with."""
    cli = argparse.ArgumentParser(
        prog="python -m models.import_published",
        description="Make a folder of networks from the published checkpoints.",
    )
    cli.add_argument("--segmenter", type=Path, required=True, help="heart-seg-net.pt")
    cli.add_argument("--classifier", type=Path, required=True, help="quality-clas-net.pth")
    cli.add_argument("--out", type=Path, required=True, help="folder to make")
    cli.add_argument(
        "--normalisation",
        choices=("running", "instance"),
        default="running",
        help="by the statistics stored in training (default), or by each window's own",
    )
    asked = cli.parse_args(arguments)
    for package in ("torch", "onnx"):
        if find_spec(package) is None:
            print(f"The import needs {package}: run `make install-train` first.", file=sys.stderr)
            return 1
    from models.published.checkpoints import CheckpointError, has_check_sums
    from models.published.importing import import_published, told

    # a signal has to leave as an exception does, for nothing to be left half-written
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        differences = import_published(
            asked.segmenter, asked.classifier, asked.out, asked.normalisation
        )
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{asked.out} cannot be written: {error.strerror or error}.", file=sys.stderr)
        return 1
    print(f"ONNX Runtime answers as torch does: {told(differences)}.")
    for path in (asked.segmenter, asked.classifier):
        if not has_check_sums(path):
            print(
                f"{path} carries no check sums, so damage to it would not be noticed: compare its "
                "sha256, in the manifest, with your source's."
            )
    print(f"Run the service with ECHO2PHENO_MODELS_DIR={asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
