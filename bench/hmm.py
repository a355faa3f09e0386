"""Times EM of hidden Markov models beside hmmlearn's, from the same start, with the log-likelihoods compared.

    python -m bench.hmm [--case long] ... [--repeats 5] [--passes 20]

The two run in turn, one thread each, processor time; the median ratio over repeats and its range are printed.
`--case smooth` is forward and backward alone on 200 sequences of 50 steps, 10 numbers, 50 states: wall time.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hmmlearn.hmm import CategoricalHMM, GaussianHMM

from likeness import registry
from likeness.core.batch import Batch
from likeness.core.learner import Parameters
from likeness.core.space import sequence, series
from likeness.inference.sequence.linear_chain import smoothed
from likeness.numerics import memory

STAY = 0.8


@dataclass(frozen=True)
class Case:
    """Sequences of one length, states, numbers a step (0: symbols out of 20), and which covariance."""

    title: str
    rows: int
    steps: int
    states: int
    numbers: int
    covariance: str = "diagonal"


CASES = {
    "diagonal": Case("diagonal Gaussians", 1000, 100, 8, 4),
    "full": Case("full Gaussians", 1000, 100, 8, 4, "full"),
    "wide": Case("diagonal Gaussians", 200, 50, 50, 10),
    "long": Case("one series, diagonal Gaussians", 1, 100_000, 8, 4),
    "symbols": Case("symbols", 1000, 100, 8, 0),
}


def data(case: Case, seed: int = 0) -> np.ndarray:
    """Sequences (rows, steps, C) of a chain that mostly stays where it is; symbols are (rows, steps)."""
    g, k = np.random.default_rng(seed), case.states
    state = np.empty((case.rows, case.steps), int)
    state[:, 0] = g.integers(k, size=case.rows)
    for t in range(1, case.steps):
        stay = g.random(case.rows) < STAY
        state[:, t] = np.where(stay, state[:, t - 1], g.integers(k, size=case.rows))
    if not case.numbers:
        return (state * 2 + g.integers(6, size=state.shape)) % 20
    return g.normal(size=(k, case.numbers))[state] * 1.5 + g.normal(
        size=(*state.shape, case.numbers)
    )


def start(case: Case, seed: int = 1) -> dict[str, np.ndarray]:
    """Where both begin."""
    g, k = np.random.default_rng(seed), case.states
    step = np.full((k, k), 0.5 / k) + 0.5 * np.eye(k)
    begin = {"first": np.full(k, 1 / k), "step": step / step.sum(1, keepdims=True)}
    if not case.numbers:
        return begin | {"table": g.dirichlet(np.ones(20), k)}
    return begin | {
        "mean": g.normal(size=(k, case.numbers)),
        "variance": np.full((k, case.numbers), 2.0),
    }


class Ours:
    """`hmm`, its passes alone."""

    def __init__(
        self, case: Case, x: np.ndarray, at: dict[str, np.ndarray], dtype: torch.dtype
    ) -> None:
        space = series(case.numbers, case.steps) if case.numbers else sequence(20, case.steps)
        options = {
            "states": case.states,
            "covariance": case.covariance,
            "smoothing": 0,
            "floor": 1e-12,
        }
        self.model: Any = registry.build("hmm", options, space).to(torch.float64)
        self.batch = Batch(
            torch.from_numpy(x).to(dtype), length=torch.full((case.rows,), case.steps)
        )
        if self.model.columns is not None:
            self.model.columns.fit(self.model._flat(self.batch))
        now: Parameters = self.model._blank(torch.ones(max(case.numbers, 1), dtype=torch.float64))
        told = {key: torch.from_numpy(v) for key, v in at.items()}
        now |= {"log_first": told["first"].log(), "log_step": told["step"].log()}
        if case.numbers:
            cov = (
                torch.diag_embed(told["variance"])
                if case.covariance == "full"
                else told["variance"]
            )
            now |= {"x.mean": told["mean"], "x.cov": cov}
        else:
            now |= {"x.table": told["table"].log()}
        self.begin = now

    def fit(self, passes: int) -> float:
        """Log-likelihood a step after so many passes."""
        now = self.begin
        for _ in range(passes):
            sums = self.model._expect(self.batch, now)
            now = self.model._maximise(sums, now)
        return float(sums["objective"]) / (self.batch.x.shape[0] * self.batch.x.shape[1])


def theirs(
    case: Case, x: np.ndarray, at: dict[str, np.ndarray], passes: int, implementation: str
) -> float:
    """The same of hmmlearn."""
    common = {
        "n_components": case.states, "n_iter": passes, "tol": -np.inf, "init_params": "",
        "implementation": implementation,
    }  # fmt: skip
    if case.numbers:
        kind = {"diagonal": "diag"}.get(case.covariance, case.covariance)
        model = GaussianHMM(
            covariance_type=kind, min_covar=1e-12, covars_prior=0, covars_weight=1, **common
        )
        model.means_ = at["mean"]
        model.covars_ = (
            np.stack([np.diag(v) for v in at["variance"]]) if kind == "full" else at["variance"]
        )
    else:
        model = CategoricalHMM(n_features=20, **common)
        model.emissionprob_ = at["table"]
    model.startprob_, model.transmat_ = at["first"], at["step"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x.reshape(case.rows * case.steps, -1), [case.steps] * case.rows)
    return model.monitor_.history[-1] / (case.rows * case.steps)


def timed(run: Any) -> tuple[float, float]:
    """Processor seconds and the answer."""
    before = time.process_time()
    found = run()
    return time.process_time() - before, found


def compare(case: Case, repeats: int, passes: int) -> list[str]:
    """Lines of a table: theirs by each implementation, over ours in double and in single precision."""
    x, at = data(case), start(case)
    runs = {
        f"hmmlearn {name}": lambda name=name: theirs(case, x, at, passes, name)
        for name in ("log", "scaling")
    }
    ours = Ours(case, x, at, torch.float64)
    runs["ours"] = lambda: ours.fit(passes)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(timed(run))
    own = [s for s, _ in found["ours"]]
    size = f"{case.rows:,} x {case.steps:,}, {case.states} states, {case.numbers or 'symbols'}"
    lines = []
    for name in ("hmmlearn log", "hmmlearn scaling"):
        ratios = sorted(t / o for (t, _), o in zip(found[name], own, strict=True))
        gap = abs(found[name][0][1] - found["ours"][0][1])
        lines.append(f"| {case.title}, {size} | {name} | {statistics.median(ratios):.2f} "
                     f"({ratios[0]:.2f} to {ratios[-1]:.2f}) | {statistics.median(own) / passes * 1e3:.1f} ms a pass | "
                     f"{gap:.1e} nats a step apart |")  # fmt: skip
    return lines


def smooth(repeats: int) -> str:
    """Forward and backward of 200 sequences, densities of the steps in it: milliseconds of wall time."""
    case = CASES["wide"]
    ours, best = Ours(case, data(case), start(case), torch.float64), []
    view = ours.model.steps.packed(ours.batch)
    for _ in range(repeats):
        before = time.perf_counter()
        unary = ours.model._steps_e_step(view.v, view.known, ours.begin).unary
        smoothed(ours.begin["log_first"], ours.begin["log_step"], unary, view.length, view.weight)
        best.append(time.perf_counter() - before)
    return (
        f"forward-backward, 200 x 50, 50 states, 10 numbers: {statistics.median(best) * 1e3:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=[*CASES, "smooth"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    memory.keep()  # as every executor does
    print("| case | against | theirs / ours | ours | log-likelihoods |\n|---|---|---|---|---|")
    for name in arguments.case or [*CASES, "smooth"]:
        lines = (
            [smooth(100)]
            if name == "smooth"
            else compare(CASES[name], arguments.repeats, arguments.passes)
        )
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    with torch.no_grad():
        main()
