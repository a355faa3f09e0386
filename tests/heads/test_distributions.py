"""Heads against torch.distributions, scipy and quadrature, and what is special to each."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, special, stats
from torch import distributions as D

from likeness.core.errors import Unsupported
from likeness.heads import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Histogram,
    Magnitude,
    NegativeBinomial,
    NormalMixture,
    Poisson,
    Spline,
    ZeroInflatedPoisson,
)
from likeness.heads.normal import truncated_moments
from likeness.numerics.draws import soft_choice
from likeness.numerics.stable import log_interval
from tests.heads.cases import fitted, normals, reals, uniforms


def same(a, b, **tolerance):
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype), **tolerance)


def test_bernoulli_and_categorical_agree_with_torch():
    logits, x = normals(4, 3, 1), (uniforms(4, 3) * 2).floor()
    same(
        Bernoulli(3).distribution(logits).log_prob(x),
        D.Bernoulli(logits=logits[..., 0]).log_prob(x),
    )
    logits, x = normals(4, 3, 6), (uniforms(4, 3) * 6).floor()
    same(
        Categorical([6, 6, 6]).distribution(logits).log_prob(x),
        D.Categorical(logits=logits).log_prob(x),
    )


def test_poisson_agrees_with_torch_and_scipy():
    head, log_rate = Poisson(2), torch.tensor([[0.3], [6.5]], dtype=torch.float64)
    law, k = (
        head.distribution(log_rate),
        torch.arange(0.0, 900, 7, dtype=torch.float64).unsqueeze(-1).expand(-1, 2),
    )
    same(law.log_prob(k), D.Poisson(log_rate[:, 0].exp()).log_prob(k))
    u = uniforms(300, 2)
    same(law.quantile(u), stats.poisson.ppf(u.numpy(), log_rate[:, 0].exp().numpy()))


@pytest.mark.parametrize("log_alpha", (-15.0, -6.0, -2.0, 1.0, 3.0))
@pytest.mark.parametrize("mean", (0.01, 4.0, 3000.0))
def test_negative_binomial_agrees_with_scipy(mean, log_alpha):
    """From nearly Poisson to far beyond it, in value, CDF and quantile; scipy is exact to about 1e-8 relative here."""
    r, params = (
        math.exp(-log_alpha),
        torch.tensor([[math.log(mean), log_alpha]], dtype=torch.float64),
    )
    law, p = NegativeBinomial(1).distribution(params), 1 / (1 + math.exp(log_alpha) * mean)
    k = torch.cat([torch.arange(0.0, 40), torch.arange(0, 12000.0, 99)]).double().unsqueeze(-1)
    n = k.numpy()
    exact = (
        special.gammaln(n + r)
        - special.gammaln(r)
        - special.gammaln(n + 1)
        + r * math.log(p)
        + n * math.log1p(-p)
    )
    same(law.log_prob(k), exact, atol=1e-10 * r + 1e-9, rtol=1e-9)
    same(law.cdf(k), stats.nbinom.cdf(k.numpy(), r, p), atol=1e-9, rtol=0)
    u = uniforms(60, 1)
    same(law.quantile(u), stats.nbinom.ppf(u.numpy(), r, p))


@pytest.mark.parametrize("zeros", (1e-6, 0.3, 0.95))
@pytest.mark.parametrize("rate", (0.02, 4.0, 300.0))
def test_zero_inflated_poisson_agrees_with_scipy(rate, zeros):
    """In value, CDF and quantile, its mean and its dispersion by sums over all counts."""
    odds = zeros / (1 - zeros)
    mean = rate * (1 - zeros)
    law = ZeroInflatedPoisson(1).distribution(
        torch.tensor([[math.log(mean), math.log(odds)]], dtype=torch.float64)
    )
    k = torch.arange(0.0, 600, dtype=torch.float64).unsqueeze(-1)
    mass = (1 - zeros) * stats.poisson.pmf(k.numpy(), rate) + zeros * (k.numpy() == 0)
    likely = mass > 1e-290
    same(law.log_prob(k)[torch.as_tensor(likely)], np.log(mass[likely]), atol=1e-9, rtol=1e-9)
    below = zeros + (1 - zeros) * stats.poisson.cdf(k.numpy(), rate)
    same(law.cdf(k), below, atol=1e-9, rtol=0)
    assert float(law.cdf(torch.tensor([[-1.0]]))) == 0.0
    u = uniforms(300, 1)
    rest = np.clip((u.numpy() - zeros) / (1 - zeros), 0, None)
    same(law.quantile(u), np.maximum(stats.poisson.ppf(rest, rate), 0))
    same(law.mean, (mass * k.numpy()).sum(0), atol=1e-9, rtol=1e-9)
    variance = (mass * (k.numpy() - mean) ** 2).sum(0)
    same(law.mean + law.dispersion * law.mean**2, variance, atol=1e-9, rtol=1e-8)
    assert float(mass[int(law.mode), 0]) >= float(mass.max()) * (1 - 1e-9)


def test_zero_inflated_poisson_estimates_are_the_greatest_likelihood_that_a_search_finds():
    g = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((400, 1), 3.0), generator=g).double()
    x = x * (torch.rand(400, 1, generator=g) < 0.7)
    weight = 0.5 + uniforms(400, 1)
    head = fitted(ZeroInflatedPoisson(1), x)
    found = head.estimate(x, torch.ones_like(x).bool(), weight)[0]

    def cost(params):
        law = head.distribution(torch.as_tensor(params).reshape(1, 2))
        return -float((law.log_prob(x) * weight).sum())

    search = optimize.minimize(cost, [0.0, 0.0], method="Nelder-Mead", tol=1e-10)
    assert cost(found.flatten()) <= search.fun + 1e-9
    same(found.flatten(), search.x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("x", ([0, 1, 1, 0, 1], [4, 5, 4, 5, 5], [0, 0, 0, 0, 0]))
def test_counts_without_more_zeros_than_a_poisson_distribution_has_are_poisson(x):
    x = torch.tensor(x, dtype=torch.float64)[:, None]
    head, one = fitted(ZeroInflatedPoisson(1), x), torch.ones(len(x), 1, dtype=torch.float64)
    law = head.distribution(head.estimate(x, one.bool(), one))
    plain = fitted(Poisson(1), x)
    poisson = plain.distribution(plain.estimate(x, one.bool(), one))
    same(law.log_prob(x), poisson.log_prob(x), atol=1e-5, rtol=0)


def test_negative_binomial_contains_poisson():
    params = torch.tensor([[2.0, -16.0]], dtype=torch.float64)
    k = torch.arange(0.0, 40, dtype=torch.float64).unsqueeze(-1)
    same(
        NegativeBinomial(1).distribution(params).log_prob(k),
        Poisson(1).distribution(params[:, :1]).log_prob(k),
        atol=2e-4,
        rtol=0,
    )


def test_single_precision_keeps_the_negative_binomial_near_its_limit():
    """Differences of log Gamma at r = 4e6 would lose every digit in single precision."""
    params = torch.tensor([[2.0, -15.2]], dtype=torch.float64)
    k = torch.arange(0.0, 60, dtype=torch.float64).unsqueeze(-1)
    law = NegativeBinomial(1)
    same(
        law.distribution(params.float()).log_prob(k.float()).double(),
        law.distribution(params).log_prob(k),
        atol=1e-4,
        rtol=1e-5,
    )


def test_normal_mixture_agrees_with_torch():
    head, params = fitted(NormalMixture(3, components=4), reals()), normals(3, 12)
    logits, mean, log_std = params.unflatten(-1, (3, 4)).unbind(-2)
    scale = head.scale.unsqueeze(-1)
    parts = D.Normal(head.location.unsqueeze(-1) + scale * mean, scale * log_std.exp())
    x = reals(50, seed=3)
    same(
        head.distribution(params).log_prob(x),
        D.MixtureSameFamily(D.Categorical(logits=logits), parts).log_prob(x),
    )


@pytest.mark.parametrize("half", (1e-7, 1e-4, 3e-3, 0.01, 0.5, 2.0, 30.0))
def test_log_interval_against_quadrature(half):
    """log of the integral of exp(-v^2 / 2) over [c - h, c + h], by Gauss-Legendre in logarithms, to 60 deviations."""
    from numpy.polynomial.legendre import leggauss

    c = torch.cat(
        [
            torch.linspace(-60, 60, 41, dtype=torch.float64),
            torch.tensor([half, -half, 0.0]).double(),
        ]
    )
    nodes, weights = (torch.as_tensor(t) for t in leggauss(400))
    close = torch.where(
        c.abs() > half, c.abs() - half, 0.0
    )  # the mass lies within 40 of the end nearest to 0
    low, high = torch.maximum(c.abs() - half, close - 40), torch.minimum(c.abs() + half, close + 40)
    v = low.unsqueeze(-1) + (high - low).unsqueeze(-1) * (nodes + 1) / 2
    exact = (
        torch.logsumexp(-0.5 * v.square() + weights.log(), -1)
        + ((high - low) / 2).log()
        - 0.5 * math.log(2 * math.pi)
    )
    same(log_interval(c, torch.tensor(half, dtype=torch.float64)), exact, atol=2e-9, rtol=1e-9)
    single = log_interval(c.float(), torch.tensor(half)).double()
    same(single, exact, atol=1e-4, rtol=1e-5)


def test_log_interval_gradient_is_the_truncated_mean():
    c, h = torch.linspace(-50, 50, 23, dtype=torch.float64), torch.tensor(0.8, dtype=torch.float64)
    first, second = truncated_moments(c, h.expand_as(c))
    v = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000 * 1.6 - 0.8
    weight = (-0.5 * (c.unsqueeze(-1) + v).square()).softmax(-1)
    same(first, (weight * (c.unsqueeze(-1) + v)).sum(-1), atol=1e-6, rtol=1e-7)
    same(second, (weight * (c.unsqueeze(-1) + v).square()).sum(-1), atol=1e-5, rtol=1e-6)


def test_rounded_normals_far_out_are_finite_in_single_precision():
    head = NormalMixture(1, components=1, resolution=[0.25])
    params = torch.zeros(1, 2, requires_grad=True)
    x = torch.tensor([[-40.0], [0.0], [40.0]])
    value = head.distribution(params).log_prob(x)
    (gradient,) = torch.autograd.grad(value.sum(), params)
    value = value.detach()
    assert bool(torch.isfinite(value).all() and torch.isfinite(gradient).all())
    assert abs(float(value[0]) - float(value[2])) < 1e-3
    assert -800 < float(value[2]) < -790  # -(39.875)^2 / 2 - log(39.875 sqrt(2 pi))


def test_grouped_estimate_is_the_maximum_over_bins_not_over_midpoints():
    """Bins of two deviations: the deviation of the midpoints would be a fifth too large."""
    x = ((1.3 + normals(5000, 1)) / 2).round() * 2
    head, one = (
        NormalMixture(1, components=1, resolution=[2.0]),
        torch.ones(5000, 1, dtype=torch.float64),
    )
    fitted(head, x)
    present = one.bool()
    params = head.estimate(x, present, one)
    mean, std = head.location + head.scale * params[0, :, 0], head.scale * params[0, :, 1].exp()
    assert abs(float(mean) - 1.3) < 0.1
    assert abs(float(std) - 1) < 0.06
    stepped = params * 0
    for _ in range(30):  # few steps each from the parameters before end at the same place
        stepped = head.estimate(x, present, one, previous=stepped)
    same(stepped, params, atol=1e-6, rtol=0)


def test_negative_binomial_estimate_falls_back_to_poisson():
    """Counts that vary less than Poisson's have their maximum at dispersion 0."""
    x = 5 + (uniforms(200, 1) * 2).floor()
    head, one = fitted(NegativeBinomial(1), x), torch.ones(200, 1, dtype=torch.float64)
    params = head.estimate(x, one.bool(), one)
    assert float(params[..., 1]) < -12


