"""Hidden Markov models
====================

What a step tells of its state, its neighbours tell better.

A state that lasts makes a series of noisy numbers readable: forward and backward sums say of each step how likely each
state is, the best path says what happened as a whole. These are two questions with two answers, and one is often given
for the other. What is missing is summed over, and what comes next is one more thing that is missing.
"""

import itertools
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREY, ORANGE, RED, command, mark, page, write

import likeness as lk

STAY = 0.92
MEANS = (
    -1.0,
    0.4,
    1.6,
)  # of three states, one after the other in a circle, each with noise of one deviation


def drawn(rows: int, steps: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Series and the states behind them."""
    g = np.random.default_rng(seed)
    state = (g.integers(3, size=(rows, 1)) + np.cumsum(g.random((rows, steps)) > STAY, 1)) % 3
    x = np.array(MEANS)[state] + g.normal(size=state.shape)
    return [row[:, None] for row in x], state


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """One fit, two readings of the states, a gap and a forecast."""
    train, _ = drawn(100 if quick else 400, 80, 0)
    test, truth = drawn(100, 80, 1)
    fit = {"holdout": 0.0, "progress": False, "seed": 0}
    free = lk.fit("hmm", train, states=3, **fit)
    model = lk.fit("hmm", train, states=3, topology="cycle", **fit)
    order = (
        model.fitted["x.mean"][:, 0].argsort().argsort().numpy()
    )  # states named by their means, as the truth is

    # The sum over all paths, path by path.
    short = [test[0][:7]]
    one = model.encode(short)
    paths = torch.tensor(list(itertools.product(range(3), repeat=7)))
    laid = torch.nn.functional.pad(paths, (0, one.unary.shape[1] - 7))
    many = one[torch.zeros(len(paths), dtype=torch.int64)].paths
    summed = float(many.score(laid).logsumexp(0) - model.preprocessor.scale.log() * 7)
    assert abs(summed - float(model.log_prob(short).value)) < 1e-9

    # Two readings: the likeliest state of every step, and the likeliest path.
    code = model.encode(test)
    each, path = order[code.mean.argmax(-1).numpy()], order[code.mode.long().numpy()]
    alone = np.abs(np.stack(test)[..., 0][..., None] - MEANS).argmin(-1)
    right = {"a step alone": alone, "smoothed": each, "best path": path}
    rates = {name: float((found == truth).mean()) for name, found in right.items()}
    jumps = {
        name: float((((found[:, 1:] - found[:, :-1]) % 3) == 2).mean())
        for name, found in right.items()
    }
    assert rates["smoothed"] >= rates["best path"] > rates["a step alone"]
    assert (
        jumps["best path"] == 0 < jumps["smoothed"]
    )  # the likeliest states one by one are no path at all

    # What time is worth, beside the same states without it.
    rows = np.concatenate(train)
    bag = lk.fit("mixture", rows, components=3, **fit)
    nats = {
        "in time": float(model.log_prob(test).value.mean()) / 80,
        "in time, any step": float(free.log_prob(test).value.mean()) / 80,
        "without time": float(bag.log_prob(np.concatenate(test)).value.mean()),
    }
    assert nats["in time"] > nats["without time"] + 0.05

    # A gap and the future are both what is hidden.
    item = test[1].copy()
    item[30:50] = np.nan
    filled = model.complete([item], n=400, seed=0).quantiles(0.05, 0.95)[:, 0, :, 0]
    ahead = model.forecast([x[:60] for x in test], 20, n=400, seed=0)
    low, high = ahead.quantiles(0.05, 0.95)[..., 0].numpy()
    future = np.stack(test)[:, 60:, 0]
    inside = float(((future >= low) & (future <= high)).mean())
    assert 0.85 < inside < 0.95

    figure, (seen, told, gap, comes) = page(2, 2)
    steps = np.arange(80)
    seen.plot(steps, test[0][:, 0], ".", color=GREY, ms=4)
    seen.step(steps, np.array(MEANS)[truth[0]], color=RED, where="mid", label="state behind")
    seen.step(steps, np.array(MEANS)[path[0]], color=BLUE, ls="--", where="mid", label="best path")
    mark(seen, "A series and its states", "step", "x")
    told.stackplot(
        steps, code.mean[0].numpy()[:, np.argsort(order)].T, colors=[BLUE, GREY, ORANGE], alpha=0.7
    )
    mark(told, "p(state | series), step by step", "step", "p")
    gap.fill_between(steps, *filled.numpy(), color=BLUE, alpha=0.25, label="90 %")
    gap.plot(steps, test[1][:, 0], ".", color=GREY, ms=4)
    gap.plot(steps[30:50], test[1][30:50, 0], ".", color=RED, ms=5, label="hidden")
    mark(gap, "A gap", "step", "x")
    comes.plot(steps, test[2][:, 0], ".", color=GREY, ms=4)
    comes.fill_between(steps[60:], low[2], high[2], color=ORANGE, alpha=0.3, label="90 %")
    mark(comes, "What comes next", "step", "x")
    write(figure, out, "hidden_states")
    return {
        **{f"right, {name}": rate for name, rate in rates.items()},
        "impossible steps, smoothed": jumps["smoothed"], "impossible steps, best path": jumps["best path"],
        **{f"nats a step, {name}": value for name, value in nats.items()}, "future inside 90 %": inside,
    }  # fmt: skip


if __name__ == "__main__":
    command(main)
