"""A trained diffusion against the closed form of Gaussian data, its solvers and its options."""

import pytest
import torch

import likeness.routes  # noqa: F401 - registers them
from likeness import registry
from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import image
from likeness.data.source import Table
from likeness.data.synthetic import world
from likeness.dynamics.path import DDPM
from likeness.learn import gradient
from likeness.learn.run import Run
from likeness.numerics import memory
from tests.dynamics.oracles import GaussianDistribution

STEPS = 900
TRUTH = world("gaussian")
MEAN, COV = TRUTH.mean[0], TRUTH.cov[0]


@pytest.fixture(scope="module")
def chain():
    """A diffusion over the chain of 1,000 steps, fitted to a correlated Gaussian."""
    registry.load_all()
    options = {"path": "ddpm", "width": 64, "depth": 2, "batch": 512, "ema": 0.99}
    model = registry.build("diffusion", options, TRUTH.space, seed=0).float()
    return Run(model, TRUTH.source(20_000, 0), STEPS).fit().double()


def inside(model):
    """The truth in model units."""
    shift, scale = model.preprocessor.shift.double(), model.preprocessor.scale.double()
    return GaussianDistribution((MEAN - shift) / scale, COV / (scale[:, None] * scale))


@pytest.mark.xdist_group("chain of 1,000 steps")
@pytest.mark.parametrize("step", [10, 100, 300, 700])
def test_a_trained_net_finds_the_reverse_means_of_a_gaussian(chain, step):
    """mu(x_t, x_0_hat) within 2 % of the exact one (Ho et al. 2020, arXiv:2006.11239, eq. 7).

    One step's mean is nearly x_t, so x_0_hat is asked for too: to 15 % of a standard deviation of the data.
    """
    n, path, law = 2000, DDPM(), inside(chain)
    x_0 = (TRUTH.sample(n, seed=1).x - chain.preprocessor.shift) / chain.preprocessor.scale
    noise = Noise(1, torch.arange(n), dtype=torch.float64)
    t, s = (torch.tensor(k / 1000, dtype=torch.float64) for k in (step, step - 1))
    x_t = path.marginal(x_0, t, noise.normal(f"eps {step}", 2))
    with torch.no_grad():
        found = chain.process.denoiser(x_t, t.expand(n), chain._conditioning(None, None, n))
        ideal = law.denoiser(path)(x_t, t.expand(n))
    mine, exact = (path.posterior(x_t, hat, s, t)[0] for hat in (found, ideal))
    assert float((mine - exact).norm()) < 0.02 * float(exact.norm())
    assert float((found - ideal).square().mean().sqrt()) < 0.15


@pytest.mark.xdist_group("chain of 1,000 steps")
def test_the_bound_and_the_ode_agree_with_the_truth(chain):
    x = TRUTH.source(300, 0, first=10**6).batch
    exact = TRUTH.log_prob(x).value
    bound = chain.log_prob(x, seed=0, effort=8, settings={"likelihood": "bound"})
    ode = chain.log_prob(x, seed=0, settings={"likelihood": "ode"})
    assert bound.kind is Kind.LOWER_BOUND
    assert ode.kind is Kind.ESTIMATE
    gap = (exact - bound.value).mean()
    assert float(gap) > -3 * float(bound.mean().stderr)
    assert float((exact - ode.value).mean().abs()) < 0.03


@pytest.mark.xdist_group("chain of 1,000 steps")
@pytest.mark.parametrize("solver", ["heun", "multistep", "euler", "ddim", "ancestral"])
def test_every_solver_draws_the_gaussian(chain, solver):
    n = 4000
    x = chain.sample(
        n,
        seed=2,
        settings={"solver": solver, "steps": 100 if solver in {"euler", "ancestral"} else 40},
    ).x
    error = (COV.diagonal() / n).sqrt()
    assert bool(((x.mean(0) - MEAN).abs() < 5 * error + 0.05 * COV.diagonal().sqrt()).all())
    torch.testing.assert_close(torch.cov(x.T), COV, rtol=0, atol=0.15 * float(COV.diagonal().max()))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_in_pieces_has_the_gradient_of_the_whole(monkeypatch, weighted):
    """A batch whose rows keep more for their gradients than is allowed goes piece by piece, and learns the same."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (64, 1, 8, 8), generator=g).double()
    weight = torch.rand(64, generator=g) if weighted else None
    table = Table(image(1, 8, 8), Batch(x, weight=weight))
    learned = []
    for bound in (gradient.PIECE, 1 << 16):
        monkeypatch.setattr(gradient, "PIECE", bound)
        model = registry.build("diffusion", {"width": 8, "batch": 48}, table.space, seed=0)
        run = Run(model.double(), table, 3, 0)
        run.step()
        sizes = run.executor._pieces
        learned.append((dict(model.named_parameters()), next(iter(sizes.values()))))
    (whole, all_rows), (pieces, few) = learned
    assert few < 48 <= all_rows
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value, rtol=1e-6, atol=1e-9, msg=name)


def test_what_is_kept_for_gradients_is_counted_once():
    x = torch.ones(1000, dtype=torch.float64, requires_grad=True)

    def one() -> torch.Tensor:
        return (x * 2).exp().sum()

    def twice() -> torch.Tensor:
        return (x * x + x.square()).sum()

    assert memory.kept_for_gradients(one) == 8000
    assert memory.kept_for_gradients(twice) == 8000
