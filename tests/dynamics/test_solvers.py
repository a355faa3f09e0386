import math
from functools import partial
from itertools import pairwise

import pytest
import torch

from likeness.core.errors import LikenessError
from likeness.dynamics.grid import karras_grid, log_snr_grid, uniform_grid
from likeness.dynamics.path import DDPM, EDM, Cosine, FlowMatching
from likeness.dynamics.solvers import ancestral, ddim, euler, heun, multistep, runge_kutta, solve
from tests.dynamics.oracles import (
    PATHS,
    GaussianDistribution,
    MixtureDistribution,
    noise,
    normals,
    zscores,
)

each_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
ORDERS = {ddim: 1, euler: 1, heun: 2, multistep: 2, runge_kutta: 4}
each_solver = pytest.mark.parametrize("solver", ORDERS, ids=lambda solver: solver.__name__)


def inner_grid(path, steps, *, encode=False):
    """A smooth grid between a log-SNR of -6 and one of 4."""
    grid = path.time(torch.linspace(-6, 4, steps + 1, dtype=torch.float64))
    return grid.flip(0) if encode else grid


@each_path
@each_solver
@pytest.mark.parametrize("encode", [False, True], ids=["decode", "encode"])
def test_error_falls_at_the_order_of_the_solver(path, solver, encode):
    law, errors = GaussianDistribution.random(3), []
    for steps in (80, 160):
        grid = inner_grid(path, steps, encode=encode)
        x = path.marginal(law.sample(16), grid[0], normals(16, 3, seed=4))
        reached = solve(solver, law.denoiser(path), path, grid, x)
        errors.append((reached - law.flow(path, x, grid[0], grid[-1])).norm())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(ORDERS[solver], abs=0.25)


def affine(solver, path, law, grid):
    """The solver with an ideal denoiser of a Gaussian is affine: mean and covariance of what it makes of the prior."""
    size = len(law.mean)
    points = torch.cat([torch.zeros(1, size), torch.eye(size)]).double()
    out = solve(solver, law.denoiser(path), path, grid, points)
    matrix = out[1:] - out[0]
    return out[0], path.prior_std**2 * matrix.T @ matrix


@each_path
@each_solver
def test_the_law_reached_has_the_mean_and_covariance_of_the_data(path, solver):
    law = GaussianDistribution.random(3)
    tolerance = {1: 0.1, 2: 5e-3, 4: 1e-3}[ORDERS[solver]]
    mean, cov = affine(solver, path, law, log_snr_grid(path, 100))
    assert (
        mean - law.mean
    ).norm() < tolerance * law.mean.norm() + 0.02  # where the data are not quite lost at the end
    assert (cov - law.cov).norm() < tolerance * law.cov.norm()


@pytest.mark.parametrize(
    ("path", "make"),
    [(EDM(), karras_grid), (FlowMatching(), uniform_grid), (Cosine(), uniform_grid)],
)
@pytest.mark.parametrize("solver", [heun, multistep])
def test_few_steps_suffice_on_the_usual_grids(path, make, solver):
    law = GaussianDistribution.random(3)
    mean, cov = affine(solver, path, law, make(path, 25))
    assert (mean - law.mean).norm() < 0.05 * law.mean.norm()
    assert (cov - law.cov).norm() < 0.05 * law.cov.norm()


def ancestral_law(path, law, grid, data_std):
    """Mean and covariance that exact ancestral steps reach, one linear-Gaussian step after another."""
    mean, var = torch.zeros(len(law.mean)).double(), torch.full_like(law.values, path.prior_std**2)
    centre = law.axes.T @ law.mean
    for t, s in pairwise(grid):
        a_t, a_s, v_t, v_s = path.alpha(t), path.alpha(s), path.sigma(t) ** 2, path.sigma(s) ** 2
        gain = a_t * law.values / (a_t**2 * law.values + v_t)
        fresh = v_t - (a_t / a_s) ** 2 * v_s  # the variance added between s and t
        keep, pull = a_t / a_s * v_s / v_t, a_s * fresh / v_t
        mean = keep * mean + pull * (centre + gain * (mean - a_t * centre))
        wider = (
            (v_s + a_s**2 * data_std**2) / (v_t + a_t**2 * data_std**2) * v_t / v_s if s > 0 else 0
        )
        var = (keep + pull * gain) ** 2 * var + v_s * fresh / v_t * wider
    return law.axes @ mean, law.axes * var @ law.axes.T


