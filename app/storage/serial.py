"""An `Analysis` on disk: ``analysis.json`` and one ``.npy`` file per array.

The strip can be mapped into memory rather than read, so that loading costs little where only the
numbers are wanted.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.pipeline.measuring import MeasuringSettings
from app.pipeline.results import (
    Analysis,
    Beat,
    Borders,
    FileInfo,
    NetworkInfo,
    QualityWindow,
    Region,
    Strip,
    Summary,
    Warning,
)
from app.storage.errors import volume_trouble_noticed

LAYOUT = 3
"""Version of what is written; one that differs is not read."""

DOCUMENT = "analysis.json"
STRIP = "strip.npy"
BORDERS = "borders.npy"


class LayoutError(Exception):
    """A stored analysis that this version cannot read."""


def save_analysis(directory: Path, analysis: Analysis) -> None:
    """Write an analysis into an existing folder.

    Parameters
    ----------
    directory : Path
    analysis : Analysis
        NaN in the borders stays NaN.

    Raises
    ------
    OSError
        The folder cannot be written to, or there is no room.
    """
    strip, borders = analysis.strip, analysis.borders
    document = {
        "layout": LAYOUT,
        "file": asdict(analysis.file),
        "region": asdict(strip.region),
        "frames": strip.frames,
        "starts": [int(start) for start in strip.starts],
        "seams": [int(seam) for seam in strip.seams],
        "strip_warnings": [asdict(warning) for warning in strip.warnings],
        "windows": [asdict(window) for window in analysis.windows],
        "beats": [asdict(beat) for beat in analysis.beats],
        "features": {name: asdict(summary) for name, summary in analysis.features.items()},
        "warnings": [asdict(warning) for warning in analysis.warnings],
        "classifier": asdict(analysis.classifier),
        "segmenter": asdict(analysis.segmenter),
        "profile": analysis.profile,
        "body_mass_g": analysis.body_mass_g,
        "measuring": asdict(analysis.measuring),
        "timings_ms": dict(analysis.timings_ms),
    }
    with (directory / DOCUMENT).open("w", encoding="utf-8") as stream:
        json.dump(document, stream, default=_plain)
    np.save(directory / STRIP, strip.pixels, allow_pickle=False)
    stacked = np.stack([borders.upper_row, borders.lower_row, borders.confidence])
    np.save(directory / BORDERS, stacked.astype(np.float32, copy=False), allow_pickle=False)


@volume_trouble_noticed()
def load_analysis(directory: Path, *, mapped: bool = True) -> Analysis:
    """Read an analysis back.

    Parameters
    ----------
    directory : Path
        What `save_analysis` wrote to.
    mapped : bool
        Whether the strip is mapped from the file, read-only, for those who want little or
        nothing of it. Otherwise it is in memory.

    Returns
    -------
    Analysis

    Raises
    ------
    FileNotFoundError
        There is no analysis in the folder.
    VolumeUnavailableError
    LayoutError
        It was written by a version whose layout differs, or it is damaged.
    """
    text = (directory / DOCUMENT).read_text(encoding="utf-8")
    with _damage_as_layout_error():
        document = json.loads(text)
        if document["layout"] != LAYOUT:
            raise LayoutError(f"layout {document['layout']}, where {LAYOUT} is read")
        return _build(document, directory, "r" if mapped else None)


def _build(document: dict[str, Any], directory: Path, mode: Literal["r"] | None) -> Analysis:
    pixels: NDArray[np.uint8] = np.load(directory / STRIP, mmap_mode=mode, allow_pickle=False)
    upper, lower, confidence = np.load(directory / BORDERS, allow_pickle=False)
    return Analysis(
        file=FileInfo(**document["file"]),
        strip=Strip(
            pixels=pixels,
            region=Region(**document["region"]),
            frames=document["frames"],
            starts=tuple(document["starts"]),
            warnings=tuple(Warning(**warning) for warning in document["strip_warnings"]),
            seams=tuple(document["seams"]),
        ),
        borders=Borders(upper, lower, confidence),
        windows=tuple(QualityWindow(**window) for window in document["windows"]),
        beats=tuple(Beat(**beat) for beat in document["beats"]),
        features={name: Summary(**values) for name, values in document["features"].items()},
        warnings=tuple(Warning(**warning) for warning in document["warnings"]),
        classifier=NetworkInfo(**document["classifier"]),
        segmenter=NetworkInfo(**document["segmenter"]),
        profile=document["profile"],
        body_mass_g=document["body_mass_g"],
        measuring=MeasuringSettings(**document["measuring"]),
        timings_ms=document["timings_ms"],
    )


@contextmanager
def _damage_as_layout_error() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutError("the stored analysis cannot be read") from error


def _plain(value: object) -> object:
    """Turn numpy's scalars, which a stage may leave in a result, into JSON's numbers."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be stored")
