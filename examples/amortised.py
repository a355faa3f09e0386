"""Inference point by point against amortised inference: one ascent for each row, or one net for all of them.

Both maximise the ELBO over q(z | x). A search of its own for each row costs O(rows) parameters and hundreds of passes;
an encoder costs one pass, and what it loses is the amortisation gap, >= 0. An encoder is a q(z | x): p(z | x) is the
posterior that it stands in for. For a mixture of K Gaussians the numbers of each row are its K responsibilities, K a
row; means and covariances belong to all rows together.
"""

import math
import time
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, RED, command, mark, page, write
from scipy.optimize import minimize
from torch import Tensor

import likeness as lk
from likeness.core.answers import Kind
from likeness.core.rowlaw import RowLaw
from likeness.core.space import vector
from likeness.data.worlds.gaussian import Correlated, LinearGaussian
from likeness.metrics.intervals import mean_with_stderr, paired_difference

ASCENTS = (1, 3, 10, 30, 100)  # steps of each row's own search, from the encoder's answer


def mean_field() -> tuple[Tensor, Tensor, float]:
    """The posterior of two correlated numbers, the best q of independent ones, and its share of the variance."""
    world = LinearGaussian(torch.tensor([[1.0, 1.0], [1.0, 0.6]]), sigma=0.7)
    x = torch.tensor([[0.8, -0.3]], dtype=torch.float64)
    posterior = world.encode(x)
    cov = posterior.tril[0] @ posterior.tril[0].T

    def loss(v: np.ndarray) -> float:
        loc, tril = torch.as_tensor(v[None, :2]), torch.diag_embed(torch.as_tensor(np.exp(v[None, 2:])))
        return -float(world.elbo(x, Correlated(vector(2), torch.zeros(1), Kind.ESTIMATE, "independent", loc, tril)))

    best = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    variance = torch.as_tensor(np.exp(2 * best[2:]))
    rho_square = float(cov[0, 1] ** 2 / (cov[0, 0] * cov[1, 1]))
    assert torch.allclose(torch.as_tensor(best[:2]), posterior.mean[0], atol=1e-4)
    assert torch.allclose(variance / cov.diagonal(), torch.full((2,), 1 - rho_square, dtype=cov.dtype), rtol=1e-4)
    return cov, variance, 1 - rho_square


def elbo(model: lk.Model, x: Tensor, q: RowLaw, draws: int) -> Tensor:
    """E_q[log p(x | z) + log N(z; 0, I) - log q(z)] of each row, by the same noise whatever the q, (B,)."""
    total = torch.zeros(len(x), dtype=torch.float64)
    for z in q.sample(draws, seed=0).x:
        prior = (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(-1)
        total += (model.decode(z).log_prob(x.to(z)) + prior - q.log_prob(z)).double()
    return total / draws


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Fit a VAE to the moons, refine its answers row by row, and compare with the evidence."""
    cov, variance, share = mean_field()

    world, draws = lk.world("moons"), 64 if quick else 256
    options = {"latent": 2, "hidden": (64, 64), "ema": 0.99, "hide": 0.0, "lr": 5e-3, "progress": False}
    model = lk.fit("vae", world.source(2_000, seed=0), budget=500 if quick else 3_000, **options)
    x = world.source(100 if quick else 400, seed=1).batch.x
    start = time.perf_counter()
    quick_q = model.encode(x, seed=0)
    one_pass = time.perf_counter() - start
    bounds, seconds = {0: elbo(model, x, quick_q, draws)}, {0: one_pass}
    for steps in ASCENTS:
        start = time.perf_counter()
        q = model.encode(x, effort=steps, seed=0)
        seconds[steps], bounds[steps] = time.perf_counter() - start, elbo(model, x, q, draws)
    evidence = model.log_prob(x, effort=2_000, seed=1).value.double()
    gap = paired_difference(bounds[ASCENTS[-1]], bounds[0])
    left = paired_difference(evidence, bounds[ASCENTS[-1]])
    assert gap.value > 3 * gap.stderr
    assert left.value > 0  # what no search within the family can close: q is Gaussian and independent
    return {}
