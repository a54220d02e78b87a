"""Two checkpoints → a folder of networks: ONNX files, manifest, card, and a check of themselves."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from app.pipeline.errors import NetworksError
from app.pipeline.known_answer import check_known_answer, known_answer_of
from app.pipeline.networks import load_networks
from models.published.architecture import Normalisation
from models.published.check import Differences, compare
from models.published.checkpoints import Checkpoint, CheckpointError, read_checkpoint
from models.published.graph import classifier_graph, segmenter_graph

SOURCE = (
    "Taken to be Zenodo record 3941857 (heart-seg-net.pt, quality-clas-net.pth); the weights were "
    "not compared with it"
)
INPUT = (
    "a window of the strip resized to 256 × 256 by cubic convolution (a = −0.75), grey 0..1; what "
    "the resize overshoots stays"
)
_NAMES = {"segmenter": "heart-seg-net", "classifier": "quality-clas-net"}
_KINDS = {"segmenter": "mask", "classifier": "quality"}


def import_published(
    segmenter: Path, classifier: Path, out: Path, normalisation: Normalisation = "running"
) -> Differences:
    """Write a networks' folder that the service can run.

    Parameters
    ----------
    segmenter, classifier : Path
        The two checkpoints.
    out : Path
        Folder to make; it must not hold anything yet.
    normalisation : {'running', 'instance'}

    Returns
    -------
    Differences
        How far the folder's answers are from those of the checkpoints in torch.

    Raises
    ------
    CheckpointError
        A checkpoint does not fit, or what was made of it does not answer as it does. Nothing is
        written then.
    OSError
        The folder cannot be written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CheckpointError(f"{out} is there already: name a folder that is new, or empty.")
    checkpoints = (
        read_checkpoint(segmenter, "segmenter"),
        read_checkpoint(classifier, "classifier"),
    )
    # beside the first folder that has to be made, so that none is left where the import fails
    there = next(folder for folder in out.absolute().parents if folder.exists())
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=there))
    try:
        differences = _write(work, *checkpoints, normalisation)
        work.chmod(0o755)
        out.parent.mkdir(parents=True, exist_ok=True)
        work.replace(out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return differences


def _write(
    folder: Path, segmenter: Checkpoint, classifier: Checkpoint, normalisation: Normalisation
) -> Differences:
    manifest: dict[str, Any] = {
        "format": 1,
        "segmenter": _entry(
            folder, segmenter, segmenter_graph(segmenter.weights, normalisation), normalisation
        ),
        "classifier": _entry(
            folder, classifier, classifier_graph(classifier.weights, normalisation), normalisation
        ),
    }
    path = folder / "manifest.json"
    path.write_text(_json(manifest), "utf-8")
    try:
        networks = load_networks(folder)
        differences = compare(networks, segmenter, classifier, normalisation)
        manifest["known_answer"] = known_answer_of(networks)
        path.write_text(_json(manifest), "utf-8")
        check_known_answer(load_networks(folder))
    except NetworksError as error:
        raise CheckpointError(f"What was made of the checkpoints does not work: {error}") from error
    if not differences.acceptable:
        raise CheckpointError(
            f"ONNX Runtime does not answer as torch does: {told(differences)}. Nothing was written."
        )
    template = (Path(__file__).parent / "card.md").read_text("utf-8")
    card = template.format(
        segmenter=manifest["segmenter"],
        classifier=manifest["classifier"],
        source=SOURCE,
        check=vars(differences),
    )
    (folder / "README.md").write_text(card, "utf-8")
    return differences


def _entry(
    folder: Path, checkpoint: Checkpoint, model: bytes, normalisation: Normalisation
) -> dict[str, Any]:
    """Write a network's file, and say what it is."""
    file = f"{checkpoint.role}.onnx"
    (folder / file).write_bytes(model)
    return {
        "file": file,
        "name": _NAMES[checkpoint.role],
        "version": f"{normalisation}-{checkpoint.sha256[:12]}",
        "sha256": hashlib.sha256(model).hexdigest(),
        "kind": _KINDS[checkpoint.role],
        "grey": "unit",
        "input": INPUT,
        "normalisation": normalisation,
        "source": SOURCE,
        "checkpoint": {"file": checkpoint.file_name, "sha256": checkpoint.sha256},
        "trained_on": "the published recordings of awake mice, where the checkpoint is the "
        "published one",
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def told(differences: Differences) -> str:
    """The differences in words."""
    return (
        f"on {differences.windows} windows {differences.within_pct:.2f} % of the logits are within "
        f"a thousandth of their range, the median difference is {differences.median:.1e} of it "
        f"and the largest {differences.largest:.1e}; probabilities differ by at most "
        f"{differences.probability:.1e}"
    )