def test_smoothing_is_weight_on_every_category():
    x = torch.tensor([[0.0], [0.0], [2.0]], dtype=torch.float64)
    one = torch.ones(3, 1, dtype=torch.float64)
    params = Categorical([4]).estimate(x, one.bool(), one, smoothing=1.0)
    same(params.exp()[0, 0], [3 / 7, 1 / 7, 2 / 7, 1 / 7])
    same(
        Bernoulli(1).estimate((x > 0).double(), one.bool(), one, smoothing=1.0)[0, 0],
        [math.log(2 / 3)],
    )


def test_missing_categories_are_impossible():
    law = Categorical([2, 4]).distribution(normals(2, 4))
    assert float(law.log_prob(torch.tensor([3.0, 3.0]))[0]) == -math.inf
    assert float(law.draw(torch.full((2, 1), 1 - 2**-24))[0]) == 1


def test_logistic_levels_below_and_above_take_the_tails():
    """One component far below the first level puts all on it."""
    head = DiscretisedLogistic([100], components=1)
    params = torch.tensor([[0.0, -50.0, -3.0]], dtype=torch.float64)
    assert (
        abs(float(head.distribution(params).log_prob(torch.zeros(1, dtype=torch.float64)))) < 1e-9
    )
    assert float(head.distribution(params).log_prob(torch.ones(1, dtype=torch.float64))) < -100


