"""Intervals cover as often as they say, and agree with closed forms."""

import math

import pytest
import torch
from scipy import stats

from likeness.core.errors import BadData
from likeness.metrics import intervals
from likeness.metrics.intervals import Interval


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def coverage_of(interval, truth, repeats):
    return sum(truth in interval(r) for r in range(repeats)) / repeats


def test_mean_is_students_interval():
    x = normal(0, 12) * 3 + 5
    got = intervals.mean_with_stderr(x, level=0.9)
    low, high = stats.t.interval(0.9, 11, loc=x.mean().item(), scale=stats.sem(x.numpy()))
    assert (got.low, got.high) == pytest.approx((low, high), rel=1e-12)
    assert got.stderr == pytest.approx(stats.sem(x.numpy()), rel=1e-12)


def test_weight_zero_leaves_an_item_out():
    x = normal(1, 20)
    keep = torch.arange(20) < 15
    a = intervals.mean_with_stderr(x, weight=keep.double())
    assert a.value == pytest.approx(x[keep].mean().item(), rel=1e-12)
    assert a.stderr == pytest.approx(
        stats.sem(x[keep].numpy()) * math.sqrt(20 / 19 * 14 / 15), rel=1e-12
    )


def test_wilson_agrees_with_scipy_and_never_collapses():
    got = intervals.proportion(7, 30)
    want = stats.binomtest(7, 30).proportion_ci(0.95, method="wilson")
    assert (got.low, got.high) == pytest.approx((want.low, want.high), rel=1e-12)
    none = intervals.proportion(0, 30)
    assert none.low == 0 and none.stderr == 0 and 0.05 < none.high < 0.15


@pytest.mark.parametrize("seeds", [3, 8])
def test_few_seeds_on_shared_items_are_covered(seeds):
    def interval(r):
        rows = (
            normal(10 * r, seeds, 1) * 0.5
            + normal(10 * r + 1, 1, 40)
            + normal(10 * r + 2, seeds, 40) * 0.3
            + 2
        )
        return intervals.crossed_mean(rows)

    assert coverage_of(interval, 2.0, 400) == pytest.approx(0.95, abs=0.04)


def test_treating_shared_items_as_independent_would_not_cover():
    def interval(r):
        return intervals.mean_with_stderr(
            normal(2 * r, 1, 20).expand(10, 20) + normal(2 * r + 1, 10, 20) * 0.1
        )

    assert coverage_of(interval, 0.0, 200) < 0.7


def test_crossed_mean_of_one_seed_counts_items():
    x = normal(3, 1, 25)
    assert intervals.crossed_mean(x) == intervals.mean_with_stderr(x[0])


def test_pairing_cancels_what_items_share():
    hard = normal(4, 500) * 10
    a, b = hard + normal(5, 500) * 0.1, hard + normal(6, 500) * 0.1 + 0.1
    paired = intervals.paired_difference(a, b)
    assert paired.high < 0 and -0.1 in paired
    assert not intervals.separable(intervals.mean_with_stderr(a), intervals.mean_with_stderr(b))


def test_difference_of_normal_intervals_is_the_normal_interval():
    a, b = intervals.normal_interval(1.0, 0.3), intervals.normal_interval(0.2, 0.4)
    got, want = intervals.difference(a, b), intervals.normal_interval(0.8, 0.5)
    assert (got.value, got.stderr, got.low, got.high) == pytest.approx(
        (want.value, want.stderr, want.low, want.high)
    )
    assert not intervals.separable(a, b)
    assert intervals.separable(a, intervals.normal_interval(-0.1, 0.4))


def test_equal_numbers_are_never_separable():
    sure = Interval(0.5, 0.0, 0.5, 0.5)
    assert not intervals.separable(sure, sure)


@pytest.mark.parametrize("shape", [(400,), (1, 400)])
def test_bootstrap_of_a_mean_has_its_standard_error(shape):
    x = normal(7, *shape)
    got = intervals.bootstrap_mean(x, seed=0, draws=2000)
    assert got.stderr == pytest.approx(x.std().item() / 20, rel=0.08)
    assert got == intervals.bootstrap_mean(x, seed=0, draws=2000)
    assert got != intervals.bootstrap_mean(x, seed=1, draws=2000)


def test_hierarchical_bootstrap_sees_the_seeds():
    x = normal(8, 30, 1).expand(30, 400) + 0.01 * normal(9, 30, 400)
    want = x.mean(1).std().item() / math.sqrt(30)
    assert intervals.bootstrap_mean(x, seed=0, draws=2000).stderr == pytest.approx(want, rel=0.1)


def test_bootstrap_of_any_statistic():
    x = normal(11, 1000)
    got = intervals.bootstrap(lambda rows: x[rows].var().item(), 1000, seed=0, draws=500)
    assert got.value == x.var().item()
    assert got.stderr == pytest.approx(math.sqrt(2 / 1000), rel=0.15)


def test_jackknife_of_means_is_their_standard_error():
    x, y = normal(12, 30), normal(13, 50)
    left_x, left_y = ((t.sum() - t) / (len(t) - 1) for t in (x, y))
    got = intervals.jackknife((x.mean() - y.mean()).item(), left_x, -left_y)
    assert got.stderr == pytest.approx(
        math.sqrt(x.var().item() / 30 + y.var().item() / 50), rel=1e-12
    )


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(BadData, match="NaN"):
        Interval(math.nan, 0, 0, 0)
    with pytest.raises(BadData, match="too few"):
        intervals.mean_with_stderr(torch.ones(1))
    with pytest.raises(BadData, match="pair"):
        intervals.paired_difference(torch.ones(3), torch.ones(4))
