"""Mixtures of Gaussians approximate any density
=============================================

Held-out loss over the number of components falls, then rises.

log p(x) = log sum over k of w_k N(x; m_k, S_k) has K terms and is easy; what is hard is a sum over a code of 100 bits,
which has 2^100. More components always fit the training rows better, so held-out rows choose their number.
"""

import itertools
from pathlib import Path

import torch
from _page import BLUE, GREY, ORANGE, RED, command, mark, page, write

import likeness as lk
from likeness.metrics.intervals import mean_with_stderr

COMPONENTS = (1, 2, 4, 8, 16, 32)
SHOWN = (1, 2, 4, 16)
ROWS = 200


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Fit the moons with 1 to 32 components and measure KL(truth || fit) on fresh rows."""
    world = lk.world("moons")
    train, test = world.source(ROWS, seed=0), world.source(2_000 if quick else 20_000, seed=1)
    truth = world.log_prob(test.batch.x).value
    models = {
        k: lk.fit("mixture", train, components=k, covariance="full", holdout=0.0, progress=False)
        for k in COMPONENTS
    }
    gaps = {k: mean_with_stderr(truth - m.log_prob(test.batch.x).value) for k, m in models.items()}
    seen = {k: m.log_prob(train.batch.x).mean().value for k, m in models.items()}
    kl = {k: gap.value for k, gap in gaps.items()}
    best = min(kl, key=kl.__getitem__)
    assert all(kl[a] > kl[b] for a, b in itertools.pairwise(COMPONENTS) if b <= best)
    assert kl[COMPONENTS[-1]] > kl[best] + 3 * (gaps[best].stderr + gaps[COMPONENTS[-1]].stderr)
    assert kl[1] - kl[best] > 0.5  # a wrong family keeps a floor, however much data it gets
    assert all(seen[a] < seen[b] for a, b in itertools.pairwise(COMPONENTS))

    # Which component a row is from: responsibilities, which sum to 1.
    shares = models[best].encode(test.batch.x).mean
    assert torch.allclose(shares.sum(-1), torch.ones(len(test), dtype=shares.dtype))

    figure, plots = page(3, 2)
    axis = [torch.linspace(-2.2, 3.2, 120), torch.linspace(-1.6, 2.1, 100)]
    plane = torch.cartesian_prod(*axis)
    for plot, k in zip([plots[0], plots[1], plots[3], plots[4]], SHOWN, strict=True):
        density = models[k].log_prob(plane).value.exp().sqrt().reshape(len(axis[0]), -1).T
        plot.contourf(axis[0], axis[1], density, levels=12, cmap="Blues")
        plot.plot(*train.batch.x.T, ".", ms=2.5, color=RED, alpha=0.6)
        mark(plot, f"K = {k}: KL to the truth {kl[k]:.2f} nats")  # shades: root of the density
    error = [2 * gaps[k].stderr for k in COMPONENTS]
    plots[2].errorbar(
        COMPONENTS,
        [kl[k] for k in COMPONENTS],
        yerr=error,
        color=BLUE,
        marker="o",
        label="fresh rows",
    )
    plots[2].axvline(best, color=GREY, ls=":", label=f"best of these: {best}")
    plots[2].set_xscale("log", base=2)
    mark(plots[2], "KL(truth || fit) falls, then rises", "components K", "nats")
    held = float(truth.mean())
    plots[5].plot(
        COMPONENTS,
        [seen[k] for k in COMPONENTS],
        color=ORANGE,
        marker="o",
        label="rows learned from",
    )
    plots[5].plot(
        COMPONENTS, [held - kl[k] for k in COMPONENTS], color=BLUE, marker="o", label="fresh rows"
    )
    plots[5].axhline(held, color="black", lw=0.8, ls=":", label="the truth on fresh rows")
    plots[5].set_xscale("log", base=2)
    mark(plots[5], "Rows learned from flatter themselves", "components K", "mean log p, nats")
    write(figure, out, "mixtures")
    return {
        **{f"KL at K = {k}": v for k, v in kl.items()},
        "best K": best,
        "terms of 100 bits": float(2**100),
    }


if __name__ == "__main__":
    command(main)
