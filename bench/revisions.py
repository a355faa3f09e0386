"""Two checkouts of this project side by side: `python -m bench.revisions BEFORE AFTER`, folders that hold `src`.

Every case is a fit or a question by public calls, on synthetic data. Each checkout has a process of its own, one
thread; they are asked in turns, and the ratio of processor times (before / after) is the median over turns with its
range. A ratio below 1 says that the newer one is slower.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FITS: Mapping[str, tuple[str, int, str, str, dict[str, Any]]] = {
    # world, rows, family, budget, options
    "flow": ("moons", 4000, "flow", "60 steps", {}),
    "vae": ("moons", 4000, "vae", "60 steps", {}),
    "autoregressive": ("moons", 4000, "autoregressive", "60 steps", {}),
    "diffusion": ("moons", 4000, "diffusion", "60 steps", {}),
    "gan": ("moons", 4000, "gan", "60 steps", {}),
    "mixture": ("ring", 20000, "mixture", "20 steps", {"components": 8}),
    "kde": ("moons", 2000, "kde", "10 steps", {}),
    "pca": ("mixture43", 20000, "pca", "10 steps", {"components": 5}),
    "gaussian": ("mixture43", 20000, "gaussian", "10 steps", {}),
    "hmm": ("chain", 200, "hmm", "20 steps", {"states": 4}),
    "linear_dynamical": ("chain", 200, "linear_dynamical", "20 steps", {}),
    "markov": ("chain", 200, "markov", "1 steps", {}),
}
ASKED = 1000


def data_of(lk: Any, name: str, rows: int) -> Any:
    """Rows of a known source; `chain` are random walks of 50 steps, as an array (rows, 50, 1)."""
    if name != "chain":
        return lk.world(name).sample(rows, seed=0).x.numpy()
    import numpy

    steps = numpy.random.default_rng(0).normal(size=(rows, 50, 1))
    return steps.cumsum(1)


def cases(lk: Any) -> dict[str, Callable[[], object]]:
    """A fit, log p and draws of each family; the fits are made when first asked for."""
    models: dict[str, Any] = {}
    data: dict[str, Any] = {}

    def fitted(name: str) -> Any:
        world, rows, family, budget, options = FITS[name]
        if name not in data:
            data[name] = data_of(lk, world, rows)
        models[name] = lk.fit(family, data[name], budget=budget, seed=0, **options)
        return models[name]

    def asked(name: str) -> Any:
        if name not in models:
            fitted(name)
        return data[name][:ASKED]

    found: dict[str, Callable[[], object]] = {}
    for name in FITS:
        found[f"{name} fit"] = lambda name=name: fitted(name)
        found[f"{name} log_prob"] = lambda name=name: models[name].log_prob(asked(name), seed=0)
        found[f"{name} sample"] = lambda name=name: models[name].sample(ASKED, seed=0)
    return found


def serve() -> None:
    """Time the case that each line of stdin names; a line of JSON for each."""
    import torch

    import likeness as lk

    torch.set_num_threads(1)
    known = cases(lk)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a fit prints is no reply
    for line in sys.stdin:
        begun = time.process_time()
        try:
            known[line.strip()]()
            reply = {"seconds": time.process_time() - begun}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(reply), file=replies, flush=True)


class Checkout:
    """A process that runs cases on the code of one folder."""

    def __init__(self, folder: Path) -> None:
        environment = os.environ | {
            "PYTHONPATH": str(folder / "src"),
            "OMP_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )

    def run(self, case: str) -> dict[str, Any]:
        """Seconds of processor time, or the error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(case, file=self.process.stdin, flush=True)
        return dict(json.loads(self.process.stdout.readline()))


def compared(case: str, before: Checkout, after: Checkout, repeats: int) -> str:
    """One line: medians of both, the median ratio and its range, after a turn that warms up."""
    pairs = [(before.run(case), after.run(case)) for _ in range(repeats + 1)][1:]
    errors = [reply["error"] for pair in pairs for reply in pair if "error" in reply]
    if errors:
        return f"{case:28} {errors[0]}"
    older = [pair[0]["seconds"] for pair in pairs]
    newer = [pair[1]["seconds"] for pair in pairs]
    ratios = [a / b for a, b in zip(older, newer, strict=True)]
    medians = f"{statistics.median(older):8.4f} s {statistics.median(newer):8.4f} s"
    spread = f"{statistics.median(ratios):5.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"{case:28} {medians} {spread}"


def main() -> None:
    """Compare two checkouts, or serve one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, nargs="?")
    parser.add_argument("after", type=Path, nargs="?")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--case", action="append", help="part of a case's name")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.serve:
        serve()
        return
    checkouts = [Checkout(chosen.before), Checkout(chosen.after)]
    for family in FITS:
        for verb in ("fit", "log_prob", "sample"):
            case = f"{family} {verb}"
            if not chosen.case or any(part in case for part in chosen.case):
                print(compared(case, *checkouts, chosen.repeats), flush=True)


if __name__ == "__main__":
    main()
