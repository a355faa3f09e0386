"""Kernel density estimates
========================

Every row with a little noise, and how much noise is the whole question.

p(x) = mean of N(x; row, h^2). With h -> 0 the rows themselves have any likelihood one likes, and unseen ones none; the
likelihood of each row under all the others has its peak in between, and EM climbs to it. Nothing else is assumed, so
any shape is found from rows enough; what is enough grows with every dimension.
"""

import math
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, RED, command, mark, page, write

import likeness as lk
from likeness.core.model import Model
from likeness.data.synthetic import SyntheticDistribution, world

RING = world("ring")
SIZES = (50, 200, 800, 3200)
FRESH = 4000


def fitted(family: str, truth: SyntheticDistribution, rows: int, **options: float) -> Model:
    """A model of so many rows of a world."""
    return lk.fit(family, truth.source(rows, 0), holdout=0.0, progress=False, **options)


def gap(law: Model, truth: SyntheticDistribution) -> float:
    """KL(truth || law) in nats, on fresh rows."""
    x = truth.source(FRESH, 0, first=10_000_000).batch
    return float((truth.log_prob(x).value - law.log_prob(x).value).mean())


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Widths on the ring, then rows against dimensions."""
    rows = RING.source(400, 0).batch
    free = fitted("kde", RING, 400, bandwidth="one")
    best = float(free.width[0])
    widths = best * np.geomspace(0.1, 10, 9)
    laws = [fitted("kde", RING, 400, bandwidth="one", width=float(w)) for w in widths]
    own = [float(m.log_prob(rows).value.mean()) for m in laws]
    held = [-gap(m, RING) for m in laws]
    assert own[0] == max(own)  # the narrower, the likelier the rows that are kept
    assert (
        abs(int(np.argmax(held)) - 4) <= 1
    )  # and not the others: the search found about the best of them

    # Each row under all the others, by the loop that the estimate does without.
    scale = free.preprocessor.scale.double()
    v = rows.x.double() / scale
    each = -0.5 * (torch.cdist(v, v) / best).square() - math.log(2 * math.pi * best**2)
    each = each.fill_diagonal_(-torch.inf).logsumexp(1) - math.log(len(v) - 1) - scale.log().sum()
    left_out, unseen = (
        float(each.mean()),
        float(free.log_prob(RING.source(FRESH, 0, first=10_000_000).batch).value.mean()),
    )
    assert abs(left_out - unseen) < 0.1  # what the search climbs is an honest score

    # Rows against dimensions: a Gaussian of d numbers, which one Gaussian learns at once.
    curves = {
        d: [gap(fitted("kde", world("gaussian", n=d), n), world("gaussian", n=d)) for n in SIZES]
        for d in (1, 4, 8)
    }
    assert curves[1][-1] < 0.01 < curves[8][-1]
    slopes = {d: float(np.polyfit(np.log(SIZES), np.log(c), 1)[0]) for d, c in curves.items()}
    assert slopes[1] < slopes[4] < slopes[8] < 0
    ring = [gap(fitted("kde", RING, n), RING) for n in SIZES]
    plain = gap(fitted("gaussian", RING, SIZES[-1]), RING)
    assert ring[-1] < 0.1 * plain

    figure, (tune, narrow, fits, cost) = page(4)
    tune.semilogx(widths, own, "o-", color=ORANGE, label="the rows that are kept")
    tune.semilogx(
        widths,
        [h + float(RING.log_prob(rows).value.mean()) for h in held],
        "o-",
        color=BLUE,
        label="unseen rows",
    )
    tune.axvline(best, color=GREY, ls=":", label="found by rows left out")
    tune.set_ylim(-6, 4)
    mark(tune, "400 rows of the ring", "width, deviations of the data", "log p, nats a row")
    axes = np.linspace(-1.5, 1.5, 160)
    mesh = np.stack(np.meshgrid(axes, axes), -1).reshape(-1, 2)
    for plot, law, name in (
        (narrow, laws[1], f"width {widths[1]:.3f}"),
        (fits, free, f"width {best:.3f}, found"),
    ):
        plot.imshow(
            law.log_prob(mesh).value.exp().reshape(160, 160),
            origin="lower",
            extent=(-1.5, 1.5) * 2,
            cmap="Blues",
        )
        plot.plot(*rows.x[:100].T, ".", ms=1.5, color=RED)
        mark(plot, name)
    for d, colour in zip(curves, (GREEN, BLUE, ORANGE), strict=True):
        cost.loglog(SIZES, curves[d], "o-", color=colour, label=f"Gaussian of {d}")
    cost.loglog(SIZES, ring, "o--", color=RED, label="ring")
    mark(cost, "What a dimension costs", "rows", "KL, nats")
    write(figure, out, "kernels")
    return {
        "width found": best, "rows left out": left_out, "unseen rows": unseen, "ring, 3,200 rows": ring[-1],
        "ring, one Gaussian": plain, **{f"Gaussian of {d}, 3,200 rows": c[-1] for d, c in curves.items()},
        **{f"exponent of rows, {d}": s for d, s in slopes.items()},
    }  # fmt: skip


if __name__ == "__main__":
    command(main)
