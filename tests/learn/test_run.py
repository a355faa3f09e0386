"""A Run: same seed same bits, phases stepped alone, resumed after any step, L-BFGS at the optimum, EM never falls."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import likeness.routes  # noqa: F401 - registers them
from likeness import registry
from likeness.core.batch import Batch
from likeness.core.config import Config, GradientConfig
from likeness.core.errors import BadConfig, BadStore, LikenessError
from likeness.core.learner import FullBatch, Gradient, Phase, Staged
from likeness.core.model import Model
from likeness.core.space import image, label, vector
from likeness.data.source import Table
from likeness.learn.budget import Budget
from likeness.learn.place import CHECKPOINT
from likeness.learn.run import Run
from likeness.registry import reading, store


def table(rows: int = 300, seed: int = 0) -> Table:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 2, generator=g, dtype=torch.float64) * 3 + 5
    x[:, 1] += 0.3 * x[:, 0] ** 2
    return Table(vector(2), Batch(x))


def model(family: str, seed: int = 0) -> Model:
    registry.load_all()
    options = {
        "flow": {"layers": 2, "hidden": (16,)},
        "gan": {"hidden": (16,)},
        "autoregressive": {"hidden": (16,)},
    }
    return registry.build(family, options.get(family, {}), vector(2), seed=seed)


@pytest.mark.parametrize("text", ["2m", "120s", Budget(seconds=120.0)])
def test_budgets(text: str | Budget) -> None:
    assert Budget.parse(text).seconds == 120
    assert Budget.parse("10 epochs").total(100, 32) == 32
    assert Budget.parse(7).steps == 7
    with pytest.raises(BadConfig):
        Budget.parse("a while")


class Clock:
    """A clock on which a step takes `pace` seconds."""

    def __init__(self) -> None:
        self.now, self.pace = 0.0, 1.0

    def perf_counter(self) -> float:
        return self.now


def ticking(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, paces: dict[int, float], **options
) -> Run:
    """A fit of 400 seconds whose pace changes at the steps that `paces` names."""
    monkeypatch.setattr("likeness.learn.gradient.time", clock)
    run = Run(model("autoregressive"), table(), Budget(seconds=400.0), seed=3, **options)
    while not run.done:
        clock.now += clock.pace
        run.step()
        clock.pace = paces.get(run.iteration, clock.pace)
    return run


@pytest.mark.parametrize("paces", [{}, {100: 3.0}, {100: 0.3}, {60: 10.0}, {40: 5.0, 60: 0.5}])
def test_a_budget_in_seconds_holds_where_the_pace_changes(monkeypatch, paces) -> None:
    clock = Clock()
    run = ticking(monkeypatch, clock, paces)
    assert 0.8 * 400 < clock.now < 1.2 * 400
    assert run.decisions["revised"]
    rates = [e.facts["lr"] for e in run.events][30:]
    assert all(after <= before for before, after in itertools.pairwise(rates))
    assert (
        max(before - after for before, after in itertools.pairwise(rates)) < 0.2 * rates[0]
    )  # no jump
    assert rates[-1] < 0.1 * rates[0]


def test_a_replay_ends_where_a_changing_pace_had_moved_the_end(monkeypatch) -> None:
    first = ticking(monkeypatch, Clock(), {100: 3.0, 150: 1.0})
    assert first.decisions["revised"]
    state = first.finish().state_dict()
    again = ticking(monkeypatch, Clock(), {50: 7.0}, decisions=first.decisions)
    assert again.iteration == first.iteration
    assert all(torch.equal(v, state[k]) for k, v in again.finish().state_dict().items())
    assert again.decisions == first.decisions


@pytest.mark.parametrize("family", ["flow", "gan", "gaussian", "autoregressive", "independent"])
def test_two_fits_of_one_seed_have_equal_bits(family: str) -> None:
    states = []
    for ambient in (1, 2):
        torch.manual_seed(ambient), np.random.seed(ambient)
        run = Run(model(family), table(), 12, seed=3, holdout=table(40, 1))
        states.append(run.fit().state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.parametrize(("family", "options"), [
    ("autoregressive", {"net": "pixel", "width": 8, "depth": 2}), ("vae", {"net": "conv", "width": 4, "latent": 2}),
    ("gan", {"width": 4, "latent": 2}), ("diffusion", {"net": "unet", "width": 8}),
])  # fmt: skip
def test_gradients_reach_their_own_weights_however_they_lie_in_memory(
    monkeypatch, family, options
) -> None:
    """Convolutions answer with gradients of other strides than their weights', which a fused Adam does not look at."""
    g = torch.Generator().manual_seed(0)
    data = Table(
        image(1, 8, 8, levels=2), Batch((torch.rand(64, 1, 8, 8, generator=g) < 0.4).float())
    )
    registry.load_all()
    states = []
    for fused in (True, False):
        monkeypatch.setattr("likeness.learn.optimisers.FUSED", fused)
        made = registry.build(
            family, {"batch": 16, "ema": 0.0, "lr": 0.01, **options}, data.space, seed=0
        )
        states.append(Run(made, data, 4).fit().state_dict())
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], rtol=0, atol=2e-4), name


