"""Draws of laws whose moments are known have those moments: every mean and every product of two entries."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from likeness import registry
from likeness.core.batch import Batch, as_batch
from likeness.core.space import Count, Nominal, label, sequence, series, vector
from likeness.data.source import Table
from likeness.learn.run import Run

DRAWN, SIZE = 50_000, 3
REALS, STATES = vector(SIZE), vector(SIZE, Nominal(categories=3))


def real_rows() -> np.ndarray:
    """Two bumps whose entries lean on each other."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(2000, SIZE)) @ rng.normal(size=(SIZE, SIZE)) + 3 * rng.integers(
        0, 2, (2000, 1)
    )


def coded_rows() -> np.ndarray:
    """A chain: each entry is often the one before."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, (2000, SIZE))
    stays = rng.random((2000, SIZE)) < 0.5
    for i in range(1, SIZE):
        x[:, i] = np.where(stays[:, i], x[:, i - 1], x[:, i])
    return x


def fitted(family: str, rows: np.ndarray, space, own: np.ndarray | None = None, **options):
    """A model of rows laid out as the space is, each under its class where there are any."""
    registry.load_all()
    given_space = None if own is None else label(int(own.max()) + 1)
    given = None if own is None else as_batch(given_space, own[:, None])
    batch = replace(as_batch(space, rows.reshape(-1, *space.layout).astype(float)), given=given)
    model = registry.build(family, options, space, given_space).double()
    return Run(model, Table(space, batch, given_space), 100).fit()


def moments(x: torch.Tensor) -> torch.Tensor:
    """Each entry and each product of two, (B, D + D (D + 1) / 2)."""
    pairs = itertools.combinations_with_replacement(range(x.shape[-1]), 2)
    return torch.cat([x, torch.stack([x[:, i] * x[:, j] for i, j in pairs], -1)], -1)


def beyond(x: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """By how many standard errors each moment of the draws is off."""
    found = moments(x.double())
    return (found.mean(0) - truth).abs() / (found.std(0) / len(found) ** 0.5)


@pytest.mark.parametrize(
    "options", [{"family": "gaussian"}, {"family": "mixture", "components": 2}]
)
def test_reals(options) -> None:
    model = fitted(
        options["family"], real_rows(), REALS, **{k: v for k, v in options.items() if k != "family"}
    )
    scale, shift = model.preprocessor.scale.double(), model.preprocessor.shift.double()
    if options["family"] == "gaussian":  # its standardised mean is 0
        weight, mean, cov = torch.ones(1).double(), shift[None], model.cov.reshape(1, SIZE, SIZE)
    else:
        weight, mean, cov = model.log_weight.exp(), model.x_mean * scale + shift, model.x_cov
    second = torch.einsum(
        "k,kij->ij", weight, cov * scale * scale[:, None] + mean[:, :, None] * mean[:, None]
    )
    pairs = itertools.combinations_with_replacement(range(SIZE), 2)
    truth = torch.cat([weight @ mean, torch.stack([second[i, j] for i, j in pairs])])
    assert beyond(model.sample(DRAWN, seed=0).x, truth).max() < 3


PLANE = {
    "independent": (vector(2), {"real": "normal"}),
    "gaussian": (vector(2), {}),
    "pca": (vector(2), {"components": 1}),
    "mixture": (vector(2), {"components": 3, "covariance": "full"}),
    "kde": (vector(2), {"width": 0.6}),
    "bayes_net": (vector(2), {}),
    "discriminant": (vector(2), {"kind": "qda"}),
    "markov": (series(1, 2), {}),
    "hmm": (series(1, 2), {"states": 2}),
    "linear_dynamical": (series(1, 2), {"latents": 1}),
}


@pytest.mark.parametrize("family", PLANE)
def test_reals_by_quadrature(family: str) -> None:
    space, options = PLANE[family]
    rows = real_rows()[::5, :2]
    own = (rows[:, 0] > 1).astype(int) if family == "discriminant" else None
    model = fitted(family, rows, space, own, **options)
    line = torch.linspace(-12, 15, 361, dtype=torch.float64)
    states = torch.cartesian_prod(line, line)
    p = (
        model.log_prob(states.reshape(-1, *space.layout)).value.double().exp()
        * float(line[1] - line[0]) ** 2
    )
    torch.testing.assert_close(float(p.sum()), 1.0, rtol=0, atol=1e-6)
    drawn = model.sample(DRAWN, seed=0).x.reshape(DRAWN, 2)
    assert beyond(drawn, p @ moments(states)).max() < 3


CODES = {
    "independent": (STATES, {}),
    "autoregressive": (STATES, {}),
    "mixture": (STATES, {"components": 3}),
    "kde": (STATES, {"blur": 0.4}),
    "bayes_net": (STATES, {}),
    "discriminant": (STATES, {"kind": "naive"}),
    "markov": (sequence(3, SIZE), {}),
    "hmm": (sequence(3, SIZE), {"states": 2}),
}


OFF = {"kde": 1e-7}  # of the mass: kernels are summed in single precision


@pytest.mark.parametrize("family", CODES)
def test_codes(family: str) -> None:
    space, options = CODES[family]
    rows = coded_rows()
    model = fitted(
        family, rows, space, rows[:, 0] // 2 if family == "discriminant" else None, **options
    )
    states = torch.tensor(list(itertools.product(range(3), repeat=SIZE))).double()
    length = torch.full((len(states),), SIZE) if space.ragged else None
    p = model.log_prob(Batch(states, length=length)).value.double().exp()
    torch.testing.assert_close(float(p.sum()), 1.0, rtol=0, atol=OFF.get(family, 1e-9))
    assert beyond(model.sample(DRAWN, seed=0).x, p @ moments(states)).max() < 3


def test_counts_of_words_by_topic() -> None:
    """Given proportions they are Poisson: E x = r B E t, E x x' = r^2 B E[t t'] B' + diag(E x)."""
    g = np.random.default_rng(2)
    rows = g.poisson(8 * g.dirichlet([0.4, 0.8], 600) @ g.dirichlet(np.ones(SIZE), 2))
    model = fitted("topic", rows, vector(SIZE, Count()), topics=2)
    a = model.alpha.double()
    rate, words, total = float(model.rate), model.table.double(), a.sum()
    second = (torch.diag(a) + torch.outer(a, a)) / (total * (total + 1))
    mean = rate * words @ a / total
    product = rate**2 * words @ second @ words.T + torch.diag(mean)
    pairs = itertools.combinations_with_replacement(range(SIZE), 2)
    truth = torch.cat([mean, torch.stack([product[i, j] for i, j in pairs])])
    assert beyond(model.sample(DRAWN, seed=0).x, truth).max() < 3
