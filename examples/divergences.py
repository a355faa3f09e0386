"""Divergences
===========

One Gaussian fitted to a mixture of two by KL, reverse KL, JSD and MMD.

KL(p || q) = E_p log(p / q) makes q cover all of p; KL(q || p) = E_q log(q / p) makes it pick one mode. The integral
of p log(p / q) is KL(p || q), with the distribution that is averaged over in front. In nats; times 1.4427 in bits.
The two orders differ in general and agree for Gaussians of equal variance.
"""

import math
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, RED, command, mark, page, write
from scipy.optimize import minimize
from scipy.special import logsumexp, rel_entr
from scipy.stats import norm

import likeness as lk
from likeness.metrics.distance import kl_gaussians
from likeness.metrics.intervals import mean_with_stderr

WEIGHT, MEAN, STD = np.array([0.7, 0.3]), np.array([-3.0, 3.0]), np.array([0.7, 0.7])
GRID = np.linspace(-16, 16, 6401)
STEP = GRID[1] - GRID[0]
LOG_P = logsumexp(norm(MEAN, STD).logpdf(GRID[:, None]) + np.log(WEIGHT), axis=1)
P = np.exp(LOG_P)


def covering(m: float, s: float) -> float:
    """KL(p || q)."""
    return float((P * (LOG_P - norm(m, s).logpdf(GRID))).sum() * STEP)


def picking(m: float, s: float) -> float:
    """KL(q || p)."""
    log_q = norm(m, s).logpdf(GRID)
    return float((np.exp(log_q) * (log_q - LOG_P)).sum() * STEP)


def jensen_shannon(m: float, s: float) -> float:
    """The mean of KL(p || r) and KL(q || r) with r = (p + q) / 2."""
    q = norm(m, s).pdf(GRID)
    return float((rel_entr(P, (P + q) / 2) + rel_entr(q, (P + q) / 2)).sum() / 2 * STEP)


def discrepancy(m: float, s: float, width: float = 2.0) -> float:
    """Squared MMD under exp(-(x - y)^2 / (2 width^2)): E k(x, x') - 2 E k(x, y) + E k(y, y'), each in closed form."""
    means, variances, signed = np.append(MEAN, m), np.append(STD**2, s**2), np.append(WEIGHT, -1.0)
    total = width**2 + variances[:, None] + variances
    kernel = width / np.sqrt(total) * np.exp(-((means[:, None] - means) ** 2) / (2 * total))
    return float(signed @ kernel @ signed)