@each_path
@pytest.mark.parametrize("data_std", [0.0, 1.0])
def test_ancestral_steps_draw_the_law_of_their_linear_recursion(path, data_std):
    law, n, grid = GaussianDistribution.random(2), 2048, log_snr_grid(path, 20)
    mean, cov = ancestral_law(path, law, grid, data_std)
    start = path.prior_std * normals(n, 2)
    step = partial(ancestral, data_std=data_std)
    x = solve(step, law.denoiser(path), path, grid, start, noise=noise(n))
    spread = cov.diagonal().sqrt()
    assert ((x.mean(0) - mean).abs() < 4.5 * spread / n**0.5).all()
    assert ((x.T.cov() - cov).abs() < 4.5 * spread[:, None] * spread * math.sqrt(2 / n)).all()


@each_path
def test_ancestral_steps_reach_the_law(path):
    law, errors = GaussianDistribution.random(2), []
    for steps in (200, 400):
        mean, cov = ancestral_law(path, law, log_snr_grid(path, steps), 0.0)
        errors.append((cov - law.cov).norm())
        assert (mean - law.mean).norm() < 0.02
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.15)
    _, cov = ancestral_law(path, law, log_snr_grid(path, 200), 1.0)
    assert (cov - law.cov).norm() < 0.3 * errors[0]
    exact = GaussianDistribution(torch.zeros(2).double(), torch.eye(2).double() * 0.49)
    _, cov = ancestral_law(path, exact, log_snr_grid(path, 5), 0.7)
    # The steps have the exact variance of these data; what is left is the prior, and the last step's missing noise.
    assert (cov - exact.cov).norm() < 2e-3


@pytest.mark.parametrize("data_std", [0.0, 1.0])
def test_the_steps_of_the_chain_have_the_published_variances(data_std):
    path, i = DDPM(), torch.tensor([2, 10, 500, 1000])
    betas, bar = path.betas(), torch.cumprod(1 - path.betas(), 0)
    published = betas[i - 1] if data_std else (1 - bar[i - 2]) / (1 - bar[i - 1]) * betas[i - 1]
    times = i.double() / 1000
    assert torch.allclose(
        path.reverse_std(times - 0.001, times, data_std) ** 2, published, rtol=1e-6
    )


def test_the_whole_chain_reaches_the_law():
    path, law, n = DDPM(), GaussianDistribution.random(2), 512
    x = solve(ancestral, law.denoiser(path), path, path.chain(), normals(n, 2), noise=noise(n))
    spread = law.cov.diagonal().sqrt()
    assert ((x.mean(0) - law.mean).abs() < 4.5 * spread / n**0.5 + 0.01).all()
    assert ((x.T.cov() - law.cov).abs() < 4.5 * spread[:, None] * spread * math.sqrt(2 / n)).all()


@each_path
def test_ddim_with_eta_one_is_ancestral(path):
    law, start = GaussianDistribution.random(2), path.prior_std * normals(8, 2)
    grid = log_snr_grid(path, 20)
    solvers = partial(ancestral, data_std=0.0), partial(ddim, eta=1.0)
    a, b = (
        solve(solver, law.denoiser(path), path, grid, start, noise=noise(8)) for solver in solvers
    )
    assert torch.allclose(a, b, rtol=1e-6, atol=1e-6)


@each_solver
def test_encoding_comes_back(solver):
    path, law = Cosine(), MixtureDistribution.uneven()
    x, grid = law.sample(32), log_snr_grid(path, 400, stop=1e-2)
    code = solve(solver, law.denoiser(path), path, grid.flip(0), x)
    back = solve(solver, law.denoiser(path), path, grid, code)
    assert (back - x).abs().max() < {1: 0.1, 2: 2e-3, 4: 2e-5}[ORDERS[solver]]


def test_codes_of_a_mixture_are_standard_normal():
    path, law, n = FlowMatching(), MixtureDistribution.uneven(), 8192
    code = solve(
        heun,
        law.denoiser(path),
        path,
        log_snr_grid(path, 60, stop=path.t_min).flip(0),
        law.sample(n),
    )
    assert (code.mean(0).abs() < 4.5 / n**0.5).all()
    assert (code.T.cov() - torch.eye(2)).abs().max() < 4.5 * math.sqrt(2 / n)
    assert ((code**4).mean(0) - 3).abs().max() < 4.5 * math.sqrt(96 / n)


