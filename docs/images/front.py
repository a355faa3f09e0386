"""The picture of the README and of the site's first page: `make figures` draws it anew, in a minute.

python docs/images/front.py docs/images/front.png
"""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

import likeness as lk

BLUE, ORANGE, GREY = "#2166ac", "#e08214", "#555555"


def moons(place: SubFigure) -> None:
    """Points and draws of a flow."""
    data = lk.load("moons", n=4000)
    model = lk.fit(
        "flow", data, layers=3, hidden=(64,), lr=5e-3, ema=0.99, budget="700 steps", progress=False
    )
    sets = {"data": data.train.batch.x[:1000], "drawn by a flow": model.sample(1000, seed=0).x}
    plots = place.subplots(2, 1, sharex=True, sharey=True)
    for plot, (name, points), colour in zip(plots, sets.items(), (GREY, BLUE), strict=True):
        plot.scatter(*points.T, s=1.5, color=colour, lw=0)
        bare(plot, name)
        plot.set(xlim=(-1.6, 2.6), ylim=(-1.1, 1.6))


def digits(place: SubFigure) -> None:
    """A row of each: real digits, drawn ones, halves and what finishes them."""
    data = lk.load("digits", given="label", test=0.2)
    model = lk.fit(
        "autoregressive",
        data,
        hidden=(128,),
        components=5,
        batch=128,
        lr=1e-2,
        ema=0.99,
        budget="400 steps",
        progress=False,
    )
    test = data.test.rows(torch.arange(len(data.test)))
    first = torch.stack([torch.nonzero(test.given.x[:, 0] == k)[1, 0] for k in range(8)])
    real = test[first]
    drawn = model.sample(1, given=[str(k) for k in range(8)], seed=3).x[0]
    lower = torch.zeros_like(real.x, dtype=torch.bool)
    lower[:, :, 4:] = True
    halves = real.hide(lower)
    finished = model.complete(halves, seed=1).x[0]
    rows = {
        "data": real.x,
        "drawn given the digit, by an autoregressive net": drawn,
        "lower half hidden": halves.x,
        "and completed": finished,
    }
    plots = place.subplots(4, 1)
    for plot, (name, pictures) in zip(plots, rows.items(), strict=True):
        strip = np.pad(pictures[:, 0].numpy(), ((0, 0), (1, 1), (1, 1))).transpose(1, 0, 2)
        plot.imshow(strip.reshape(10, -1), cmap="gray_r", aspect="equal", interpolation="nearest")
        bare(plot, name)


def series(place: SubFigure) -> None:
    """A season in noise, a gap in it, and what comes next."""
    rng = np.random.default_rng(0)
    months = np.arange(276)
    level = np.zeros(276)
    for month in months[1:]:
        level[month] = 0.9 * level[month - 1] + rng.normal(0, 0.4)
    whole = 10 + 3 * np.sin(2 * np.pi * months / 12) + level + rng.normal(0, 0.4, 276)
    seen = whole[:240, None].copy()
    seen[180:192] = np.nan
    model = lk.fit("linear_dynamical", [seen], latents=3, passes=60, holdout=0.0, progress=False)
    gap = model.complete([seen], n=300, seed=0).quantiles(0.05, 0.5, 0.95)[:, 0, 180:192, 0]
    ahead = model.forecast([seen], 36, n=300, seed=0).quantiles(0.05, 0.5, 0.95)[:, 0, :, 0]
    plot = place.subplots()
    plot.plot(months[:240], seen, color=GREY, lw=1, label="observed")
    hidden = [*range(180, 192), *range(240, 276)]
    plot.plot(months[hidden], whole[hidden], ".", color="black", ms=3, label="kept aside")
    for when, band, colour, name in (
        (months[180:192], gap, ORANGE, "gap"),
        (months[240:], ahead, BLUE, "forecast"),
    ):
        low, median, high = band.numpy()
        plot.fill_between(when, low, high, color=colour, alpha=0.3, lw=0)
        plot.plot(when, median, color=colour, label=f"{name}, 5 to 95 %")
    plot.set_xlim(144, 276)
    plot.set_ylim(3, 19)
    plot.legend(frameon=False, fontsize=7, ncols=2, loc="upper left")
    plot.tick_params(labelsize=7)
    plot.spines[["top", "right"]].set_visible(False)
    plot.set_xlabel("month", fontsize=8)
    plot.set_title("a linear dynamical system", fontsize=8)


def bare(plot: Axes, title: str) -> None:
    """A plot without axes."""
    plot.set_title(title, fontsize=8, pad=3)
    plot.set(xticks=[], yticks=[])
    for spine in plot.spines.values():
        spine.set_color("0.8")


def main(path: Path) -> None:
    """Draw all three and write the picture."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1, 1.7, 2))
    moons(left)
    digits(middle)
    series(right)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