@pytest.mark.parametrize("stop", [1, 7, 11])
@pytest.mark.parametrize("family", ["flow", "gan"])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, family: str, stop: int) -> None:
    whole = Run(model(family), table(), 12, seed=3, holdout=table(40, 1)).fit()
    first = Run(model(family), table(), 12, seed=3, holdout=table(40, 1), out=tmp_path)
    for _ in range(stop):
        first.step()
    first.save()
    second = Run(
        model(family, seed=9), table(), 12, seed=3, holdout=table(40, 1), out=tmp_path, resume=True
    )
    assert second.iteration == stop
    resumed = second.fit().state_dict()
    assert all(torch.equal(v, resumed[k]) for k, v in whole.state_dict().items())
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 12


def test_a_checkpoint_of_other_data_is_refused(tmp_path) -> None:
    run = Run(model("flow"), table(), 12, out=tmp_path)
    run.step()
    run.save()
    with pytest.raises(BadStore, match="other data or another seed"):
        Run(model("flow"), table(seed=5), 12, out=tmp_path, resume=True)
    data = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(data[: len(data) // 2])
    with pytest.raises(BadStore, match="truncated"):
        Run(model("flow"), table(), 12, out=tmp_path, resume=True)


def test_a_checkpoint_of_other_options_family_or_budget_is_refused(tmp_path) -> None:
    run = Run(model("flow"), table(), 12, out=tmp_path)
    run.step()
    run.save()
    other = registry.build("flow", {**model("flow").config.model_dump(), "lr": 0.5}, vector(2))
    with pytest.raises(BadStore, match="other options"):
        Run(other, table(), 12, out=tmp_path, resume=True)
    with pytest.raises(BadStore, match="another family"):
        Run(model("gan"), table(), 12, out=tmp_path, resume=True)
    with pytest.raises(BadStore, match="another budget"):
        Run(model("flow"), table(), "2 epochs", out=tmp_path, resume=True)
    assert (
        Run(model("flow"), table(), 20, out=tmp_path, resume=True).iteration == 1
    )  # more of the same is no other fit


def test_a_finished_fit_is_not_begun_again(tmp_path) -> None:
    first = Run(model("flow"), table(), 12, holdout=table(40, 1), out=tmp_path).fit()
    log = (tmp_path / "metrics.jsonl").read_text()
    with pytest.warns(UserWarning, match="is finished"):
        run = Run(
            model("flow", seed=9), table(), 12, holdout=table(40, 1), out=tmp_path, resume=True
        )
    again = run.fit()
    assert run.iteration == 12
    assert again.facts["iterations"] == 12
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in first.state_dict().items())
    assert (tmp_path / "metrics.jsonl").read_text() == log
    with pytest.raises(BadStore, match="other data"):
        Run(model("flow"), table(seed=5), 12, out=tmp_path, resume=True)
    with pytest.raises(BadStore, match="another budget"):
        Run(model("flow"), table(), 24, out=tmp_path, resume=True)


def test_a_tampered_model_is_refused(tmp_path) -> None:
    store.save(Run(model("gaussian"), table(), 1).fit(), tmp_path)
    assert reading.open_model(tmp_path).log_prob([[0.0, 0.0]]).value.isfinite()
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"full"', '"diagonal"'))
    with pytest.raises(BadStore, match="changed after it was saved"):
        reading.open_model(tmp_path)


def test_one_phase_alone_leaves_the_other_player_bit_identical() -> None:
    run = Run(model("gan"), table(), 12)
    net = run.model
    generator = [p.clone() for p in net.generator.parameters()]
    critic = [p.clone() for p in net.critic.parameters()]
    run.step("critic")
    assert all(
        torch.equal(a, b) for a, b in zip(generator, net.generator.parameters(), strict=True)
    )
    assert any(not torch.equal(a, b) for a, b in zip(critic, net.critic.parameters(), strict=True))
    critic = [p.clone() for p in net.critic.parameters()]
    run.step("generator")
    assert all(torch.equal(a, b) for a, b in zip(critic, net.critic.parameters(), strict=True))


class Ridge(Model):
    """Logistic regression of a label on two numbers: a convex problem with a known answer."""

    def __init__(self, config, space, given_space=None) -> None:
        super().__init__(config, space, given_space)
        self.w, self.b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))

    def forward(self, batch, noise, phase):
        sign = 2 * (batch.x[:, 0] > 5).double() - 1
        return {"nll": nn.functional.softplus(-sign * (batch.x @ self.w + self.b))}

    def learner(self):
        loss = partial(self.__call__, phase="full")
        return FullBatch(loss, [self.w, self.b], l1=self.l1, l2=self.l2, penalised=[self.w])


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.01), (0.02, 0.0)])
def test_full_batch_reaches_scikit_learns_optimum(l1: float, l2: float) -> None:
    from sklearn.linear_model import LogisticRegression

    data = table(200)
    x, y = data.batch.x.numpy(), (data.batch.x[:, 0] > 5).numpy()
    x = x + np.random.default_rng(0).normal(size=x.shape)
    data = Table(data.space, Batch(torch.as_tensor(x)))
    y = x[:, 0] > 5
    c = 1 / (200 * (l1 or l2))
    ratio = 1.0 if l1 else 0.0
    peer = LogisticRegression(C=c, l1_ratio=ratio, solver="saga", tol=1e-10, max_iter=100000).fit(
        x, y
    )
    mine = Ridge(Config(), vector(2)).double()
    mine.l1, mine.l2 = l1, l2
    Run(mine, data, 500).fit()

    def objective(w, b) -> float:
        z = (2 * y - 1) * (x @ w + b)
        return float(np.logaddexp(0, -z).mean() + l1 * np.abs(w).sum() + 0.5 * l2 * (w**2).sum())

    ours = objective(mine.w.detach().numpy(), mine.b.detach().numpy())
    theirs = objective(peer.coef_[0], peer.intercept_)
    assert ours <= theirs + 1e-7


