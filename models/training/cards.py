"""The networks' cards: what they are, what they learnt from, how well they do, where they fail."""

from pathlib import Path
from typing import Any

from models.training.evaluate import table

_SEGMENTER_KEYS = (
    "dice", "border_error_mm", "lvid_d_error_pct", "lvid_s_error_pct", "fs_error_points", "beat_f1",
)  # fmt: skip
_CLASSIFIER_KEYS = ("quality_auc", "good_windows_kept", "bad_windows_dropped", "reliability")


def write_cards(
    manifest: dict[str, Any],
    accuracy: dict[str, Any],
    compared: dict[str, dict[str, Any]],
    chosen: str,
    folder: Path,
) -> None:
    """Put the accuracy into ``manifest`` and write the cards, ``folder/README.md``."""
    simulated = accuracy["simulated"]
    manifest["segmenter"]["accuracy"] = {
        "simulated": {key: simulated[key] for key in _SEGMENTER_KEYS},
        **{key: value for key, value in accuracy.items() if key != "simulated"},
    }
    manifest["classifier"]["accuracy"] = {
        "simulated": {key: simulated[key] for key in _CLASSIFIER_KEYS}
    }
    template = (Path(__file__).parent / "card.md").read_text("utf-8")
    reliability = [
        f"| {row['said']:.2f} | {row['true']:.2f} | {row['n']} |"
        for row in simulated["reliability"]
    ]
    text = template.format(
        segmenter=manifest["segmenter"],
        classifier=manifest["classifier"],
        accuracy="\n".join(table(accuracy)),
        reliability="\n".join(reliability),
        seeds="\n".join(_seed_rows(compared, chosen)),
        ranking=_ranking(compared[chosen]["ranking_auc"]),
    )
    (folder / "README.md").write_text(text, "utf-8")


def _seed_rows(compared: dict[str, dict[str, Any]], chosen: str) -> list[str]:
    names = [name for name in compared[chosen] if name != "ranking_auc"]
    rows = [f"| seed | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    for seed, scores in compared.items():
        shown = " | ".join(f"{scores[name]:.4g}" for name in names)
        rows.append(f"| {seed}{' (shipped)' if seed == chosen else ''} | {shown} |")
    return rows


def _ranking(auc: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in auc.items())
