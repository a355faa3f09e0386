"""The tail of importance weights: shapes that are known, and weights that are smoothed."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import genpareto

from likeness.core.errors import BadData
from likeness.metrics.pareto import fit_pareto, pareto_k, pareto_smoothed


def uniform(n: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(n))


@pytest.mark.parametrize("k", [-0.3, 0.1, 0.5, 0.9, 1.5])
def test_the_shape_and_scale_of_a_pareto_law_are_found(k: float) -> None:
    x = torch.from_numpy(genpareto(k, scale=3.0).ppf(uniform(4000).numpy()))
    shape, scale = fit_pareto(x)
    assert shape == pytest.approx(k, abs=0.1)
    assert scale == pytest.approx(3.0, rel=0.1)
    most = genpareto.logpdf(
        x.numpy(), *genpareto.fit(x.numpy(), floc=0)
    ).sum()  # by maximum likelihood
    assert genpareto.logpdf(x.numpy(), shape, 0, scale).sum() > most - 1


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_weights_with_a_power_tail_show_its_shape(k: float) -> None:
    found = [
        pareto_k(-k * uniform(10_000, seed).log()) for seed in range(20)
    ]  # w = u^-k: P(w > t) = t^(-1/k)
    assert np.mean(found) == pytest.approx(k, abs=0.1)


def test_a_gaussian_proposal_of_a_wider_and_a_narrower_target() -> None:
    z = torch.from_numpy(np.random.default_rng(1).normal(size=10_000))

    def log_ratio(std: float) -> torch.Tensor:
        return -0.5 * (z / std).square() - math.log(std) + 0.5 * z.square()

    assert pareto_k(log_ratio(0.8)) < 0.5  # bounded weights
    assert pareto_k(log_ratio(3.0)) > 0.7  # k = 1 - 1 / 9
    assert pareto_k(torch.zeros(100)) == -math.inf


def test_a_constant_moves_no_shape_and_order_is_kept() -> None:
    log_weight = -0.6 * uniform(2000).log()
    one, moved = pareto_smoothed(log_weight), pareto_smoothed(log_weight + 700)
    assert one.k == pytest.approx(moved.k, abs=1e-6)
    assert torch.allclose(one.log_weight + 700, moved.log_weight)
    assert torch.equal(one.log_weight.argsort(), log_weight.argsort())
    assert float(one.log_weight.max()) <= float(log_weight.max()) + 1e-12
    body = log_weight < log_weight.quantile(0.9)
    assert torch.equal(one.log_weight[body], log_weight[body])


def test_smoothing_errs_less_than_raw_weights() -> None:
    k = 0.65
    truth = 1 / (1 - k)
    raw, smooth = (
        np.array([float(f(-k * uniform(1000, seed).log()).exp().mean()) for seed in range(200)])
        for f in (lambda w: w, lambda w: pareto_smoothed(w).log_weight)
    )
    assert np.square(smooth - truth).mean() < np.square(raw - truth).mean()


def test_weights_of_zero_count_as_such_and_what_cannot_be_told_is_refused() -> None:
    log_weight = torch.cat([-0.5 * uniform(2000).log(), torch.full((500,), -math.inf)])
    assert 0.2 < pareto_k(log_weight) < 0.8
    for bad in (torch.zeros(10), torch.full((100,), math.nan), torch.full((100,), -math.inf)):
        with pytest.raises(BadData):
            pareto_smoothed(bad)


def test_the_words_of_trust_follow_k_and_the_number_of_draws() -> None:
    assert pareto_smoothed(-0.2 * uniform(10_000).log()).trusted
    assert not pareto_smoothed(-1.2 * uniform(10_000).log()).trusted
