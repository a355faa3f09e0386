"""How far diffusion stays from the truth on worlds of the plane: KL(world, model) in nats, by the ODE on unseen points.

`python bench/diffusion.py [steps] [points] [world ...] [option=value ...]`: one thread, processor seconds.
"""

import sys
import time

import torch

from likeness.data.worlds import world
from likeness.families.diffusion import Diffusion
from likeness.learn.fit import start
from likeness.learn.run import Run

WORLDS = ("ring", "moons", "spirals", "pinwheel", "banana")
ROWS, FIRST_UNSEEN = 200_000, 10_000_000


def fitted(name: str, steps: int, options: dict[str, str]) -> tuple[Diffusion, float]:
    """A model of that world, and the processor seconds it took."""
    source = world(name).source(ROWS, seed=1)
    begun = time.process_time()
    model = start("diffusion", dict(options), source)
    run = Run(model, source, f"{steps} steps")
    run.fit()
    return model, time.process_time() - begun


def divergence(name: str, model: Diffusion, points: int) -> tuple[float, float]:
    """KL(world, model) and its standard error: the mean difference of log p over unseen points."""
    truth = world(name)
    x = truth.source(points, seed=2, first=FIRST_UNSEEN).batch
    gap = truth.log_prob(x).value - model.log_prob(x, settings={"rows": 8192}).value.double()
    return float(gap.mean()), float(gap.std()) / points**0.5


def main() -> None:
    """Print a line for each world."""
    torch.set_num_threads(1)
    words = sys.argv[1:]
    options = dict(w.split("=") for w in words if "=" in w)
    numbers = [int(w) for w in words if w.isdigit()]
    steps, points = (*numbers, *(12_000, 20_000)[len(numbers) :])
    names = [w for w in words if "=" not in w and not w.isdigit()] or WORLDS
    print(f"{steps} steps of {ROWS} rows, {points} unseen points, options {options or 'as they are'}")
    for name in names:
        model, seconds = fitted(name, steps, options)
        kl, error = divergence(name, model, points)
        print(f"{name:10} KL {kl:8.4f} +- {error:.4f} nats, fitted in {seconds:4.0f} s", flush=True)


if __name__ == "__main__":
    main()