def test_histogram_is_close_to_the_law_that_it_learned():
    """KL to N(5, 3^2) from 20,000 rows stays below 0.01 nats, and repeated values do not break it."""
    x = 5 + 3 * normals(20_000, 1)
    head, one = fitted(Histogram(1), x), torch.ones(20_000, 1, dtype=torch.float64)
    law = head.distribution(head.estimate(x, one.bool(), one)[0])
    fresh = 5 + 3 * normals(20_000, 1, seed=1)
    truth = D.Normal(5.0, 3.0).log_prob(fresh)
    assert float((truth - law.log_prob(fresh)).mean()) < 0.01
    spiked = torch.cat([x[:100] * 0, x[:50]])
    law = fitted(Histogram(1), spiked).distribution(head.start())
    assert bool(torch.isfinite(law.log_prob(spiked)).all())
    constant = fitted(Histogram(1), torch.full((10, 1), 0.1, dtype=torch.float64))
    assert bool(torch.isfinite(constant.distribution(constant.start()).log_prob(spiked)).all())


def test_what_has_no_closed_form_says_so():
    one = torch.ones(3, 1, dtype=torch.float64)
    for head in (NormalMixture(1, components=3), DiscretisedLogistic([100])):
        with pytest.raises(Unsupported):
            head.estimate(one, one.bool(), one)


