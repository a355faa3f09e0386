"""The optimal discriminator and -log 4
====================================

D* = p / (p + q), and V(D*) = -log 4 + 2 JSD(p, q).

The two divergences in V, KL(p || r) + KL(q || r) with r = (p + q) / 2, add up to twice the JSD; the second is averaged
over x ~ q and holds q, not p: E_q log(q / (p + q)). a log D + b log(1 - D) has its maximum at a / (a + b)
for a, b >= 0, not both 0. D ascends V and G descends it (or ascends log D(G(z))); D = 1/2 everywhere, V = -log 4,
only where p = q.
"""

import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, RED, command, mark, page, write
from scipy.special import xlog1py, xlogy
from scipy.stats import norm
from torch.nn.functional import softplus

import likeness as lk
from likeness.core.config import GradientConfig
from likeness.core.learner import Gradient, Phase
from likeness.core.model import Model
from likeness.core.space import vector
from likeness.nets.mlp import MLP

GRID = np.linspace(-10, 12, 20_001)
STEP = GRID[1] - GRID[0]
P = norm(0, 1).pdf(GRID)
DRAWS = 32  # of each law in a row of a batch


class Judge(Model):
    """A net that learns to tell draws of N(0, 1) from draws of N(mean, std^2), for as long as it likes."""

    Config = GradientConfig

    def __init__(self, mean: float, std: float) -> None:
        super().__init__(GradientConfig(lr=1e-2, batch=64, ema=0.99), vector(1))
        self.mean, self.std, self.net = mean, std, MLP(1, 1, hidden=(32, 32))

    def forward(self, batch, noise, phase):
        real, fake = (
            noise.normal("real", DRAWS, 1),
            self.mean + self.std * noise.normal("fake", DRAWS, 1),
        )
        return {
            "real": softplus(-self.net(real)).mean((1, 2)),
            "fake": softplus(self.net(fake)).mean((1, 2)),
        }

    def learner(self):
        return Gradient(
            (Phase("judge", partial(self.__call__, phase="judge"), list(self.parameters())),)
        )


def trained(mean: float, std: float, steps: int) -> np.ndarray:
    """What a discriminator says on the grid after so many steps; its loss needs no data, for both laws are known."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = Judge(mean, std)
    lk.Run(judge, None, steps).fit()
    with torch.no_grad():
        return (
            judge.net(torch.as_tensor(GRID, dtype=torch.float32)[:, None])
            .sigmoid()[:, 0]
            .double()
            .numpy()
        )


def value(d: np.ndarray, q: np.ndarray) -> float:
    """V = E_p log D + E_q log(1 - D), by quadrature."""
    return float((xlogy(P, d) + xlog1py(q, -d)).sum() * STEP)


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """V at the optimum, its misreadings, and two trained discriminators beside D*."""
    assert math.isclose(value(np.full_like(P, 0.5), P), -math.log(4), abs_tol=1e-9)
    q = norm(1, 1).pdf(GRID)
    best, r = P / (P + q), (P + q) / 2
    halves = [float((law * np.log(law / r)).sum() * STEP) for law in (P, q)]
    jsd, optimum = sum(halves) / 2, value(best, q)
    once = -math.log(4) + jsd  # one JSD where there are two
    swapped = float(
        (P * np.log(best) + q * np.log(best)).sum() * STEP
    )  # p where q belongs, in the second term
    assert math.isclose(jsd, 0.1114215, abs_tol=1e-6)
    assert math.isclose(optimum, -math.log(4) + 2 * jsd, abs_tol=1e-9)
    assert math.isclose(optimum, -1.163451, abs_tol=1e-6)
    assert math.isclose(once, -1.274873, abs_tol=1e-6) and math.isclose(
        swapped, -1.663451, abs_tol=1e-6
    )
    nudged = best[:, None] + np.array([-0.05, 0.05]) * (best * (1 - best))[:, None]
    assert all(value(nudged[:, i], q) < optimum for i in range(2))

    laws = {"N(1, 1)": (1.0, 1.0), "N(1, 0.5²)": (1.0, 0.5)}
    figure, plots = page(3)
    numbers = {
        "V at p = q": -math.log(4),
        "V": optimum,
        "JSD": jsd,
        "V with one JSD": once,
        "V with p for q": swapped,
    }
    for plot, (name, (mean, std)) in zip(plots, laws.items(), strict=False):
        q = norm(mean, std).pdf(GRID)
        learned = trained(mean, std, 300 if quick else 1500)
        ideal, weight = np.clip(P / (P + q), 1e-12, 1 - 1e-12), (P + q) / 2 * STEP
        error = float((np.abs(learned - ideal) * weight).sum())
        assert error < 0.02
        assert value(np.clip(learned, 1e-12, 1 - 1e-12), q) < value(ideal, q)
        numbers[f"error against {name}"] = error
        plot.fill_between(GRID, P, color=GREEN, alpha=0.25, lw=0, label="data p = N(0, 1)")
        plot.fill_between(GRID, q, color=RED, alpha=0.25, lw=0, label=f"samples q = {name}")
        plot.plot(GRID, ideal, color="black", lw=2.5, alpha=0.5, label="D* = p / (p + q)")
        plot.plot(
            GRID, learned, color=BLUE, lw=1.2, ls="--", label=f"trained: mean error {error:.4f}"
        )
        plot.axhline(0.5, color=GREY, lw=0.6, ls=":")
        plot.set_xlim(-4, 5)
        plot.set_ylim(0, 1.45)
        mark(plot, f"D against {name}", "x", "D, density")
    shifts = np.linspace(0, 5, 60)
    densities = [norm(m, 1).pdf(GRID) for m in shifts]
    curve = np.array([value(np.clip(P / (P + d), 1e-300, 1 - 1e-16), d) for d in densities])
    plots[2].plot(shifts, curve, color=BLUE, label="V(D*) = -log 4 + 2 JSD")
    plots[2].plot(
        shifts, (curve - math.log(4)) / 2, color=ORANGE, ls="--", label="-log 4 + JSD: too low"
    )
    plots[2].axhline(-math.log(4), color="black", lw=0.8, ls=":", label="-log 4: p = q")
    plots[2].axhline(0, color=GREY, lw=0.8, ls=":")
    plots[2].set_ylim(-1.5, 0.45)
    mark(plots[2], "V(D*) for q = N(m, 1)", "m", "nats")
    write(figure, out, "discriminator")
    return numbers


if __name__ == "__main__":
    command(main)
