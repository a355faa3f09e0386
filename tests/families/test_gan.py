"""GANs: the games at known critics, penalties, what is offered and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import logsigmoid

import likeness.routes  # noqa: F401 - registers them
from likeness import registry
from likeness.bijections.preprocess import Reals
from likeness.core import inputs
from likeness.core.batch import Batch
from likeness.core.errors import Unsupported
from likeness.core.noise import Noise
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.families.gan import FALLING, _code
from likeness.learn.adversarial import CRITICS, GENERATORS
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


def test_the_critic_moves_as_often_as_asked_and_with_the_momentum_asked() -> None:
    """Algorithm 1 of Goodfellow et al. 2014: k steps of the critic, one of the generator, by any gradient rule."""
    run = fit(critic_steps=3, beta1=0.5)
    run.step()
    assert run.executor.moves == {"critic": 3, "generator": 1}
    assert all(
        o.param_groups[0]["betas"] == (0.5, 0.99) for (o,) in run.executor.optimisers.values()
    )
    still, moving = (fit(beta1=beta1) for beta1 in (0.0, 0.9))
    weights = []
    for other in (still, moving):
        for _ in range(3):
            other.step()
        weights.append(
            torch.cat([p.detach().flatten() for p in other.model.generator.parameters()])
        )
    assert not torch.equal(*weights)


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
    slopes = [
        (model._judge(inside.x + e, ones, None) - model._judge(inside.x - e, ones, None)) / 2e-5
        for e in step
    ]
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
        not torch.equal(a, b)
        for a, b in zip(one.generator.parameters(), two.generator.parameters(), strict=True)
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


def test_each_player_moves_alone() -> None:
    run = fit(codes=4)
    others = {
        "critic": ("generator.", "code_logits"), "generator": ("critic.", "code_logits"),
        "codes": ("generator.", "critic."),
    }  # fmt: skip
    for player, still in others.items():
        before = {k: v.clone() for k, v in run.model.state_dict().items()}
        run.step(player)
        after = run.model.state_dict()
        assert all(torch.equal(before[k], after[k]) for k in after if k.startswith(still))
        assert not all(torch.equal(before[k], after[k]) for k in after)


@pytest.mark.parametrize("loss", sorted(CRITICS))
@pytest.mark.parametrize("player", ["critic", "generator"])
def test_both_players_gradients_are_those_of_finite_differences(loss: str, player: str) -> None:
    run = fit(loss=loss, fourier=4, instance_noise=0.1, gradient_penalty=1.0, hidden=(8, 8))
    model = run.model.double()
    batch, noise = run.executor._rows(0)
    batch, noise = batch.to(dtype=torch.float64), replace(noise, dtype=torch.float64)
    inside, _ = model.inputs(batch, noise)
    parameters = list(run.executor.phases[player].parameters)

    def total() -> torch.Tensor:
        return sum(t.sum() for t in model(inside, noise, player).values())

    gradients = torch.autograd.grad(total(), parameters)
    g = torch.Generator().manual_seed(1)
    way = [torch.randn(p.shape, generator=g, dtype=torch.float64) for p in parameters]
    values = []
    for size in (1e-6, -2e-6):
        for p, w in zip(parameters, way, strict=True):
            p.data.add_(w, alpha=size)
        values.append(float(total().detach()))
    along = sum(float((a * w).sum()) for a, w in zip(gradients, way, strict=True))
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(along, rel=1e-5)


def test_codes_probabilities_follow_the_gradient_of_the_expected_cost() -> None:
    model = fit(codes=3).model.double()
    model.code_logits.data = torch.tensor([0.0, 1.0, -0.5], dtype=torch.float64)
    cost, n = torch.tensor([0.3, 1.0, -2.0], dtype=torch.float64), 200_000
    noise = Noise(0, torch.arange(n), dtype=torch.float64)
    drawn = model._weighed(model.code_logits, cost[_code(model.code_logits, noise)], noise).mean()
    (found,) = torch.autograd.grad(drawn, model.code_logits)
    (exact,) = torch.autograd.grad(
        (model.code_logits.log_softmax(0).exp() * cost).sum(), model.code_logits
    )
    assert torch.allclose(found, exact, atol=5 * 1.5 / math.sqrt(n))


class Shifted(torch.nn.Module):
    """N(0, 1) in data units, whatever the units of the model."""

    def __init__(self, units: Reals) -> None:
        super().__init__()
        self.units = units

    def forward(self, z: torch.Tensor, side: torch.Tensor | None) -> torch.Tensor:
        return (z - self.units.shift) / self.units.scale


def test_a_critic_trained_to_the_end_is_the_ratio_of_densities() -> None:
    """D* = p / (p + q) and V(D*) = -log 4 + 2 JSD, at p = N(1, 1), q = N(0, 1) (Goodfellow et al. 2014, eq. 2, 5)."""
    x = torch.randn(50_000, 1, generator=torch.Generator().manual_seed(0)) + 1
    registry.load_all()
    options = {
        "loss": "non_saturating",
        "r1": 0.0,
        "r2": 0.0,
        "hidden": (32,),
        "latent": 1,
        "lr": 5e-3,
        "batch": 512,
    }
    run = Run(registry.build("gan", options, vector(1)), Table(vector(1), Batch(x)), 600)
    run.model.generator = Shifted(run.model.preprocessor)
    while not run.done:
        run.step("critic")
    model = run.finish()
    at = torch.linspace(-6, 7, 1301, dtype=torch.float64)[:, None]
    p, q = (torch.exp(-0.5 * (at[:, 0] - mean) ** 2) / math.sqrt(2 * math.pi) for mean in (1, 0))
    with torch.no_grad():
        score = -model.anomaly_score(at, seed=0).double()
    off = (score.sigmoid() - p / (p + q)).abs()
    assert float((off * (p + q) / 2).sum() * 0.01) < 0.02
    best, reached = (
        float((p * logsigmoid(d) + q * logsigmoid(-d)).sum() * 0.01)
        for d in (p.log() - q.log(), score)
    )
    assert best == pytest.approx(-math.log(4) + 2 * 0.1114215, abs=1e-6)
    assert best - 0.003 < reached <= best


def test_a_sample_takes_one_pass() -> None:
    assert fit(2).fit().sample(3, seed=0).evaluations == 1


def test_noise_and_penalties_fall_and_then_rest() -> None:
    model = fit(instance_noise=1.0, fall=100.0).model
    left = []
    for model.progress in (0.0, FALLING / 2, FALLING, 1.0):
        left.append(model._fade())
    assert left == pytest.approx([1.0, 0.1, 0.01, 0.01])


def test_penalties_fall_as_noise_does() -> None:
    run = fit(r1=2.0, r2=0.5, fall=100.0)
    batch, noise = run.executor._rows(0)
    inside, _ = run.model.inputs(batch, noise)
    terms = []
    for run.model.progress in (0.0, 1.0):
        terms.append(run.model(inside, noise, "critic"))
    for name in ("r1", "r2"):
        torch.testing.assert_close(terms[1][name], terms[0][name] / 100)


def test_the_generator_comes_to_rest_while_the_critic_keeps_its_rate() -> None:
    """The generator's rate is the critic's times pace times (1 + cos(pi t))^2 / 4."""
    run = fit(8, settling=2.0, critic_settling=0.0, pace=0.4, lr=1e-3, warmup=0)
    for done in range(8):
        run.step()
        rates = {name: o.param_groups[0]["lr"] for name, (o,) in run.executor.optimisers.items()}
        assert rates["critic"] == pytest.approx(1e-3)
        assert rates["generator"] == pytest.approx(
            4e-4 * (0.5 + 0.5 * math.cos(math.pi * done / 8)) ** 2
        )


def test_the_critic_moves_k_times_for_each_move_of_the_generator() -> None:
    """Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1."""
    run = fit(critic_steps=3)
    run.step()
    assert run.executor.moves == {"critic": 3, "generator": 1}


@pytest.mark.parametrize("codes", [0, 3])
def test_a_grid_of_inputs_becomes_the_items_that_sampling_makes_of_them(codes) -> None:
    """x is a function of z alone, and it is the one that `sample` applies."""
    model = fit(codes=codes, latent=2).fit()
    noise = inputs.noise_of(model, 0, torch.arange(6), "sample")
    z = noise.normal("z", 2)
    z = torch.cat([z, _code(model.code_logits, noise)[:, None].to(z)], -1) if codes else z
    torch.testing.assert_close(model.decode(z).mode, model.sample(6, seed=0).x)
    if not codes:
        line = torch.linspace(-2, 2, 5)
        items = model.decode(torch.cartesian_prod(line, line)).mode
        assert items.shape == (25, 2)
        assert len(items.unique(dim=0)) == 25
