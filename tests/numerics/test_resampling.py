"""Weighted particles are taken over by their weights."""

import pytest
import torch

from likeness.numerics.resampling import effective_size, multinomial, systematic


def test_systematic_resampling_takes_each_particle_its_share_of_times():
    log_weight = 2 * torch.randn(
        50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    u = torch.tensor([0.0, 0.3, 0.999], dtype=torch.float64)
    counts = torch.stack([torch.bincount(t, minlength=50) for t in systematic(log_weight, u).T], 1)
    assert ((counts - 50 * log_weight.softmax(0)).abs() < 1 + 1e-9).all()


def test_particles_are_chosen_by_weight():
    log_weight = torch.tensor([[0.5], [0.25], [0.25]], dtype=torch.float64).log()
    u = (torch.arange(400).double()[:, None] + 0.5) / 400
    assert torch.bincount(multinomial(log_weight, u)[:, 0]).tolist() == [200, 100, 100]


def test_each_row_has_weights_of_its_own():
    weight = torch.tensor([[0.5, 0.1], [0.25, 0.1], [0.25, 0.8]], dtype=torch.float64)
    u = torch.tensor([[0.1, 0.12], [0.6, 0.15], [0.9, 0.9]], dtype=torch.float64)
    assert multinomial(weight.log(), u).tolist() == [[0, 1], [1, 1], [2, 2]]


def test_the_effective_number_of_particles_is_kongs():
    log_weight = torch.tensor([[0.5], [0.25], [0.25]], dtype=torch.float64).log()
    assert float(effective_size(log_weight)) == pytest.approx(1 / (0.25 + 0.0625 + 0.0625))
