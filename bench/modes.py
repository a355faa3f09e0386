"""Modes that GANs cover: the ring of 8 (sigma 0.01) and the grid of 25 (sigma 0.05), from 100,000 points.

    python -m bench.modes [--world ring] [--world grid] [--method codes] ... [--seeds 10] [--first 0]

Prints for every seed the modes captured, the share within 3 sigma of one and the KL to uniform of 2,500 draws
(Lin et al. 2018); of 100,000 draws share, KL and standard deviation within modes over the truth's: of all, of the
narrowest and of the widest mode; then the processor seconds of the fit.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import torch

import likeness.families.gan
import likeness.routes  # noqa: F401 - registers the ways of answering
from likeness import registry
from likeness.core.model import Model
from likeness.data.synthetic.planar import Isotropic, grid, ring
from likeness.families.gan import modes
from likeness.learn.run import Run
from likeness.metrics import quality

POINTS, FEW, MANY = 100_000, 2_500, 100_000
PLAIN = {"latent": 2, "r1": 0.0, "r2": 0.0, "beta2": 0.999, "loss": "non_saturating"}
SYNTHETIC = {"ring": ring(sigma=0.01), "grid": grid(sigma=0.05)}
STEPS = {"ring": 2_000, "grid": 1_600}  # each takes less than a minute of one quiet core
GAMES = ("non_saturating", "minimax", "hinge", "wasserstein")
METHODS: dict[str, tuple[int | None, dict[str, Any]]] = {
    "codes": (None, modes()),
    "continuous": (None, modes() | {"codes": 0}),
    **{f"codes, {loss}": (None, modes() | {"loss": loss}) for loss in GAMES},
    "plain": (5_000, PLAIN),
    "packed": (5_000, PLAIN | {"packing": 4}),
    "unrolled": (1_500, PLAIN | {"unroll": 5}),
    "WGAN-GP": (
        1_200,
        PLAIN | {"loss": "wasserstein", "gradient_penalty": 10.0, "critic_steps": 5, "latent": 8},
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What 2,500 and what 100,000 draws show, each mode's width among the latter, and the fit's processor seconds."""

    few: quality.Modes
    many: quality.Modes
    widths: tuple[float, ...]
    seconds: float

    def __str__(self) -> str:
        few, many = self.few, self.many
        return (
            f"{few.captured:2d} {len(few.counts):2d} {100 * few.high_quality.value:6.2f} {few.kl_uniform:7.4f}  "
            f"{100 * many.high_quality.value:6.2f} {many.kl_uniform:8.5f} {many.width:6.3f} "
            f"{min(self.widths):5.3f} {max(self.widths):5.3f} {self.seconds:6.1f}"
        )


def fitted(name: str, method: str, seed: int) -> Model:
    """The model of a method on a world."""
    steps, options = METHODS[method]
    data = SYNTHETIC[name].source(POINTS, seed)
    return Run(
        registry.build("gan", options, data.space, seed=seed), data, steps or STEPS[name], seed
    ).fit()


def measured(name: str, method: str, seed: int) -> Outcome:
    """One row of the table: how draws of a model fall on the modes."""
    start = time.process_time()
    model = fitted(name, method, seed)
    seconds = time.process_time() - start
    truth = SYNTHETIC[name]
    x = model.sample(FEW + MANY, seed=seed).x.double()
    few, many = (quality.modes(part, truth.centres, truth.sigma) for part in x.split([FEW, MANY]))
    return Outcome(few, many, widths(x[FEW:], truth), seconds)


def widths(x: torch.Tensor, truth: Isotropic) -> tuple[float, ...]:
    """The standard deviation within each mode over the truth's; 0 where a mode holds fewer than two draws."""
    mode = torch.cdist(x, truth.centres).argmin(-1)
    parts = [x[mode == k] for k in range(len(truth.centres))]
    return tuple(
        quality.modes(p, truth.centres, truth.sigma).width if len(p) else 0.0 for p in parts
    )


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", action="append", choices=[*SYNTHETIC])
    parser.add_argument("--method", action="append", choices=[*METHODS])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    print(
        "world method                 seed  modes    HQ %      KL    HQ %       KL  width   least  most seconds"
    )
    for name in args.world or SYNTHETIC:
        for method in args.method or METHODS:
            for seed in range(args.first, args.first + args.seeds):
                print(f"{name:5} {method:22} {seed:4d}  {measured(name, method, seed)}", flush=True)


if __name__ == "__main__":
    main()
