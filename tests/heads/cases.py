"""Heads of every kind with parameters that exercise them, shared by the tests."""

import math
from dataclasses import dataclass

import torch

from likeness.heads import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Head,
    Histogram,
    Magnitude,
    NegativeBinomial,
    NormalMixture,
    Poisson,
    Spline,
    ZeroInflatedPoisson,
)


@dataclass(frozen=True)
class Case:
    """A fitted head of n entries, parameters (2, n, size), and the values that carry all but 1e-9 of the mass."""

    head: Head
    params: torch.Tensor
    support: (
        torch.Tensor | None
    )  # (V, n) where values are countable, None for points of the real line

    def masses(self):
        """The probability of each value of the support, 0 for levels that an entry lacks, (2, V, n)."""
        p = self.head.distribution(self.params.unsqueeze(1)).log_prob(self.support).exp()
        return p * (self.support < getattr(self.head, "levels", torch.inf))


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniforms(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fitted(head, x):
    head.fit(x, torch.ones_like(x, dtype=torch.bool), torch.ones(len(x), dtype=torch.float64))
    return head


def codes(count, n):
    return torch.arange(count, dtype=torch.float64).unsqueeze(-1).expand(-1, n)


def reals(rows=2000, n=3, seed=0):
    """Columns of mean 5 and std 3, of mean -200 and std .01, and of two clusters."""
    e = normals(rows, n, seed=seed)
    x = torch.stack(
        [5 + 3 * e[:, 0], -200 + 0.01 * e[:, 1], torch.where(e[:, 2] > 0, e[:, 2] + 40, -e[:, 2])],
        -1,
    )
    return x[:, :n]


def bernoulli():
    return Case(
        fitted(Bernoulli(3), (uniforms(50, 3) < 0.3).double()), normals(2, 3, 1), codes(2, 3)
    )


def categorical():
    head = fitted(
        Categorical([5, 2, 4], ordered=[False, True, True]), (uniforms(50, 3) * 2).floor()
    )
    return Case(head, normals(2, 3, 5), codes(5, 3))


def wide_categorical():
    return Case(Categorical([40, 33]), normals(2, 2, 40), codes(40, 2))


def logistic():
    head = fitted(DiscretisedLogistic([256, 17, 100], components=3), (uniforms(50, 3) * 17).floor())
    return Case(head, normals(2, 3, 9), codes(256, 3))


def poisson():
    return Case(fitted(Poisson(3), (uniforms(50, 3) * 20).floor()), normals(2, 3, 1), codes(400, 3))


def negative_binomial():
    head = fitted(NegativeBinomial(3), (uniforms(50, 3) * 20).floor())
    return Case(head, torch.stack([normals(2, 3), -1 + normals(2, 3, seed=1)], -1), codes(20000, 3))


def zero_inflated():
    x = (uniforms(50, 3) * 20).floor() * (uniforms(50, 3, seed=1) < 0.6)
    params = torch.stack([normals(2, 3), -1 + normals(2, 3, seed=1)], -1)
    return Case(fitted(ZeroInflatedPoisson(3), x), params, codes(4000, 3))


def normal():
    return Case(fitted(NormalMixture(3, components=1), reals()), 0.5 * normals(2, 3, 2), None)


def mixture():
    return Case(fitted(NormalMixture(3, components=4), reals()), 0.7 * normals(2, 3, 12), None)


def rounded():
    """Bins of a third of a deviation, of 3 deviations, and away from multiples of the width."""
    e = normals(500, 3)
    x = torch.stack(
        [(5 + 3 * e[:, 0]).round(), (e[:, 1] / 3).round() * 3, (e[:, 2] * 10).round() / 5 + 0.03],
        -1,
    )
    head = fitted(NormalMixture(3, components=2, resolution=[1.0, 3.0, 0.2]), x)
    cells = torch.arange(-400, 401, dtype=torch.float64).unsqueeze(-1)
    return Case(head, 0.7 * normals(2, 3, 6), cells * head.resolution + head.offset)


def histogram():
    head = fitted(Histogram(3, bins=16), reals())
    return Case(head, head.start() + 0.5 * normals(2, 3, 18), None)


def spline():
    head = fitted(Spline(3, bins=6), reals())
    return Case(head, head.start() + 0.7 * normals(2, 3, 19), None)


def magnitude():
    """Two clusters, money over four orders, and a normal law far from 0."""
    e = normals(2000, 3)
    x = torch.stack(
        [
            torch.where(e[:, 0] > 0, e[:, 0] + 40, -e[:, 0]),
            (2 * e[:, 1]).exp(),
            -200 + 0.01 * e[:, 2],
        ],
        -1,
    )
    head = fitted(Magnitude(3, components=3), x)
    return Case(head, head.start() + 0.3 * normals(2, 3, 9), None)


def bounded():
    """A share in [0, 1], a length from 0 on, a debt up to 0."""
    x = torch.stack(
        [uniforms(500).square(), -uniforms(500, seed=1).log(), -50 * uniforms(500, seed=2)], -1
    )
    head = fitted(Spline(3, bins=5, bounds=[(0.0, 1.0), (0.0, None), (None, 0.0)]), x)
    return Case(head, head.start() + 0.7 * normals(2, 3, 16), None)


def rounded_histogram():
    x = torch.stack(
        [(5 + 3 * normals(500)).round(), (normals(500, seed=2) * 10).round() / 5 + 0.03], -1
    )
    head = fitted(Histogram(2, bins=12, resolution=[1.0, 0.2]), x)
    cells = torch.arange(-1000, 1001, dtype=torch.float64).unsqueeze(-1)
    return Case(head, head.start() + 0.5 * normals(2, 2, 14), cells * head.resolution + head.offset)


CASES = {
    f.__name__: f
    for f in (
        *(bernoulli, categorical, wide_categorical, logistic, poisson, negative_binomial),
        zero_inflated,
        *(normal, mixture, rounded, histogram, rounded_histogram, spline, bounded, magnitude),
    )
}


def chi2_bound(bins):
    """A value that chi-squared with bins - 1 degrees of freedom exceeds about once in 3 million."""
    k = bins - 1
    return k * (1 - 2 / (9 * k) + 5 * math.sqrt(2 / (9 * k))) ** 3  # Wilson & Hilferty 1931
