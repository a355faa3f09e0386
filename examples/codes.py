"""Codes under the weight of the divergence
========================================

Nearer to the prior, poorer in detail; and what the prior leaves open.

Loss = reconstruction + beta KL(q(z | x) || N(0, I)). As beta rises, the codes of all rows together come to look like
N(0, I), and say less about each row. With beta near 0 it is an ordinary autoencoder: draws from N(0, I) decode to
nonsense, but draws from a distribution that was fitted to the codes do not, so autoencoders can generate. N(0, I)
looks the same from every side: turned codes with a turned decoder are the same distribution of x, so the prior alone
finds no true factors.
"""

import itertools
from pathlib import Path

import torch
from _page import BLUE, GREY, ORANGE, RED, command, mark, page, write

import likeness as lk
from likeness.data.synthetic.gaussian import LinearGaussian
from likeness.metrics.distance import energy_distance, mmd

BETAS = (0.01, 0.1, 1.0)
OPTIONS = {
    "latent": 2,
    "hidden": (64, 64),
    "ema": 0.99,
    "hide": 0.0,
    "lr": 5e-3,
    "real": "shared",
    "progress": False,
}


def turned() -> float:
    """The largest change of log p(x) when the codes of a linear-Gaussian law are turned and its decoder with them."""
    g = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 3, generator=g, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=g, dtype=torch.float64))[0]
    x = torch.randn(100, 5, generator=g, dtype=torch.float64)
    straight, other = (LinearGaussian(w, 0.5).log_prob(x).value for w in (weight, weight @ turn))
    assert not torch.allclose(weight, weight @ turn, atol=0.1)
    return float((straight - other).abs().max())


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """VAEs of the moons under three weights; an autoencoder's draws with and without a law fitted to its codes."""
    same = turned()
    assert same < 1e-10

    world, n = lk.world("moons"), 1_000 if quick else 3_000
    data, test = world.source(2_000 if quick else 5_000, seed=0), world.source(n, seed=1).batch.x
    steps, betas = (450, BETAS[::2]) if quick else (1_300, BETAS)
    normal = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    models = {b: lk.fit("vae", data, budget=steps, beta=b, **OPTIONS) for b in betas}
    answers = {b: m.encode(test, seed=0) for b, m in models.items()}
    codes = {b: q.sample(1, seed=0).x[0].double() for b, q in answers.items()}
    apart = {b: mmd(z, normal, bandwidth=1.0) for b, z in codes.items()}
    misses = {
        b: -float(m.elbo(test, answers[b], effort=16).terms["reconstruction"].mean())
        for b, m in models.items()
    }
    assert all(apart[a].value > apart[b].value for a, b in itertools.pairwise(betas))
    assert quick or apart[BETAS[0]].low > apart[BETAS[-1]].high
    assert quick or all(misses[a] < misses[b] for a, b in itertools.pairwise(betas))

    auto = models[BETAS[0]]
    fitted = lk.fit(
        "vae",
        data,
        budget=steps,
        beta=BETAS[0],
        prior={"family": "mixture", "components": 16},
        **OPTIONS,
    )
    draws = {
        "N(0, I)": auto.sample(n, seed=0).x,
        "a mixture fitted to the codes": fitted.sample(n, seed=0).x,
    }
    far = {name: energy_distance(x.double(), test.double()) for name, x in draws.items()}
    assert far["a mixture fitted to the codes"].value < far["N(0, I)"].value / (1 if quick else 3)

    figure, plots = page(3, 2)
    plots[0].errorbar(betas, [apart[b].value for b in betas], yerr=[2 * apart[b].stderr for b in betas], color=BLUE,
                      marker="o", label="MMD² of all codes to N(0, I)")  # fmt: skip
    plots[0].set(xscale="log", ylim=(0, None))
    mark(plots[0], "A heavier divergence: codes like the prior", "beta", "MMD²")
    plots[3].plot(betas, [misses[b] for b in betas], color=RED, marker="o", label="-E log p(x | z)")
    plots[3].set_xscale("log")
    mark(plots[3], "... at the price of reconstruction", "beta", "nats")
    side = test[:, 1] > 0.25
    for plot, b in zip((plots[1], plots[2]), (BETAS[0], BETAS[-1]), strict=True):
        plot.plot(*normal[:1000].T, ".", ms=2, color=GREY, alpha=0.4)
        for part, colour in ((side, ORANGE), (~side, BLUE)):
            plot.plot(*codes[b][part][:700].T, ".", ms=2, color=colour)
        plot.set_aspect("equal")
        mark(plot, f"Codes, beta = {b:g}; grey: N(0, I)")
    for plot, (name, x) in zip((plots[4], plots[5]), draws.items(), strict=True):
        plot.plot(*test[:1000].T, ".", ms=2, color=GREY, alpha=0.5)
        plot.plot(*x[:1000].T, ".", ms=2, color=RED)
        plot.set(xlim=(-2, 3), ylim=(-1.6, 2))
        mark(
            plot,
            f"beta = {BETAS[0]}, codes from {name}",
            f"energy distance to fresh rows {far[name].value:.2g}",
        )
    write(figure, out, "codes")
    return {**{f"MMD² at beta = {b:g}": i.value for b, i in apart.items()},
            **{f"reconstruction at beta = {b:g}": v for b, v in misses.items()},
            **{f"distance, codes from {name}": i.value for name, i in far.items()},
            "change of log p by a turn": same}  # fmt: skip


if __name__ == "__main__":
    command(main)
