"""From seeds to networks: everything that makes the two files, in one command.

    python -m models.training.run --work build/training --version 0.1.0

Simulates the training set, trains both networks, exports them, evaluates them on seeds they never
saw (and on real recordings where ``ECHO2PHENO_REFERENCE_DATA`` is set), and writes the networks,
their manifest and their cards. Interrupted, it goes on where it stopped.
"""

import argparse
import json
import os
from pathlib import Path

from app.pipeline.networks import load_networks
from models.training.cards import write_cards
from models.training.dataset import write_shards
from models.training.evaluate import evaluate_simulated, evaluate_strip, evaluate_traced
from models.training.export import export
from models.training.train import train

MODELS = Path(__file__).parents[1]


def main() -> None:
    """Run the whole recipe."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--work", type=Path, default=Path("build/training"))
    cli.add_argument("--out", type=Path, default=MODELS)
    cli.add_argument("--version", required=True)
    cli.add_argument("--recordings", type=int, default=5000)
    cli.add_argument(
        "--segmenter-steps",
        type=int,
        nargs="+",
        default=[3600, 6400],
        help="steps at which a schedule of the learning rate ends; the next one starts from there",
    )
    cli.add_argument("--classifier-steps", type=int, default=4000)
    cli.add_argument("--evaluation-recordings", type=int, default=60)
    cli.add_argument("--seed", type=int, default=1)
    args = cli.parse_args()

    data = args.work / "data"
    write_shards(data, 0, args.recordings)
    for steps in args.segmenter_steps:
        segmenter = train("segmenter", data, args.work, steps=steps, seed=args.seed)
    classifier = train("classifier", data, args.work, steps=args.classifier_steps, seed=args.seed)
    finish(segmenter, classifier, args.out, args.version, args.evaluation_recordings)


def finish(
    segmenter: Path, classifier: Path, out: Path, version: str, evaluation_recordings: int
) -> None:
    """Export two checkpoints, evaluate what was exported, and write down how well it does."""
    difference = export(segmenter, classifier, out, version)
    print(f"ONNX Runtime and torch differ by at most {difference:.2g} on the known window.")
    networks = load_networks(out, threads=1)
    accuracy = {"simulated": evaluate_simulated(networks, evaluation_recordings)}
    reference = os.environ.get("ECHO2PHENO_REFERENCE_DATA")
    if reference:
        real = Path(reference) / "real"
        accuracy["expert_traced_window"] = evaluate_traced(networks, real)
        accuracy["real_strip"] = evaluate_strip(networks, real)
    path = out / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    write_cards(manifest, accuracy, out)
    path.write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
