"""Linear dynamical systems
========================

A state that moves smoothly makes one thing of many noisy numbers.

A point turns on a circle, pushed about a little, and is seen in noise. A state of a few numbers that moves by a matrix
explains all of it: what came before tells where the point is (filtering), what came after tells more (smoothing; the
two are often mistaken for each other), a gap is steps of which nothing was seen, and so is the future.
"""

import math
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, RED, command, mark, page, write

import likeness as lk

PERIOD, FADE, PUSH, NOISE = 24, 0.99, 0.1, 0.45


def drawn(rows: int, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What is seen of turning points, and where they are, both (rows, steps, 2)."""
    g, angle = np.random.default_rng(seed), 2 * math.pi / PERIOD
    step = FADE * np.array(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    )
    z = [0.7 * g.normal(size=(rows, 2))]
    for _ in range(steps - 1):
        z.append(z[-1] @ step + PUSH * g.normal(size=(rows, 2)))
    place = np.stack(z, 1)
    return place + NOISE * g.normal(size=place.shape), place


def dense(model, x: np.ndarray) -> torch.Tensor:
    """log p of series (rows, steps, 2) by the joint Gaussian of all their numbers, built and inverted whole."""
    s, steps = model.system, x.shape[1]
    means, covs = [s.first_mean], [s.first_cov]
    for _ in range(steps - 1):
        means.append(s.step @ means[-1] + s.drift)
        covs.append(s.step @ covs[-1] @ s.step.T + s.step_cov)
    power = [torch.linalg.matrix_power(s.step, k) for k in range(steps)]
    below = [
        torch.cat(
            [s.load @ power[max(t - u, 0)] @ covs[u] @ s.load.T * (t >= u) for u in range(steps)], 1
        )
        for t in range(steps)
    ]
    half = torch.cat(below)
    own = torch.block_diag(*[s.load @ cov @ s.load.T for cov in covs])
    factor = torch.linalg.cholesky(half + half.T - own + torch.diag(s.noise.repeat(steps)))
    shift, scale = model.preprocessor.shift, model.preprocessor.scale.expand(2)
    gap = (torch.from_numpy(x) - shift) / scale - torch.stack(
        [s.load @ m + s.offset for m in means]
    )
    u = torch.linalg.solve_triangular(factor, gap.flatten(1).T, upper=False)
    log_det = factor.diagonal().log().sum() + steps * scale.log().sum()
    return -0.5 * (u.square().sum(0) + len(u) * math.log(2 * math.pi)) - log_det


def error(found: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(found - truth).mean()))


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """One fit; places now and in hindsight, a gap, irregular times and a forecast."""
    train, _ = drawn(60 if quick else 200, 96, 0)
    test, place = drawn(200, 96, 1)
    fit = {"latents": 2, "holdout": 0.0, "progress": False, "seed": 0}
    model = lk.fit("linear_dynamical", train, **fit)
    value = torch.linalg.eigvals(model.step)[0]
    period, fade = 2 * math.pi / float(value.angle().abs()), float(value.abs())
    assert abs(period - PERIOD) < 0.5

    # The recursions are the joint Gaussian of all 192 numbers, which could be built and inverted whole.
    apart = float((dense(model, test[:20]) - model.log_prob(test[:20]).value).abs().max())
    assert apart < 1e-8

    # Where is the point: by what is seen now, by all that came before, by all there is.
    code = model.encode(test)

    def seen(z: torch.Tensor) -> np.ndarray:
        s = model.system
        return (
            (z @ s.load.T + s.offset) * model.preprocessor.scale + model.preprocessor.shift
        ).numpy()

    ways = {"seen": test, "filtered": seen(code.filtered), "smoothed": seen(code.mean)}
    errors = {name: error(found[:, 24:72], place[:, 24:72]) for name, found in ways.items()}
    assert errors["smoothed"] < 0.85 * errors["filtered"] < 0.85 * errors["seen"]

    # A gap, filled: by the law, by a straight line, by the mean of the series.
    gap = test.copy()
    gap[:, 40:60] = np.nan
    filled = model.mode(gap).x.numpy()[:, 40:60]
    share = (np.arange(1, 21) / 21)[:, None]
    line = test[:, 39:40] * (1 - share) + test[:, 60:61] * share
    middle = np.nanmean(gap, 1, keepdims=True) + 0 * line
    gaps = {
        name: error(x, test[:, 40:60])
        for name, x in (("law", filled), ("line", line), ("mean", middle))
    }
    assert gaps["law"] < 0.92 * gaps["mean"] < gaps["line"]
    low, high = model.complete(gap[:1], n=400, seed=0).quantiles(0.05, 0.95)[:, 0].numpy()

    # Irregular times need nothing of their own: a step that was not measured is a hidden one.
    rare = train.copy()
    rare[np.random.default_rng(2).random(rare.shape[:2]) < 0.75] = np.nan
    other = torch.linalg.eigvals(lk.fit("linear_dynamical", rare, **fit).step)
    rare_period = 2 * math.pi / float(other[0].angle().abs())
    assert abs(rare_period - PERIOD) < 1.5

    # What comes next, and how sure that is.
    ahead = model.forecast(list(test[:, :60]), 36, n=400, seed=0).quantiles(0.05, 0.5, 0.95).numpy()
    inside = float(((test[:, 60:] >= ahead[0]) & (test[:, 60:] <= ahead[2])).mean())
    assert 0.85 < inside < 0.95

    figure, (track, time, hole, comes) = page(2, 2)
    steps = np.arange(96)
    part = slice(24, 49)
    track.plot(*test[0, part].T, ".", color=GREY, ms=5, label="seen")
    track.plot(*place[0, part].T, color=RED, label="where it was")
    track.plot(*ways["filtered"][0, part].T, color=ORANGE, lw=1, label="filtered")
    track.plot(*ways["smoothed"][0, part].T, color=BLUE, ls="--", label="smoothed")
    track.set_aspect("equal", adjustable="datalim")
    mark(track, "One turn", "x", "y")
    track.legend(frameon=False, fontsize=7, loc="best")
    for name, colour in (("seen", GREY), ("filtered", ORANGE), ("smoothed", BLUE)):
        each = np.sqrt(np.square(ways[name] - place).mean((0, 2)))
        time.plot(steps, each, color=colour, label=name)
    time.set_ylim(0, None)
    mark(time, "Error by step", "step", "root mean square")
    hole.fill_between(
        steps[40:60], low[40:60, 0], high[40:60, 0], color=BLUE, alpha=0.25, label="90 %"
    )
    hole.plot(steps, test[0, :, 0], ".", color=GREY, ms=4)
    hole.plot(steps[40:60], test[0, 40:60, 0], ".", color=RED, ms=5, label="hidden")
    hole.plot(steps[40:60], filled[0, :, 0], color=BLUE, label="mean given the rest")
    hole.plot(steps[40:60], line[0, :, 0], color=GREEN, ls=":", label="straight line")
    hole.set_ylim(-3.2, None)
    mark(hole, "A gap", "step", "x")
    comes.plot(steps, test[2, :, 0], ".", color=GREY, ms=4)
    comes.fill_between(
        steps[60:], ahead[0, 2, :, 0], ahead[2, 2, :, 0], color=ORANGE, alpha=0.3, label="90 %"
    )
    comes.plot(steps[60:], ahead[1, 2, :, 0], color=ORANGE, label="median")
    mark(comes, "What comes next", "step", "x")
    write(figure, out, "kalman")
    return {
        "period": period, "fade": fade, "period, three in four steps missing": rare_period,
        "recursion to dense Gaussian, nats": apart, **{f"error, {name}": e for name, e in errors.items()},
        **{f"gap error, {name}": e for name, e in gaps.items()}, "future inside 90 %": inside,
    }  # fmt: skip


if __name__ == "__main__":
    command(main)
