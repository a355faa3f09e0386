"""The forward chain, the reverse chain and the bound
==================================================

A diffusion model whose ideal denoiser is known, term by term.

q(x_t | x_(t-1)) = N(sqrt(1 - b_t) x_(t-1), b_t I) destroys; p(x_(0:T)) = p(x_T) times p(x_(t-1) | x_t) creates, and so
defines p(x_0). -log p(x_0) <= L_T + sum of L_(t-1) + L_0: L_T = KL(q(x_T | x_0) || N(0, I)); each L_(t-1) is the KL
from the forward posterior q(x_(t-1) | x_t, x_0), not from q(x_(t-1) | x_0); L_0 = -log p(x_0 | x_1), with its minus.
"""

import itertools
import math
from functools import partial
from pathlib import Path

import torch
from _page import BLUE, GREY, ORANGE, RED, command, mark, page, write
from torch import Tensor

import likeness as lk
from likeness.core.noise import Noise
from likeness.dynamics.denoiser import score_from_data
from likeness.dynamics.likelihood import variational_bound
from likeness.dynamics.path import DDPM
from likeness.dynamics.solvers import ancestral, solve
from likeness.metrics.distance import sliced_wasserstein
from likeness.metrics.intervals import mean_with_stderr

PATH = DDPM()  # betas from 1e-4 to 0.02 in 1,000 steps
RING = lk.world("ring")
SHOWN = (1000, 500, 250, 100, 0)
SPREAD = math.sqrt(0.5 + 0.1**2)  # of each entry of the ring


def ideal(x: Tensor, t: Tensor, context: object = None, noise: Noise | None = None) -> Tensor:
    """E[x_0 | x_t = x] for eight Gaussians of standard deviation 0.1 on the unit circle."""
    alpha, sigma = PATH.alpha(t)[:, None], PATH.sigma(t)[:, None]
    angle = torch.arange(8).double() * math.pi / 4
    centres = torch.stack([angle.cos(), angle.sin()], -1)
    variance = (0.1 * alpha) ** 2 + sigma**2
    share = (-(x[:, None] - alpha[..., None] * centres).square().sum(-1) / (2 * variance)).softmax(
        -1
    )
    return (0.01 * alpha * x + sigma**2 * (share @ centres)) / variance


def noise(rows: int, seed: int) -> Noise:
    """Double-precision noise for so many rows."""
    return Noise(seed, torch.arange(rows), dtype=torch.float64)


