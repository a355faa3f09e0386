"""Variational inference
=====================

A bound on the evidence, and what it hides.

Eight schools (Rubin 1981): an effect of each, a mean and a spread of all, nothing else known. A Gaussian is fitted to
log p(z, x) by draws of its own; the evidence by quadrature tells how far its bound lies below. In the coordinates of
the effects themselves the posterior is a funnel that no Gaussian fits; in effects over their spread it nearly is one,
but for a tail of small spreads that k tells of. Two bounds rank two fits of one model, and not two models: the
difference of their gaps may be larger than that of the evidences.
"""

import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREY, ORANGE, RED, command, mark, page, write
from torch.distributions import HalfNormal, Normal

from likeness.core.space import Real, vector
from likeness.families import vi

EFFECT = torch.tensor([28.0, 8, -3, 7, -1, 1, 18, 12]).double()
ERROR = torch.tensor([15.0, 10, 16, 11, 9, 11, 10, 18]).double()
ZERO = torch.zeros((), dtype=torch.float64)
PLACE, WIDE = Normal(ZERO, ZERO + 5), HalfNormal(ZERO + 5)
SPACE = vector(
    10,
    (Real(), Real(lower=0), *[Real()] * 8),
    names=("mean", "spread", *(f"school {i}" for i in range(8))),
)


def schools(z: torch.Tensor, *, centred: bool) -> torch.Tensor:
    """log p of mean, spread, effects (or effects less the mean, over the spread) and what was seen, (B,)."""
    mean, spread, rest = z[:, :1], z[:, 1:2], z[:, 2:]
    effect = rest if centred else mean + spread * rest
    law = Normal(mean, spread) if centred else Normal(ZERO, ZERO + 1)
    own = PLACE.log_prob(mean[:, 0]) + WIDE.log_prob(spread[:, 0]) + law.log_prob(rest).sum(-1)
    return own + Normal(effect, ERROR).log_prob(EFFECT).sum(-1)


def alike(z: torch.Tensor) -> torch.Tensor:
    """The rival model: one effect for all schools."""
    return PLACE.log_prob(z[:, 0]) + Normal(z, ERROR).log_prob(EFFECT).sum(-1)


def quadrature() -> tuple[torch.Tensor, torch.Tensor, float, float]:
    """Spreads, the posterior of the spread on them, log p(x) of the schools and of the rival: effects summed out."""
    spread = torch.linspace(5e-3, 40 - 5e-3, 4000, dtype=torch.float64)
    mean = torch.linspace(-30, 30, 601, dtype=torch.float64)
    total = spread[:, None].square() + ERROR.square()  # (S, 8)
    # log p(x | mean, spread), a parabola in the mean: its three sums suffice
    one, two, three = (
        (1 / total).sum(-1),
        (EFFECT / total).sum(-1),
        (EFFECT.square() / total + total.log()).sum(-1),
    )
    inner = -0.5 * (
        mean.square() * one[:, None]
        - 2 * mean * two[:, None]
        + three[:, None]
        + 8 * math.log(2 * math.pi)
    )
    joint = (inner + PLACE.log_prob(mean)).logsumexp(-1) + math.log(0.1) + WIDE.log_prob(spread)
    step = float(spread[1] - spread[0])
    log_z = float(joint.logsumexp(0)) + math.log(step)
    rival = float(alike(mean[:, None]).logsumexp(0)) + math.log(0.1)
    return spread, (joint - log_z).exp(), log_z, rival


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Two coordinates, two ranks, and a rival model."""
    steps, draws = (400, 20_000) if quick else (1000, 50_000)
    spread, density, log_z, log_rival = quadrature()
    fits = {
        "centred": vi.fit(partial(schools, centred=True), SPACE, steps=2 * steps),
        "apart": vi.fit(partial(schools, centred=False), SPACE, steps=steps),
        "apart, diagonal": vi.fit(
            partial(schools, centred=False), SPACE, steps=steps, rank="diagonal"
        ),
    }
    rival = vi.fit(alike, 1, steps=1000)
    bounds = {name: q.bound(draws, seed=0) for name, q in fits.items()}
    evidences = {name: q.evidence(draws, seed=0) for name, q in fits.items()}
    gaps = {name: log_z - float(bound.value) for name, bound in bounds.items()}
    ks = {name: evidence.k for name, evidence in evidences.items()}
    best = evidences["apart"]

    assert (
        abs(float(rival.bound(100, seed=0).value) - log_rival) < 1e-4
    )  # a Gaussian posterior: the bound is sharp
    assert all(gap > 0 for gap in gaps.values())
    assert gaps["apart"] < gaps["apart, diagonal"] < gaps["centred"]
    assert abs(float(best.value) - log_z) < 0.1  # k says why it is not within a few errors

    figure, (funnel, known, tails) = page(3)
    for name, colour in (("centred", RED), ("apart", BLUE)):
        z = fits[name].sample(1500, seed=1).x
        first = z[:, 2] if name == "centred" else z[:, 0] + z[:, 1] * z[:, 2]
        funnel.plot(first, z[:, 1].log(), ".", ms=2, color=colour, alpha=0.5, label=name)
        drawn = fits[name].sample(20_000, seed=2).x[:, 1].numpy()
        known.hist(
            drawn,
            np.linspace(0, 16, 60),
            density=True,
            histtype="step",
            color=colour,
            label=f"q, {name}",
        )
    known.plot(spread, density, color=GREY, label="posterior")
    known.set_xlim(0, 16)
    mark(funnel, "Draws of q", "effect of the first school", "log spread")
    mark(known, "The spread of the schools", "spread", "density")
    names = [*fits]
    tails.barh(names, [gaps[n] for n in names], color=[RED, BLUE, ORANGE])
    for i, n in enumerate(names):
        tails.text(gaps[n], i, f" k = {ks[n]:.2f}", va="center", fontsize=8)
    tails.set_xlim(0, max(gaps.values()) * 1.3)
    mark(tails, "Evidence less its bound", "nats")
    write(figure, out, "posterior")
    return {
        "log evidence": log_z, "log evidence, one effect": log_rival,
        "log evidence by weights": float(best.value), "its error": float(best.stderr),
        **{f"gap, {name}": gap for name, gap in gaps.items()}, **{f"k, {name}": k for name, k in ks.items()},
        "one effect for schools, by evidence": log_rival - log_z,
        "one effect for schools, by bound": log_rival - float(bounds["centred"].value),
    }  # fmt: skip


if __name__ == "__main__":
    command(main)
