import math

import pytest
import torch

from likeness.core.errors import LikenessError
from likeness.dynamics.grid import (
    bent_grid,
    karras_grid,
    log_normal_times,
    log_snr_grid,
    log_snr_range,
    log_snr_times,
    uniform_grid,
    uniform_times,
)
from likeness.dynamics.path import DDPM, EDM, Cosine, FlowMatching
from tests.dynamics.oracles import PATHS, normals

each_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)


def inner_times(path, n=41):
    return torch.linspace(path.t_min, path.t_max, n + 1, dtype=torch.float64)[:-1]


@each_path
def test_rates_are_derivatives(path):
    t = inner_times(path).requires_grad_()
    for value, rate in ((path.alpha, path.alpha_rate), (path.sigma, path.sigma_rate)):
        slope = torch.autograd.grad(value(t).sum() + 0 * t.sum(), t)[0]
        assert torch.allclose(rate(t), slope, rtol=1e-8, atol=1e-12)


@each_path
def test_time_inverts_log_snr(path):
    t = inner_times(path)
    assert (path.log_snr(t).diff() < 0).all()
    assert torch.allclose(path.time(path.log_snr(t)), t, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("path", [DDPM(), Cosine()])
def test_variance_is_preserved(path):
    t = inner_times(path)
    assert torch.allclose(
        path.alpha(t) ** 2 + path.sigma(t) ** 2, torch.ones_like(t), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("path", [Cosine(), DDPM(), FlowMatching()])
def test_float32_keeps_the_digits_of_small_noise(path):
    t = torch.tensor([path.t_min, 1e-3, 0.01], dtype=torch.float64)
    assert torch.allclose(path.sigma(t.float()).double(), path.sigma(t), rtol=1e-5, atol=0)


def test_cosine_is_the_published_one():
    t, s = inner_times(Cosine()), 0.008
    f = torch.cos((t + s) / (1 + s) * math.pi / 2) ** 2
    assert torch.allclose(
        Cosine().alpha(t) ** 2, f / math.cos(s / (1 + s) * math.pi / 2) ** 2, rtol=1e-12
    )
    assert 0 <= Cosine().alpha(torch.tensor(1.0)) < 1e-7


@pytest.mark.parametrize("path", [DDPM(), DDPM(300, 1e-3, 0.05)])
def test_the_discrete_chain_lies_on_the_continuous_path(path):
    product = torch.cumprod(1 - path.betas(), 0)
    times = torch.arange(1, path.steps + 1, dtype=torch.float64) / path.steps
    assert torch.allclose(path.alpha(times) ** 2, product, rtol=1e-8, atol=0)
    assert torch.allclose(path.sigma(times) ** 2, 1 - product, rtol=1e-8, atol=0)


def test_the_default_chain_ends_where_it_should():
    assert float(DDPM().alpha(torch.tensor(1.0, dtype=torch.float64)) ** 2) == pytest.approx(
        4.0358e-5, rel=2e-5
    )


def test_a_thousand_steps_equal_the_closed_form():
    path, n = DDPM(), 4096
    x_0 = torch.tensor([1.0, -2.0], dtype=torch.float64)
    x, mean, variance = x_0.expand(n, 2), torch.ones(()).double(), torch.zeros(()).double()
    generator = torch.Generator().manual_seed(0)
    for i, beta in enumerate(path.betas(), 1):
        z = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        x = (1 - beta).sqrt() * x + beta.sqrt() * z
        mean, variance = (1 - beta).sqrt() * mean, (1 - beta) * variance + beta
        if i in (1, 10, 100, 400, 1000):
            t = torch.tensor(i / 1000, dtype=torch.float64)
            alpha, sigma = path.alpha(t), path.sigma(t)
            assert torch.allclose(
                torch.stack([alpha, sigma**2]), torch.stack([mean, variance]), rtol=1e-8
            )
            assert ((x.mean(0) - alpha * x_0).abs() < 4 * sigma / math.sqrt(n)).all()
            assert ((x.var(0) - sigma**2).abs() < 4 * sigma**2 * math.sqrt(2 / n)).all()


@each_path
@pytest.mark.parametrize(("early", "late"), [(0.1, 0.7), (0.3, 0.35), (0.02, 0.98)])
def test_posterior_follows_bayes_rule(path, early, late):
    s, t = (torch.tensor(u * path.t_max, dtype=torch.float64) for u in (early, late))
    x_0, x_t, x_s = normals(3, 5).unbind()
    x_0, x_t, x_s = (x[None] for x in (x_0, path.alpha(t) * x_0 + path.sigma(t) * x_t, x_s))
    mean, std = path.posterior(x_t, x_0, s, t)
    ratio = path.alpha(t) / path.alpha(s)
    step_std = (path.sigma(t) ** 2 - ratio**2 * path.sigma(s) ** 2).sqrt()

    def normal(x, m, sd):
        return torch.distributions.Normal(m, sd).log_prob(x)

    bayes = normal(x_t, ratio * x_s, step_std) + normal(x_s, path.alpha(s) * x_0, path.sigma(s))
    bayes = bayes - normal(x_t, path.alpha(t) * x_0, path.sigma(t))
    assert torch.allclose(normal(x_s, mean, std), bayes, rtol=1e-7, atol=1e-8)


def test_posterior_is_equation_7_of_the_chain():
    path = DDPM()
    beta, bar = path.betas(), torch.cumprod(1 - path.betas(), 0)
    i = torch.tensor([1, 9, 499, 998])
    x_0, x_t = normals(2, 4, 3).unbind()
    mean, std = path.posterior(x_t, x_0, i.double() / 1000, (i.double() + 1) / 1000)
    before, now, b = bar[i - 1], bar[i], beta[i]
    expected = (
        (before.sqrt() * b)[:, None] * x_0 + ((1 - b).sqrt() * (1 - before))[:, None] * x_t
    ) / (1 - now)[:, None]
    assert torch.allclose(mean, expected, rtol=1e-6, atol=1e-9)
    assert torch.allclose(std**2, (1 - before) / (1 - now) * b, rtol=1e-6)


@each_path
def test_posterior_at_the_data_is_the_data(path):
    x_0, x_t = normals(2, 4, 3).unbind()
    zero, end = torch.zeros((), dtype=torch.float64), torch.tensor(path.t_max, dtype=torch.float64)
    mean, std = path.posterior(x_t, x_0, zero, end)
    assert torch.equal(mean, x_0)
    assert float(std) == 0


@each_path
def test_velocity_is_the_motion_of_a_point_with_fixed_noise(path):
    x_0, eps = normals(2, 4, 3).unbind()
    for t in inner_times(path, 7):
        moving = torch.autograd.functional.jacobian(lambda u: path.marginal(x_0, u, eps), t)
        assert torch.allclose(
            path.velocity(path.marginal(x_0, t, eps), x_0, t), moving, rtol=1e-8, atol=1e-9
        )


@each_path
@pytest.mark.parametrize("make", [uniform_grid, karras_grid, log_snr_grid])
@pytest.mark.parametrize("stop", [None, 0.05])
def test_grids_fall_from_noise_to_data(path, make, stop):
    grid = make(path, 18, stop=stop)
    assert grid.shape == (19,)
    assert (grid.diff() < 0).all()
    assert float(grid[0]) == pytest.approx(path.t_max)
    assert float(grid[-1]) == pytest.approx(stop or 0)


@pytest.mark.parametrize("make", [uniform_grid, karras_grid, log_snr_grid, bent_grid])
@each_path
def test_one_step_leads_from_noise_to_data(path, make):
    assert make(path, 1).tolist() == pytest.approx([path.t_max, 0.0])


def test_karras_grid_is_equation_5():
    i, n, rho = torch.arange(18, dtype=torch.float64), 18, 7
    sigmas = (80 ** (1 / rho) + i / (n - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    assert torch.allclose(karras_grid(EDM(), 18)[:-1], sigmas, rtol=1e-9)


@each_path
def test_log_snr_grid_has_equal_distances(path):
    log_snr = path.log_snr(log_snr_grid(path, 20, stop=path.t_min))[1:]
    assert torch.allclose(log_snr.diff(), log_snr.diff().mean().expand(19), rtol=1e-6)


def test_the_whole_chain_is_a_uniform_grid():
    path = DDPM()
    assert torch.allclose(uniform_grid(path, path.steps), path.chain(), rtol=0, atol=1e-15)


@each_path
def test_times_have_the_densities_they_are_named_after(path):
    u = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert torch.allclose(
        uniform_times(path, u).diff(), torch.full((10,), (path.t_max - path.t_min) / 10).double()
    )
    noisy, clean = log_snr_range(path)
    log_snr = path.log_snr(log_snr_times(path, u))
    assert torch.allclose(log_snr, clean + (noisy - clean) * u, rtol=1e-6, atol=1e-6)
    z = torch.linspace(-2, 1, 7, dtype=torch.float64)
    assert torch.allclose(
        -path.log_snr(log_normal_times(path, z)) / 2, -1.2 + 1.2 * z, rtol=1e-6, atol=1e-6
    )


def test_rough_betas_are_refused():
    with pytest.raises(LikenessError, match="more steps"):
        DDPM(4, 0.1, 0.7)
    with pytest.raises(LikenessError, match="beta_min"):
        DDPM(1000, 0.02, 1e-4)