def test_soft_choice_of_two_is_the_binary_concrete_law():
    u, logit = uniforms(50), normals(50, seed=3)
    log_p = torch.stack(
        [torch.nn.functional.logsigmoid(-logit), torch.nn.functional.logsigmoid(logit)], -1
    )
    same(soft_choice(log_p, u, 0.7)[:, 1], torch.sigmoid((torch.logit(u) + logit) / 0.7))
    same(soft_choice(normals(50, 7).log_softmax(-1), u, 0.7).sum(-1), torch.ones(50))


def test_starts_are_the_marginals():
    """Mean and deviation (or shares) of the first law are those of the data."""
    x = reals()
    for head in (NormalMixture(3, components=1), NormalMixture(3, components=5), Histogram(3)):
        law = fitted(head, x).distribution(head.start())
        assert float(((law.mean - x.mean(0)) / x.std(0)).abs().max()) < 0.05
    head = fitted(Categorical([3]), torch.tensor([[0.0], [1.0], [1.0]]))
    same(head.distribution(head.start()).probabilities[0], [4 / 12, 7 / 12, 1 / 12])
    counts = (uniforms(500, 2) * 9).floor()
    head = fitted(NegativeBinomial(2), counts)
    same(head.distribution(head.start()).mean, counts.mean(0))
    levels = (uniforms(500, 1) * 40 + 100).floor()
    head = fitted(DiscretisedLogistic([256]), levels)
    law = head.distribution(head.start())
    k = torch.arange(256.0, dtype=torch.float64)
    variance = float((law.probabilities[0] * (k - law.mean).square()).sum())
    assert abs(float(law.mean) - float(levels.mean())) < 0.2
    assert abs(math.sqrt(variance) / float(levels.std()) - 1) < 0.02


