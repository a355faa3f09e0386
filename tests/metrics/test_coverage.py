"""Precision, recall, density and coverage against the whole matrix of distances, and their standard errors."""

import pytest
import torch

from likeness.core.errors import BadData
from likeness.metrics import coverage, distance


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_membership_is_the_definition(monkeypatch):
    monkeypatch.setattr(distance, "CHUNK", 700)
    x, y, k = normal(0, 60, 3), normal(1, 80, 3) * 1.5, 4
    got = coverage.membership(x, y, k=k)
    d = torch.cdist(x, y)
    r, s = (torch.cdist(t, t).sort(1).values[:, k] for t in (x, y))
    assert (got.precision == (d <= r[:, None]).any(0)).all()
    assert (got.recall == (d <= s).any(1)).all()
    assert torch.equal(got.density, (d <= r[:, None]).sum(0) / k)
    assert (got.coverage == (d.amin(1) <= r)).all()


def test_a_law_equals_itself():
    # for equal laws and numbers, coverage is 1 - (M)...(M-k+1) / (2M-1)...(2M-k) (Naeem et al. 2020), and density is 1
    x, y = normal(2, 2000, 4), normal(3, 2000, 4)
    got = coverage.prdc(x, y, k=5)
    miss = 1.0
    for i in range(5):
        miss *= (2000 - i) / (3999 - i)
    assert abs(got.coverage.value - (1 - miss)) < 4 * got.coverage.stderr
    assert abs(got.density.value - 1) < 4 * got.density.stderr
    assert min(got.precision.value, got.recall.value) > 0.95


def test_lost_modes_cost_recall_and_noise_costs_precision():
    modes = (torch.arange(600) % 2)[:, None] * 10.0
    real, half, wide = normal(4, 600, 2) + modes, normal(5, 600, 2), (normal(6, 600, 2) * 4) + modes
    lost, noisy = coverage.prdc(real, half), coverage.prdc(real, wide)
    assert lost.recall.value < 0.55 < 0.95 < lost.precision.value and lost.coverage.value < 0.55
    assert noisy.precision.value < 0.7 and noisy.density.value < 0.6


@pytest.mark.parametrize("scale", [1.0, 0.8])
def test_standard_errors_are_the_spread_over_samples(scale):
    found = [
        coverage.prdc(normal(2 * r, 300, 3), normal(2 * r + 1, 300, 3) * scale) for r in range(60)
    ]
    for name in ("density", "coverage", "recall"):
        scores = [getattr(f, name) for f in found]
        spread = torch.tensor([s.value for s in scores]).std().item()
        error = (sum(s.stderr**2 for s in scores) / len(scores)) ** 0.5
        assert 0.6 < error / spread < 1.8, name


def test_discrete_data_cover_themselves():
    x = (torch.arange(400) % 4).double()[:, None]
    got = coverage.membership(x, x.clone())
    assert got.precision.mean() == got.recall.mean() == got.coverage.mean() == 1
    assert coverage.membership(x, x + 0.5).precision.mean() == 0


def test_too_few_items_are_refused():
    with pytest.raises(BadData, match="at least 30"):
        coverage.prdc(normal(0, 29, 2), normal(1, 100, 2))


def test_groups_that_agree_at_one_leave_the_share_unsure():
    # All of 60 items covered says at the 95 % level that at least 60 / (60 + 1.96^2) of such items are (Wilson 1927).
    x = normal(8, 60, 2)
    got = coverage.prdc(x, x + 1e-6).coverage
    assert got.value == got.high == 1
    assert abs(got.low - 60 / (60 + 1.959964**2)) < 1e-6