def test_em_never_lowers_its_objective() -> None:
    data = table()
    hidden = torch.rand(data.batch.x.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    run = Run(model("gaussian").double(), Table(data.space, data.batch.hide(hidden)), 100)
    run.fit()
    losses = [e.loss for e in run.events]
    assert len(losses) > 3
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(losses))


class Density(Model):
    """q = N(m, s^2) fitted to a density alone, without data: mission's x = 1.3 under z ~ N(0, 1), x | z ~ N(z, 1/4)."""

    Config = GradientConfig

    def __init__(self, config, space, given_space=None) -> None:
        super().__init__(config, space, given_space)
        self.m, self.log_s = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, batch, noise, phase):
        z = self.m + self.log_s.exp() * noise.normal("z", 1)[:, 0]
        joint = -0.5 * z**2 - 0.5 * (1.3 - z) ** 2 / 0.25
        return {"bound": -joint - self.log_s}

    def learner(self):
        return Gradient(
            (Phase("bound", partial(self.__call__, phase="bound"), list(self.parameters())),)
        )


def test_a_loss_from_a_density_needs_no_data() -> None:
    q = Density(GradientConfig(lr=0.05, batch=512, ema=0.99), vector(1)).double()
    Run(q, None, 600).fit()
    assert float(q.m) == pytest.approx(1.04, abs=5e-3)
    assert float(q.log_s.exp()) ** 2 == pytest.approx(0.2, abs=5e-3)


class TwoStages(Model):
    """A scale first, then a location of what was scaled: the second stage learns from what the first made."""

    Config = GradientConfig

    def __init__(self, config, space, given_space=None) -> None:
        super().__init__(config, space, given_space)
        self.scale, self.shift = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(2))

    def forward(self, batch, noise, phase):
        if phase == "scale":
            return {"spread": ((batch.x / self.scale).square() - 1).square().sum(-1)}
        return {"offset": (batch.x / self.scale.detach() - self.shift).square().sum(-1)}

    def learner(self):
        def stage(name, parameters):
            return name, lambda: Gradient(
                (Phase(name, partial(self.__call__, phase=name), parameters),)
            )

        return Staged((stage("scale", [self.scale]), stage("shift", [self.shift])))


