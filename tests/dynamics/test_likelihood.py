import math
from itertools import pairwise

import pytest
import torch

from likeness.dynamics.likelihood import (
    continuous_bound,
    gaussian,
    likelihood_grid,
    ode_log_prob,
    rademacher,
    standard_error,
    variational_bound,
    without_return,
)
from likeness.dynamics.path import DDPM, EDM, Cosine, FlowMatching
from tests.dynamics.oracles import PATHS, GaussianDistribution, MixtureDistribution, noise, normals

each_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)


def by_ode(law, path, x, steps=100, **options):
    options.setdefault("prior", law.marginal(path, path.t_max))
    grid = options.pop("grid", likelihood_grid(path, steps))
    return ode_log_prob(law.denoiser(path), path, x, grid=grid, **options)


@each_path
@pytest.mark.parametrize("shape", [(2,), (1, 2, 3), (4,)], ids=str)
def test_a_gaussian_has_its_own_density(path, shape):
    law = GaussianDistribution.random(*shape)
    x = law.sample(8)
    answer = by_ode(law, path, x)
    assert answer.stderr is None
    assert (answer.value - law.log_prob(x)).abs().max() < 1e-4


def test_gradients_may_be_off_outside():
    path, law = FlowMatching(), GaussianDistribution.random(2)
    x = law.sample(3)
    with torch.no_grad():
        value = by_ode(law, path, x, steps=5).value
    assert torch.equal(value, by_ode(law, path, x, steps=5).value)
    assert not value.requires_grad


@each_path
def test_a_mixture_has_its_own_density(path):
    law, start = MixtureDistribution.uneven(), torch.tensor(path.t_min, dtype=torch.float64)
    x, scale = law.sample(256), path.alpha(start)
    value = by_ode(law, path, x).value
    blurred = (
        law.marginal(path, start)(scale * x) + 2 * scale.log()
    )  # the data with the path's smallest noise
    assert (value - blurred).abs().max() < 2e-5
    assert (value - law.log_prob(x)).abs().mean() < 1e-4


@pytest.mark.parametrize("path", [FlowMatching(), Cosine()])
def test_where_the_noise_is_complete_no_prior_need_be_given(path):
    law = MixtureDistribution.ring()
    x = law.sample(64)
    assert (by_ode(law, path, x, prior=None).value - law.log_prob(x)).abs().mean() < 1e-3


@each_path
def test_the_error_falls_as_the_fourth_power(path):
    law = GaussianDistribution.random(2)
    ends = path.time(torch.tensor([4.0, -6.0], dtype=torch.float64))
    x = path.marginal(law.sample(8), ends[0], normals(8, 2)) / path.alpha(ends[0])
    truth = law.marginal(path, ends[0])(path.alpha(ends[0]) * x) + 2 * path.alpha(ends[0]).log()
    errors = []
    for steps in (10, 20):
        grid = path.time(torch.linspace(4, -6, steps + 1, dtype=torch.float64))
        value = by_ode(law, path, x, grid=grid, prior=law.marginal(path, ends[1])).value
        errors.append((value - truth).abs().max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.6)


def test_the_density_has_mass_one():
    path, law = DDPM(), MixtureDistribution.uneven()
    side = torch.linspace(-3.6, 3.6, 49, dtype=torch.float64)
    x = torch.cartesian_prod(side, side)
    assert float(
        by_ode(law, path, x, steps=30, prior=None).value.exp().sum()
    ) * 0.15**2 == pytest.approx(1, abs=1e-3)


def test_probes_agree_with_the_exact_trace_and_know_their_error():
    path, law, n = FlowMatching(), GaussianDistribution.random(12), 256
    x = law.sample(n)
    exact = by_ode(law, path, x, steps=40).value
    probed = by_ode(law, path, x, steps=40, probes=rademacher(noise(n), 8, x))
    error, claimed = (
        probed.value - exact,
        probed.stderr.square().mean().sqrt() * without_return(8, 12),
    )
    assert claimed > 1e-3  # the probes do something
    assert abs(float(error.mean())) < 4.5 * claimed / n**0.5
    assert float(error.square().mean().sqrt() / claimed) == pytest.approx(1, abs=0.2)
    alone = by_ode(law, path, x[:3], steps=40, probes=rademacher(noise(3), 1, x[:3]))
    assert alone.stderr is None