def nearest(objective: object) -> tuple[float, float]:
    """Mean and standard deviation of the best Gaussian, from several starts."""
    starts = [(m, s) for m in (-3.0, -1.0, 3.0) for s in (-0.4, 1.0)]
    found = [
        minimize(lambda v: objective(v[0], math.exp(v[1])), v, method="Nelder-Mead") for v in starts
    ]
    best = min(found, key=lambda f: f.fun)
    return float(best.x[0]), math.exp(best.x[1])


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Fit the Gaussian four ways, and once more from data by maximum likelihood."""
    ways = {
        "KL(p || q)": covering,
        "KL(q || p)": picking,
        "JSD": jensen_shannon,
        "MMD": discrepancy,
    }
    fits = {name: nearest(objective) for name, objective in ways.items()}
    mean = float(WEIGHT @ MEAN)
    moments = (mean, math.sqrt(float(WEIGHT @ (STD**2 + MEAN**2)) - mean**2))
    assert np.allclose(fits["KL(p || q)"], moments, atol=1e-3)  # it matches mean and variance
    assert np.allclose(moments, (-1.20, 2.85), atol=0.02)
    assert np.allclose(fits["KL(q || p)"], (-3.00, 0.70), atol=0.005)
    assert np.allclose(fits["JSD"], (-3.00, 0.70), atol=0.03)

    # Maximum likelihood is the first of these, p being the data.
    rng = np.random.default_rng(0)
    x = rng.normal(MEAN[(which := (rng.random(20_000) < WEIGHT[1]).astype(int))], STD[which])
    model = lk.fit("gaussian", x[:, None], holdout=0.0, progress=False)
    likely = (
        float(model.mode().x),
        math.exp(-float(model.log_prob(model.mode().x).value)) / math.sqrt(2 * math.pi),
    )
    assert np.allclose(likely, moments, atol=3 * moments[1] / math.sqrt(len(x)))

    # KL in closed form: never negative, and asymmetric unless the variances agree.
    m, s = (
        torch.as_tensor(rng.normal(size=(2, 1000, 1))),
        torch.as_tensor(rng.gamma(2.0, size=(2, 1000, 1, 1))),
    )
    random = [
        float(kl_gaussians(m[0, i], s[0, i], m[1, i], s[1, i]))
        for i in range(100 if quick else 1000)
    ]
    assert min(random) >= 0
    one = torch.ones(1, dtype=torch.float64)
    half = float(kl_gaussians(one, one[None], 0 * one, one[None]))
    assert math.isclose(half, 0.5) and math.isclose(
        half, float(kl_gaussians(0 * one, one[None], one, one[None]))
    )

    # By draws: the mean of log p - log q over draws of p. Unequal variances: the two orders differ.
    drawn = torch.as_tensor(rng.normal(1, 1, 20_000 if quick else 100_000))
    by_draws = mean_with_stderr(
        torch.as_tensor(norm(1, 1).logpdf(drawn) - norm(0, 1).logpdf(drawn))
    )
    assert abs(by_draws.value - half) < 4 * by_draws.stderr and math.isclose(half, 0.5)
    wide = 4 * one[None]
    there, back = (
        float(kl_gaussians(one, one[None], 0 * one, wide)),
        float(kl_gaussians(0 * one, wide, one, one[None])),
    )
    assert math.isclose(there, (math.log(4) - 0.5) / 2) and math.isclose(back, 2 - math.log(2))
    assert float(kl_gaussians(one, wide, one, wide)) == 0

    # In bits, from logarithms to the base 2, it is 1.4427 times what it is in nats.
    base_two = float(
        (
            norm(1, 1).pdf(GRID)
            * ((norm(1, 1).logpdf(GRID) - norm(0, 1).logpdf(GRID)) / math.log(2))
        ).sum()
    )
    bits = base_two * STEP
    assert math.isclose(bits, half * math.log2(math.e), rel_tol=1e-9)

    figure, (left, right) = page(2)
    left.fill_between(GRID, P, color=GREY, alpha=0.35, lw=0, label="p, the mixture")
    for (name, (at, wide)), colour in zip(fits.items(), (BLUE, RED, ORANGE, GREEN), strict=True):
        dashes = {"JSD": (0, (4, 4)), "MMD": (0, (1, 1))}.get(name, "-")
        left.plot(
            GRID,
            norm(at, wide).pdf(GRID),
            color=colour,
            ls=dashes,
            label=f"{name}: N({at:.2f}, {wide:.2f}²)",
        )
    left.set_xlim(-9, 8)
    left.set_ylim(0, 0.9)
    mark(left, "The nearest Gaussian depends on the divergence", "x", "density")
    where, widths = np.linspace(-5, 5, 41), np.geomspace(0.6, 5, 16)
    for (name, objective), colour in zip(ways.items(), (BLUE, RED, ORANGE, GREEN), strict=True):
        curve = np.array([min(objective(at, w) for w in widths) for at in where])
        right.plot(where, (curve - curve.min()) / np.ptp(curve), color=colour, label=name)
    mark(right, "Best value for each mean, scaled to 0..1", "mean of q", "divergence, scaled")
    write(figure, out, "divergences")
    numbers = {
        f"{name} {what}": v
        for name, fit in fits.items()
        for what, v in zip(("mean", "std"), fit, strict=True)
    }
    return {
        **numbers,
        "KL(N(1, 1) || N(0, 1))": half,
        "the same, bits": bits,
        "the same, by draws": by_draws.value,
        "its s.e.": by_draws.stderr,
        "KL(N(1, 1) || N(0, 4))": there,
        "KL(N(0, 4) || N(1, 1))": back,
        "least of the random KLs": min(random),
    }


if __name__ == "__main__":
    command(main)