def sliced_distance(a, b):
    """Root mean squared 2-Wasserstein distance over 12 directions."""
    angle = torch.arange(12, dtype=torch.float64) * math.pi / 12
    directions = torch.stack([angle.cos(), angle.sin()])
    return (
        ((a @ directions).sort(0).values - (b @ directions).sort(0).values).square().mean().sqrt()
    )


@pytest.mark.parametrize("solver", [partial(ancestral, data_std=0.0), heun, multistep])
def test_every_step_brings_noise_closer_to_eight_gaussians_and_all_are_reached(solver):
    path, law, n, seen = EDM(0.002, 20.0), MixtureDistribution.ring(), 8192, []
    grid, data = karras_grid(path, 25), law.sample(n, seed=5)
    start = path.prior_std * normals(n, 2)
    x = solve(
        solver,
        law.denoiser(path),
        path,
        grid,
        start,
        noise=noise(n),
        watch=lambda i, t, x: seen.append((i, float(t), x)),
    )
    assert [i for i, _, _ in seen] == list(range(26))
    assert [t for _, t, _ in seen] == pytest.approx(grid.tolist())
    assert torch.equal(seen[0][2], start)
    assert torch.equal(seen[-1][2], x)
    distance = torch.stack([sliced_distance(x, data) for _, _, x in seen])
    assert (
        distance.diff()[distance[1:] > 0.1] < 0
    ).all()  # until it is as small as that of two samples
    assert distance[-1] < 0.06
    nearest = (x[:, None] - law.means).norm(dim=-1).min(1)
    counts = torch.bincount(nearest.indices, minlength=8).double()
    assert zscores(counts, law.weights).abs().max() < 4.5
    radius = 2 * 0.1**2 * math.log(20)  # 95 % of a mode lie within its root
    assert (nearest.values**2 < radius).double().mean() == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("solver", [ancestral, heun, multistep, partial(ddim, eta=0.5)])
def test_rows_keep_their_values_in_any_batch(solver):
    path, law, rows = DDPM(), GaussianDistribution.random(2), torch.tensor([5, 0, 3])
    start, source, grid = normals(8, 2), noise(8), uniform_grid(path, 12)
    whole = solve(solver, law.denoiser(path), path, grid, start, noise=source)
    part = solve(solver, law.denoiser(path), path, grid, start[rows], noise=source[rows])
    assert torch.allclose(part, whole[rows], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", [ancestral, *ORDERS])
def test_events_of_any_rank_and_float32(solver):
    path = FlowMatching()
    law = GaussianDistribution.random(6)
    grid, start = uniform_grid(path, 10), normals(4, 6).float()
    shaped = GaussianDistribution(law.mean, law.cov, (1, 2, 3)).denoiser(path)

    def single(x, t, context=None, noise=None):
        assert x.dtype == t.dtype == torch.float32
        assert t.shape == (4,)
        return shaped(x.double(), t.double()).float()

    flat = solve(solver, law.denoiser(path), path, grid, start.double(), noise=noise(4))
    image = solve(solver, single, path, grid, start.view(4, 1, 2, 3), noise=noise(4))
    assert image.dtype == torch.float32
    assert image.shape == (4, 1, 2, 3)
    same = solver is not ancestral  # its noise is keyed by shape
    assert not same or torch.allclose(image.flatten(1).double(), flat, atol=1e-4)


@pytest.mark.parametrize("solver", [ancestral, *ORDERS])
def test_a_denoiser_that_draws_is_given_fresh_noise_every_time(solver):
    seen = []

    def denoise(x, t, context, noise):
        seen.append(noise.normal("latent", 3))
        return 0 * x

    path = DDPM()
    solve(solver, denoise, path, uniform_grid(path, 4), normals(2, 1), noise=noise(2))
    drawn = torch.stack(seen).flatten()
    assert len(drawn.unique()) == len(drawn) == 6 * len(seen)


@pytest.mark.parametrize("solver", [ancestral, partial(ddim, eta=1.0)])
def test_steps_that_draw_ask_for_noise(solver):
    path, law = DDPM(), GaussianDistribution.random(2)
    with pytest.raises(LikenessError, match="noise"):
        solve(solver, law.denoiser(path), path, uniform_grid(path, 4), normals(2, 2))