def test_a_spline_keeps_its_bounds_and_says_how_far_it_goes():
    """No mass beyond a bound, and 1 / (N + 1) beyond an end that is none."""
    x = torch.stack([uniforms(99).square(), -uniforms(99, seed=1).log(), normals(99)], -1)
    head = fitted(Spline(3, bins=5, bounds=[(0.0, 1.0), (0.0, None), (None, None)]), x)
    law = head.distribution(head.start() + normals(3, 16))
    same(law.cdf(torch.tensor([0.0, 0.0, float(x[:, 2].min())]).double()), [0.0, 0.0, 0.01])
    same(law.cdf(x.amax(0).where(torch.tensor([False, True, True]), 1.0)), [1.0, 0.99, 0.99])
    assert bool(
        law.log_prob(torch.tensor([1.1, -0.1, 9.0]).double())
        .isinf()
        .eq(torch.tensor([1, 1, 0]))
        .all()
    )
    draws = law.draw(uniforms(5000, 3, 1))
    assert bool((draws.amin(0)[:2] >= 0).all())
    assert float(draws[:, 0].max()) <= 1


def test_a_spline_starts_with_its_knots_at_quantiles_of_the_data():
    x = torch.stack(
        [normals(20_000), torch.where(normals(20_000, seed=1) > 0, 1.0, -1.0) * uniforms(20_000)],
        -1,
    )
    head = fitted(Spline(2, bins=16), x)
    p = torch.arange(1, 16, dtype=torch.float64) / 16
    found = head.distribution(head.start()).quantile(p.unsqueeze(-1).expand(-1, 2))
    assert float((found - x.quantile(p, dim=0)).abs().max()) < 1e-2


def test_magnitudes_are_normal_laws_of_the_arcsinh():
    """Draws, mean and density against scipy's by quadrature over y; lengths over four orders keep their shape."""
    x = (2 * normals(4000, 1)).exp()
    head = fitted(Magnitude(1, components=1), x)
    law = head.distribution(torch.tensor([[0.2, -1.0]], dtype=torch.float64))
    centre, unit = float(head.centre), float(head.unit)
    y = stats.norm(float(head.location + 0.2 * head.scale), float(head.scale) * math.exp(-1))
    u = uniforms(500, 1, 1)
    same(
        law.draw(u)[:, 0],
        centre + unit * torch.as_tensor(y.ppf(u[:, 0, 0].numpy())).sinh(),
        atol=1e-9,
        rtol=1e-9,
    )
    v = np.linspace(
        y.ppf(1e-12), y.mean() + y.std() * (y.std() + 9), 200_001
    )  # where v * e^v is heaviest, and around
    same(law.mean[0], centre + unit * np.trapezoid(np.sinh(v) * y.pdf(v), v), atol=0, rtol=1e-6)
    grid = torch.linspace(0.01, 500, 300, dtype=torch.float64).unsqueeze(-1)
    far = (grid - centre) / unit
    exact = y.logpdf(far.asinh().numpy()) - 0.5 * np.log(unit**2 * (1 + far.numpy() ** 2))
    same(law.log_prob(grid), exact, atol=1e-9, rtol=0)


