"""The two networks: ONNX sessions, and the manifest beside them that says what they are."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from app.pipeline.errors import NetworksError
from app.pipeline.measuring import BorderConvention
from app.pipeline.network_kinds import Grey, check_combination, check_ports, kind_and_grey
from app.pipeline.results import NetworkInfo

Floats = NDArray[np.float32]

CPU = "CPUExecutionProvider"

_CARD_KEYS = (
    "name", "version", "sha256", "kind", "trained_on", "accuracy", "convention", "input", "grey",
    "combination", "normalisation", "source", "checkpoint",
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """One loaded network.

    Attributes
    ----------
    info : NetworkInfo
    card : mapping
        What `/v1/models` tells: name, version, sha256, what it was trained on, how well it did.
    session : onnxruntime.InferenceSession
        Safe to ``run`` from several threads.
    kind : str
        Of a segmenter 'borders' or 'mask', of a classifier 'quality'.
    grey : {'scaled', 'unit'}
        How it wants its input: as `resample.normalised` makes it, or grey 0..255 over 255.
    """

    info: NetworkInfo
    card: Mapping[str, Any]
    session: onnxruntime.InferenceSession
    kind: str
    grey: Grey


@dataclass(frozen=True)
class Networks:
    """The pair of networks that an analysis needs, and an answer they are known to give.

    Attributes
    ----------
    segmenter, classifier : Network
    known_answer : mapping
    crew : Executor or None
        Runs windows side by side, for all analyses together; None one after the other.
    """

    segmenter: Network
    classifier: Network
    known_answer: Mapping[str, Any]
    crew: Executor | None = None


def load_networks(
    directory: Path, threads: int = 0, *, side_by_side: int = 1, providers: Sequence[str] = (CPU,)
) -> Networks:
    """Load the networks of a directory.

    Parameters
    ----------
    directory : Path
        Holds ``manifest.json`` and the two ONNX files that it names.
    threads : int
        Threads that one run may use; 0 leaves it to ONNX Runtime.
    side_by_side : int
        Runs that may go on at the same time, whatever the number of analyses.
    providers : sequence of str
        ONNX Runtime's execution providers, the preferred one first.

    Raises
    ------
    NetworksError
        If a file is missing, is not the one the manifest describes, does not load, or does not
        take and give what its kind does; or a provider is not there.
    """
    _check_providers(providers)
    manifest = _read_manifest(directory)
    segmenter = _load(directory, manifest, "segmenter", threads, providers)
    classifier = _load(directory, manifest, "classifier", threads, providers)
    crew = None
    if side_by_side > 1:
        crew = ThreadPoolExecutor(side_by_side, thread_name_prefix="network")
    return Networks(segmenter, classifier, manifest.get("known_answer", {}), crew)


def require_convention(networks: Networks, convention: BorderConvention) -> None:
    """Check that the segmenter can draw borders by a convention.

    Raises
    ------
    NetworksError
        A network that draws masks knows one convention only, its own.
    """
    if networks.segmenter.kind == "mask" and convention != "expert":
        raise NetworksError(
            f"The segmenter {networks.segmenter.info.name} draws masks and knows no border "
            f"convention {convention!r}: leave ECHO2PHENO_BORDER_CONVENTION at 'expert'."
        )


def find_borders(networks: Networks, windows: Floats, mm_per_row: float) -> tuple[Floats, Floats]:
    """Run the segmenter.

    Parameters
    ----------
    windows : ndarray of float32, shape (n, 256, 256)
        As `resample.normalised` makes them.
    mm_per_row : float
        Depth of one of the 256 rows.

    Returns
    -------
    borders : ndarray of float32, shape (n, 4, 256, 256)
        Logits over the rows (axis 2) of upper, lower, upper inner and lower inner border.
    columns : ndarray of float32, shape (n, 2, 256)
        Logits that a ventricle is in view, and that its borders can be followed.
    """
    inputs = {
        "window": np.ascontiguousarray(windows[:, None], np.float32),
        "mm_per_row": np.full(len(windows), mm_per_row, np.float32),
    }
    borders, columns = networks.segmenter.session.run(["borders", "columns"], inputs)
    return np.asarray(borders, np.float32), np.asarray(columns, np.float32)


def find_mask_logits(networks: Networks, windows: Floats) -> Floats:
    """Run a segmenter that draws masks, window by window: each needs much memory.

    Parameters
    ----------
    windows : ndarray of float32, shape (n, 256, 256)

    Returns
    -------
    ndarray of float32, shape (n, 256, 256)
        Logits that a pixel is lumen.
    """
    session = networks.segmenter.session
    answers = [
        session.run(["logits"], {"window": np.ascontiguousarray(window[None, None], np.float32)})[0]
        for window in windows
    ]
    return np.concatenate(answers).astype(np.float32, copy=False)[:, 0]


def judge_quality(networks: Networks, windows: Floats) -> Floats:
    """Run the classifier on ``windows``, shape (n, 256, 256): probabilities 0..1, shape (n,)."""
    inputs = {"window": np.ascontiguousarray(windows[:, None], np.float32)}
    (probability,) = networks.classifier.session.run(["probability"], inputs)
    return np.asarray(probability, np.float32)


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise NetworksError(
            f"There is no manifest.json in the networks' folder {directory}."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise NetworksError(f"manifest.json in {directory} cannot be read: {error}.") from error
    if not isinstance(manifest, dict):
        raise NetworksError(f"manifest.json in {directory} does not hold a JSON object.")
    return manifest


def _check_providers(providers: Sequence[str]) -> None:
    there = onnxruntime.get_available_providers()
    missing = [name for name in providers if name not in there]
    if missing or not providers:
        wrong = f"has no {' and no '.join(missing)}" if missing else "needs a provider"
        raise NetworksError(
            f"The installed ONNX Runtime {wrong}: ECHO2PHENO_ONNX_PROVIDERS may name "
            f"{', '.join(there)}."
        )


def _check_in_use(session: onnxruntime.InferenceSession, providers: Sequence[str]) -> None:
    """Refuse to compute elsewhere than was asked: without its driver a provider is left out."""
    missing = [name for name in providers if name not in session.get_providers()]
    if missing:
        raise NetworksError(
            f"{' and '.join(missing)} cannot be used on this machine (is a driver or a library "
            "missing?), though ECHO2PHENO_ONNX_PROVIDERS names it."
        )


def _load(
    directory: Path, manifest: Mapping[str, Any], role: str, threads: int, providers: Sequence[str]
) -> Network:
    entry = manifest.get(role)
    wanted = ("file", "name", "version", "sha256")
    if not isinstance(entry, dict) or any(not isinstance(entry.get(k), str) for k in wanted):
        raise NetworksError(f"manifest.json does not describe the {role}: {', '.join(wanted)}.")
    name = entry["file"]
    if Path(name).name != name:
        raise NetworksError(f"The {role}'s file must lie beside manifest.json, not at {name!r}.")
    try:
        content = (directory / name).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no file can have such a name
        raise NetworksError(f"The {role} {name!r} cannot be read from {directory}.") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != entry["sha256"]:
        raise NetworksError(
            f"{name} is not the file that manifest.json describes: "
            f"its sha256 is {sha256}, not {entry['sha256']}."
        )
    kind, grey = kind_and_grey(entry, role)
    check_combination(entry)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # as fast, and a third less memory in large networks
    # spinning threads take the cores from whoever else works beside this run
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=list(providers))
    except Exception as error:  # ONNX Runtime raises a family of exceptions without a base
        raise NetworksError(f"{name} is not a network that can be loaded.") from error
    _check_in_use(session, providers)
    check_ports(name, session, role, kind)
    info = NetworkInfo(entry["name"], entry["version"], sha256)
    card = {k: entry[k] for k in _CARD_KEYS if k in entry}
    return Network(info, card, session, kind, grey)
