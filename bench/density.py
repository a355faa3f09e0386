"""KL(world || model) in nats on fresh points of worlds whose density is known.

    python -m bench.density --family mixture --world ring [--rows 100000] [--fresh 100000] [--seed 0]
                            [--budget 3m] [--set components=8] ... [--given label|vector|image|tokens]
    python -m bench.density --family mixture --all
    python -m bench.density --family diffusion --world mixture43 --fresh 2000 --probes 16

Prints the mean of log p - log q with its standard error, and the seconds that the fit took; under a condition that of
p(x | y). With --probes also how far the ODE's log p by that many probes of the trace lies from that by the exact one.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import torch

import likeness.families.mixture
import likeness.routes  # noqa: F401 - registers the ways of answering
from bench.arguments import assignment
from likeness import registry
from likeness.core.batch import Batch
from likeness.core.model import Model
from likeness.data.synthetic import world
from likeness.learn.fit import start
from likeness.learn.run import Run

# What is asked of each family on each world, where its defaults would not do: (world, options).
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "mixture": {
        "ring": {"components": 8},
        "grid": {"components": 25},
        "moons": {"components": 25},
        "spirals": {"components": 150},
        "pinwheel": {"components": 100},
        "checkerboard": {"components": 150},
        "banana": {"components": 30},
        "funnel": {"components": 30},
        "mixture43": {"components": 10, "covariance": "full", "restarts": 40},
    },
}
FRESH_FROM = 10_000_000  # fresh points are items of the same seed that no fit has seen


def measure(family: str, name: str, options: dict[str, Any], args: argparse.Namespace) -> str:
    truth = world(name, given=args.given) if args.given else world(name)
    train = truth.source(args.rows, args.seed)
    chosen = PRESETS.get(family, {}).get(name, {}) | options
    begun, used = time.perf_counter(), time.process_time()
    model = start(family, chosen, train, seed=args.seed)
    run = Run(model, train, args.budget, args.seed)
    while not run.done:
        run.step()
    run.finish()
    wall, processor = time.perf_counter() - begun, time.process_time() - used
    fresh = truth.source(args.fresh, args.seed, first=FRESH_FROM).batch
    exact = model.log_prob(fresh, given=fresh.given, seed=0)
    gap = truth.log_prob(fresh, given=fresh.given, seed=0).value.double() - exact.value.double()
    error = float(gap.std()) / math.sqrt(len(gap))
    told = json.dumps(chosen) if chosen else "defaults"
    under = f" given {args.given}" if args.given else ""
    probed = f"\n    {traces(model, fresh, args.probes)}" if args.probes else ""
    return (
        f"{family:14} {name + under:14} KL {float(gap.mean()):8.5f} ± {error:.5f}   {wall:6.1f} s, "
        f"{processor:6.1f} s of processor, {run.iteration} iterations   {told}{probed}"
    )


def traces(model: Model, x: Batch, probes: int) -> str:
    """log p by the ODE with its trace probed, beside the exact one."""
    exact = model.log_prob(
        x, given=x.given, seed=0, settings={"likelihood": "ode", "exact_trace": model.space.dims}
    )
    few = {"likelihood": "ode", "exact_trace": 0}
    probed = model.log_prob(x, given=x.given, effort=probes, seed=0, settings=few)
    assert probed.stderr is not None
    gap, within = probed.value.double() - exact.value.double(), 3 * probed.stderr.double()
    error = float(gap.std()) / math.sqrt(len(gap))
    return (
        f"trace by {probes} probes: {float(gap.mean()):+.5f} ± {error:.5f} nats from the exact one in the mean, "
        f"{100 * float((gap.abs() <= within).double().mean()):.1f} % within 3 of their own standard errors "
        f"({float(probed.stderr.mean()):.4f} on average)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", required=True)
    parser.add_argument("--world", action="append", default=[])
    parser.add_argument("--all", action="store_true", help="every world of the family's presets")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--fresh", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--given", choices=("label", "vector", "image", "tokens"))
    parser.add_argument("--probes", type=int, default=0)
    parser.add_argument("--budget", default="3m")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], type=assignment, metavar="NAME=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    registry.family(args.family)
    names = list(PRESETS.get(args.family, {})) if args.all else args.world
    for name in names:
        print(measure(args.family, name, dict(args.set), args), flush=True)


if __name__ == "__main__":
    main()
