"""Mode collapse, its cures, and the three-way trade
=================================================

What quality, diversity and speed cost each other.

A generator that fools its critic from one mode has no reason to visit the others. Its loss does not show it: counting
modes does. A paired loss with penalties on the critic's gradient brings the modes back; codes in the generator's input,
with noise on what the critic sees that fades, also make them sharp. Beside them: a plain GAN pays in diversity, a VAE
in quality, diffusion in passes through its net.
"""

import math
import time
from pathlib import Path

import torch
from _page import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, command, mark, page, write

import likeness as lk
from likeness.core.model import Model
from likeness.evaluate.columns import Cell, typical
from likeness.metrics.coverage import Coverage, prdc
from likeness.metrics.quality import Modes, modes

SIGMA, ENOUGH, DRAWN = 0.05, 20, 2_500
ANGLE = torch.arange(8).double() * math.pi / 4
CENTRES = torch.stack([ANGLE.cos(), ANGLE.sin()], -1)
RING = lk.world("ring", sigma=SIGMA)
PLAIN = {"hidden": (64, 64), "latent": 8, "fourier": 16, "batch": 128}
VANILLA = {
    **PLAIN,
    "latent": 2,
    "lr": 5e-3,
    "ema": 0.9,
    "loss": "non_saturating",
    "r1": 0.0,
    "r2": 0.0,
}
CURED = {**PLAIN, "lr": 2e-3, "ema": 0.99, "loss": "relativistic", "r1": 0.1, "r2": 0.1}
GAMES = {
    "vanilla GAN": (600, VANILLA),
    "GAN, penalties": (1_000, {**CURED, "lr": 5e-3, "fall": 4.0}),
    "GAN, codes and noise": (
        1_000,
        {**CURED, "codes": 64, "instance_noise": 1.0, "fall": 100.0, "pace": 0.4},
    ),
}
OTHERS = {
    "VAE": ("vae", {"hidden": (64, 64), "latent": 2, "ema": 0.99}),
    "flow": ("flow", {"hidden": (48, 48), "layers": 3, "ema": 0.99}),
    "diffusion": ("diffusion", {}),
}
COLOURS = dict(zip([*GAMES, *OTHERS], (RED, BLUE, PURPLE, GREY, ORANGE, GREEN), strict=True))


def fitted(quick: bool) -> dict[str, Model]:
    """All models on the same rows; quick: the game that collapses and the one that does not."""
    data, plain = RING.source(20_000, seed=0), {"holdout": 0.0, "progress": False}
    games = {name: game for name, game in GAMES.items() if not quick or name != "GAN, penalties"}
    share = 0.65 if quick else 1.0
    models = {
        n: lk.fit("gan", data, budget=round(share * k), **plain, **o) for n, (k, o) in games.items()
    }
    for name, (family, options) in ({} if quick else OTHERS).items():
        models[name] = lk.fit(family, data, budget=600, **plain, **options)
    return models


def drawn(model: Model) -> tuple[torch.Tensor, Cell, int]:
    """Draws, how many a second of one core with the interval of that, and passes through the net for each."""
    rates = []
    for _ in range(6):
        start = time.process_time()
        draws = model.sample(DRAWN, seed=0)
        rates.append(DRAWN / max(time.process_time() - start, 1e-6))
    return draws.x.double(), typical(rates[1:], 0.95), draws.evaluations  # the first warms up


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Fit, draw, count modes, and place each model by quality and diversity."""
    found = {name: drawn(model) for name, model in fitted(quick).items()}
    real = RING.sample(DRAWN, seed=9).x
    counted: dict[str, Modes] = {n: modes(x, CENTRES, SIGMA) for n, (x, _, _) in found.items()}
    places: dict[str, Coverage] = {n: prdc(real, x) for n, (x, _, _) in found.items()}
    best = {"quality": max(places, key=lambda n: places[n].density.value),
            "diversity": max(places, key=lambda n: places[n].coverage.value),
            "speed": max(found, key=lambda n: found[n][1].value)}  # fmt: skip
    held = {n: int((m.counts >= ENOUGH).sum()) for n, m in counted.items()}
    assert held["vanilla GAN"] <= 4
    assert all(held[name] == 8 for name in held if name != "vanilla GAN")
    assert counted["GAN, codes and noise"].high_quality.low > (0.3 if quick else 0.9)
    assert {passes for n, (_, _, passes) in found.items() if n != "diffusion"} == {1}
    if not quick:
        assert places["vanilla GAN"].coverage.high < places["diffusion"].coverage.low
        assert places["VAE"].precision.high < places["diffusion"].precision.low
        assert found["diffusion"][2] > 1
        # What is best depends on the question, further apart than the numbers are unsure.
        assert best["quality"] != best["diversity"] != best["speed"]
        assert places[best["quality"]].coverage.high < places[best["diversity"]].coverage.low
        assert found[best["diversity"]][1].high < found[best["speed"]][1].low

    figure, plots = page(2, 2)
    for plot, name in zip(plots, GAMES, strict=False):
        plot.set_visible(name in found)
        if name in found:
            plot.plot(*real[:1000].T, ".", ms=2, color=GREY, alpha=0.5)
            plot.plot(*found[name][0][:1000].T, ".", ms=3, color=COLOURS[name])
            plot.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
            mark(
                plot,
                f"{name}: {held[name]} of 8 modes, {100 * counted[name].high_quality.value:.0f} % near one",
            )
    for name, place in places.items():
        x, y = place.coverage, place.density
        rate, low, high = (
            v / 1000 for v in (found[name][1].value, found[name][1].low, found[name][1].high)
        )
        plots[3].errorbar(x.value, y.value, xerr=[[x.value - x.low], [x.high - x.value]],
                          yerr=[[y.value - y.low], [y.high - y.value]], marker="o", color=COLOURS[name],
                          label=f"{name}: {rate:,.0f} ({low:,.0f} to {high:,.0f})")  # fmt: skip
    plots[3].set(xlim=(0, 1.05), ylim=(0, 1.9), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    mark(
        plots[3],
        "Quality, diversity, speed (thousands a second)",
        "coverage (diversity)",
        "density (quality)",
    )
    write(figure, out, "mode_collapse")
    shares = {f"{n}, near a mode": m.high_quality.value for n, m in counted.items()}
    covered = {f"{n}, coverage": p.coverage.value for n, p in places.items()}
    return {**{f"{n}, modes": k for n, k in held.items()}, **shares, **covered,
            "laws that are best at something": len(set(best.values())),
            **{f"{n}, passes": passes for n, (_, _, passes) in found.items()}}  # fmt: skip


if __name__ == "__main__":
    command(main)