def test_a_whole_round_of_probes_gives_the_trace_exactly():
    path, law = FlowMatching(), GaussianDistribution.random(4)
    x = law.sample(20)
    exact = by_ode(law, path, x, steps=10).value
    assert torch.allclose(
        by_ode(law, path, x, steps=10, probes=rademacher(noise(20), 4, x)).value, exact, rtol=1e-12
    )
    probes = rademacher(noise(20), 8, x)(0)
    for whole in (probes[:4], probes[4:]):
        products = torch.einsum("nbi,nbj->bij", whole, whole)
        assert torch.equal(products, 4 * torch.eye(4, dtype=products.dtype).expand_as(products))
    assert not torch.equal(probes[:4], probes[4:])


def test_probes_are_signs_and_a_longer_list_starts_with_the_shorter():
    x = torch.zeros(64, 5, dtype=torch.float64)
    few, many = (rademacher(noise(64), n, x)(3) for n in (2, 8))
    assert torch.equal(many[:2], few)
    assert torch.equal(many.abs(), torch.ones_like(many))
    assert abs(float(many.mean())) < 4.5 / many.numel() ** 0.5
    assert not torch.equal(rademacher(noise(64), 2, x)(4), few)


def test_an_item_keeps_its_value_in_any_batch():
    path, law = Cosine(), MixtureDistribution.uneven()
    x = law.sample(9)
    whole = by_ode(law, path, x, steps=10).value
    assert torch.allclose(
        by_ode(law, path, x[3:5], steps=10).value, whole[3:5], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("probed", [False, True])
def test_entries_that_do_not_exist_count_nothing(probed):
    path, short = FlowMatching(), GaussianDistribution.random(3)
    x = short.sample(5)
    present = torch.tensor([True, True, True, False]).expand(5, 4)
    padded = torch.cat([x, torch.zeros(5, 1).double()], 1)
    oracle = short.denoiser(path)

    def denoise(x, t, context, noise=None):
        return torch.cat([oracle(x[:, :3], t), 7 + x[:, 3:]], 1)

    grid = likelihood_grid(path, 20)
    probes = rademacher(noise(5), 3, padded) if probed else None
    inner = (lambda step: probes(step)[..., :3]) if probed else None
    answer = ode_log_prob(denoise, path, padded, grid=grid, present=present, probes=probes)
    assert torch.allclose(
        answer.value, ode_log_prob(oracle, path, x, grid=grid, probes=inner).value, rtol=1e-10
    )


def test_grid_climbs_from_the_data_to_the_noise():
    grid = likelihood_grid(EDM(), 10)
    assert grid.shape == (11,)
    assert float(grid[0]) == pytest.approx(0.002)
    assert float(grid[-1]) == pytest.approx(80)
    assert bool((grid.diff() > 0).all())


def test_the_last_term_of_the_chain_is_known():
    path, x = DDPM(), torch.ones(3, 5, dtype=torch.float64)
    bound = variational_bound(lambda x, t, context: 0 * x, path, x, noise=noise(3))
    assert (bound.terms["L_T"] / 5).tolist() == pytest.approx([-2.018e-5] * 3, rel=2e-4)


@pytest.mark.parametrize("data_std", [0.0, 0.5])
def test_terms_of_the_chain_are_divergences_of_its_steps(data_std):
    path, n, normal = DDPM(200, 1e-3, 0.08), 1024, torch.distributions.Normal
    x_0, generator = normals(1, 2).expand(n, 2), torch.Generator().manual_seed(7)

    def denoise(x, t, context):
        return torch.tanh(1.3 * x) * path.alpha(t)[:, None]

    bound = variational_bound(denoise, path, x_0, noise=noise(n), draws=2, data_std=data_std)
    chain, expected = path.chain().flip(0), torch.zeros(n).double()
    for s, t in pairwise(chain[1:]):
        x_t = path.marginal(x_0, t, torch.randn(n, 2, generator=generator, dtype=torch.float64))
        (right, std), (wrong, _) = (
            path.posterior(x_t, a, s, t) for a in (x_0, denoise(x_t, t.expand(n), None))
        )
        step = normal(wrong, path.reverse_std(s, t, data_std))
        expected -= torch.distributions.kl_divergence(normal(right, std), step).sum(1)
    x_1 = path.marginal(x_0, chain[1], torch.randn(n, 2, generator=generator, dtype=torch.float64))
    decoder = normal(
        denoise(x_1, chain[1].expand(n), None), path.sigma(chain[1]) / path.alpha(chain[1])
    )
    for name, other in (("L_t", expected), ("L_0", decoder.log_prob(x_0).sum(1))):
        found = bound.terms[name]
        assert abs(found.mean() - other.mean()) < 4.5 * (found.var() + other.var()).sqrt() / n**0.5
    assert torch.allclose(bound.value, sum(bound.terms.values()))


def test_drawn_times_estimate_the_sum_over_all():
    path, n = DDPM(200, 1e-3, 0.08), 128
    law = MixtureDistribution.uneven()
    x_0 = law.sample(n)
    whole = variational_bound(law.denoiser(path), path, x_0, noise=noise(n, 1), draws=None)
    drawn = variational_bound(law.denoiser(path), path, x_0, noise=noise(n, 2), draws=50)
    assert whole.stderr is None
    difference = drawn.value - whole.value
    assert abs(float(difference.mean())) < 4.5 * float(difference.std()) / n**0.5
    # One pass over 199 times has no more noise than 199 draws of one: at most 50 / 199 is added to the variance.
    ratio = difference.var() / drawn.stderr.square().mean()
    assert 0.75 < float(ratio) < 1.6


def test_the_chain_is_below_the_density_of_a_mixture():
    path, law, n = DDPM(), MixtureDistribution.uneven(), 1000
    x_0 = law.sample(n)
    bound = variational_bound(law.denoiser(path), path, x_0, noise=noise(n), draws=32)
    gap = law.log_prob(x_0) - bound.value
    error = float(bound.stderr.square().mean().sqrt()) / n**0.5
    assert -3 * error < float(gap.mean()) < 0.02 + 3 * error
    assert float(gap.std()) / n**0.5 == pytest.approx(
        error, rel=0.2
    )  # what remains is the noise of the draws
    worse = variational_bound(
        lambda *a: 0.9 * law.denoiser(path)(*a), path, x_0, noise=noise(n), draws=32
    )
    assert (worse.value - bound.value).mean() < -5 * error


@each_path
def test_the_continuous_bound_of_the_ideal_denoiser_is_tight(path):
    law, n = MixtureDistribution.uneven(), 1000
    x_0 = law.sample(n)
    bound = continuous_bound(law.denoiser(path), path, x_0, noise=noise(n), draws=32)
    error = float(bound.stderr.square().mean().sqrt()) / n**0.5
    assert error < 0.04
    assert abs(float((law.log_prob(x_0) - bound.value).mean())) < 4.5 * error
    worse = continuous_bound(
        lambda *a: 0.9 * law.denoiser(path)(*a), path, x_0, noise=noise(n), draws=8
    )
    assert (worse.value - bound.value).mean() < -5 * error


@pytest.mark.parametrize("decoder", [None, gaussian])
def test_the_gaussian_that_takes_away_variance_leaves_the_mean(decoder):
    path, n = Cosine(), 4096
    x_0 = normals(1, 3).expand(n, 3)

    def denoise(x, t, context):
        return 0.4 * torch.sin(x)

    def value(data_std, seed):
        return continuous_bound(
            denoise, path, x_0, noise=noise(n, seed), draws=2, data_std=data_std, decoder=decoder
        ).value

    one, other = value(1.0, 1), value(0.3, 2)
    assert abs(one.mean() - other.mean()) < 4.5 * (one.var() + other.var()).sqrt() / n**0.5


def test_bounds_leave_out_what_does_not_exist():
    path, n = DDPM(100, 1e-3, 0.1), 3
    x = normals(n, 4)
    present = torch.tensor([True, True, False, False]).expand(n, 4)

    def denoise(x, t, context):
        return 0.5 * x

    for bound in (variational_bound, continuous_bound):
        one = bound(denoise, path, x, noise=noise(n), draws=3, present=present)
        other = bound(
            denoise, path, torch.where(present, x, 99.0), noise=noise(n), draws=3, present=present
        )
        assert torch.allclose(one.value, other.value)


def test_a_draw_does_not_change_when_more_are_taken():
    path, x, law = FlowMatching(), normals(4, 2), GaussianDistribution.random(2)
    one, two = (
        continuous_bound(law.denoiser(path), path, x, noise=noise(4), draws=n) for n in (1, 2)
    )
    assert one.stderr is None
    assert torch.allclose(
        (two.value - one.value).abs(), two.stderr
    )  # of two values: half their difference


def test_standard_error_is_that_of_the_mean():
    draws = normals(400, 300)
    assert standard_error(draws).mean() == pytest.approx(400**-0.5, rel=0.02)
    assert standard_error(draws[:1]) is None
