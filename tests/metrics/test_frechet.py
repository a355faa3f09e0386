"""Frechet distance against closed forms, low rank and scipy."""

import pytest
import torch
from scipy.linalg import eigvals

from likeness.core.errors import BadData
from likeness.metrics.frechet import (
    Moments,
    frechet_distance,
    frechet_gaussians,
    frechet_interval,
    moments,
)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(mean, cov):
    return Moments(100, mean, cov)


def test_commuting_covariances():
    a, b = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 1.0, 0.25]).double()
    turn = torch.linalg.qr(normal(0, 3, 3)).Q
    p, q = (
        gaussian(m * torch.ones(3).double(), turn @ v.diag() @ turn.T)
        for m, v in ((0.0, a), (2.0, b))
    )
    assert frechet_gaussians(p, q) == pytest.approx(
        12 + ((a.sqrt() - b.sqrt()) ** 2).sum().item(), rel=1e-12
    )


def test_general_covariances_against_the_spectrum_of_the_product():
    f, g = normal(1, 6, 6), normal(2, 6, 6)
    p, q = gaussian(normal(3, 6), f @ f.T), gaussian(normal(4, 6), g @ g.T)
    cross = eigvals((p.cov @ q.cov).numpy()).real.clip(0) ** 0.5
    want = ((p.mean - q.mean) ** 2).sum() + p.cov.trace() + q.cov.trace() - 2 * cross.sum()
    assert frechet_gaussians(p, q) == pytest.approx(want.item(), rel=1e-9)
    assert frechet_gaussians(q, p) == pytest.approx(want.item(), rel=1e-9)


def test_fewer_items_than_features():
    # two rank-one covariances: tr (S_p S_q)^1/2 = |u . v|
    u, v = normal(5, 50), normal(6, 50)
    p, q = (gaussian(torch.zeros(50).double(), torch.outer(w, w)) for w in (u, v))
    want = (u @ u + v @ v - 2 * (u @ v).abs()).item()
    assert frechet_gaussians(p, q) == pytest.approx(want, rel=1e-6)
    x = normal(7, 20, 50)
    assert abs(frechet_distance(x, x.flip(0))) < 1e-5


def test_a_shift_and_a_scale_of_samples():
    x = normal(8, 200, 4)
    assert frechet_distance(x, x + 3) == pytest.approx(36, rel=1e-9)
    assert frechet_distance(x, 2 * x) == pytest.approx(
        (moments(x).cov.trace() + moments(x).mean.square().sum()).item()
    )


def test_interval_is_the_spread_over_samples():
    def interval(r):
        return frechet_interval(normal(2 * r, 200, 3), normal(2 * r + 1, 100, 3) * 1.5 + 0.5)

    found = [interval(r) for r in range(100)]
    x, y = normal(0, 200, 3), normal(1, 100, 3) * 1.5 + 0.5
    assert found[0].value == pytest.approx(frechet_distance(x, y), rel=1e-12)
    spread = torch.tensor([f.value for f in found]).std().item()
    assert sum(f.stderr**2 for f in found) ** 0.5 / 10 == pytest.approx(spread, rel=0.25)


def test_leaving_out_a_group_is_leaving_out_a_group():
    x, y = normal(9, 40, 3) + 50, normal(10, 30, 3) + 50
    keep_x, keep_y = (torch.arange(n) % 10 for n in (40, 30))
    left = [
        [frechet_distance(x[keep_x != g], y) for g in range(10)],
        [frechet_distance(x, y[keep_y != g]) for g in range(10)],
    ]
    want = sum(torch.tensor(t).double().var(correction=0).item() * 9 for t in left) ** 0.5
    assert frechet_interval(x, y).stderr == pytest.approx(want, rel=1e-6)


def test_too_few_items_are_refused():
    with pytest.raises(BadData, match="groups"):
        frechet_interval(normal(0, 19, 2), normal(1, 30, 2))
    with pytest.raises(BadData, match="2 items"):
        moments(torch.ones(1, 3))
