"""The published checkpoints, read without running anything that they hold, and looked over."""

import hashlib
import io
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.published.architecture import Classifier, Segmenter

NETWORKS: Mapping[str, type[nn.Module]] = {"segmenter": Segmenter, "classifier": Classifier}
_DIRECTORY = 0x10  # of an entry's attributes in a zip file
_NESTED_IN = {"segmenter": "net_state_dict", "classifier": None}


class CheckpointError(Exception):
    """A checkpoint that cannot be imported; the message is one sentence for the user."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that fits.

    Attributes
    ----------
    role : str
        'segmenter' or 'classifier'.
    file_name : str
    sha256 : str
        Of the file.
    state : mapping of str to Tensor
        Every parameter and statistic, in the order of the architecture.
    """

    role: str
    file_name: str
    sha256: str
    state: Mapping[str, Tensor]

    @property
    def weights(self) -> dict[str, NDArray[Any]]:
        return {name: tensor.numpy() for name, tensor in self.state.items()}

    def network(self) -> nn.Module:
        """The network in torch with these weights."""
        network = NETWORKS[self.role]()
        network.load_state_dict(dict(self.state))
        return network


def read_checkpoint(path: Path, role: str) -> Checkpoint:
    """Read a checkpoint and check that it holds what the architecture needs, and nothing else.

    Parameters
    ----------
    path : Path
    role : {'segmenter', 'classifier'}

    Raises
    ------
    CheckpointError
        The file cannot be read, holds more than tensors, or its tensors have other names, shapes
        or types, or values that are no numbers; or bytes were altered after it was written. Weights
        that were exchanged for others of the same shape before that cannot be noticed: no hash of
        the published files is known.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise CheckpointError(f"{path} cannot be read ({reason}).") from error
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} is no name that a file can have.") from error
    try:
        _check_sums(content)
        with warnings.catch_warnings(action="ignore"):  # of what is refused in a sentence anyway
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever zipfile, pickle or its own reader do
        raise CheckpointError(
            f"{path} is not a checkpoint that can be read: it is truncated, altered, damaged, or "
            "holds more than tensors."
        ) from error
    state = _state_of(loaded, role, path)
    expected = NETWORKS[role]().state_dict()
    _compare(state, expected, role, path)
    sha256 = hashlib.sha256(content).hexdigest()
    ordered = {name: _plain(state[name]) for name in expected}
    return Checkpoint(role, path.name, sha256, ordered)


def has_check_sums(path: Path) -> bool:
    """Whether a checkpoint carries check sums of what it holds.

    PyTorch's format before 1.6 has none: what was altered in such a file cannot be noticed.
    """
    return zipfile.is_zipfile(path)


def _check_sums(content: bytes) -> None:
    """Check the sums that torch's zip files carry but torch does not read; older files have none.

    Raises
    ------
    zipfile.BadZipFile
        Bytes have changed since the file was written.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if (part := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"the check sum of {part} is wrong")
        for entry in archive.infolist():
            # torch leaves the memory of what is marked so as it finds it
            if entry.is_dir() or entry.external_attr & _DIRECTORY:
                raise zipfile.BadZipFile(f"{entry.filename} is marked as a folder")


def _plain(tensor: Tensor) -> Tensor:
    """The tensor's values in memory as they are, without a sign or an order kept beside them."""
    return tensor.detach().resolve_neg().contiguous()


def _state_of(loaded: object, role: str, path: Path) -> Mapping[str, Tensor]:
    """Take the tensors out of what was loaded."""
    name = _NESTED_IN[role]
    found = loaded
    if name is not None:
        if not isinstance(loaded, dict) or not isinstance(loaded.get(name), dict):
            raise CheckpointError(
                f"{path} is not a checkpoint of the {role}: it has no "
                f"{name!r}{_hint(loaded, role)}."
            )
        found = loaded[name]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise CheckpointError(
            f"{path} is not a checkpoint of the {role}: it is not a plain set of "
            f"tensors{_hint(loaded, role)}."
        )
    return found


def _compare(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], role: str, path: Path
) -> None:
    refused = f"{path} is not a checkpoint of the {role}"
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    if missing or unknown:
        wrong = [f"no {missing[0]!r}"] if missing else []
        wrong += [f"an unknown {str(unknown[0])[:80]!r}"] if unknown else []
        count = len(missing) + len(unknown)
        others = f" ({count} names differ)" if count > 1 else ""
        raise CheckpointError(
            f"{refused}: it has {' and '.join(wrong)}{others}{_hint(state, role)}."
        )
    for name, wanted in expected.items():
        found = state[name]
        if found.shape != wanted.shape:
            raise CheckpointError(
                f"{refused}: {name!r} has the shape {tuple(found.shape)}, "
                f"wanted is {tuple(wanted.shape)}."
            )
        if found.dtype != wanted.dtype or found.layout != torch.strided:
            raise CheckpointError(
                f"{refused}: {name!r} is {_type_of(found)}, wanted is {_type_of(wanted)}."
            )
        values = _plain(found).numpy()
        if not np.isfinite(values).all():
            raise CheckpointError(f"{path} is damaged: {name!r} holds values that are no numbers.")
        if name.endswith("running_var") and (values < 0).any():
            raise CheckpointError(f"{path} is damaged: {name!r} holds a negative variance.")


def _hint(found: object, wanted: str) -> str:
    """Say so where a checkpoint is that of the other network."""
    if isinstance(found, Mapping):
        for role, nested_in in _NESTED_IN.items():
            if role == wanted:
                continue
            state = found.get(nested_in) if nested_in else found
            names = NETWORKS[role]().state_dict().keys()
            if isinstance(state, Mapping) and state.keys() == names:
                return f", it is one of the {role}"
    return ""


def _type_of(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    return kind if tensor.layout == torch.strided else f"sparse {kind}"
