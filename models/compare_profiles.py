"""Print what the two profiles make of the same recording, as the README shows it.

    python -m models.compare_profiles STRIP.png --seconds-per-column 0.000833333 \
        --mm-per-row 0.020645 --body-mass-g 25

Uses the networks that ``ECHO2PHENO_MODELS_DIR`` names, the shipped ones by default.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from app.pipeline.analysis import analyse
from app.pipeline.networks import load_networks
from app.pipeline.profiles import PROFILES
from app.pipeline.results import Analysis
from app.settings import Settings
from models.simulation.scanner import write_screens

_FEATURES = {
    "lvid_d_mm": ("LVIDd, mm", 2),
    "lvid_s_mm": ("LVIDs, mm", 2),
    "heart_rate_bpm": ("heart rate, 1/min", 0),
    "ejection_fraction_pct": ("EF, %", 1),
    "fractional_shortening_pct": ("FS, %", 1),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a strip by both profiles, and print a table."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("strip", type=Path, help="grey image, time to the right")
    cli.add_argument("--seconds-per-column", type=float, required=True)
    cli.add_argument("--mm-per-row", type=float, required=True)
    cli.add_argument("--body-mass-g", type=float, required=True)
    asked = cli.parse_args(arguments)
    networks = load_networks(Settings().models_dir)
    with Image.open(asked.strip) as image:
        pixels = np.asarray(image.convert("L"))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.dcm"
        write_screens(
            pixels,
            recording,
            seconds_per_column=asked.seconds_per_column,
            mm_per_row=asked.mm_per_row,
        )
        for profile in PROFILES:
            found[profile] = analyse(
                recording, networks, body_mass_g=asked.body_mass_g, profile=profile
            )
    print(f"| median (mean ± sd, n) | {' | '.join(f'`{name}`' for name in found)} |")
    print("| --- " * (1 + len(found)) + "|")
    for feature, (label, decimals) in _FEATURES.items():
        cells = [_cell(analysis, feature, decimals) for analysis in found.values()]
        print(f"| {label} | {' | '.join(cells)} |")
    print(f"| beats found | {' | '.join(str(len(a.beats)) for a in found.values())} |")
    high = [f"{100 * analysis.high_fraction:.0f}" for analysis in found.values()]
    print(f"| of high quality, % of the recording | {' | '.join(high)} |")
    for analysis in found.values():
        told = {stage: round(time) for stage, time in analysis.timings_ms.items()}
        pair = (analysis.segmenter, analysis.classifier)
        named = ", ".join(f"{network.name} {network.version}" for network in pair)
        print(f"<!-- {analysis.profile}: {named}, ms {told} -->")


def _cell(analysis: Analysis, feature: str, decimals: int) -> str:
    summary = analysis.features[feature]
    if summary.median is None or summary.sd is None:
        return "–"
    return (
        f"{summary.median:.{decimals}f} ({summary.mean:.{decimals}f} ± "
        f"{summary.sd:.{decimals}f}, {summary.n})"
    )


if __name__ == "__main__":
    main()
