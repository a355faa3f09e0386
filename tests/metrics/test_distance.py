"""Distances against closed forms, brute force and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from likeness.core.errors import BadData
from likeness.metrics import distance


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(distance, "CHUNK", 150)


def test_energy_distance_is_scipys_in_one_dimension(small_chunks):
    x, y = normal(0, 60), normal(1, 45) * 2 + 0.3
    got = distance.energy_distance(x, y, unbiased=False).value
    assert got == pytest.approx(stats.energy_distance(x.numpy(), y.numpy()) ** 2, rel=1e-12)


def test_weighted_energy_distance_is_scipys():
    x, y, u = normal(2, 60), normal(3, 45), normal(4, 60).abs()
    got = distance.energy_distance(x, y, x_weight=u, unbiased=False).value
    assert got == pytest.approx(
        stats.energy_distance(x.numpy(), y.numpy(), u.numpy()) ** 2, rel=1e-11
    )


def test_whole_weights_are_repeated_items():
    x, y, times = normal(5, 12, 3), normal(6, 10, 3), torch.arange(12) % 3
    got = distance.energy_distance(x, y, x_weight=times.double(), unbiased=False).value
    assert got == pytest.approx(
        distance.energy_distance(x.repeat_interleave(times, 0), y, unbiased=False).value
    )


def test_unbiased_energy_distance_by_enumeration(small_chunks):
    x, y = normal(7, 20, 2, 3), normal(8, 31, 2, 3) + 1
    a, b = x.flatten(1).numpy(), y.flatten(1).numpy()
    want = 2 * cdist(a, b).mean() - pdist(a).mean() - pdist(b).mean()
    assert distance.energy_distance(x, y).value == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("unbiased", [True, False])
def test_jackknife_is_leaving_out_one_at_a_time(unbiased):
    x, y, u, v = normal(9, 7, 2), normal(10, 6, 2), normal(11, 7).abs(), normal(12, 6).abs()

    def value(i, j):
        return distance.energy_distance(
            x[i], y[j], x_weight=u[i], y_weight=v[j], unbiased=unbiased
        ).value

    every_x, every_y = torch.arange(7), torch.arange(6)
    left_x = torch.tensor([value(every_x != i, every_y) for i in range(7)], dtype=torch.float64)
    left_y = torch.tensor([value(every_x, every_y != j) for j in range(6)], dtype=torch.float64)
    want = math.sqrt(left_x.var(correction=0) * 6 + left_y.var(correction=0) * 5)
    got = distance.energy_distance(x, y, x_weight=u, y_weight=v, unbiased=unbiased).stderr
    assert got == pytest.approx(want, rel=1e-9)


def test_standard_error_is_the_spread_over_samples_and_conservative_at_equality():
    def scores(shift):
        return [
            distance.energy_distance(normal(2 * r, 80, 2), normal(2 * r + 1, 60, 2) + shift)
            for r in range(200)
        ]

    for shift, low, high in ((1.0, 0.85, 1.15), (0.0, 1.0, 2.5)):
        found = scores(shift)
        spread = torch.tensor([f.value for f in found]).std().item()
        assert low < sum(f.stderr for f in found) / 200 / spread < high


def test_energy_distance_of_gaussians():
    # E|X - Y| of N(m, 2) is 2 / sqrt(pi) exp(-m^2 / 4) + m erf(m / 2)
    m = 1.5
    want = 2 * (
        2 / math.sqrt(math.pi) * math.exp(-m * m / 4) + m * math.erf(m / 2)
    ) - 4 / math.sqrt(math.pi)
    got = distance.energy_distance(normal(13, 3000), normal(14, 3000) + m)
    assert abs(got.value - want) < 4 * got.stderr < 0.2


def test_mmd_by_enumeration():
    x, y = normal(15, 20, 2), normal(16, 30, 2) * 2

    def k(d):
        return torch.from_numpy(d).square().div(-2 * 0.7**2).exp().mean()

    want = k(pdist(x.numpy())) + k(pdist(y.numpy())) - 2 * k(cdist(x.numpy(), y.numpy()))
    assert distance.mmd(x, y, bandwidth=0.7).value == pytest.approx(want.item(), rel=1e-11)
    full = k(cdist(x, x)) + k(cdist(y, y)) - 2 * k(cdist(x.numpy(), y.numpy()))
    assert distance.mmd(x, y, bandwidth=0.7, unbiased=False).value == pytest.approx(
        full.item(), rel=1e-11
    )


def test_mmd_of_gaussians_at_a_median_bandwidth():
    # E k(X, Y) = b / sqrt(b^2 + 2) exp(-m^2 / (2 (b^2 + 2))) for unit normals m apart
    x, y = normal(17, 2000), normal(18, 2000) + 1
    b = distance.median_distance(x, y)
    want = 2 * b / math.sqrt(b * b + 2) * (1 - math.exp(-1 / (2 * (b * b + 2))))
    got = distance.mmd(x, y)
    assert abs(got.value - want) < 4 * got.stderr
    assert b == pytest.approx(float(np.median(pdist(torch.cat([x, y])[:, None].numpy()))), rel=0.05)


def test_energy_score_by_enumeration(small_chunks):
    draws, x = normal(19, 6, 4, 2, 2), normal(20, 4, 2, 2)
    got = distance.energy_score(draws, x)
    for b in range(4):
        y = draws[:, b].flatten(1).numpy()
        want = cdist(y, x[b].flatten()[None].numpy()).mean() - pdist(y).mean() / 2
        assert got[b].item() == pytest.approx(want, rel=1e-7)


def test_shared_energy_score_is_the_score_of_common_draws(small_chunks):
    draws, x = normal(21, 9, 3), normal(22, 5, 3)
    common = distance.energy_score(draws[:, None].expand(9, 5, 3), x)
    torch.testing.assert_close(distance.shared_energy_score(draws, x), common, rtol=1e-7, atol=0)


def test_energy_score_prefers_the_truth():
    x = normal(23, 2000, 3)
    scores = [
        distance.shared_energy_score(normal(24, 2000, 3) * s + m, x).mean()
        for s, m in ((1, 0), (0.7, 0), (1, 0.5))
    ]
    assert scores[0] < min(scores[1:])


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_wasserstein_of_unequal_numbers(order):
    x, y = normal(25, 12), normal(26, 8) * 2
    # 12 x 2 = 8 x 3 items: repeat to equal numbers, where sorting couples
    want = (
        x.repeat_interleave(2).sort().values - y.repeat_interleave(3).sort().values
    ).abs() ** order
    assert distance.wasserstein(x, y, order=order) == pytest.approx(
        want.mean().item() ** (1 / order), rel=1e-12
    )
    assert distance.wasserstein(x, y, order=1.0) == pytest.approx(
        stats.wasserstein_distance(x.numpy(), y.numpy())
    )


def test_sliced_wasserstein_of_a_shift():
    # a shift by m costs (m . direction)^2, |m|^2 / D on average over all directions; scale of directions is nothing
    x, shift = normal(27, 50, 3), torch.tensor([1.0, -2.0, 2.0])
    axes = torch.eye(3) * torch.tensor([1.0, 5.0, 0.1])
    assert distance.sliced_wasserstein(x, x + shift, axes) == pytest.approx(math.sqrt(3), rel=1e-6)
    assert distance.sliced_wasserstein(x, x + shift, normal(28, 4000, 3)) == pytest.approx(
        math.sqrt(3), rel=0.03
    )


def test_nearest_is_brute_force(small_chunks):
    x, y = normal(29, 40, 5), normal(30, 33, 5)
    d, row = distance.nearest(x, y, k=4)
    want = torch.from_numpy(cdist(x.numpy(), y.numpy())).sort(1)
    torch.testing.assert_close(d, want.values[:, :4])
    assert (row == want.indices[:, :4]).all()
    own, _ = distance.nearest(x, x, k=1, own=True)
    assert own.min() > 0


def test_copies_lie_at_exactly_zero_far_from_the_origin():
    y = normal(31, 300, 20) + 1e6
    assert (distance.nearest(y[:50], y)[0] == 0).all()
    assert (distance.nearest(y[:50], y)[1][:, 0] == torch.arange(50)).all()


def test_a_far_origin_does_not_change_distances():
    x, y = normal(32, 50, 2), normal(33, 50, 2) + 0.5
    near, far = distance.energy_distance(x, y), distance.energy_distance(x + 2.0**20, y + 2.0**20)
    assert far.value == pytest.approx(near.value, rel=1e-6)


def test_histogram_divergences():
    p, q = torch.tensor([1.0, 3.0, 0.0]), torch.tensor([2.0, 1.0, 1.0])
    want = stats.entropy([0.25, 0.75, 0], [0.5, 0.25, 0.25])
    assert distance.kl_histograms(p, q).item() == pytest.approx(want)
    assert distance.kl_histograms(q, p).item() == math.inf
    assert distance.js_histograms(p, q).item() == pytest.approx(distance.js_histograms(q, p).item())
    apart = distance.js_histograms(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    assert apart.item() == pytest.approx(math.log(2))
    assert distance.kl_to_uniform(torch.tensor([5, 0, 0, 0])).item() == pytest.approx(math.log(4))


def test_kl_of_gaussians_is_torchs():
    a, b, m, n = normal(34, 2, 4, 4), normal(35, 2, 4, 4), normal(36, 2, 4), normal(37, 2, 4)
    p, q = (f @ f.mT + torch.eye(4) for f in (a, b))
    law = torch.distributions.MultivariateNormal
    want = torch.distributions.kl_divergence(law(m, p), law(n, q))
    torch.testing.assert_close(distance.kl_gaussians(m, p, n, q), want)
    assert distance.kl_gaussians(m, p, m, p).abs().max() < 1e-12


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(BadData, match="not finite"):
        distance.energy_distance(torch.tensor([1.0, math.nan, 2.0]), torch.ones(3))
    with pytest.raises(BadData, match="entries cannot be compared"):
        distance.energy_distance(torch.ones(4, 2), torch.ones(4, 3))
    with pytest.raises(BadData, match="at least 3"):
        distance.energy_distance(torch.ones(2), torch.ones(9))
    with pytest.raises(BadData, match="neighbours"):
        distance.nearest(torch.ones(3), torch.ones(3), k=3, own=True)
    with pytest.raises(BadData, match="2 draws"):
        distance.energy_score(torch.ones(1, 3, 2), torch.ones(3, 2))
