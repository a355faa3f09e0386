"""GANs: the games at known critics, penalties, what is offered and what is refused."""

import math

import pytest
import torch

import likeness.routes  # noqa: F401 - registers them
from likeness.core import registry
from likeness.core.batch import Batch
from likeness.core.errors import Unsupported
from likeness.core.noise import Noise
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.families.gan import CRITICS, GENERATORS
from likeness.learn.run import Run


def data(n: int = 512) -> Table:
    g = torch.Generator().manual_seed(0)
    return Table(vector(2), Batch(torch.randn(n, 2, generator=g) * 2 + 3))


def fit(steps: int = 5, **options):
    registry.load_all()
    chosen = {"hidden": (16, 16), "batch": 64, **options}
    return Run(registry.build("gan", chosen, vector(2)), data(), steps)


def test_at_an_undecided_critic_the_game_is_worth_minus_log_four() -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    real, fake = CRITICS["non_saturating"](zero, zero)
    assert float(-(real + fake)) == pytest.approx(-math.log(4), abs=1e-12)


def test_the_saturating_gradient_vanishes_where_the_critic_wins() -> None:
    score = torch.tensor([-12.0], requires_grad=True)
    slopes = {}
    for name in ("minimax", "non_saturating"):
        (slopes[name],) = torch.autograd.grad(GENERATORS[name](score, score)[1].sum(), score)
    assert float(slopes["minimax"].abs()) < 1e-5
    assert float(slopes["non_saturating"].abs()) > 0.99


@pytest.mark.parametrize("loss", sorted(CRITICS))
def test_the_critic_descends_towards_telling_apart(loss: str) -> None:
    real, fake = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    total = sum(t.sum() for t in CRITICS[loss](real, fake))
    down_real, down_fake = torch.autograd.grad(total, (real, fake))
    assert float(down_real) < 0 < float(down_fake)
    (pull,) = torch.autograd.grad(GENERATORS[loss](real, fake)[1].sum(), fake)
    assert float(pull) < 0


def test_penalties_are_squared_gradients() -> None:
    run = fit(r1=2.0, r2=0.0, fourier=6)
    model = run.model.double()
    batch, noise = run.executor._rows(0)
    inside, _ = model.inputs(batch, noise)
    terms = model(inside, noise, "critic")
    step = 1e-5 * torch.eye(2)
    ones = torch.ones_like(inside.x)
    slopes = [(model._judge(inside.x + e, ones, None) - model._judge(inside.x - e, ones, None)) / 2e-5 for e in step]
    assert torch.allclose(terms["r1"], torch.stack(slopes, -1).square().sum(-1), rtol=1e-6)


def test_packing_shares_one_score_between_rows() -> None:
    model = fit(packing=4).model
    run = fit(packing=4)
    batch, noise = run.executor._rows(0)
    inside, _ = model.inputs(batch, noise)
    real = model(inside, noise, "critic")["real"]
    assert real.shape == (64,)
    assert torch.equal(real.reshape(16, 4), real[::4, None].expand(16, 4))


def test_unrolling_moves_the_generator_otherwise() -> None:
    one, two = (fit(1, unroll=k, r1=0.0, r2=0.0).fit() for k in (0, 3))
    assert any(
        not torch.equal(a, b) for a, b in zip(one.generator.parameters(), two.generator.parameters(), strict=True)
    )


def test_no_likelihood_is_made_up() -> None:
    model = fit(2).fit()
    with pytest.raises(Unsupported, match="its critic is a score, not a log-probability"):
        model.log_prob([[0.0, 0.0]])
    with pytest.raises(Unsupported, match="no likelihood to weigh"):
        model.complete([[0.0, float("nan")]])
    assert model.support("anomaly_score").routes == ("critic's score",)
    assert model.anomaly_score([[0.0, 0.0]], seed=0).shape == (1,)


@pytest.mark.parametrize("noise", ["normal", "uniform", "discrete"])
def test_any_noise_has_unit_variance(noise: str) -> None:
    model = fit(noise=noise, codes=4).model
    z = model._entry(Noise(0, torch.arange(20000)))
    assert z.shape[1] == 20
    assert torch.allclose(z[:, :16].var(), torch.tensor(1.0), atol=0.02)
    assert torch.allclose(z[:, 16:].square().mean(), torch.tensor(1.0))
    assert torch.equal((z[:, 16:] > 0).sum(-1), torch.ones(20000).long())
