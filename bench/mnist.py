"""MNIST, dynamically binarised, all 10,000 test images; and its 256 grey levels in bits a dimension.

    LIKENESS_DATA=... python -m bench.mnist --model autoregressive|vae|burda|flow|diffusion
                      [--budget 60m] [--threads 1] [--set width=64] ... [--out folder] [--effort 1000]

Two threads for 30 minutes are at most one thread for an hour. An autoregressive model is exact; a VAE's number is the
importance-weighted bound with 1,000 draws on all images and 5,000 on a random thousand, with the difference.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import likeness.routes  # noqa: F401 - registers the ways of answering
from bench.arguments import assignment
from likeness.api import load
from likeness.core.answers import LogProb
from likeness.core.batch import Batch
from likeness.core.model import Model
from likeness.learn.executor import Event
from likeness.learn.fit import start
from likeness.learn.run import Run

EVERY = 60.0  # seconds between the lines that a long run prints
FEW = 1000  # images that the longer bound is measured on


@dataclass(frozen=True)
class Preset:
    """A family's options for a 28x28 image, and what its pixels are."""

    family: str
    options: dict[str, Any]
    binary: bool = True
    longer: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    "autoregressive": Preset(
        "autoregressive", {"depth": 8, "width": 56, "batch": 16, "lr": 5e-3, "muon": 0.01, "precision": "bf16"}
    ),
    "vae": Preset(
        "vae",
        {"latent": 40, "width": 24, "batch": 64, "lr": 2e-3, "hide": 0.0, "kl_warmup": 0.05, "precision": "bf16",
         "prior": {"family": "flow", "transform": "affine", "net": "coupling", "layers": 6, "hidden": [128],
                   "batch": 64, "precision": "bf16"}},
        longer=5000,
    ),
    "burda": Preset(
        "vae",
        {"latent": 50, "net": "mlp", "hidden": (200, 200), "activation": "tanh", "batch": 128, "lr": 2e-3, "hide": 0.0,
         "kl_warmup": 0.02, "precision": "onednn"},
        longer=5000,
    ),
    "flow": Preset("flow", {"batch": 64, "precision": "bf16"}, binary=False),
    "diffusion": Preset("diffusion", {"batch": 64, "precision": "bf16"}, binary=False),
}  # fmt: skip


def told(answer: LogProb, space: Any) -> str:
    """The mean with its standard error, in nats and in bits a dimension, and what kind of number it is."""
    value = answer.value.double()
    mean, error = float(value.mean()), float(value.std()) / math.sqrt(len(value))
    bits = -mean / (space.dims * math.log(2))
    return f"{mean:9.3f} ± {error:.3f} nats, {bits:.4f} bits/dim, {answer.kind.name}: {answer.how}"


def score(model: Model, batch: Batch, effort: int | None, settings: dict[str, Any]) -> LogProb:
    return model.log_prob(batch, effort=effort, seed=0, settings=settings)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, choices=[*PRESETS])
    parser.add_argument("--budget", default="60m")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effort", type=int, default=1000)
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", action="append", default=[], type=assignment, metavar="NAME=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    preset = PRESETS[args.model]
    options = preset.options | dict(args.set)
    data = load("mnist", binarize="dynamic" if preset.binary else None)
    model = start(preset.family, options, data.train, seed=args.seed)
    print(
        f"{args.model}: {sum(p.numel() for p in model.parameters()):,} numbers, {json.dumps(options)}",
        flush=True,
    )
    begun, used, last = time.perf_counter(), time.process_time(), [0.0]

    def tell(run: Run, event: Event) -> None:
        now = time.perf_counter() - begun
        if now - last[0] > EVERY:
            last[0] = now
            print(f"{now:6.0f} s  {run.iteration:7,} steps  loss {event.loss:9.3f}", flush=True)

    run = Run(model, data.train, args.budget, args.seed, out=args.out)
    model = run.fit(tell)
    print(f"fit: {time.perf_counter() - begun:.0f} s, {time.process_time() - used:.0f} s of processor, "
          f"{run.iteration:,} steps of {model.config.batch}", flush=True)  # fmt: skip
    if args.out:
        model.save(args.out / "model")
    begun, test = time.perf_counter(), data.test.batch[: args.test]
    effort = args.effort if preset.longer else None
    whole = score(model, test, effort, preset.settings)
    print(
        f"{len(test)} test images: {told(whole, model.space)}  ({time.perf_counter() - begun:.0f} s)",
        flush=True,
    )
    if preset.longer:
        some = torch.randperm(len(test), generator=torch.Generator().manual_seed(args.seed))[:FEW]
        longer = score(model, test[some], preset.longer, preset.settings)
        gain = longer.value.double() - whole.value[some].double()
        error = float(gain.std()) / math.sqrt(len(some))
        print(
            f"{len(some)} of them: {told(longer, model.space)}; {float(gain.mean()):+.4f} ± {error:.4f} on fewer draws"
        )


if __name__ == "__main__":
    main()
