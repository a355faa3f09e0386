"""Per-point inference against amortised inference
===============================================

A search for every row, or one net that answers for all.

Both maximise the ELBO over q(z | x), an independent Gaussian N(m, s^2). A search costs numbers and hundreds of passes
for every row; an encoder costs one pass, and what it loses is the amortisation gap, >= 0. An encoder is a q(z | x):
p(z | x) is the posterior that it stands in for. For a mixture of K Gaussians a row's own numbers are its K
responsibilities, rows x K in all; K means and covariances belong to all rows together.
"""

import math
import time
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, RED, command, mark, page, write
from matplotlib.patches import Ellipse
from scipy.optimize import minimize
from torch import Tensor

import likeness as lk
from likeness.core.answers import Kind
from likeness.core.space import vector
from likeness.data.synthetic.gaussian import Correlated, LinearGaussian
from likeness.metrics.intervals import mean_with_stderr, paired_difference

SEARCHES = (
    10,
    30,
    100,
    300,
)  # steps of each row's own search, which starts from the encoder's answer


def mean_field() -> tuple[Correlated, Tensor]:
    """The posterior of two correlated codes, and the variances of the independent q of the highest ELBO, (2,)."""
    world = LinearGaussian(torch.tensor([[1.0, 1.0], [1.0, 0.6]]), sigma=0.7)
    x = torch.tensor([[0.8, -0.3]], dtype=torch.float64)
    posterior = world.encode(x)

    def loss(v: np.ndarray) -> float:
        loc, tril = (
            torch.as_tensor(v[None, :2]),
            torch.diag_embed(torch.as_tensor(np.exp(v[None, 2:]))),
        )
        return -float(
            world.elbo(
                x, Correlated(vector(2), torch.zeros(1), Kind.ESTIMATE, "independent", loc, tril)
            )
        )

    best = torch.as_tensor(minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-7}).x)
    assert torch.allclose(best[:2], posterior.mean[0], atol=1e-4)
    return posterior, (2 * best[2:]).exp()


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """What independence costs in closed form; then a VAE of the moons, its answers refined row by row."""
    posterior, variance = mean_field()
    cov = posterior.factor[0] @ posterior.factor[0].T
    share = 1 - float(cov[0, 1] ** 2 / (cov[0, 0] * cov[1, 1]))  # 1 - rho^2
    assert torch.allclose(
        variance / cov.diagonal(), torch.full((2,), share, dtype=cov.dtype), rtol=1e-4
    )
    lost = -0.5 * math.log(share)  # KL(q || posterior) at that q

    world, draws = lk.world("moons"), 128 if quick else 512
    options = {
        "latent": 2,
        "hidden": (64, 64),
        "ema": 0.99,
        "hide": 0.0,
        "lr": 5e-3,
        "progress": False,
    }
    model = lk.fit("vae", world.source(2_000, seed=0), budget=300 if quick else 2_000, **options)
    x = world.source(100 if quick else 400, seed=1).batch.x
    bounds, seconds = {}, {}
    for steps in (0, *SEARCHES):
        start = time.perf_counter()
        q = model.encode(x, effort=steps or None, seed=0)
        seconds[steps] = time.perf_counter() - start
        bounds[steps] = model.elbo(x, q, effort=draws, seed=0).value.double()
    evidence = model.log_prob(x, effort=1_000 if quick else 5_000, seed=1).value.double()
    most = SEARCHES[-1]
    gap, rest = (
        paired_difference(bounds[most], bounds[0]),
        paired_difference(evidence, bounds[most]),
    )
    assert gap.value > 3 * gap.stderr  # what the shared net loses
    assert (
        quick or rest.value > 3 * rest.stderr
    )  # what no search in this family wins back: the posterior is no such Gaussian
    assert seconds[most] > 10 * seconds[0]

    figure, (laws, climb, where, numbers) = page(2, 2)
    show_independence(laws, posterior, cov, variance, share)
    means = {k: mean_with_stderr(evidence - b) for k, b in bounds.items()}
    climb.errorbar(range(len(means)), [m.value for m in means.values()], yerr=[2 * m.stderr for m in means.values()],
                   color=BLUE, marker="o", label="log p - ELBO")  # fmt: skip
    climb.fill_between(range(len(means)), rest.value, means[0].value, color=ORANGE, alpha=0.25, lw=0,
                       label=f"amortisation: {gap.value:.3f} ± {gap.stderr:.3f}")  # fmt: skip
    climb.fill_between(range(len(means)), 0, rest.value, color=GREY, alpha=0.3, lw=0,
                       label=f"independent Gaussian q: {rest.value:.3f} ± {rest.stderr:.3f}")  # fmt: skip
    climb.set_xticks(range(len(means)), [f"{k}\n{1e6 * seconds[k] / len(x):,.0f}" for k in means])
    climb.set_ylim(0, 1.6 * max(m.value for m in means.values()))
    mark(climb, "A search for each row closes its part of the gap", "steps of each row's search\nmicroseconds a row",
         "nats")  # fmt: skip
    own = (bounds[most] - bounds[0]).clamp_min(0)
    dots = where.scatter(*x.T, c=own, s=8, cmap="viridis", vmax=float(own.quantile(0.98)))
    figure.colorbar(dots, ax=where, shrink=0.8).ax.tick_params(labelsize=8)
    mark(where, "Where one pass loses how many nats")
    rows = np.geomspace(100, 1e7, 50)
    encoder = sum(p.numel() for name, p in model.named_parameters() if "encode" in name)
    numbers.plot(rows, 4 * rows, color=RED, label="a mean and a deviation of 2 codes for each row")
    numbers.plot(rows, np.full_like(rows, encoder), color=BLUE, label=f"the encoder: {encoder:,}")
    numbers.plot(rows, 8 * rows, color=GREEN, ls="--", label="responsibilities of a mixture, K = 8")
    numbers.set(xscale="log", yscale="log", ylim=(1e2, 1e10))
    mark(numbers, "Numbers to be found", "rows", "numbers")
    write(figure, out, "amortised")
    return {"variance left by independence": share, "nats lost by it": lost, "amortisation gap": gap.value,
            "its s.e.": gap.stderr, "what no search closes": rest.value, "encoder's numbers": encoder,
            f"time of {most} steps over one pass": seconds[most] / seconds[0]}  # fmt: skip


def show_independence(
    plot, posterior: Correlated, cov: Tensor, variance: Tensor, share: float
) -> None:
    """Two standard deviations of the posterior and of the best independent q."""
    centre, (values, vectors) = posterior.mean[0].numpy(), np.linalg.eigh(cov.numpy())
    tilt = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
    plot.add_patch(Ellipse(centre, *(4 * np.sqrt(values[::-1])), angle=tilt, fc="none", ec=BLUE, lw=2,
                           label="posterior p(z | x)"))  # fmt: skip
    plot.add_patch(Ellipse(centre, *(4 * variance.sqrt().numpy()), fc="none", ec=ORANGE, lw=2, ls="--",
                           label="best independent q(z | x)"))  # fmt: skip
    reach = 3 * float(values.max()) ** 0.5
    plot.set(
        xlim=(centre[0] - reach, centre[0] + reach),
        ylim=(centre[1] - reach, centre[1] + reach),
        aspect="equal",
    )
    mark(
        plot,
        f"Independence keeps 1 - ρ² = {share:.3f} of each variance",
        "first code",
        "second code",
    )


if __name__ == "__main__":
    command(main)
