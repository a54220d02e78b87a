"""From seeds to networks: everything that makes the two files, in one command.

    python -m models.training.run --work build/training --version 0.1.0

Simulates the training set, trains a pair of networks from each of several seeds, calibrates and
compares the pairs on simulated recordings set aside for that, and writes the better pair, its
manifest and its cards with its scores on recordings that served no choice (and on real ones where
``ECHO2PHENO_REFERENCE_DATA`` is set). Interrupted, it goes on where it stopped. With ``--start``
the networks of a folder are trained on instead, where the simulator has changed a little.
"""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from app.pipeline.networks import Networks, load_networks
from models.training.calibrate import calibrate
from models.training.cards import write_cards
from models.training.dataset import CHOICE_SEED, write_shards
from models.training.evaluate import RECORDINGS, evaluate
from models.training.export import export
from models.training.simulated import evaluate_simulated
from models.training.train import train

MODELS = Path(__file__).parents[1]
FILES = ("segmenter.onnx", "classifier.onnx", "manifest.json")
COMPARED = {
    "dice": ("dice",),
    "lvid_d_error_pct": ("lvid_d_error_pct", "mean_absolute"),
    "lvid_s_error_pct": ("lvid_s_error_pct", "mean_absolute"),
    "beat_f1": ("beat_f1",),
    "quality_auc": ("quality_auc",),
}


def main() -> None:
    """Run the whole recipe."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--work", type=Path, default=Path("build/training"))
    cli.add_argument("--out", type=Path, default=MODELS)
    cli.add_argument("--version", required=True)
    cli.add_argument("--recordings", type=int, default=6000)
    cli.add_argument("--first-seed", type=int, default=0, help="of the recordings to learn from")
    cli.add_argument("--segmenter-steps", type=int, default=7000)
    cli.add_argument("--classifier-steps", type=int, default=4000)
    cli.add_argument("--choice-recordings", type=int, default=80)
    cli.add_argument("--evaluation-recordings", type=int, default=RECORDINGS)
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--compiled", action="store_true", help="faster; needs a C++ compiler")
    cli.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    cli.add_argument("--start", type=Path, help="networks to go on from; otherwise from nothing")
    args = cli.parse_args()

    data = args.work / "data"
    write_shards(data, args.first_seed, args.recordings, os.cpu_count() or 1)
    compared: dict[str, dict[str, Any]] = {}
    for seed in args.seeds:
        how = {
            "seed": seed,
            "threads": args.threads,
            "compiled": args.compiled,
            "start": args.start,
        }
        segmenter = train("segmenter", data, args.work, steps=args.segmenter_steps, **how)
        classifier = train("classifier", data, args.work, steps=args.classifier_steps, **how)
        folder = candidate(args.work, seed)
        difference = export(segmenter, classifier, folder, args.version)
        print(f"Seed {seed}: ONNX Runtime and torch differ by at most {difference:.2g}.")
        if args.start:
            say_start(folder, args.start)
        compared[str(seed)] = compare(folder, args.choice_recordings)
        print(f"Seed {seed}: {compared[str(seed)]}")
    chosen = min(compared, key=lambda name: compared[name]["lvid_d_error_pct"])
    if args.start:
        before = shutil.copytree(args.start, candidate(args.work, "start"), dirs_exist_ok=True)
        compared["start"] = compare(before, args.choice_recordings)
    publish(candidate(args.work, chosen), args.out, compared, chosen, args.evaluation_recordings)


def candidate(work: Path, name: str | int) -> Path:
    """Folder of the pair of networks that a seed led to."""
    return work / f"candidate-{name}"


def say_start(folder: Path, start: Path) -> None:
    """Say in a manifest which networks the training went on from."""
    path = folder / "manifest.json"
    manifest, before = (json.loads((f / path.name).read_text("utf-8")) for f in (folder, start))
    for role in ("segmenter", "classifier"):
        manifest[role]["started_from"] = {
            key: before[role][key] for key in ("name", "version", "sha256")
        }
    path.write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def compare(folder: Path, recordings: int) -> dict[str, Any]:
    """Calibrate a pair of networks, write the weights into its manifest, and score the pair."""
    calibrated = calibrate(load_networks(folder, threads=1), recordings)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["classifier"]["combination"] = calibrated["combination"]
    path.write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    scores = evaluate_simulated(load_networks(folder, threads=1), recordings, CHOICE_SEED)
    return {name: _at(scores, keys) for name, keys in COMPARED.items()} | {
        "ranking_auc": calibrated["auc"]
    }


def _at(scores: Any, keys: tuple[str, ...]) -> float:
    for key in keys:
        scores = scores[key]
    return float(scores)


def publish(
    folder: Path, out: Path, compared: dict[str, dict[str, Any]], chosen: str, recordings: int
) -> None:
    """Evaluate a pair of networks, and write it into ``out`` with what is known of it."""
    networks: Networks = load_networks(folder, threads=1)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    write_cards(manifest, evaluate(networks, recordings, folder), compared, chosen, folder)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    for name in (*FILES, "README.md", "simulated_failures.png"):
        shutil.copyfile(folder / name, out / name)


if __name__ == "__main__":
    main()