def forward(rows: int) -> dict[int, Tensor]:
    """x_0 = 1 carried through all 1,000 steps one by one, kept at some of them."""
    x, g, kept = torch.ones(rows, dtype=torch.float64), torch.Generator().manual_seed(0), {}
    for t, beta in enumerate(PATH.betas(), 1):
        x = torch.sqrt(1 - beta) * x + torch.sqrt(beta) * torch.randn(
            rows, generator=g, dtype=x.dtype
        )
        if t in {1, 10, 100, 300, 1000}:
            kept[t] = x
    return kept


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Noise, the way back, and the three terms of the bound."""
    remaining = (1 - PATH.betas()).cumprod(0)
    assert math.isclose(float(remaining[-1]), 4.0358e-5, abs_tol=5e-10)
    rows = 20_000 if quick else 200_000
    chained = forward(rows)
    for t, x in chained.items():
        mean, variance = remaining[t - 1].sqrt(), 1 - remaining[t - 1]
        assert abs(x.mean() - mean) < 4 * torch.sqrt(variance / rows)
        assert abs(x.var() / variance - 1) < 4 * math.sqrt(2 / rows)

    # The forward posterior is Bayes' rule for q(x_(t-1) | x_0) and q(x_t | x_(t-1)); the denoiser gives the score.
    one, s, t = torch.ones(1, 1, dtype=torch.float64), PATH.chain()[-300], PATH.chain()[-301]
    beta, before = PATH.betas()[299], remaining[298]
    precision = (1 - beta) / beta + 1 / (1 - before)
    mean, std = PATH.posterior(0.5 * one, one, s, t)
    assert math.isclose(float(std**2), 1 / precision, rel_tol=1e-7)
    by_rule = (torch.sqrt(1 - beta) * 0.5 / beta + before.sqrt() / (1 - before)) / precision
    assert math.isclose(float(mean), by_rule, rel_tol=1e-7)
    x = RING.sample(100, seed=0).x
    noisy = RING.diffused(float(PATH.alpha(t)), float(PATH.sigma(t)))
    assert torch.allclose(
        score_from_data(PATH, x, ideal(x, t.expand(100)), t), noisy.score(x), rtol=0, atol=1e-8
    )

    # From N(0, I) back to the ring.
    n, seen = (1_000 if quick else 4_000), {}
    chain = PATH.chain()
    step, start = partial(ancestral, data_std=SPREAD), noise(n, 1).normal("x", 2)
    solve(step, ideal, PATH, chain, start, noise=noise(n, 2),
          watch=lambda i, _, at: seen.update({1000 - i: at}))  # fmt: skip
    data, directions = RING.sample(n, seed=5).x, noise(64, 3).normal("directions", 2)
    distance = {k: sliced_wasserstein(seen[k], data, directions) for k in SHOWN}
    assert all(distance[a] > distance[b] for a, b in itertools.pairwise(SHOWN))
    assert distance[0] < 0.1

    # The bound and its terms.
    lone = variational_bound(lambda x, t, context=None, noise=None: x, PATH, one, noise=noise(1, 0))
    prior = -float(lone.terms["L_T"])
    assert math.isclose(prior, 2.018e-5, rel_tol=1e-3)
    x = RING.sample(3_000 if quick else 10_000, seed=7).x
    bound = variational_bound(ideal, PATH, x, noise=noise(len(x), 8), draws=None, data_std=SPREAD)
    terms = {name: -float(term.mean()) for name, term in bound.terms.items()}
    assert torch.allclose(bound.value, sum(bound.terms.values()), rtol=0, atol=1e-6)
    gap = mean_with_stderr(RING.log_prob(x).value - bound.value)
    assert gap.value > 3 * gap.stderr

    figure, plots = page(3, 2)
    for t, x_t in chained.items():
        plots[0].hist(x_t, 80, density=True, histtype="step", label=f"t = {t}")
    plots[0].set(xlim=(-3.5, 3.5), ylim=(0, 6))
    mark(plots[0], "Forward from x_0 = 1, step by step", "x_t", "density")
    for plot, k in zip([plots[1], plots[2], plots[3], plots[4]], (1000, 250, 100, 0), strict=True):
        plot.plot(*data[:1000].T, ".", ms=2, color=GREY, alpha=0.5)
        plot.plot(*seen[k][:1000].T, ".", ms=2, color=BLUE)
        plot.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
        mark(plot, f"Reverse, t = {k}: {distance[k]:.3f} from the ring")
    names = ["L_T", "sum of L_t", "L_0", "bound", "-log p"]
    heights = [*terms.values(), -float(bound.value.mean()), -float(RING.log_prob(x).value.mean())]
    plots[5].bar(names, heights, color=[ORANGE, ORANGE, ORANGE, BLUE, RED])
    for i, height in enumerate(heights):
        plots[5].text(i, max(height, 0) + 0.15, f"{height:.4g}", ha="center", fontsize=8)
    plots[5].axhline(0, color="black", lw=0.6)
    mark(
        plots[5],
        f"The bound is {gap.value:.4f} ± {gap.stderr:.4f} above -log p",
        "",
        "nats an item",
    )
    write(figure, out, "diffusion_chain")
    return {"what is left at T": float(remaining[-1]), "L_T at x_0 = 1": prior,
            "gap of the bound": gap.value,
            "its s.e.": gap.stderr, "drawn to data": distance[0],
            **{f"mean {k}": v for k, v in terms.items()}}  # fmt: skip


if __name__ == "__main__":
    command(main)
