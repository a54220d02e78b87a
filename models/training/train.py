"""Train one of the two networks on simulated windows, with checkpoints that resume.

python -m models.training.train segmenter --data SHARDS --out RUN_DIR --steps 7000 --seed 1
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.training.architecture import BorderSegmenter, QualityClassifier
from models.training.start import start_from
from models.training.windows import Shards, batches, quality_window, segmenter_window

BORDER_WEIGHTS = (1.0, 1.0, 0.35, 0.35)
TARGET_WIDTH_ROWS = 1.3


def segmenter_loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of each border's distribution over the rows, its mean's distance, visibility.

    A column counts by how well its borders can be followed; where no ventricle is in view only
    the visibility is learnt.
    """
    logits, columns = network(batch["window"], batch["mm_per_row"])
    logits, columns = logits.float(), columns.float()
    log_share = functional.log_softmax(logits, 2)
    rows = torch.arange(logits.shape[2], dtype=torch.float32)
    at = batch["borders"]
    distance = rows[None, None, :, None] - at[:, :, None, :]
    target = torch.exp(-0.5 * (distance / TARGET_WIDTH_ROWS) ** 2)
    target = target / target.sum(2, keepdim=True).clamp_min(1e-6)
    weight = (batch["in_view"] * (0.25 + 0.75 * batch["followable"]))[:, None, :]
    weight = weight * torch.tensor(BORDER_WEIGHTS)[None, :, None]
    total = weight.sum().clamp_min(1.0)
    cross_entropy = -(target * log_share).sum(2)
    mean = (log_share.exp() * rows[None, None, :, None]).sum(2)
    far = functional.smooth_l1_loss(mean, at, reduction="none", beta=2.0).clamp_max(30)
    border = ((cross_entropy + 0.08 * far) * weight).sum() / total
    seen = functional.binary_cross_entropy_with_logits(columns[:, 0], batch["in_view"])
    follow = functional.binary_cross_entropy_with_logits(columns[:, 1], batch["followable"])
    return border + seen + 0.5 * follow


def classifier_loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy against the simulated expert's probability."""
    answer = network(batch["window"]).float()
    return functional.binary_cross_entropy_with_logits(answer, batch["target"])


TASKS: dict[str, tuple[Callable[[], nn.Module], Callable, Callable]] = {
    "segmenter": (BorderSegmenter, segmenter_loss, segmenter_window),
    "classifier": (QualityClassifier, classifier_loss, quality_window),
}


def _learning_rate(step: int, steps: int, highest: float) -> float:
    warm = min(1.0, (step + 1) / 200)
    return highest * warm * (0.5 + 0.5 * float(torch.cos(torch.tensor(torch.pi * step / steps))))


def train(
    task: str,
    data: Path,
    out: Path,
    *,
    steps: int,
    seed: int,
    batch_size: int = 12,
    highest_rate: float = 2.5e-3,
    threads: int = 1,
    compiled: bool = False,
    start: Path | None = None,
) -> Path:
    """Train, and return the path of the final checkpoint, ``out/TASK-SEED.pt``.

    The exported weights are a running average of the trained ones. An interrupted run goes on
    from its last checkpoint. Compiled, a step takes two thirds of the time; that needs a C++
    compiler. Where the processor has the instructions for it, convolutions are done in bfloat16;
    elsewhere that would take several times as long as float32.

    Parameters
    ----------
    start : Path or None
        Folder of exported networks to go on from, at a quarter of the rate, instead of from
        weights drawn by the seed.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    make, loss_of, draw = TASKS[task]
    if compiled:
        loss_of = torch.compile(loss_of)
    network = make()
    if start:
        start_from(network, start / f"{task}.onnx")
        highest_rate /= 4
    network = network.to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    optimiser = torch.optim.AdamW(network.parameters(), highest_rate, weight_decay=0.02)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{task}-{seed}.pt"
    first = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    shards = Shards(data)
    shards.refresh()
    drawn = batches(draw, seed * 1_000_003 + first, shards, batch_size)
    log = out / f"{task}-{seed}.jsonl"
    started, running = time.monotonic(), 0.0
    network.train(not start)  # what was folded into the weights has no statistics of its own
    fast = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    for step in range(first, steps):
        if step % 250 == 0:
            shards.refresh()
        for group in optimiser.param_groups:
            group["lr"] = _learning_rate(step, steps, highest_rate)
        batch = {name: torch.from_numpy(array) for name, array in next(drawn).items()}
        batch["window"] = batch["window"].to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = loss_of(network, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        average.update_parameters(network)
        running += float(loss.detach())
        if (step + 1) % 100 == 0:
            seconds = time.monotonic() - started
            entry = {"step": step + 1, "loss": running / 100, "s": seconds}
            with log.open("a") as stream:
                stream.write(json.dumps(entry) + "\n")
            running = 0.0
        if (step + 1) % 250 == 0 or step + 1 == steps:
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
            }
            partial = path.with_suffix(".partial")
            torch.save(state, partial)
            partial.replace(path)
    return path


def main() -> None:
    """Train one network from the command line."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("task", choices=sorted(TASKS))
    cli.add_argument("--data", type=Path, required=True)
    cli.add_argument("--out", type=Path, required=True)
    cli.add_argument("--steps", type=int, default=7000)
    cli.add_argument("--seed", type=int, default=1)
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--compiled", action="store_true")
    cli.add_argument("--start", type=Path)
    args = cli.parse_args()
    path = train(
        args.task,
        args.data,
        args.out,
        steps=args.steps,
        seed=args.seed,
        threads=args.threads,
        compiled=args.compiled,
        start=args.start,
    )
    print(path)


if __name__ == "__main__":
    main()
