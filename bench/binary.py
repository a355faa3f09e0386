"""Test log-likelihood of the binary density sets, official splits, nats a row.

    LIKENESS_DATA=... python -m bench.binary --family mixture --name nltcs [--budget 3m] [--set components=200] ...

Options are chosen by the validation part: `--grid components=50,100,200` tries each value and tests the best.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from typing import Any

import torch

import likeness.families.mixture
import likeness.routes  # noqa: F401 - registers the ways of answering
from bench.arguments import assignment
from likeness.api import load
from likeness.core.batch import Batch
from likeness.core.model import Model
from likeness.data.source import Table
from likeness.learn.fit import start
from likeness.learn.run import Run

SETS = ("nltcs", "plants", "dna")
# Chosen on the validation parts.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {"mixture": {}}


def fitted(
    family: str, options: dict[str, Any], train: Table, valid: Table, budget: str, seed: int
) -> Model:
    """The model of the step that the validation part likes best, where there are steps."""
    run = Run(start(family, options, train, seed=seed), train, budget, seed, holdout=valid)
    while not run.done:
        run.step()
    return run.finish()


def scored(model: Model, batch: Batch) -> tuple[float, float]:
    value = model.log_prob(batch, seed=0).value.double()
    return float(value.mean()), float(value.std()) / math.sqrt(len(value))


def measure(family: str, name: str, tries: list[dict[str, Any]], args: argparse.Namespace) -> str:
    data = load(name)
    best, chosen, valid = None, {}, -math.inf
    begun = time.perf_counter()
    for options in tries:
        model = fitted(family, options, data.train, data.valid, args.budget, args.seed)
        height = scored(model, data.valid.batch)[0]
        if len(tries) > 1:
            print(f"    {name} valid {height:9.4f}  {json.dumps(options)}", flush=True)
        if height > valid:
            best, chosen, valid = model, options, height
    assert best is not None
    mean, error = scored(best, data.test.batch)
    seconds = time.perf_counter() - begun
    found = f"test {mean:9.4f} ± {error:.4f}, valid {valid:9.4f}"
    return f"{family:14} {name:7} {found}   {seconds:6.1f} s   {json.dumps(chosen)}"


def _range(text: str) -> tuple[str, list[Any]]:
    name, values = text.split("=", 1)
    return name, [json.loads(v) for v in values.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", required=True)
    parser.add_argument("--name", action="append", choices=SETS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", default="3m")
    parser.add_argument("--set", action="append", default=[], type=assignment, metavar="NAME=VALUE")
    parser.add_argument("--grid", action="append", default=[], type=_range, metavar="NAME=A,B,C")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.name or SETS:
        fixed = PRESETS.get(args.family, {}).get(name, {}) | dict(args.set)
        names = [n for n, _ in args.grid]
        tries = [
            fixed | dict(zip(names, v, strict=True))
            for v in itertools.product(*(v for _, v in args.grid))
        ]
        print(measure(args.family, name, tries, args), flush=True)


if __name__ == "__main__":
    main()
