"""The answer that a pair of networks is known to give, and whether it does give it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.pipeline.errors import NetworksError
from app.pipeline.networks import Network, Networks, find_borders, find_mask_logits, judge_quality
from app.pipeline.resample import NETWORK_COLUMNS, NETWORK_ROWS

Floats = NDArray[np.float32]


def known_window() -> Floats:
    """Return the picture that the known answer is for, float32 (256, 256): a drawn ventricle."""
    time = np.arange(NETWORK_COLUMNS)[None, :]
    depth = np.arange(NETWORK_ROWS)[:, None]
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * time / 70)
    upper, lower = 70 + 25 * swing, 165 - 25 * swing
    near = np.exp(-0.5 * ((depth - upper + 6) / 4) ** 2) + 0.35 * (depth < upper)
    far = np.exp(-0.5 * ((depth - lower - 8) / 5) ** 2) + 0.3 * (depth > lower) * (depth < 215)
    line = 1.2 * np.exp(-0.5 * ((depth - 220) / 4) ** 2)
    grain = 0.06 * np.sin(1.7 * depth + 0.9 * time) * np.sin(0.6 * time - 1.1 * depth)
    return np.asarray(np.clip(near + far + line + grain + 0.08, 0, 1.5), np.float32)


def known_answer_of(networks: Networks) -> dict[str, Any]:
    """What the networks make of `known_window`.

    Border rows at a few columns, or the mean logits of a mask in 4 × 4 fields; and a probability.

    Raises
    ------
    NetworksError
        They do not run, what they give has another shape than their kinds have, or is no number.
    """
    window = known_window()[None]
    mask = networks.segmenter.kind == "mask"
    try:
        if mask:
            drawn = find_mask_logits(networks, _as_wanted(window, networks.segmenter))
            seen = np.zeros(0, np.float32)
        else:
            drawn, seen = find_borders(networks, window, 0.0277)
        probability = judge_quality(networks, _as_wanted(window, networks.classifier))
    except Exception as error:  # ONNX Runtime raises a family of exceptions without a base
        raise NetworksError(f"The networks load, but do not run: {error}") from error
    size = (NETWORK_ROWS, NETWORK_COLUMNS)
    wanted = [(1, *size), (0,)] if mask else [(1, 4, *size), (1, 2, NETWORK_COLUMNS)]
    for found, shape in zip((drawn, seen, probability), [*wanted, (1,)], strict=True):
        if found.shape != shape or not np.isfinite(found).all():
            raise NetworksError(
                f"The networks load, but one answers {found.shape} values where {shape} finite "
                "ones are wanted."
            )
    answer = {"probability": round(float(probability[0]), 4)}
    if not mask:
        return {"border_rows": drawn[0, :2, :, 32::64].argmax(1).tolist()} | answer
    fields = drawn[0].reshape(4, NETWORK_ROWS // 4, 4, NETWORK_COLUMNS // 4).mean((1, 3))
    return {"logit_fields": fields.tolist(), "logit_spread": float(np.ptp(drawn))} | answer


def check_known_answer(networks: Networks) -> None:
    """Compare what the networks answer with what the manifest says they should.

    Raises
    ------
    NetworksError
        They do not answer at all (see `known_answer_of`), or a border lies more than a row away, a
        field of a mask's logits by more than a hundredth of their spread, or the probability
        differs by more than 0.01.
    """
    wanted, found = networks.known_answer, known_answer_of(networks)
    try:
        if networks.segmenter.kind == "mask":
            apart = np.abs(np.subtract(wanted["logit_fields"], found["logit_fields"])).max()
            segmented = apart <= 0.01 * wanted["logit_spread"]
            told = f"logits are {apart:.3g} away"
        else:
            apart = np.abs(np.subtract(wanted["border_rows"], found["border_rows"])).max()
            segmented = apart <= 1
            told = f"borders are {apart} rows away"
        probability = abs(wanted["probability"] - found["probability"])
    except (KeyError, TypeError, ValueError) as error:
        raise NetworksError("The manifest holds no usable known answer.") from error
    if not segmented or not probability <= 0.01:
        raise NetworksError(
            f"The networks do not give their known answer: {told}, "
            f"the probability differs by {probability:.4f}."
        )


def _as_wanted(window: Floats, network: Network) -> Floats:
    """The known window in the grey that a network wants; 1.5 is its brightest."""
    return window if network.grey == "scaled" else (window / 1.5).astype(np.float32)
