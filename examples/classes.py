"""Classes and missing measurements
================================

The same call with and without `given`, and a decision that needs no mended rows.

p(y | x) = p(y) p(x | y) / p(x), and where entries are missing p(y | x_v) is in proportion to p(y) times the integral
of p(x_v, x_m | y) over x_m; the decision is its argmax, not its maximum. A distribution of all measurements gives it
as it stands; a classifier that was only ever told p(y | x) needs the missing entries filled, and means fill them
badly. A distribution costs more numbers, for covariances grow as the square of the measurements: photographs are left
to the classifier.
"""

import math
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, RED, command, mark, page, write
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

import likeness as lk
from likeness.core.model import Model

DATA = load_iris()
X, Y = DATA.data, DATA.target
HOLES = {"nothing": [], "petal width": [3], "both petal columns": [2, 3]}
COLOURS = (RED, GREEN, BLUE)


def fitted(rows: np.ndarray, given: np.ndarray | None = None) -> Model:
    """One Gaussian, or one for each class: the same call, but for `given`."""
    return lk.fit("gaussian", X[rows], given=given, classes="own", holdout=0.0, progress=False)


def held_out(folds: int = 10) -> dict[str, dict[str, float]]:
    """Accuracy on unseen irises with columns missing, by the Gaussians and by logistic regression on mended rows."""
    right = {name: np.zeros(2) for name in HOLES}
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=0).split(X, Y):
        law = fitted(train, DATA.target_names[Y[train]])
        line = LogisticRegression(C=1000, max_iter=10_000).fit(X[train], Y[train])
        for name, missing in HOLES.items():
            seen, mended = X[test].copy(), X[test].copy()
            seen[:, missing], mended[:, missing] = np.nan, X[train].mean(0)[missing]
            best = law.classify(seen).best.numpy()
            right[name] += (best == Y[test]).sum(), (line.predict(mended) == Y[test]).sum()
    return {
        name: dict(zip(("Gaussians", "logistic"), r / len(Y), strict=True))
        for name, r in right.items()
    }


def slopes(classes: int, d: int) -> int:
    """Numbers of multinomial logistic regression: a weight for each measurement and a bias, for each class."""
    return classes * d + classes


def covariances(classes: int, d: int) -> int:
    """Numbers of a Gaussian for each class: shares, means and covariances."""
    return classes - 1 + classes * d + classes * d * (d + 1) // 2


def sizes(law: Model) -> dict[str, float]:
    """Free numbers of both ways: of irises by the models themselves, of photographs of 480,000 numbers by formula."""
    told = lk.fit(
        "independent", DATA.target_names[Y][:, None], given=X, holdout=0.0, progress=False
    )
    assert told.count() == slopes(3, 4) and law.count() == covariances(3, 4)
    pair = {"numbers, Gaussians": law.count(), "numbers, logistic": told.count()}
    most, few = covariances(3, 480_000), slopes(3, 480_000)
    return {**pair, "of 480,000 pixels, Gaussians": most, "of 480,000 pixels, logistic": few,
            "times as many": most / few, "of 256 x 256 x 3 pixels, logistic": slopes(3, 256 * 256 * 3)}  # fmt: skip


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """The two sides of Bayes' rule on one law, then accuracies; quick changes nothing, for all is in closed form."""
    every = np.arange(len(Y))
    law, whole = fitted(every, DATA.target_names[Y]), fitted(every)
    posterior = law.classify(X)

    # Bayes' rule: p(y | x) = p(y) p(x | y) / sum over y of the same; its denominator is the law's answer without y.
    joint = torch.stack(
        [law.log_prob(X, given=np.full(len(X), name)).value for name in DATA.target_names], -1
    )
    joint = joint - math.log(3)
    assert torch.allclose(joint.logsumexp(-1), law.log_prob(X).value, rtol=0, atol=1e-9)
    assert torch.allclose(joint.log_softmax(-1), posterior.logits, rtol=0, atol=1e-9)
    gain = float((law.log_prob(X).value - whole.log_prob(X).value).mean())
    assert gain > 0.5  # three Gaussians, learned with `given` and asked without it, against one

    # A hole is an integral: the petal's width summed out by quadrature gives the same posterior.
    grid = np.linspace(-3, 7, 2001)
    row = np.repeat(X[70:71], len(grid), 0)
    row[:, 3] = grid
    each = torch.stack(
        [
            law.log_prob(row, given=np.full(len(row), n)).value.logsumexp(0)
            for n in DATA.target_names
        ]
    )
    holed = X[70:71].copy()
    holed[:, 3] = np.nan
    assert torch.allclose(each.log_softmax(0), law.classify(holed).logits[0], rtol=0, atol=1e-6)

    accuracy = held_out()
    assert (
        accuracy["both petal columns"]["Gaussians"]
        > accuracy["both petal columns"]["logistic"] + 0.3
    )
    assert accuracy["petal width"]["Gaussians"] > accuracy["petal width"]["logistic"] + 0.1
    assert abs(accuracy["nothing"]["Gaussians"] - accuracy["nothing"]["logistic"]) < 0.03

    figure, (plane, bars) = page(2)
    axes = np.linspace(0.5, 7.2, 140), np.linspace(-0.1, 2.8, 120)
    mesh = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    asked = np.column_stack([np.full((len(mesh), 2), np.nan), mesh])
    best = law.classify(asked).probabilities.reshape(120, 140, 3)
    shade = best.numpy() @ np.array([[0.98, 0.75, 0.75], [0.75, 0.93, 0.78], [0.72, 0.82, 0.97]])
    plane.imshow(
        shade,
        origin="lower",
        aspect="auto",
        extent=(axes[0][0], axes[0][-1], axes[1][0], axes[1][-1]),
    )
    for k, colour in enumerate(COLOURS):
        plane.plot(*X[np.equal(Y, k), 2:].T, "o", ms=3, color=colour, label=DATA.target_names[k])
    mark(
        plane,
        "Classes by Bayes' rule, sepals missing: no boundary was fitted",
        "petal length, cm",
        "petal width, cm",
    )
    for i, (name, colour) in enumerate((("Gaussians", BLUE), ("logistic", ORANGE))):
        heights = [accuracy[h][name] for h in HOLES]
        label = {
            "Gaussians": "argmax of p(y | what is seen)",
            "logistic": "logistic regression, missing entries imputed by means",
        }
        bars.bar(np.arange(3) + 0.4 * i - 0.2, heights, 0.38, color=colour, label=label[name])
        for j, v in enumerate(heights):
            bars.text(j + 0.4 * i - 0.2, v + 0.01, f"{v:.3f}", ha="center", fontsize=8)
    bars.axhline(1 / 3, color=GREY, lw=0.8, ls=":")
    bars.set_xticks(range(3), list(HOLES))
    bars.set_ylim(0, 1.3)
    mark(bars, "150 irises, ten folds", "what is missing", "accuracy")
    write(figure, out, "classes")
    return {**{f"{h} missing, {name}": v for h, a in accuracy.items() for name, v in a.items()},
            "nats that classes gain": gain, **sizes(law)}  # fmt: skip


if __name__ == "__main__":
    command(main)
