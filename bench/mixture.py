"""Times EM for Gaussian mixtures beside scikit-learn's, from the same start.

    python -m bench.mixture [--rows 100000] [--dims 16] [--components 32] [--passes 20] [--repeats 5]

The two run in turn, one thread each, and the processor's time is taken, so that other work on the machine weighs on
both alike; the median and the range over repeats are printed. Both then score the same fresh rows in double precision.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

import likeness.families.mixture  # noqa: F401 - registers the family
from likeness import registry
from likeness.core.batch import Batch
from likeness.core.model import Model
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.learn.budget import Budget
from likeness.learn.em import EMExecutor
from likeness.learn.executor import Task


@dataclass(frozen=True)
class Problem:
    """Rows from a mixture of Gaussians of unlike shapes, standardised so that both see the same numbers."""

    x: Tensor
    fresh: Tensor
    first: Tensor  # rows that serve as the first means
    components: int
    passes: int


def problem(rows: int, dims: int, components: int, passes: int, seed: int = 0) -> Problem:
    g = torch.Generator().manual_seed(seed)
    means = 3 * torch.randn(components, dims, generator=g, dtype=torch.float64)
    shapes = torch.randn(components, dims, dims, generator=g, dtype=torch.float64) / math.sqrt(dims)

    def draw(n: int) -> Tensor:
        k = torch.randint(components, (n,), generator=g)
        eps = torch.randn(n, dims, generator=g, dtype=torch.float64)
        sharp = 0.5 * torch.randn(n, dims, generator=g, dtype=torch.float64)
        return means[k] + torch.einsum("nij,nj->ni", shapes[k], eps) + sharp

    x, fresh = draw(rows), draw(10_000)
    mean, std = x.mean(0), x.std(0, correction=0)
    first = torch.randperm(rows, generator=g)[:components]
    return Problem((x - mean) / std, (fresh - mean) / std, first, components, passes)


def ours(task: Problem) -> tuple[float, Model]:
    """Seconds of processor time for the passes, and the model."""
    table = Table(vector(task.x.shape[1]), Batch(task.x))
    options = {"components": task.components, "covariance": "full", "floor": 1e-12}
    model = registry.build("mixture", options, table.space).to(torch.float64)
    model.prepare(table)
    start = model.joint.init() | {"x.mean": task.x[task.first]}
    learner = replace(model.learner(), start=lambda *_: start, passes=task.passes, tolerance=0.0)
    run = EMExecutor(Task(model, table, Budget.parse(f"{task.passes} steps"), 0, {}), learner)
    begun = time.process_time()
    while not run.done:
        run.step()
    return time.process_time() - begun, model


def theirs(task: Problem) -> tuple[float, GaussianMixture]:
    """The same by scikit-learn."""
    k, d = task.components, task.x.shape[1]
    x = task.x.numpy()
    fit = GaussianMixture(
        k, max_iter=task.passes, tol=0.0, reg_covar=1e-12, means_init=x[task.first], weights_init=np.full(k, 1 / k),
        precisions_init=np.broadcast_to(np.eye(d), (k, d, d)).copy(),
    )  # fmt: skip
    begun = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # it says that it has not converged, which nobody asked of it
        fit.fit(x)
    return time.process_time() - begun, fit


def agreement(task: Problem, model: Model, fit: GaussianMixture) -> str:
    """How far apart the two are on fresh rows, and how far our score is from double precision at equal parameters."""
    mine = model.log_prob(task.fresh).value
    other = torch.from_numpy(fit.score_samples(task.fresh.numpy()))
    same = GaussianMixture(task.components)
    same.weights_, same.means_ = model.log_weight.exp().numpy(), model.x_mean.numpy()
    cov = model.x_cov.numpy()
    same.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(cov)).transpose(0, 2, 1)
    exact = torch.from_numpy(same.score_samples(task.fresh.numpy()))
    gaps = (mine - other).abs()
    return (
        f"log p a row: mean {float(mine.mean()):.6f} against {float(other.mean()):.6f}, gap of means "
        f"{float((mine.mean() - other.mean()).abs()):.1e}, of rows {float(gaps.median()):.1e} (median), "
        f"{float(gaps.max()):.1e} (most); at equal parameters {float((mine - exact).abs().max()):.1e} (most)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("rows", 100_000),
        ("dims", 16),
        ("components", 32),
        ("passes", 20),
        ("repeats", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = problem(asked.rows, asked.dims, asked.components, asked.passes)
    ours(replace(task, passes=2))  # first calls load libraries
    pairs = [(ours(task), theirs(task)) for _ in range(asked.repeats)]
    mine, other = [p[0][0] for p in pairs], [p[1][0] for p in pairs]
    ratios = [b / a for a, b in zip(mine, other, strict=True)]
    work = asked.rows * asked.passes
    print(
        f"{asked.rows} rows x {asked.dims}, {asked.components} components, {asked.passes} passes, one thread"
    )
    print(f"likeness      {_spread(mine)}   {work / statistics.median(mine):,.0f} row passes/s")
    print(f"scikit-learn  {_spread(other)}   {work / statistics.median(other):,.0f} row passes/s")
    print(
        f"ratio         {statistics.median(ratios):.2f} (least {min(ratios):.2f}, most {max(ratios):.2f})"
    )
    print(agreement(task, pairs[-1][0][1], pairs[-1][1][1]))


def _spread(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"


if __name__ == "__main__":
    main()
