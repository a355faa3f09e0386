"""Flows: mass, log-determinants, codes, bounds, conditions."""

import math

import pytest
import torch

import likeness.routes  # noqa: F401 - registers them
from likeness import registry
from likeness.core import scoring
from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import Nominal, binary, image, vector
from likeness.data.source import Table
from likeness.learn.run import Run


def fit(data: Table, steps: int = 150, **options):
    registry.load_all()
    chosen = {
        "layers": 2,
        "hidden": (24,),
        "bins": 6,
        "batch": 128,
        "lr": 5e-3,
        "ema": 0.98,
        **options,
    }
    return Run(
        registry.build("flow", chosen, data.space, data.given_space).double(), data, steps
    ).fit()


def banana(n: int = 1000) -> Table:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 2, generator=g, dtype=torch.float64)
    x[:, 1] = x[:, 1] + x[:, 0] ** 2
    return Table(vector(2), Batch(x))


@pytest.mark.parametrize("net", ["autoregressive", "coupling"])
@pytest.mark.parametrize("transform", ["spline", "affine"])
def test_density_integrates_to_one_and_layers_add_up(net: str, transform: str) -> None:
    model = fit(banana(), 60, net=net, transform=transform)
    axis = torch.linspace(-14, 26, 500, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    lp = model.log_prob(grid)
    mass = float(lp.value.exp().sum() * (axis[1] - axis[0]) ** 2)
    assert mass == pytest.approx(1, abs=5e-3)
    assert lp.kind is Kind.EXACT
    assert torch.allclose(torch.stack(list(lp.terms.values())).sum(0), lp.value, rtol=0, atol=1e-9)


def test_log_p_is_the_autograd_log_determinant() -> None:
    model = fit(banana(), 40)
    model.eval()
    for row in banana().batch.x[:5]:

        def code(x):
            inside, _, _ = scoring.to_model_units(
                model, Batch(x[None]), Noise(0, torch.zeros(1, dtype=torch.int64))
            )
            return model._through(inside)[0][0]

        z, jacobian = code(row), torch.autograd.functional.jacobian(code, row)
        want = -0.5 * (z.square() + math.log(2 * math.pi)).sum() + torch.linalg.slogdet(jacobian)[1]
        assert float(model.log_prob(row[None]).value.detach()) == pytest.approx(
            float(want.detach()), abs=1e-9
        )


def test_codes_lead_back_to_the_data() -> None:
    data = banana()
    model = fit(data, 60)
    far = torch.cat([data.batch.x[:50], 40 * data.batch.x[:50]])
    back = model.decode(model.encode(far).mode).mode
    assert ((back - far).abs() <= 1e-10 * (1 + far.abs())).all()


@pytest.mark.parametrize("dequantise", ["uniform", "variational"])
def test_bounds_on_discrete_data_stay_below_the_truth(dequantise: str) -> None:
    g = torch.Generator().manual_seed(0)
    first = torch.randint(0, 3, (2000, 1), generator=g).double()
    second = (torch.rand(2000, 1, generator=g) < 0.2 + 0.3 * first).double()
    space = vector(2, (Nominal(categories=3), binary()))
    data = Table(space, Batch(torch.cat([first, second], 1)))
    model = fit(data, 200, dequantise=dequantise)
    states = torch.cartesian_prod(torch.arange(3.0), torch.arange(2.0))
    lp = model.log_prob(states, effort=400, seed=0)
    assert lp.kind is Kind.LOWER_BOUND
    assert float(lp.value.exp().sum()) < 1 + 5 * float((lp.value.exp() * lp.stderr).norm())
    one, many = (model.log_prob(data.batch[:500], effort=k, seed=1).value.mean() for k in (1, 50))
    assert float(one) < float(many)
    drawn = model.sample(20000, seed=0).x
    counts = torch.tensor([(drawn == s).all(-1).double().mean() for s in states])
    p = lp.value.exp()
    assert ((counts - p).abs() < 5 * p * lp.stderr + 5 * (p / 20000).sqrt() + 0.005).all()


def test_images_are_moved_half_by_half() -> None:
    """Sampling an image must not walk its pixels, and inverses of long walks lose digits."""
    bits = (torch.arange(400 * 16) % 7 < 3).double().reshape(400, 1, 4, 4)
    data = Table(image(1, 4, 4, levels=2), Batch(bits))
    assert fit(data, 1).net == "coupling"
    assert fit(data, 1, net="autoregressive").net == "autoregressive"
    assert fit(banana(), 1).net == "autoregressive"
