"""Strip → mask and quality windows, as the published scripts cut and label them.

Everything here counts in columns and whole pixels of the strip, whatever they last.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.pipeline.measuring import BorderConvention
from app.pipeline.networks import Networks, find_mask_logits, judge_quality
from app.pipeline.quality import HIGH_QUALITY, window_ratio
from app.pipeline.resample import NETWORK_COLUMNS, NETWORK_ROWS
from app.pipeline.results import Borders, QualityWindow, Strip
from app.pipeline.segment import segment
from app.pipeline.view import Box, viewer

Mask = NDArray[np.bool_]
Progress = Callable[[float], None]


def draw_mask(
    strip: Strip,
    networks: Networks,
    convention: BorderConvention = "expert",
    progress: Progress = lambda fraction: None,
) -> Mask:
    """Draw the lumen.

    A segmenter of the kind 'mask' sees squares of the strip's whole depth that follow each other;
    of the last, which ends with the strip, only the new columns are used. Its mask (sigmoid ≥ 0.5)
    is resized back by nearest neighbour. Of one that finds borders, the mask is what lies between.

    Parameters
    ----------
    strip : Strip
    networks : Networks
    convention : {'expert', 'inner_edges'}
        Which borders, of a segmenter that finds them.
    progress : callable
        Called with the fraction done, 0..1; may raise to stop.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
    """
    if networks.segmenter.kind == "borders":
        return mask_between(segment(strip, networks, convention, progress), strip.rows)
    show = viewer(strip, networks.segmenter.grey)
    side = min(strip.rows, strip.columns)
    mask = np.zeros((strip.rows, strip.columns), np.bool_)
    down, across = _nearest(NETWORK_ROWS, strip.rows), _nearest(NETWORK_COLUMNS, side)
    for first in range(0, strip.columns, side):
        start = min(first, strip.columns - side)
        window = show(Box(start, 0, start + side, strip.rows))
        lumen = find_mask_logits(networks, window[None])[0] >= 0
        mask[:, first : start + side] = lumen[down[:, None], across[None, first - start :]]
        progress((start + side) / strip.columns)
    return mask


def mask_between(borders: Borders, rows: int) -> Mask:
    """Pixels whose centre lies between the borders, shape (rows, columns)."""
    mask = np.empty((rows, borders.upper_row.size), np.bool_)
    for row in range(rows):
        mask[row] = (borders.upper_row <= row) & (row <= borders.lower_row)
    return mask


def borders_around(mask: Mask) -> Borders:
    """Borders as far apart as a column has pixels of the mask, around their mean row.

    They enclose a mask without holes exactly, and are never farther apart than what is measured.
    """
    count = mask.sum(0)
    sum_of_rows = np.zeros(count.size, np.int64)
    for row, there in enumerate(mask):  # a product would need eight bytes a pixel
        sum_of_rows += row * there
    seen = count > 0
    middle = sum_of_rows / np.maximum(count, 1)
    return Borders(
        upper_row=np.where(seen, middle - count / 2, np.nan).astype(np.float32),
        lower_row=np.where(seen, middle + count / 2, np.nan).astype(np.float32),
        confidence=seen.astype(np.float32),
    )


def judge_squares(
    strip: Strip,
    mask: Mask,
    networks: Networks,
    body_mass_g: float,
    progress: Progress = lambda fraction: None,
) -> tuple[QualityWindow, ...]:
    """Judge the acquisition in squares whose side follows the body mass.

    Their rows are centred on the mean row of the whole mask (on the middle of the strip where
    there is none), their top is held at row 0, and what would lie below the strip is left out. The
    last square is the last of the strip's, but labels only the columns that are left.

    Parameters
    ----------
    strip : Strip
    mask : ndarray of bool, shape (rows, columns)
    networks : Networks
    body_mass_g : float
    progress : callable
        Called with the fraction done, 0..1; may raise to stop.

    Returns
    -------
    tuple of QualityWindow
        They tile the strip.
    """
    dt = strip.seconds_per_column
    show = viewer(strip, networks.classifier.grey)
    windows: list[QualityWindow] = []
    squares = quality_squares(strip, mask, body_mass_g)
    for start, end, box in squares:
        answer = judge_quality(networks, show(box)[None])[0]
        windows.append(
            QualityWindow(
                start_column=start,
                end_column=end,
                start_s=start * dt,
                end_s=end * dt,
                probability=float(answer),
                label="high" if answer >= HIGH_QUALITY else "low",
            )
        )
        progress(end / strip.columns)
    return tuple(windows)


def quality_squares(strip: Strip, mask: Mask, body_mass_g: float) -> list[tuple[int, int, Box]]:
    """First and end column that each square labels, and what is shown of the strip for it."""
    side = max(1, int(strip.rows * window_ratio(body_mass_g)))
    in_row = mask.sum(1)
    count = in_row.sum()
    middle = np.arange(strip.rows) @ in_row / count if count else strip.rows / 2
    top = max(0, int(middle - side / 2))
    bottom = min(top + side, strip.rows)
    squares = []
    for first in range(0, strip.columns, side):
        left = max(0, min(first, strip.columns - side))
        end = min(left + side, strip.columns)
        squares.append((first, end, Box(left, top, end, bottom)))
    return squares


def _nearest(before: int, after: int) -> NDArray[np.intp]:
    """Old pixel that each new one takes: the one in which its leading edge falls."""
    return np.arange(after) * before // after
