"""Fillers of holes: their draws have the density that they say."""

import math

import pytest
import torch

from likeness.bijections.preprocess import GaussianFiller, _in_turn
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import vector
from likeness.data.source import Table


@pytest.mark.parametrize("largest", [128, 1], ids=["full", "diagonal"])
def test_a_filler_draws_what_it_says(largest):
    """The mean over draws of f / q is the integral of f over the holes: of balls about 0, wide and narrow."""
    g = torch.Generator().manual_seed(0)
    x = (
        torch.randn(4000, 3, generator=g, dtype=torch.float64)
        @ torch.tensor([[1.0, 0.8, 0], [0, 0.6, 0], [0, 0.3, 2]]).double()
    )
    filler = GaussianFiller(vector(3), largest=largest).double()
    filler.fit(Table(vector(3), Batch(x)))
    rows = 200_000
    holes = torch.tensor([False, True, True])
    batch = Batch(torch.tensor([0.5, 0, 0]).double().expand(rows, -1)).hide(holes)
    filled, minus_log_q = filler.fill(batch, Noise(0, torch.arange(rows), dtype=torch.float64))
    assert bool((filled.x[:, 0] == 0.5).all())
    radius = filled.x[:, 1:].norm(dim=-1)
    for reach in (0.5, 2.0, 5.0):
        weight = minus_log_q.exp() * (radius < reach)
        error = float(weight.std()) / math.sqrt(rows)
        assert abs(float(weight.mean()) - math.pi * reach**2) < 5 * error


def test_tails_twice_as_wide_keep_finite_weights():
    """Of a law of twice the deviation no draw weighs more than 8 times the mean: a Gaussian alone knows no bound."""
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    filler = GaussianFiller(vector(1)).double()
    filler.fit(Table(vector(1), Batch(x)))
    batch = Batch(torch.zeros(100_000, 1).double()).hide(torch.tensor([True]))
    filled, minus_log_q = filler.fill(batch, Noise(1, torch.arange(100_000), dtype=torch.float64))
    scale = 2 * filler.cov.sqrt()[0, 0]
    log_p = torch.distributions.Normal(filler.mean, scale).log_prob(filled.x)[:, 0]
    weight = (log_p + minus_log_q).exp()
    assert float(weight.max()) <= 8 + 1e-6
    assert abs(float(weight.mean()) - 1) < 5 * float(weight.std()) / math.sqrt(100_000)


def test_of_eight_draws_of_a_row_one_takes_the_wider_part():
    """So that sixteen draws of every row, each still by the mixture's own chances, miss the truth by less."""
    noise = Noise(3, torch.arange(4000)).draws(16)
    wide = _in_turn(noise).reshape(16, -1)
    assert (wide[:8].sum(0) == 1).all()
    assert (wide[3:11].sum(0) == 1).all()
    assert abs(float(wide[5].double().mean()) - 1 / 8) < 5 * math.sqrt(7 / 64 / 4000)
    one_by_one = _in_turn(Noise(3, torch.tensor([7]), draw=9))
    assert bool(one_by_one) == bool(wide[9, 7])
