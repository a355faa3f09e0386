"""Gaussian worlds against formulas of another route: dense conditionals, Bayes' rule, convolution."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.errors import BadConfig
from likeness.data.synthetic import world
from likeness.data.synthetic.gaussian import GaussianMixture


def masks(n, d, seed=0):
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed)) < 0.4


def dense(law, x, known):
    """log sum_k w_k N(x_o; m_o, S_oo) row by row."""
    weights = (law.prior.log() + law.log_weights.T).logsumexp(-1).exp().numpy()
    out = []
    for row, o in zip(x.numpy(), known.numpy(), strict=True):
        pdfs = [stats.multivariate_normal.pdf(row[o], m[o], s[np.ix_(o, o)]) if o.any() else 1.0
                for m, s in zip(law.mean.numpy(), law.cov.numpy(), strict=True)]  # fmt: skip
        out.append(np.log(weights @ np.array(pdfs)))
    return np.array(out)


@pytest.mark.parametrize("name", ["gaussian", "mixture5"])
def test_log_p_with_any_holes_is_the_marginals(name):
    law = world(name, n=5)
    batch = law.source(30, 1).batch
    np.testing.assert_allclose(
        law.log_prob(batch).value, dense(law, batch.x, batch.present), rtol=0, atol=1e-9
    )
    holed = batch.hide(masks(30, 5))
    np.testing.assert_allclose(
        law.log_prob(holed).value, dense(law, batch.x, holed.present), rtol=0, atol=1e-9
    )


def test_completion_has_the_conditional_mean_and_covariance():
    law = world("gaussian", n=4, rho=0.7, mean=5.0, sigma=3.0)
    x = torch.tensor([[6.0, torch.nan, 1.0, torch.nan]], dtype=torch.float64)
    s, o, h = law.cov[0], [0, 2], [1, 3]
    gain = s[h][:, o] @ torch.linalg.inv(s[o][:, o])
    mean = 5 + gain @ (x[0, o] - 5)
    cov = s[h][:, h] - gain @ s[o][:, h]
    drawn = law.complete(x, n=20_000, seed=1).x[:, 0, h]
    assert bool(((drawn.mean(0) - mean).abs() < 4 * (cov.diagonal() / 20_000).sqrt()).all())
    torch.testing.assert_close(drawn.T.cov(), cov, rtol=0.06, atol=0.1)
    mode = law.mode(x)
    assert mode.kind is Kind.EXACT
    torch.testing.assert_close(mode.x[0, h], mean)
    assert not world("mixture5").support("mode")


def test_mixture_completion_weighs_components_by_what_is_seen():
    law = world("mixture5")
    x = law.sample(1, seed=4).x
    x[0, [1, 2, 4]] = torch.nan
    drawn = law.complete(x, n=20_000, seed=2).x[:, 0]
    seen = law.encode(x).logits[0].exp()
    shares = law.encode(drawn).logits.exp().mean(0)  # E p(k | x) over p(x_h | x_o) is p(k | x_o)
    torch.testing.assert_close(shares, seen, rtol=0, atol=0.02)
    with_nan = dense(law, x.nan_to_num(), ~x.isnan())
    assert float(law.log_prob(x).value) == pytest.approx(with_nan[0], abs=1e-9)


@pytest.mark.parametrize("n", [1, 3, 12])
def test_gaussians_of_any_dimension(n):
    law = world("gaussian", n=n, rho=0.6, sigma=2.0)
    closed = 0.5 * n * math.log(2 * math.pi * math.e * 4) + 0.5 * (n - 1) * math.log(
        1 - 0.36
    )  # Markov in order
    assert law.entropy == pytest.approx(closed, abs=1e-10)
    with pytest.raises(BadConfig, match="correlation"):
        world("gaussian", rho=1.0)


def test_linear_gaussian_evidence_posterior_and_bound():
    for latents in (1, 2):
        law = world("linear_gaussian", latents=latents, n=4, sigma=0.7)
        x = law.sample(50, seed=1).x
        evidence = law.log_prob(x).value
        posterior = law.encode(x)
        z = posterior.sample(1, seed=2).x[0]
        prior = torch.tensor(stats.norm.logpdf(z).sum(-1))
        bayes = prior + law.decode(z).log_prob(x) - posterior.log_prob(z)
        torch.testing.assert_close(bayes, evidence, rtol=0, atol=1e-9)
        torch.testing.assert_close(law.elbo(x, posterior), evidence, rtol=0, atol=1e-9)
        short = evidence - law.elbo(x, law.widened(x))
        torch.testing.assert_close(short, torch.full_like(short, law.gap()), rtol=0, atol=1e-9)
        assert law.gap() == pytest.approx(0.0473 * latents, abs=5e-5 * latents)


def test_linear_gaussian_posterior_under_holes():
    law = world("linear_gaussian", latents=2, n=3)
    x = law.sample(20, seed=3).x
    holed = Batch(x).hide(masks(20, 3, seed=2))
    posterior = law.encode(holed)
    z = posterior.loc + 0.1
    likelihood = stats.norm.logpdf(x, law.decode(z).loc, law.sigma)
    joint = (likelihood * holed.present.numpy()).sum(-1) + stats.norm.logpdf(z).sum(-1)
    np.testing.assert_allclose(
        joint - posterior.log_prob(z).numpy(), law.log_prob(holed).value, rtol=0, atol=1e-9
    )


def test_regression_is_the_noise_moved():
    law = world("regression")
    batch = law.source(200, 1).batch
    moved = law.residual.log_prob(batch.x - batch.given.x @ law.slope.T).value
    torch.testing.assert_close(law.log_prob(batch).value, moved, rtol=0, atol=1e-9)


def test_regression_integrates_what_is_missing_of_its_condition():
    law = world("regression")
    batch = law.source(8, 2).batch
    c = torch.linspace(-9, 9, 361, dtype=torch.float64)
    inner = stats.norm.logpdf(c) + math.log(0.05)
    swept = batch.given.x.repeat_interleave(len(c), 0)
    swept[:, 1] = c.repeat(8)
    full = law.log_prob(batch.x.repeat_interleave(len(c), 0), given=swept).value.reshape(8, -1)
    partly = batch.given.hide(torch.tensor([False, True, False]))
    answer = law.log_prob(batch.x, given=partly).value
    torch.testing.assert_close(
        answer, (full + torch.tensor(inner)).logsumexp(-1), rtol=0, atol=1e-8
    )
    alone = law.log_prob(batch.x).value
    noise = law.residual
    spread = GaussianMixture(
        "x", noise.mean, noise.cov + law.slope @ law.slope.T, log_weights=noise.log_weights[0]
    )
    torch.testing.assert_close(alone, spread.log_prob(batch.x).value, rtol=0, atol=1e-9)


@pytest.mark.parametrize("law", [world("ring"), world("mixture5", n=2)], ids=["ring", "mixture"])
def test_diffused_is_the_convolution(law):
    alpha, sigma = 0.8, 0.5
    axis = torch.arange(-6, 6, 0.05, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    p = law.log_prob(points, settings={"rows": 100_000}).value
    for at in torch.tensor([[0.1, 0.2], [1.0, -0.5]], dtype=torch.float64):
        kernel = -0.5 * ((at - alpha * points) / sigma).square().sum(-1) - math.log(
            2 * math.pi * sigma**2
        )
        expected = (p + kernel).logsumexp(0) + 2 * math.log(0.05)
        assert float(law.diffused(alpha, sigma).log_prob(at[None]).value) == pytest.approx(
            float(expected), abs=1e-6
        )
