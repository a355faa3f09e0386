"""Gradients through a draw
========================

z = m + s eps (reparameterised) against the score function, one truth and unlike variance.

d/dm E[z^2] = 2 m and d/ds E[z^2] = 2 s for z ~ N(m, s^2). Reparameterised: 2 z and 2 z eps. Score function:
z^2 d/dm log N(z; m, s^2) = z^2 eps / s, and z^2 (eps^2 - 1) / s. Both are right on average. A z that is detached, a
mere number, tells an encoder nothing: its gradient is 0. Stochastic gradients of an ELBO are such estimates, and the
mean of K draws has 1/K of their variance.
"""

import math
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, command, mark, page, write
from torch import Tensor

import likeness as lk
from likeness.core.model import Model
from likeness.core.noise import Noise

M, S = 0.7, 0.4
REPARAMETERISED = 4 * S**2  # variance of 2 z
SCORE = (
    M**4 + 18 * M**2 * S**2 + 15 * S**4
) / S**2 - 4 * M**2  # variance of z^2 eps / s, by moments of eps

ROWS, DRAWS, SEEDS = 64, 16, 192


def elbo_gradients(model: Model, x: Tensor) -> Tensor:
    """The gradient of the mean ELBO of some rows with one draw of z each, once for each seed, (SEEDS, P)."""
    inside, _ = model.inputs(
        lk.load(x, test=0.0).train.batch, Noise(0, torch.arange(len(x)), dtype=model.dtype)
    )
    found = []
    for seed in range(SEEDS):
        noise = Noise(seed, torch.arange(len(x)), dtype=model.dtype)
        loss = sum(model(inside, noise, "bound").values()).mean()
        parts = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
        found.append(torch.cat([p.flatten() for p in parts]))
    return torch.stack(found)


def learned(steps: int) -> tuple[np.ndarray, dict[int, tuple[float, float, float]]]:
    """A VAE of the moons: minus the ELBO at every step; and at some, what its gradient is and how unsure it is.

    At each: the squared length of the mean gradient, and the trace of its covariance with 1 draw and with 16.
    """
    data, losses, panel = lk.world("moons").source(2_000, seed=0), [], {}
    due = {1, steps // 4, steps}

    def watch(run: lk.Run, event: object) -> None:
        losses.append(event.loss)
        if event.iteration in due:
            g = elbo_gradients(run.model, data.batch.x[:ROWS])
            many = g.reshape(-1, DRAWS, g.shape[1]).mean(1)
            panel[event.iteration] = tuple(
                float(v) for v in (g.mean(0).square().sum(), g.var(0).sum(), many.var(0).sum())
            )

    options = {"latent": 2, "hidden": (32, 32), "hide": 0.0, "kl_warmup": 0.0, "lr": 5e-3}
    lk.fit("vae", data, budget=steps, holdout=0.0, watch=watch, progress=False, **options)
    return np.array(losses), panel


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

    # The same for a net: the loss falls while its gradient stays unsure, 16 times less so with 16 draws of each code.
    losses, panel = learned(100 if quick else 300)
    ratios = {step: one / many for step, (_, one, many) in panel.items()}
    assert all(abs(ratio / DRAWS - 1) < 0.5 for ratio in ratios.values()), ratios
    assert losses[-20:].mean() < losses[:5].mean()

    figure, (spread, cost, curve, noise) = page(2, 2)
    bins = np.linspace(-3, 14, 86)
    spread.hist(
        estimates["m, score"], bins, density=True, color=ORANGE, alpha=0.6, label="score function"
    )
    spread.hist(
        estimates["m, through z"],
        bins,
        density=True,
        color=BLUE,
        alpha=0.6,
        label="reparameterised",
    )
    spread.axvline(2 * M, color="black", lw=1, ls=":", label=f"truth 2 m = {2 * M}")
    spread.set_ylim(0, 0.7)
    mark(spread, "One draw's estimate of d/dm E[z²]", "estimate", "density")
    k = np.unique(np.geomspace(1, 1000, 13).astype(int))
    for name, variance, colour in (
        ("m, score", SCORE, ORANGE),
        ("m, through z", REPARAMETERISED, BLUE),
    ):
        batches = [estimates[name][: n // i * i].reshape(-1, i).mean(1).std() for i in k]
        label = "score function" if colour == ORANGE else "reparameterised"
        cost.plot(k, batches, "o", ms=4, color=colour, label=f"{label}, measured")
        cost.plot(k, np.sqrt(variance / k), color=colour, lw=1, label=f"sqrt({variance:.2f} / K)")
    cost.axhline(0.1, color=GREY, lw=0.8, ls="--")
    cost.text(1, 0.105, "error 0.1", fontsize=8, color="#555555")
    cost.set_xscale("log")
    cost.set_yscale("log")
    mark(
        cost,
        f"The score function needs {exact:.1f} times the draws",
        "draws K",
        "standard deviation of the mean",
    )
    curve.plot(np.arange(1, len(losses) + 1), losses, color=BLUE, lw=1)
    mark(curve, "A VAE of the moons learns from such gradients", "step", "-ELBO of the batch, nats")
    steps, (mean, one, many) = list(panel), np.array(list(panel.values())).T
    for values, colour, label in ((one, ORANGE, "1 draw of each code"), (many, BLUE, f"{DRAWS} draws"),
                                  (mean, GREEN, "the mean's squared length")):  # fmt: skip
        noise.plot(steps, values, color=colour, marker="o", ms=4, label=label)
    noise.set(xscale="log", yscale="log", ylim=(many.min() / 3, 30 * max(one.max(), mean.max())))
    mark(noise, f"Variance of its gradient on {ROWS} rows, summed", "step", "")
    write(figure, out, "gradients")
    return {"d/dm": means["m, through z"], "d/ds": means["s, through z"], "variance ratio": exact,
            "variance ratio, measured": measured, "gradient of a detached z": float(cut[0]),
            "-ELBO at the end": float(losses[-20:].mean()), "variance of its gradient": float(one[-1]),
            "variance with 16 draws over that": float(many[-1] / one[-1])}  # fmt: skip


if __name__ == "__main__":
    command(main)
