"""The kinds of networks that can be run: what each takes and gives, and in which grey."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import onnxruntime

from app.pipeline.errors import NetworksError
from app.pipeline.resample import NETWORK_COLUMNS, NETWORK_ROWS

Grey = Literal["scaled", "unit"]
"""How a network wants its input: scaled by the strip's bright end, or grey / 255 as it is."""

COMBINED = ("network", "followable")
"""What a ``combination`` in the manifest gives a weight to, besides its ``intercept``."""

_Ports = Mapping[str, tuple[int | None, ...]]
_WINDOW: tuple[int | None, ...] = (None, 1, NETWORK_ROWS, NETWORK_COLUMNS)
_PORTS: Mapping[str, Mapping[str, tuple[_Ports, _Ports]]] = {
    "segmenter": {
        "borders": (
            {"window": _WINDOW, "mm_per_row": (None,)},
            {
                "borders": (None, 4, NETWORK_ROWS, NETWORK_COLUMNS),
                "columns": (None, 2, NETWORK_COLUMNS),
            },
        ),
        "mask": ({"window": _WINDOW}, {"logits": _WINDOW}),
    },
    "classifier": {"quality": ({"window": _WINDOW}, {"probability": (None,)})},
}
"""What a network of each kind takes and gives, float32; None is any number of windows."""

_GREYS: Mapping[str, tuple[Grey, ...]] = {
    "borders": ("scaled",),
    "mask": ("scaled", "unit"),
    "quality": ("scaled", "unit"),
}


def kind_and_grey(entry: Mapping[str, Any], role: str) -> tuple[str, Grey]:
    """Read what kind of network a manifest describes, and how it wants its input.

    Parameters
    ----------
    entry : mapping
        Of the manifest; without a word on ``grey`` it is scaled by the strip.
    role : {'segmenter', 'classifier'}

    Raises
    ------
    NetworksError
        There is no such kind.
    """
    kind, grey = entry.get("kind"), entry.get("grey", "scaled")
    if not isinstance(kind, str) or kind not in _PORTS[role]:
        known = " or ".join(repr(name) for name in _PORTS[role])
        raise NetworksError(f"The {role} in manifest.json is of the kind {kind!r}, not {known}.")
    for possible in _GREYS[kind]:
        if grey == possible:
            return kind, possible
    known = " or ".join(repr(name) for name in _GREYS[kind])
    raise NetworksError(
        f"The {role} in manifest.json wants its grey {grey!r}; of the kind {kind!r} it is {known}."
    )


def check_combination(entry: Mapping[str, Any]) -> None:
    """Check the weights by which a classifier's answer is combined with what the segmenter saw.

    Raises
    ------
    NetworksError
        There are some, and they are not a finite number for each of `COMBINED` and ``intercept``.
    """
    weights = entry.get("combination")
    if weights is None:
        return
    wanted = {*COMBINED, "intercept"}
    try:
        finite = all(math.isfinite(value) for value in weights.values())
    except (AttributeError, TypeError, OverflowError):
        finite = False
    if not finite or weights.keys() != wanted:
        raise NetworksError(
            "The combination of the classifier in manifest.json has to give a number to "
            f"{', '.join(sorted(wanted))}."
        )


def check_ports(name: str, session: onnxruntime.InferenceSession, role: str, kind: str) -> None:
    """Check the names, types and shapes of a network's inputs and outputs.

    Raises
    ------
    NetworksError
        They are not those of the kind.
    """
    takes, gives = _PORTS[role][kind]
    for verb, nodes, wanted in (
        ("takes", session.get_inputs(), takes),
        ("gives", session.get_outputs(), gives),
    ):
        found = {node.name: node for node in nodes}
        fits = found.keys() == wanted.keys() and all(
            node.type == "tensor(float)" and _shape(node.shape) == wanted[key]
            for key, node in found.items()
        )
        if not fits:
            told = {key: (node.type, _shape(node.shape)) for key, node in found.items()}
            raise NetworksError(
                f"{name} {verb} {_told(told)}; wanted is "
                f"{_told({key: ('tensor(float)', shape) for key, shape in wanted.items()})}."
            )


def _shape(dimensions: Sequence[int | str | None]) -> tuple[int | None, ...]:
    """A named dimension takes any number, like None."""
    return tuple(size if isinstance(size, int) else None for size in dimensions)


def _told(ports: Mapping[str, tuple[str, tuple[int | None, ...]]]) -> str:
    return ", ".join(
        f"{name} {kind} {'×'.join('n' if size is None else str(size) for size in shape)}"
        for name, (kind, shape) in ports.items()
    )
