"""Times the classical families beside scikit-learn's, on the same rows and with answers compared.

    python -m bench.classical [--case kde2] ... [--repeats 5]

The two run in turn, one thread each, processor time; the median ratio over repeats and its range are printed, then how
far apart the answers are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KernelDensity

from bench import turns
from bench.turns import Case
from likeness import registry
from likeness.core.batch import Batch
from likeness.core.model import Model
from likeness.core.space import label, vector
from likeness.data.source import Table
from likeness.learn.run import Run


def rows(n: int, d: int, seed: int = 0, rank: int | None = None) -> np.ndarray:
    """Correlated numbers of mean 0 and variance 1."""
    g = np.random.default_rng(seed)
    x = g.normal(size=(n, rank or d)) @ g.normal(size=(rank or d, d)) + 0.5 * g.normal(size=(n, d))
    return (x - x.mean(0)) / x.std(0)


def fitted(family: str, x: np.ndarray, **options: Any) -> Model:
    """A model in double precision of plain rows."""
    data = Table(vector(x.shape[1]), Batch(torch.from_numpy(x)))
    return Run(registry.build(family, options, data.space).double(), data, 10_000).fit()


def kde(d: int, kept: int = 20_000, asked: int = 2_000, width: float = 0.2) -> Case:
    x = rows(kept, d)
    fresh = x[:asked] + 0.1 * np.random.default_rng(1).normal(size=(asked, d))
    mine = fitted("kde", x, width=width, bandwidth="one")
    peer = KernelDensity(bandwidth=width).fit(x)
    return Case(
        f"KDE, {asked:,} rows under {kept:,} kernels, d = {d}",
        lambda: np.asarray(mine.log_prob(fresh).value),
        lambda: peer.score_samples(fresh),
        lambda a, b: f"log p a row at most {np.abs(a - b).max():.1e} apart",
    )


def pca(n: int = 100_000, d: int = 50, q: int = 10) -> Case:
    x = rows(n, d, rank=q)
    return Case(
        f"PCA, {n:,} x {d}, {q} directions, fit",
        lambda: fitted("pca", x, components=q),
        lambda: PCA(q).fit(x),
        lambda a, b: (
            f"mean log p {abs(float(a.log_prob(x[:5000]).value.mean()) - b.score(x[:5000])):.1e} apart"
        ),
    )


def factors(n: int = 20_000, d: int = 30, q: int = 5) -> Case:
    x = rows(n, d, rank=q) * 1.0
    return Case(
        f"factor analysis, {n:,} x {d}, {q} factors, fit",
        lambda: fitted("pca", x, components=q, noise="diagonal", tolerance=1e-6),
        lambda: FactorAnalysis(q, tol=1e-6 * n, svd_method="lapack").fit(x),
        lambda a, b: (
            f"mean log p {abs(float(a.log_prob(x[:5000]).value.mean()) - b.score(x[:5000])):.1e} apart"
        ),
    )


def classes(kind: str, peer: Any, n: int = 100_000, d: int = 20, k: int = 10) -> Case:
    g = np.random.default_rng(0)
    y = g.integers(0, k, n)
    x = rows(n, d) + g.normal(size=(k, d))[y]
    space, labels = vector(d), label(k)
    batch = Batch(torch.from_numpy(x), given=Batch(torch.from_numpy(y[:, None].astype(float))))
    data, prior = Table(space, batch, labels), np.bincount(y) / n

    def ours() -> np.ndarray:
        model = registry.build("discriminant", {"kind": kind}, space, labels).double()
        return np.asarray(
            Run(model, data, 100).fit().classify(x[:20_000], prior=prior).probabilities
        )

    def close(a: np.ndarray, b: np.ndarray) -> str:
        return f"probabilities at most {np.abs(a - b).max():.1e} apart"

    return Case(
        f"{kind}, {n:,} x {d}, {k} classes, fit and 20,000 rows", ours,
        lambda: peer(priors=prior).fit(x, y).predict_proba(x[:20_000]), close,
    )  # fmt: skip


def logistic(n: int = 100_000, d: int = 20, k: int = 10) -> Case:
    """Labels given numbers, both to convergence: a gradient below 1e-8, or an objective that falls no more."""
    g = np.random.default_rng(0)
    y = g.integers(0, k, n)
    x = rows(n, d) + g.normal(size=(k, d))[y]
    z = (x - x.mean(0)) / x.std(0)  # as ours does; the penalty is on these
    data = Table(
        label(k),
        Batch(torch.from_numpy(y[:, None].astype(float)), given=Batch(torch.from_numpy(x))),
        vector(d),
    )

    def ours() -> np.ndarray:
        model = registry.build(
            "independent", {"l2": 1 / n, "iterations": 1000}, data.space, data.given_space
        ).double()
        model = Run(model, data, 1000).fit()
        asked = Batch(
            torch.arange(k).double().repeat(20_000)[:, None],
            given=Batch(torch.from_numpy(x[:20_000]).repeat_interleave(k, 0)),
        )
        return np.asarray(model.log_prob(asked).value.exp().reshape(20_000, k))

    return Case(
        f"logistic regression, {n:,} x {d}, {k} classes, fit and 20,000 rows", ours,
        lambda: LogisticRegression(tol=1e-8, max_iter=1000).fit(z, y).predict_proba(z[:20_000]),
        lambda a, b: f"probabilities at most {np.abs(a - b).max():.1e} apart",
    )  # fmt: skip


CASES: dict[str, Callable[[], Case]] = {
    "kde2": lambda: kde(2),
    "kde10": lambda: kde(10),
    "pca": pca,
    "factors": factors,
    "lda": lambda: classes("lda", partial(LinearDiscriminantAnalysis, solver="lsqr")),
    "qda": lambda: classes("qda", QuadraticDiscriminantAnalysis),
    "naive": lambda: classes("naive", GaussianNB),
    "logistic": logistic,
}


def main() -> None:
    """Run the cases that were named, or all."""
    turns.main(CASES, __doc__)


if __name__ == "__main__":
    main()
