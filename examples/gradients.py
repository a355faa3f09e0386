"""Gradients through a draw: z = m + s eps (reparameterised) against the score function, one truth and unlike variance.

d/dm E[z^2] = 2 m and d/ds E[z^2] = 2 s for z ~ N(m, s^2). Reparameterised: 2 z and 2 z eps. Score function:
z^2 d/dm log N(z; m, s^2) = z^2 eps / s, and z^2 (eps^2 - 1) / s. Both are right on average. A z that is detached, a
mere number, tells an encoder nothing: its gradient is 0.
"""

import math
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREY, ORANGE, command, mark, page, write

M, S = 0.7, 0.4
REPARAMETERISED = 4 * S**2  # variance of 2 z
SCORE = (M**4 + 18 * M**2 * S**2 + 15 * S**4) / S**2 - 4 * M**2  # variance of z^2 eps / s, by moments of eps


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Estimate both gradients both ways, hold them to the truth, and count what each costs in draws."""
    n = 100_000 if quick else 400_000
    eps = np.random.default_rng(0).normal(size=n)
    z = M + S * eps
    estimates = {"m, through z": 2 * z, "s, through z": 2 * z * eps,
                 "m, score": z**2 * eps / S, "s, score": z**2 * (eps**2 - 1) / S}  # fmt: skip
    means = {name: float(e.mean()) for name, e in estimates.items()}
    errors = {name: float(e.std()) / math.sqrt(n) for name, e in estimates.items()}
    for name, mean in means.items():
        assert abs(mean - (2 * M if name[0] == "m" else 2 * S)) < 4 * errors[name]
    measured = float(estimates["m, score"].var() / estimates["m, through z"].var())
    exact = SCORE / REPARAMETERISED
    assert math.isclose(exact, 16.8, abs_tol=0.05)
    assert math.isclose(measured, exact, rel_tol=0.05)

    # The same by automatic differentiation: through z it is 2 z on average; a detached z leaves nothing to follow.
    m, s = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (M, S))
    drawn = m + s * torch.as_tensor(eps)
    slopes = torch.autograd.grad(drawn.square().mean(), (m, s))
    assert math.isclose(float(slopes[0]), means["m, through z"], rel_tol=1e-9)
    assert math.isclose(float(slopes[1]), means["s, through z"], rel_tol=1e-9)
    cut = torch.autograd.grad(drawn.detach().square().mean() + 0 * (m + s), (m, s))
    assert float(cut[0]) == float(cut[1]) == 0.0

    figure, (spread, cost) = page(2)
    bins = np.linspace(-3, 14, 86)
    spread.hist(estimates["m, score"], bins, density=True, color=ORANGE, alpha=0.6, label="score function")
    spread.hist(estimates["m, through z"], bins, density=True, color=BLUE, alpha=0.6, label="reparameterised")
    spread.axvline(2 * M, color="black", lw=1, ls=":", label=f"truth 2 m = {2 * M}")
    spread.set_ylim(0, 0.7)
    mark(spread, "One draw's estimate of d/dm E[z²]", "estimate", "density")
    k = np.unique(np.geomspace(1, 1000, 13).astype(int))
    for name, variance, colour in (("m, score", SCORE, ORANGE), ("m, through z", REPARAMETERISED, BLUE)):
        batches = [estimates[name][: n // i * i].reshape(-1, i).mean(1).std() for i in k]
        label = "score function" if colour == ORANGE else "reparameterised"
        cost.plot(k, batches, "o", ms=4, color=colour, label=f"{label}, measured")
        cost.plot(k, np.sqrt(variance / k), color=colour, lw=1, label=f"sqrt({variance:.2f} / K)")
    cost.axhline(0.1, color=GREY, lw=0.8, ls="--")
    cost.text(1, 0.105, "error 0.1", fontsize=8, color="#555555")
    cost.set_xscale("log")
    cost.set_yscale("log")
    mark(cost, f"The score function needs {exact:.1f} times the draws", "draws K", "standard deviation of the mean")
    write(figure, out, "gradients")
    return {"d/dm": means["m, through z"], "d/ds": means["s, through z"], "variance ratio": exact,
            "variance ratio, measured": measured, "gradient of a detached z": float(cut[0])}  # fmt: skip


if __name__ == "__main__":
    command(main)
