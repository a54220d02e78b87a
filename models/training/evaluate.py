"""How well the networks do, on recordings they were never trained on.

    python -m models.training.evaluate --networks models --out build/evaluation [--recordings 60]

Simulated recordings come from seeds that training never sees. Where ``ECHO2PHENO_REFERENCE_DATA``
names a folder with real recordings, those are measured too, and their pictures are written to
``--out`` only. Writes ``accuracy.json``, ``table.md`` and pictures.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from app.pipeline.networks import Networks, load_networks
from models.training.real import evaluate_strip, evaluate_traced
from models.training.simulated import evaluate_simulated

RECORDINGS = 60


def evaluate(networks: Networks, recordings: int, pictures: Path | None = None) -> dict[str, Any]:
    """Score simulated recordings, and the real ones where a folder of them is named."""
    failures = pictures / "simulated_failures.png" if pictures else None
    results = {"simulated": evaluate_simulated(networks, recordings, failures=failures)}
    reference = os.environ.get("ECHO2PHENO_REFERENCE_DATA")
    if reference:
        folder = Path(reference) / "real"
        results["expert_traced_window"] = evaluate_traced(networks, folder, pictures)
        results["real_strip"] = evaluate_strip(networks, folder, pictures)
    return results


def table(results: dict[str, Any], prefix: str = "") -> list[str]:
    """Rows of a Markdown table, nested results flattened, lists left out."""
    rows = []
    for name, value in results.items():
        if isinstance(value, dict):
            rows += table(value, f"{prefix}{name} · ")
        elif isinstance(value, float):
            rows.append(f"| {prefix}{name} | {value:.4g} |")
        elif not isinstance(value, list):
            rows.append(f"| {prefix}{name} | {value} |")
    return rows


def main() -> None:
    """Evaluate from the command line."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--networks", type=Path, default=Path(__file__).parents[1])
    cli.add_argument("--out", type=Path, default=Path("build/evaluation"))
    cli.add_argument("--recordings", type=int, default=RECORDINGS)
    args = cli.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results = evaluate(load_networks(args.networks, threads=1), args.recordings, args.out)
    (args.out / "accuracy.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    rows = ["| measure | value |", "| --- | --- |", *table(results)]
    (args.out / "table.md").write_text("\n".join(rows) + "\n", "utf-8")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