def test_entries_without_long_tails_stay_linear():
    x = torch.cat([normals(4000, 1), (2 * normals(4000, 1, seed=1)).exp()], -1)
    magnitude, plain = (
        fitted(Magnitude(2, components=2), x),
        fitted(NormalMixture(2, components=2), x),
    )
    same(
        magnitude.embed(x[:, :1].expand(-1, 2))[:, 0, 0], plain.embed(x)[:, 0, 0], atol=1e-3, rtol=0
    )
    assert (
        float(magnitude.embed(x)[:, 1, 0].abs().max())
        < 5
        < float(plain.embed(x)[:, 1, 0].abs().max())
    )


@pytest.mark.parametrize(
    "make", [lambda: Spline(1, bins=4), lambda: Magnitude(1, components=2)], ids=["spline", "log"]
)
def test_weights_count_as_rows_do(make):
    x = (normals(60, 1) * 3).round() + 0.1 * normals(60, 1, seed=1)
    times = (uniforms(60, seed=2) * 4).floor() + 1
    weighed, repeated = make(), fitted(make(), x.repeat_interleave(times.long(), 0))
    weighed.fit(x, torch.ones_like(x, dtype=torch.bool), times)
    for name, own in repeated.named_buffers():
        if name not in {"mass", "place", "slope"} and name in dict(weighed.named_buffers()):
            same(
                dict(weighed.named_buffers())[name].nan_to_num(0),
                own.nan_to_num(0),
                atol=1e-9,
                rtol=1e-9,
            )
    middle = torch.tensor([[0.5]], dtype=torch.float64)
    assert (
        abs(
            float(
                weighed.distribution(weighed.start()).quantile(middle)
                - repeated.distribution(repeated.start()).quantile(middle)
            )
        )
        < 0.3
    )


@pytest.mark.parametrize(
    "make", [lambda: Spline(1, bins=8), lambda: Magnitude(1, components=2)], ids=["spline", "log"]
)
def test_values_far_from_zero_and_piled_up_stay_finite_in_single_precision(make):
    """Around 1,000, half of them one value, a third at the top."""
    x = 1000 + torch.cat(
        [normals(300, 1), torch.full((500, 1), 0.25).double(), torch.full((400, 1), 3.0).double()]
    )
    head = fitted(make(), x.float())
    law = head.distribution((head.start() + 0.1 * normals(1, head.size)).float())
    u = torch.linspace(0, 1, 4001).reshape(-1, 1, 1).expand(-1, 1, head.uniforms)
    draws = law.draw(u)
    grid = torch.linspace(990, 1010, 2001).unsqueeze(-1)
    for value in (
        draws,
        law.log_prob(x.float()),
        law.log_prob(grid),
        law.log_prob(draws),
        law.mode,
        law.mean,
    ):
        assert bool(torch.isfinite(value).all())


def test_the_mode_of_a_wide_law_of_magnitudes_lies_deviations_below_its_mean():
    head = Magnitude(1, components=1)
    law = head.distribution(torch.tensor([[30.0, math.log(5.0)]], dtype=torch.float64))
    y = torch.linspace(-20, 60, 80_001, dtype=torch.float64).unsqueeze(-1)
    best = law.log_prob(head.value(y)).max()
    assert float(law.log_prob(law.mode)) >= float(best) - 1e-6


def test_values_at_their_bounds_are_possible_in_single_precision():
    """Differences from the location round, also those of the bounds: a value at its bound must not fall beyond it."""
    for seed in range(20):
        lower = float(normals(1, seed=seed))
        u = uniforms(300, 1, seed=seed)
        x = (
            lower + 0.3 * torch.cat([torch.zeros(20, 1).double(), u, torch.ones(20, 1).double()])
        ).float()
        ends = (float(x.min()), float(x.max()))
        head = fitted(Spline(1, bins=4, bounds=[ends]), x)
        law = head.distribution(head.start().float())
        assert bool(torch.isfinite(law.log_prob(x)).all())
        assert bool(
            law.log_prob(torch.tensor([[ends[0] - 0.01], [ends[1] + 0.01]])).isneginf().all()
        )
