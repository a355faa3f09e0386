"""Few directions and noise
========================

Probabilistic PCA and factor analysis learn from sixty rows what a full covariance cannot.

x = mean + W z + e with z ~ N(0, I). Isotropic noise e makes W the principal directions, in closed form; noise of its
own for each column makes it factor analysis, by EM. Both are a Gaussian with few numbers, so every question has its
exact answer: density, the directions of a row (with their error), and what a hidden entry is. Principal components
alone, as a projection, have no density and no answer for a row with missing entries.
"""

from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, RED, command, mark, page, write
from sklearn.datasets import load_breast_cancer

import likeness as lk
from likeness.core.model import Model

DATA = load_breast_cancer()
X = np.log(DATA.data + 0.01)  # lengths, areas and shapes of cells: ratios, so logarithms
ORDER = np.random.default_rng(0).permutation(len(X))
TRAIN, TEST = ORDER[:60], ORDER[60:]
COUNTS = (1, 2, 3, 4, 6, 8, 12)


def fitted(noise: str, components: int) -> Model:
    """A model of the sixty rows."""
    options = {"noise": noise, "components": components}
    return lk.fit("pca", X[TRAIN], holdout=0.0, progress=False, **options)


def nats(law: Model, rows: np.ndarray) -> float:
    """The mean log p of rows."""
    return float(law.log_prob(X[rows]).value.mean())


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Densities, directions and holes; quick changes nothing."""
    laws = {noise: [fitted(noise, q) for q in COUNTS] for noise in ("isotropic", "diagonal")}
    seen = {noise: [nats(m, TRAIN) for m in ms] for noise, ms in laws.items()}
    held = {noise: [nats(m, TEST) for m in ms] for noise, ms in laws.items()}
    full = lk.fit("gaussian", X[TRAIN], holdout=0.0, progress=False)
    assert nats(full, TRAIN) > max(max(s) for s in seen.values())  # it fits best what it was shown
    assert (
        max(held["diagonal"]) > nats(full, TEST) + 5
    )  # and pays for its 465 covariances on what it was not

    # A density of few numbers is the dense Gaussian's, computed without its matrix.
    model = laws["diagonal"][COUNTS.index(6)]
    scale = model.preprocessor.scale
    cov = (model.weight @ model.weight.T + torch.diag(model.psi)) * scale[:, None] * scale
    dense = torch.distributions.MultivariateNormal(
        model.preprocessor.shift + scale * model.mean[0], cov
    )
    assert torch.allclose(
        model.log_prob(X[TEST]).value, dense.log_prob(torch.tensor(X[TEST])), rtol=0, atol=1e-8
    )

    # Two directions tell the diagnosis, which no fit was shown; a row's own are known up to an error.
    two = laws["diagonal"][COUNTS.index(2)]
    codes = two.encode(X[TEST])
    left, ill = codes.mean.numpy(), DATA.target[TEST] == 0
    apart = left[ill].mean(0) - left[~ill].mean(0)
    side = (left - left.mean(0)) @ apart
    told = max(np.mean((side > t) == ill) for t in np.quantile(side, np.linspace(0.05, 0.95, 91)))
    assert told > 0.85

    # Half of each row hidden: its conditional mean against the column's mean.
    hidden = np.random.default_rng(1).random(X[TEST].shape) < 0.5
    holed = np.where(hidden, np.nan, X[TEST])
    spread = X[TRAIN].std(0)

    def error(filled: np.ndarray) -> float:
        return float(np.sqrt(np.square((filled - X[TEST]) / spread)[hidden].mean()))

    errors = [error(m.mode(holed).x.numpy()) for m in laws["diagonal"]]
    mean, joint = (
        error(np.broadcast_to(X[TRAIN].mean(0), hidden.shape)),
        error(full.mode(holed).x.numpy()),
    )
    assert min(errors) < 0.5 * mean
    assert abs(min(errors) - joint) < 0.02  # a poor density, and as good a mean

    figure, (density, plane, holes) = page(3)
    for noise, colour, name in (
        ("isotropic", ORANGE, "PCA"),
        ("diagonal", BLUE, "factor analysis"),
    ):
        density.plot(COUNTS, held[noise], "o-", color=colour, label=f"{name}, held out")
        density.plot(COUNTS, seen[noise], ":", color=colour, label=f"{name}, the sixty rows")
    density.axhline(nats(full, TEST), color=GREY, label="any covariance, held out")
    mark(density, "60 rows of 30 measurements", "directions", "log p, nats a row")
    for group, colour, name in ((ill, RED, "malignant"), (~ill, GREEN, "benign")):
        plane.plot(*left[group].T, "o", ms=2.5, color=colour, label=name)
    width = codes.factor[0].norm(dim=1).numpy()
    plane.errorbar(*left[0], *width[::-1], color="black", lw=1, label="a row's own error")
    mark(plane, "Two directions of unseen rows, with no label learned", "first", "second")
    holes.plot(COUNTS, errors, "o-", color=BLUE, label="factor analysis")
    holes.axhline(joint, color=GREY, label="any covariance")
    holes.axhline(mean, color=GREY, ls=":", label="the column's mean")
    holes.set_ylim(0)
    mark(holes, "Half of every row filled in", "directions", "error, deviations of a column")
    write(figure, out, "directions")
    return {
        "any covariance, held out": nats(full, TEST), "any covariance, on its rows": nats(full, TRAIN),
        "PCA of 12, held out": held["isotropic"][-1], "factors, 12, held out": held["diagonal"][-1],
        "told by two directions": told, "error of the mean": mean, "error of any covariance": joint,
        "least error of factors": min(errors),
    }  # fmt: skip


if __name__ == "__main__":
    command(main)
