"""Draws of laws whose moments are known have those moments: every mean and every product of two entries."""

import itertools

import numpy as np
import pytest
import torch

from likeness.core import registry
from likeness.core.batch import Batch, as_batch
from likeness.core.space import Nominal, vector
from likeness.data.source import Table
from likeness.learn.run import Run

DRAWN, SIZE = 50_000, 3
REALS, STATES = vector(SIZE), vector(SIZE, Nominal(categories=3))


def real_rows() -> np.ndarray:
    """Two bumps whose entries lean on each other."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(2000, SIZE)) @ rng.normal(size=(SIZE, SIZE)) + 3 * rng.integers(0, 2, (2000, 1))


def coded_rows() -> np.ndarray:
    """A chain: each entry is often the one before."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, (2000, SIZE))
    stays = rng.random((2000, SIZE)) < 0.5
    for i in range(1, SIZE):
        x[:, i] = np.where(stays[:, i], x[:, i - 1], x[:, i])
    return x


def fitted(family: str, rows: np.ndarray, space, **options):
    model = registry.build(family, options, space).double()
    return Run(model, Table(space, as_batch(space, rows)), 100).fit()


def moments(x: torch.Tensor) -> torch.Tensor:
    """Each entry and each product of two, (B, D + D (D + 1) / 2)."""
    pairs = itertools.combinations_with_replacement(range(SIZE), 2)
    return torch.cat([x, torch.stack([x[:, i] * x[:, j] for i, j in pairs], -1)], -1)


def beyond(x: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """By how many standard errors each moment of the draws is off."""
    found = moments(x.double())
    return (found.mean(0) - truth).abs() / (found.std(0) / len(found) ** 0.5)


@pytest.mark.parametrize("options", [{"family": "gaussian"}, {"family": "mixture", "components": 2}])
def test_reals(options) -> None:
    model = fitted(options["family"], real_rows(), REALS, **{k: v for k, v in options.items() if k != "family"})
    scale, shift = model.preprocessor.scale.double(), model.preprocessor.shift.double()
    if options["family"] == "gaussian":  # its standardised mean is 0
        weight, mean, cov = torch.ones(1).double(), shift[None], model.cov.reshape(1, SIZE, SIZE)
    else:
        weight, mean, cov = model.log_weight.exp(), model.x_mean * scale + shift, model.x_cov
    second = torch.einsum("k,kij->ij", weight, cov * scale * scale[:, None] + mean[:, :, None] * mean[:, None])
    pairs = itertools.combinations_with_replacement(range(SIZE), 2)
    truth = torch.cat([weight @ mean, torch.stack([second[i, j] for i, j in pairs])])
    assert beyond(model.sample(DRAWN, seed=0).x, truth).max() < 3


@pytest.mark.parametrize("family", ["independent", "autoregressive"])
def test_codes(family: str) -> None:
    model = fitted(family, coded_rows(), STATES)
    states = torch.tensor(list(itertools.product(range(3), repeat=SIZE))).double()
    p = model.log_prob(Batch(states)).value.double().exp()
    torch.testing.assert_close(float(p.sum()), 1.0, rtol=0, atol=1e-9)
    assert beyond(model.sample(DRAWN, seed=0).x, p @ moments(states)).max() < 3
