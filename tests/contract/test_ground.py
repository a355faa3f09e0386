"""What checks measure by is itself right: tails, grids, lists of states, and the chain that keeps a law."""

import math

import pytest
import torch

from likeness.check.ground import (
    chi_square,
    drift,
    kolmogorov,
    listed,
    moved,
    plane,
    scattered,
    standard_errors,
    states,
    z_of,
)
from likeness.core.batch import Batch
from likeness.core.space import Count, Nominal, Ordinal, Real, sequence, vector

EIGHT = 1.2441921148543639e-15  # P(|z| > 8) of a standard normal


def normal(n, seed=0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_tail_is_told_in_standard_errors():
    assert standard_errors(EIGHT) == pytest.approx(8, abs=1e-6)


def test_the_mean_of_normals_is_a_standard_normal():
    z = torch.tensor([z_of(normal(100, seed)) for seed in range(400)])
    assert abs(float(z.mean())) < 0.25
    assert float(z.std()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    "probability", [torch.full((4,), 0.25), torch.tensor([0.7, 0.2, 0.0999, 0.0001])]
)
def test_right_counts_are_not_strange_and_wrong_ones_are(probability):
    draws = torch.distributions.Categorical(probability).sample  # ambient, and reseeded here
    torch.manual_seed(0)
    z = [
        chi_square(torch.bincount(draws((1000,)), minlength=4).double(), probability.double())
        for _ in range(200)
    ]
    assert max(z) < 4.5
    assert chi_square(torch.tensor([400.0, 300, 200, 100]).double(), probability.double()) > 8


def test_uniform_values_are_not_strange_and_others_are():
    u = torch.rand(200, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert max(kolmogorov(row, 300) for row in u) < 4.5
    assert kolmogorov(u[0].square(), 300) > 8


@pytest.mark.parametrize("points", [lambda s: plane(s, 120), lambda s: scattered(s, 400, 0)])
def test_a_grid_integrates_what_its_sample_comes_from(points):
    sample = torch.stack([3 + 2 * normal(500), 0.1 * normal(500, 1)], -1)
    grid = points(sample)
    log_p = (
        -0.5 * ((grid.x[:, 0] - 3) / 2).square()
        - 0.5 * (grid.x[:, 1] / 0.1).square()
        - math.log(0.4 * math.pi)
    )
    assert float((log_p + grid.log_volume).exp().sum()) == pytest.approx(1, abs=5e-4)


def test_states_are_all_there_once():
    space = vector(3, (Ordinal(levels=2), Nominal(categories=3), Ordinal(levels=4)))
    x = states(space, torch.float64)
    assert len(x.unique(dim=0)) == len(x) == 24
    assert states(vector(13, Ordinal(levels=2)), torch.float64) is None


def test_ragged_states_are_listed_by_length():
    assert [len(p.x) for p in listed(sequence(5, 12), torch.float64)] == [5, 25, 125, 625, 3125]


@pytest.mark.parametrize(
    "variable",
    [
        Real(),
        Real(resolution=0.5),
        Ordinal(levels=2),
        Ordinal(levels=9),
        Nominal(categories=4),
        Count(),
    ],
)
def test_moves_are_symmetric(variable):
    """From a to b as often as from b to a, for pairs of values of one entry."""
    space, source = vector(1, variable), torch.Generator().manual_seed(0)
    x = torch.randint(2, (40_000, 1), generator=source).double() * (
        0.5 if variable.type == "real" else 1
    )
    there, inside = moved(
        space, Batch(x), torch.ones_like(x, dtype=torch.bool), torch.ones(1).double(), source
    )
    new = there.x.masked_fill(~inside[:, None], -9)
    low, high = x.min(), x.max()
    near = 0.05 if variable.type == "real" and variable.resolution is None else 1e-9
    up = ((x == low) & ((new - high).abs() < near)).double().mean()
    down = ((x == high) & ((new - low).abs() < near)).double().mean()
    assert float(up) > 0
    assert abs(float(up - down)) < 5 * math.sqrt(2 * float(up) / len(x))


def gaussian(scale):
    return lambda batch: -0.5 * (batch.x / scale).square().sum(-1)


def test_a_chain_leaves_its_own_law_alone():
    found = [
        drift(vector(3), Batch(normal(900, s).reshape(300, 3)), gaussian(1.0), seed=s)[0]
        for s in range(30)
    ]
    assert max(found) < 5
    assert sum(found) / len(found) < 2.5


def test_a_chain_moves_what_follows_another_law():
    assert drift(vector(3), Batch(1.4 * normal(3000).reshape(1000, 3)), gaussian(1.0))[0] > 8


def test_a_chain_moves_only_what_may_move():
    x, may = normal(300).reshape(100, 3), torch.tensor([True, False, True]).expand(100, 3)
    space, source = vector(3), torch.Generator().manual_seed(0)
    there, _ = moved(space, Batch(x), may, torch.ones(3).double(), source)
    assert torch.equal(there.x[:, 1], x[:, 1])
    assert bool((there.x[:, 0] != x[:, 0]).any())
