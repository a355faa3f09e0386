"""Conformal p-values are valid, and their discoveries hold the rate."""

import math

import pytest
import torch
from scipy import stats

from likeness.core.errors import BadData
from likeness.metrics import calibration
from likeness.metrics.conformal import (
    adjusted_p_value,
    benjamini_hochberg,
    conformal_p_value,
    conformal_threshold,
)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_p_value_by_counting():
    held_out = torch.tensor([1.0, 2.0, 2.0, 5.0])
    got = conformal_p_value(torch.tensor([0.0, 2.0, 5.0, 6.0, math.inf]), held_out)
    assert got.tolist() == [1.0, 0.8, 0.4, 0.2, 0.2]


def test_smoothed_p_value_by_counting():
    held_out, u = torch.tensor([1.0, 2.0, 2.0, 5.0]), torch.tensor([0.5, 0.5])
    assert conformal_p_value(torch.tensor([2.0, 6.0]), held_out, uniforms=u).tolist() == [0.5, 0.1]


def test_p_values_are_valid_and_smoothed_ones_uniform_with_ties():
    score = normal(0, 4000, 10).round()
    u = torch.rand(4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain = torch.stack([conformal_p_value(row[:1], row[1:]) for row in score]).flatten()
    for level in (0.1, 0.2, 0.5):
        assert (plain <= level).double().mean() <= level + 0.02
    smooth = torch.stack(
        [conformal_p_value(r[:1], r[1:], uniforms=v[None]) for r, v in zip(score, u, strict=True)]
    )
    assert calibration.ks_uniform(smooth).p_value > 1e-3


def test_threshold_and_p_value_agree():
    held_out = normal(2, 199)
    line = conformal_threshold(held_out, alarm=0.05)
    score = torch.tensor([line - 1e-9, line, line + 1e-9], dtype=torch.float64)
    assert (conformal_p_value(score, held_out) <= 0.05).tolist() == [False, False, True]
    assert conformal_threshold(held_out[:18], alarm=0.05) == math.inf
    assert conformal_threshold(held_out[:19], alarm=0.05) == held_out[:19].max().item()


def test_adjusted_p_values_are_scipys():
    p = torch.rand(50, generator=torch.Generator().manual_seed(3), dtype=torch.float64) ** 2
    torch.testing.assert_close(
        adjusted_p_value(p), torch.from_numpy(stats.false_discovery_control(p.numpy()))
    )


def test_false_discoveries_stay_below_the_rate():
    shares, found = [], 0
    for r in range(100):
        strange = torch.arange(200) < 40
        p = conformal_p_value(normal(2 * r, 200) + 4 * strange, normal(2 * r + 1, 1000))
        reported = benjamini_hochberg(p, rate=0.2)
        shares.append(float((reported & ~strange).sum()) / max(int(reported.sum()), 1))
        found += int((reported & strange).sum())
    assert sum(shares) / 100 < 0.2
    assert found > 0.9 * 40 * 100


def test_nan_is_refused():
    with pytest.raises(BadData, match="NaN"):
        conformal_p_value(torch.tensor([math.nan]), torch.ones(3))
