"""Calibration scores against closed forms and scipy; tests of uniformity hold their level and see faults."""

import math

import pytest
import torch
from scipy import stats

from likeness.core.errors import BadData
from likeness.metrics import calibration


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(seed, *shape):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def uniform(seed, *shape):
    return torch.rand(*shape, generator=generator(seed), dtype=torch.float64)


def counts(seed, *shape):
    return torch.poisson(torch.full(shape, 1.5), generator=generator(seed))


@pytest.mark.parametrize("law", [normal, counts])
def test_ranks_and_transforms_of_a_true_law_are_uniform(law):
    draws, x, u = law(0, 19, 2000), law(1, 2000), uniform(2, 2000)
    assert calibration.rank_uniformity(calibration.ranks(draws, x, u), draws=19).p_value > 1e-3
    assert (
        calibration.ks_uniform(calibration.probability_integral_transform(draws, x, u)).p_value
        > 1e-3
    )


def test_narrow_draws_are_seen():
    draws, x, u = normal(3, 19, 2000) * 0.8, normal(4, 2000), uniform(5, 2000)
    assert calibration.rank_uniformity(calibration.ranks(draws, x, u), draws=19).p_value < 1e-6
    assert (
        calibration.ks_uniform(calibration.probability_integral_transform(draws, x, u)).p_value
        < 1e-2
    )


def test_uniformity_of_ranks_holds_its_level_with_unequal_cells():
    def rejects(r):
        rank = torch.randint(0, 31, (500,), generator=generator(r))
        return calibration.rank_uniformity(rank, draws=30, cells=7).p_value < 0.05

    assert sum(rejects(r) for r in range(500)) / 500 == pytest.approx(0.05, abs=0.03)


def test_chi_squared_is_scipys_and_joins_small_cells():
    observed, expected = (
        torch.tensor([30, 20, 35, 15]),
        torch.tensor([0.25, 0.25, 0.3, 0.2], dtype=torch.float64),
    )
    got, want = (
        calibration.chi_squared(observed, expected),
        stats.chisquare(observed, expected * 100),
    )
    assert (got.statistic, got.p_value, got.degrees) == pytest.approx(
        (want.statistic, want.pvalue, 3), rel=1e-6
    )
    rare = torch.tensor(
        [0.5, 0.44, 0.01, 0.01, 0.04], dtype=torch.float64
    )  # of 100: 1 + 1 + 4 make one cell of 6
    got = calibration.chi_squared(torch.tensor([50, 40, 3, 2, 5]), rare)
    want = stats.chisquare([50, 40, 10], [50, 44, 6])
    assert (got.statistic, got.degrees) == pytest.approx((want.statistic, 2), rel=1e-6)


def test_an_item_in_an_impossible_cell_is_fatal():
    got = calibration.chi_squared(torch.tensor([50, 50, 1]), torch.tensor([0.5, 0.5, 0.0]))
    assert got.p_value == 0
    assert (
        calibration.chi_squared(torch.tensor([50, 50, 0]), torch.tensor([0.5, 0.5, 0.0])).p_value
        == 1
    )


def test_kolmogorov_smirnov_tests_are_scipys():
    x, y = uniform(6, 40), normal(7, 30)
    assert calibration.ks_uniform(x).p_value == stats.kstest(x.numpy(), "uniform").pvalue
    assert calibration.ks_two_sample(x, y).p_value == stats.ks_2samp(x.numpy(), y.numpy()).pvalue


@pytest.mark.parametrize(("n", "level"), [(19, 0.9), (3, 0.5), (40, 0.8), (2, 0.2)])
def test_central_intervals_of_few_draws_cover(n, level):
    low, high = calibration.central_interval(normal(8, n, 20000), level=level)
    assert calibration.interval_coverage(low, high, normal(9, 20000)).value == pytest.approx(
        level, abs=0.015
    )
    assert (low <= high).all()


def test_too_few_draws_for_a_level_are_refused():
    with pytest.raises(BadData, match="at least 19"):
        calibration.central_interval(normal(10, 18, 5), level=0.9)


def test_crps_by_enumeration_and_of_a_normal_law():
    draws, x = normal(11, 7, 4, 3), normal(12, 4, 3)
    pairs = (draws[:, None] - draws[None]).abs().sum((0, 1)) / (7 * 6)
    torch.testing.assert_close(calibration.crps(draws, x), (draws - x).abs().mean(0) - pairs / 2)
    # Gneiting & Raftery 2007: x (2 Phi(x) - 1) + 2 phi(x) - 1 / sqrt(pi)
    z = torch.tensor([0.7])
    want = 0.7 * (2 * stats.norm.cdf(0.7) - 1) + 2 * stats.norm.pdf(0.7) - 1 / math.sqrt(math.pi)
    assert calibration.crps(normal(13, 50000, 1), z).item() == pytest.approx(want, abs=0.012)


def test_crps_is_unbiased_in_the_number_of_draws():
    x = normal(14, 40000)
    few, many = (calibration.crps(normal(15, n, 40000), x).mean().item() for n in (2, 20))
    assert few == pytest.approx(1 / math.sqrt(math.pi), abs=0.015)
    assert many == pytest.approx(1 / math.sqrt(math.pi), abs=0.01)


def test_brier_score():
    p, label = torch.tensor([[0.2, 0.8], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 0, 0])
    torch.testing.assert_close(
        calibration.brier(p.double(), label), torch.tensor([0.08, 0.0, 2.0]).double()
    )


def test_calibration_error_by_hand():
    # bin (0.6, 0.8]: confidences 0.7, 0.8 and one hit; bin (0.8, 1]: confidence 0.9 and a hit
    p = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.9, 0.1]], dtype=torch.float64)
    got = calibration.expected_calibration_error(p, torch.tensor([0, 0, 0]), bins=5)
    assert got == pytest.approx((abs(1 - 1.5) + abs(1 - 0.9)) / 3)


def test_true_probabilities_are_calibrated_and_sharpened_ones_are_not():
    logits = normal(16, 20000, 3)
    p = logits.softmax(1)
    label = (uniform(17, 20000, 1) > p.cumsum(1)).sum(1).clamp(max=2)
    assert calibration.expected_calibration_error(p, label) < 0.02
    assert calibration.expected_calibration_error((3 * logits).softmax(1), label) > 0.1