def test_stages_follow_each_other_and_resume(tmp_path) -> None:
    def fresh() -> Model:
        return TwoStages(GradientConfig(lr=0.05, batch=64, ema=0.0), vector(2)).double()

    whole = Run(fresh(), table(), 40)
    whole.fit()
    assert [e.phase for e in whole.events[:1] + whole.events[-1:]] == ["scale/scale", "shift/shift"]
    assert float(whole.model.shift.detach().abs().min()) > 0
    part = Run(fresh(), table(), 40, out=tmp_path)
    for _ in range(25):
        part.step()
    part.save()
    rest = Run(fresh(), table(), 40, out=tmp_path, resume=True)
    while not rest.done:
        rest.step()
    assert torch.equal(rest.model.shift, whole.model.shift)


class Broken(Ridge):
    """A loss that is not a number."""

    Config = GradientConfig

    def forward(self, batch, noise, phase):
        return {"nll": (batch.x @ self.w) * math.nan}

    def learner(self):
        return Gradient((Phase("nll", partial(self.__call__, phase="nll"), [self.w]),))


def test_a_loss_that_is_no_number_stops_with_a_sentence() -> None:
    with pytest.raises(LikenessError, match="lower lr"):
        Run(Broken(GradientConfig(), vector(2)).double(), table(), 5).fit()


def test_prior_and_p_values_come_from_the_right_rows() -> None:
    data = table()
    given = (data.batch.x[:, :1] > 5).double()
    labelled = Table(vector(2), Batch(data.batch.x, given=Batch(given)), label(2))
    train, held = labelled.split(0.2, 0)
    registry.load_all()
    fitted = Run(
        registry.build("gaussian", {}, vector(2), label(2)).double(), train, 5, holdout=held
    ).fit()
    share = float((train.batch.given.x.sum() + 1) / (len(train) + 2))
    assert float(fitted.class_prior()[1]) == pytest.approx(share, abs=1e-12)
    p = fitted.p_value(held.batch, given=held.batch.given)
    assert sorted((p * (len(held) + 1)).round().int().tolist()) == list(range(2, len(held) + 2))


def test_weight_is_as_if_rows_were_repeated() -> None:
    data = table(50)
    weight = torch.randint(1, 4, (50,), generator=torch.Generator().manual_seed(0))
    many = Table(data.space, Batch(data.batch.x.repeat_interleave(weight, 0)))
    weighted = Table(data.space, Batch(data.batch.x, weight=weight.double()))
    a, b = (Run(model("gaussian").double(), t, 1).fit() for t in (many, weighted))
    x = data.batch.x
    assert torch.allclose(a.log_prob(x).value, b.log_prob(x).value, rtol=0, atol=1e-10)


def test_what_choices_rest_on_is_its_share_although_the_same_seed_chose_a_test_part():
    from likeness.api import load
    from likeness.learn.fit import parts

    data = load(torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)), seed=0)
    train, held = parts(data.train, 0.1, 0)
    assert 120 < len(held) < 240  # 180 expected, 13 the standard deviation
    assert len(train) + len(held) == len(data.train)


class Switch(torch.autograd.Function):
    """The identity, which notes how fp32 products are computed on the way there and on the way back."""

    seen: list[str] = []  # noqa: RUF012

    @staticmethod
    def forward(ctx, x):
        Switch.seen.append(torch.backends.mkldnn.matmul.fp32_precision)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        Switch.seen.append(torch.backends.mkldnn.matmul.fp32_precision)
        return gradient


@pytest.mark.parametrize("precision", ["fp32", "onednn"])
def test_products_are_computed_alike_on_the_way_there_and_back(precision: str) -> None:
    """Two thirds of a step's products are gradients: they were once left to the slower path."""

    class Watched(Model):
        Config = GradientConfig

        def __init__(self, config, space, given_space=None):
            super().__init__(config, space, given_space)
            self.weight = nn.Parameter(torch.ones(2))

        def learner(self):
            return Gradient((Phase("a", self.loss, [self.weight]),))

        def loss(self, batch, noise):
            return {"a": Switch.apply(self.weight).square().sum() * torch.ones(len(batch))}

    Switch.seen.clear()
    before = torch.backends.mkldnn.matmul.fp32_precision
    Run(Watched(GradientConfig(precision=precision), vector(2)), table(), 1, seed=0).step()
    there, back = Switch.seen
    assert there == back
    assert (there != before) == (precision == "onednn")
    assert torch.backends.mkldnn.matmul.fp32_precision == before
