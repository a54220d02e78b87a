"""Strip, Borders → QualityWindows: where an expert would measure."""

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import expit, logit

from app.pipeline.crew import in_order
from app.pipeline.network_kinds import COMBINED
from app.pipeline.networks import Networks, judge_quality
from app.pipeline.results import Borders, QualityWindow, Strip
from app.pipeline.view import Box, viewer

HIGH_QUALITY = 0.5
USUAL_RATIO = 0.75
USUAL_WINDOW_S = 0.215

_LEAST = 0.005  # log odds beyond this say nothing more


def window_ratio(body_mass_g: float | None) -> float:
    """Side of a quality window over the depth of the strip, by body mass in g.

    The published rule; 0.75, as for 25 to 35 g, where no body mass is given.
    """
    if body_mass_g is None:
        return USUAL_RATIO
    for lighter_than_g, ratio in ((15, 0.5), (25, 0.6), (35, 0.75), (45, 0.9)):
        if body_mass_g < lighter_than_g:
            return ratio
    return 1.0


def window_duration_s(body_mass_g: float | None) -> float:
    """Duration of a quality window, s: 0.215 s at the usual ratio, whatever the columns last."""
    return USUAL_WINDOW_S * window_ratio(body_mass_g) / USUAL_RATIO


@dataclass(frozen=True)
class WindowEvidence:
    """What speaks for a window, each 0..1.

    ``network`` is the classifier's answer, ``followable`` the mean of what the segmenter says of
    its columns: that both borders can be followed, or else how sure it is of them.
    """

    start_column: int
    end_column: int
    network: float
    followable: float

    def factors(self) -> tuple[float, float]:
        """Both as log odds, in the order of `COMBINED`."""
        network, followable = (
            float(logit(np.clip(value, _LEAST, 1 - _LEAST)))
            for value in (self.network, self.followable)
        )
        return network, followable


def judge(
    strip: Strip,
    borders: Borders,
    networks: Networks,
    body_mass_g: float | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> tuple[QualityWindow, ...]:
    """Judge the acquisition window by window.

    The windows follow each other from the start of the strip; the last one sees the last full
    window's worth of columns but labels only those that are left. Each is centred on the
    ventricle in depth. The probability combines the classifier's answer with what the segmenter
    saw in the window, by the weights that the classifier's manifest gives; without such weights,
    or with a segmenter that does not say what can be followed, it is the classifier's answer.

    Returns
    -------
    tuple of QualityWindow
        They tile the strip.
    """
    weights = networks.classifier.card.get("combination")
    if borders.followable is None:
        weights = None
    windows = []
    for seen in gather_evidence(strip, borders, networks, body_mass_g, progress):
        probability = seen.network if weights is None else combine(seen, weights)
        windows.append(
            QualityWindow(
                start_column=seen.start_column,
                end_column=seen.end_column,
                start_s=seen.start_column * strip.seconds_per_column,
                end_s=seen.end_column * strip.seconds_per_column,
                probability=probability,
                label="high" if probability >= HIGH_QUALITY else "low",
            )
        )
    return tuple(windows)


def combine(evidence: WindowEvidence, weights: Mapping[str, float]) -> float:
    """Probability of high quality: logistic in the log odds of what speaks for the window."""
    sum_ = weights["intercept"] + sum(
        weights[name] * factor for name, factor in zip(COMBINED, evidence.factors(), strict=True)
    )
    return float(expit(sum_))


def gather_evidence(
    strip: Strip,
    borders: Borders,
    networks: Networks,
    body_mass_g: float | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> list[WindowEvidence]:
    """Ask the classifier about every window, and sum up what the segmenter saw in it."""
    columns = strip.columns
    length = window_duration_s(body_mass_g) / strip.seconds_per_column
    count = max(1, math.ceil(columns / length - 1e-6))
    bounds = [min(columns, round(index * length)) for index in range(count)] + [columns]
    show = viewer(strip, networks.classifier.grey)
    ratio = window_ratio(body_mass_g)
    followable = borders.confidence if borders.followable is None else borders.followable
    gathered: list[WindowEvidence] = []

    def ask(start_column: int) -> float:
        window = show(_box(strip, borders, start_column, length, ratio))
        return float(judge_quality(networks, window[None])[0])

    with closing(in_order(networks.crew, ask, bounds[:-1])) as answers:
        for (start, end), answer in zip(pairwise(bounds), answers, strict=True):
            here = slice(start, max(end, start + 1))
            gathered.append(
                WindowEvidence(
                    start_column=start,
                    end_column=end,
                    network=answer,
                    followable=float(followable[here].mean()),
                )
            )
            progress(len(gathered) / count)
    return gathered


def _box(strip: Strip, borders: Borders, start_column: int, length: float, ratio: float) -> Box:
    """Place the square around the ventricle that a window looks at."""
    start = max(0.0, min(float(start_column), strip.columns - length))
    end = min(start + length, float(strip.columns))
    centre = _ventricle_centre_row(borders, int(start), max(int(end), int(start) + 1), strip.rows)
    height = ratio * strip.rows
    top = min(max(0.0, centre - height / 2), strip.rows - height)
    return Box(start, top, end, top + height)


def _ventricle_centre_row(borders: Borders, start: int, end: int, rows: int) -> float:
    """Mean row of the lumen in these columns, else in the whole strip, else the middle."""
    middle = 0.5 * (borders.upper_row + borders.lower_row)
    here = middle[start:end]
    for candidates in (here, middle):
        found = candidates[np.isfinite(candidates)]
        if found.size:
            return float(found.mean())
    return rows / 2
