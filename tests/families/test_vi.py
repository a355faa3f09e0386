"""Variational inference against posteriors and evidences in closed form, quadrature, and other ways of learning it."""

import math
import sys
from functools import partial

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch.distributions import Beta, Binomial, Gamma, MultivariateNormal, Normal

import likeness as lk
from likeness.check.spaces import SPACES
from likeness.core import scoring
from likeness.core.answers import Kind
from likeness.core.errors import BadConfig, LikenessError
from likeness.core.noise import Noise
from likeness.core.space import Nominal, Real, label, series, vector
from likeness.families import vi
from likeness.learn.run import Run
from likeness.registry import build, family

MEAN = torch.tensor([1.0, -2.0, 0.5]).double()
COV = torch.tensor([[1.0, 0.8, 0.3], [0.8, 2.0, -0.4], [0.3, -0.4, 0.5]]).double()
LOG_Z = 4.2


@vi.register_density
def correlated(z: torch.Tensor) -> torch.Tensor:
    """A correlated Gaussian with a constant of its own."""
    return MultivariateNormal(MEAN, COV).log_prob(z) + LOG_Z


def funnel(z: torch.Tensor) -> torch.Tensor:
    """Neal's funnel (2003): the deviation of z_1 follows z_0."""
    return Normal(0.0, 3.0).log_prob(z[:, 0]) + Normal(0.0, (z[:, 0] / 2).exp()).log_prob(z[:, 1])


def student(z: torch.Tensor) -> torch.Tensor:
    """Student's t with two degrees of freedom."""
    return torch.distributions.StudentT(torch.tensor(2.0).double()).log_prob(z[:, 0])


X = torch.tensor([0.3, 1.9, 1.1, 2.4, 0.7]).double()


def normal_normal(z: torch.Tensor) -> torch.Tensor:
    """z ~ N(0, 4), five x | z ~ N(z, 1)."""
    return Normal(0.0, 2.0).log_prob(z[:, 0]) + Normal(z, 1.0).log_prob(X).sum(-1)


def regression() -> tuple[torch.Tensor, torch.Tensor]:
    g = np.random.default_rng(0)
    a = np.c_[np.ones(30), g.normal(size=(30, 2))]
    return torch.from_numpy(a), torch.from_numpy(a @ [0.5, -1.0, 2.0] + 0.7 * g.normal(size=30))


A, Y = regression()


def linear(z: torch.Tensor) -> torch.Tensor:
    """Weights N(0, I), y | weights ~ N(A z, 0.7^2)."""
    return Normal(0.0, 1.0).log_prob(z).sum(-1) + Normal(z @ A.T, 0.7).log_prob(Y).sum(-1)


def covariance(q: vi.VI) -> torch.Tensor:
    return (q.factor @ q.factor.mT).detach()


@pytest.mark.parametrize("gradient", ["reparameterised", "score"])
def test_a_normal_mean_has_its_posterior_and_its_evidence(gradient: str) -> None:
    q = vi.fit(normal_normal, 1, steps=800, gradient=gradient)
    precision = 1 / 4 + len(X)
    assert float(q.mean.detach()) == pytest.approx(float(X.sum()) / precision, abs=1e-2)
    assert float(covariance(q)) == pytest.approx(1 / precision, abs=1e-2)
    truth = float(
        MultivariateNormal(torch.zeros(5).double(), torch.eye(5).double() + 4).log_prob(X)
    )
    for found in (q.bound(2000, seed=1), q.evidence(2000, seed=1)):
        assert float(found.value) == pytest.approx(truth, abs=3 * float(found.stderr) + 1e-6)


def test_linear_regression_has_its_posterior_and_its_evidence() -> None:
    q = vi.fit(linear, 3, steps=1500)
    cov = torch.linalg.inv(torch.eye(3).double() + A.T @ A / 0.49)
    assert torch.allclose(q.mean.detach(), cov @ A.T @ Y / 0.49, atol=1e-2)
    assert torch.allclose(covariance(q), cov, atol=1e-2)
    truth = float(
        MultivariateNormal(
            torch.zeros(30).double(), A @ A.T + 0.49 * torch.eye(30).double()
        ).log_prob(Y)
    )
    bound = q.bound(4000, seed=1)
    assert bound.kind is Kind.LOWER_BOUND
    assert float(bound.value) == pytest.approx(truth, abs=3 * float(bound.stderr) + 1e-6)
    assert float(bound.terms["joint"] + bound.terms["entropy"]) == pytest.approx(float(bound.value))
    assert q.pareto_k(4000, seed=1) < 0.5


def test_independent_entries_have_the_inverse_precisions_for_variances() -> None:
    q = vi.fit(correlated, 3, steps=1500, rank="diagonal", draws=512)
    exact = 1 / torch.linalg.inv(COV).diagonal()
    assert torch.allclose(q.mean.detach(), MEAN, atol=2e-2)
    assert torch.allclose(covariance(q), exact.diag(), rtol=2e-2, atol=1e-12)
    assert bool((exact < COV.diagonal()).all())  # known too well
    gap = 0.5 * (
        torch.linalg.slogdet(COV)[1] - exact.log().sum()
    )  # KL(q || p), Bishop 2006, section 10.1.2
    bound = q.bound(20_000, seed=1)
    assert float(bound.value) == pytest.approx(
        LOG_Z - float(gap), abs=3 * float(bound.stderr) + 1e-3
    )


def lecture(z: torch.Tensor) -> torch.Tensor:
    """z ~ N(0, 1), x | z ~ N(z, 1/4), x = 1.3."""
    return Normal(0.0, 1.0).log_prob(z[:, 0]) + Normal(z[:, 0], 0.5).log_prob(
        torch.tensor(1.3, dtype=torch.float64)
    )


def test_one_number_seen_once_has_its_posterior_its_evidence_and_its_gap() -> None:
    q = vi.fit(lecture, 1, steps=600, draws=512)
    assert float(q.mean.detach()) == pytest.approx(1.04, abs=1e-3)
    assert float(covariance(q)) == pytest.approx(0.2, abs=1e-3)
    assert float(q.bound(2000, seed=0).value) == pytest.approx(-1.70651, abs=1e-5)
    with torch.no_grad():
        q.mean.fill_(1.0), q.log_std.fill_(0.5 * math.log(0.3))
    bound = q.bound(200_000, seed=0)
    assert float(bound.value) == pytest.approx(-1.75778, abs=5 * float(bound.stderr))
    assert float(covariance(q)) == pytest.approx(0.3, abs=1e-9)
    gap = torch.distributions.kl_divergence(
        Normal(1.0, math.sqrt(0.3)), Normal(1.04, math.sqrt(0.2))
    )
    assert float(gap) == pytest.approx(0.051267, abs=1e-6)
    assert -1.70651 - float(bound.value) == pytest.approx(float(gap), abs=5 * float(bound.stderr))


def leaning(z: torch.Tensor) -> torch.Tensor:
    """Two standard normals of correlation 0.8."""
    return MultivariateNormal(
        torch.zeros(2).double(), torch.tensor([[1.0, 0.8], [0.8, 1.0]]).double()
    ).log_prob(z)


def test_independence_shrinks_each_variance_by_one_less_the_squared_correlation() -> None:
    q = vi.fit(leaning, 2, steps=1000, rank="diagonal", draws=256)
    assert covariance(q).diagonal().tolist() == pytest.approx([1 - 0.8**2] * 2, rel=0.01)


def test_the_bound_lies_below_the_evidence_whatever_q_is() -> None:
    q = build("vi", {"target": vi.name_of(correlated)}, vector(3)).double()
    bound, evidence = q.bound(20_000, seed=0), q.evidence(20_000, seed=0)
    assert float(bound.value) < LOG_Z - 1
    assert evidence.kind is Kind.ESTIMATE
    assert float(bound.value) < float(evidence.value)


def gradients(gradient: str, steps: int, draws: int = 16) -> torch.Tensor:
    """The gradient of the loss in (mean, log_std) away from the optimum, (steps, 6)."""
    options = {"target": vi.name_of(correlated), "rank": "diagonal", "gradient": gradient}
    q = build("vi", options, vector(3)).double()
    found = []
    for step in range(steps):
        loss = q(None, Noise(0, torch.arange(draws), step=step, dtype=torch.float64), "bound")[
            "bound"
        ].mean()
        found.append(torch.cat(torch.autograd.grad(loss, [q.mean, q.log_std])))
    return torch.stack(found)


@pytest.mark.slow
def test_both_gradients_have_one_mean_and_the_score_functions_varies_more() -> None:
    through, score = gradients("reparameterised", 2000), gradients("score", 2000)
    error = ((through.var(0) + score.var(0)) / 2000).sqrt()
    assert bool(((through.mean(0) - score.mean(0)).abs() < 4 * error).all())
    precision = torch.linalg.inv(COV)
    exact = torch.cat(
        [-precision @ MEAN, precision.diagonal() - 1]
    )  # of E_q[-log p] - H[q] at m = 0, s = 1
    assert bool(((through.mean(0) - exact).abs() < 4 * (through.var(0) / 2000).sqrt() + 1e-9).all())
    ratio = float(score.var(0).sum() / through.var(0).sum())
    assert ratio > 3, ratio


@pytest.mark.slow
def test_k_is_low_where_q_is_right_and_high_where_tails_are_heavier() -> None:
    assert vi.fit(correlated, 3, steps=600).pareto_k(10_000, seed=0) < 0.5
    assert vi.fit(funnel, 2, steps=600).pareto_k(10_000, seed=0) > 0.7
    assert vi.fit(student, 1, steps=600).pareto_k(10_000, seed=0) > 0.7


def bounded(z: torch.Tensor) -> torch.Tensor:
    """A chance of 7 in 10 tries, Beta(2, 2) before; a rate of Gamma(6, 4); what lies below 5, t^4 exp(-t^2)."""
    p, rate, below = z.T
    chance = Beta(2.0, 2.0).log_prob(p) + Binomial(10, p).log_prob(torch.tensor(7.0))
    return chance + Gamma(6.0, 4.0).log_prob(rate) + 4 * (5 - below).log() - (5 - below) ** 2


PLACES = vector(
    3, (Real(lower=0, upper=1), Real(lower=0), Real(upper=5)), names=("p", "rate", "below")
)


@pytest.mark.slow
def test_bounds_are_kept_and_the_evidence_is_that_of_quadrature() -> None:
    q = vi.fit(bounded, PLACES, steps=1500, rank="diagonal")
    z = q.sample(4000, seed=0).x
    assert bool(((z[:, 0] > 0) & (z[:, 0] < 1) & (z[:, 1] > 0) & (z[:, 2] < 5)).all())
    chance = special.beta(9, 5) / special.beta(2, 2) * special.comb(10, 7)
    truth = math.log(chance) + math.log(
        integrate.quad(lambda t: t**4 * math.exp(-t * t), 0, np.inf)[0]
    )
    bound, evidence = q.bound(20_000, seed=1), q.evidence(20_000, seed=1)
    assert evidence.k < 0.7
    assert float(evidence.value) == pytest.approx(truth, abs=4 * float(evidence.stderr) + 1e-3)
    assert truth - 0.15 < float(bound.value) < truth
    w = q.weighted(20_000, seed=1)
    means = (w.x * w.log_weight.softmax(0)).sum(0)
    assert float(means[0]) == pytest.approx(stats.beta(9, 5).mean(), abs=0.01)
    assert float(means[1]) == pytest.approx(1.5, abs=0.05)


def test_q_is_a_density_in_the_users_units() -> None:
    q = vi.fit(bounded, PLACES, steps=200)
    one = build("vi", {"target": "a:b"}, vector(1, Real(lower=0, upper=2))).double()
    grid = torch.linspace(0, 2, 20_001).double()[1:-1, None]
    assert float(one.log_prob(grid).value.exp().sum()) * 1e-4 == pytest.approx(1, abs=1e-6)
    drawn = q.sample(500, seed=3)
    u = scoring.to_model_units(q, drawn.batch, Noise(0, torch.arange(500)))[0].x
    joint = q.log_joint(u).detach() - MultivariateNormal(q.mean.detach(), covariance(q)).log_prob(u)
    direct = bounded(drawn.x) - q.log_prob(drawn).value
    assert torch.allclose(joint, direct, atol=1e-8)
    assert float(q.bound(500, seed=3).value) == pytest.approx(
        float(direct.mean()), abs=1e-8
    )  # the very same draws


def test_holes_and_completions_are_those_of_the_gaussian() -> None:
    q = vi.fit(correlated, 3, steps=1000)
    x = torch.tensor([[0.4, math.nan, math.nan]]).double()
    assert float(q.log_prob(x.numpy()).value) == pytest.approx(
        float(Normal(1.0, 1.0).log_prob(x[0, 0])), abs=1e-3
    )
    drawn = q.complete(x.numpy(), n=4000, seed=0).x[:, 0]
    mean = MEAN[1:] + COV[1:, 0] * (0.4 - 1)
    cov = COV[1:, 1:] - torch.outer(COV[1:, 0], COV[0, 1:])
    assert torch.allclose(drawn[:, 1:].mean(0), mean, atol=0.08)
    assert torch.allclose(drawn[:, 1:].T.cov(), cov, atol=0.1)
    mode = q.mode(x.numpy())
    assert mode.kind is Kind.EXACT
    assert torch.allclose(mode.x[0, 1:], mean, atol=5e-3)


def test_it_is_saved_by_the_name_of_its_density(tmp_path) -> None:
    q = vi.fit(correlated, 3, steps=50)
    again = lk.open(q.save(tmp_path / "named"))
    assert again.config.target.endswith("test_vi:correlated")
    assert float(again.bound(100, seed=0).value) == float(q.bound(100, seed=0).value)
    by_hand = lk.open(vi.fit(lambda z: correlated(z) + 0, 3, steps=50).save(tmp_path / "nameless"))
    assert torch.equal(by_hand.sample(5, seed=0).x, q.sample(5, seed=0).x)  # q needs no density
    with pytest.raises(BadConfig, match=r"register_density.*put the function in model\.density"):
        by_hand.bound(100)
    by_hand.density = correlated
    assert float(by_hand.bound(100, seed=0).value) == float(q.bound(100, seed=0).value)


# ---- names: a saved model imports nothing --------------------------------------------------------


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """The name of a density in a module that leaves a file when it is imported, and another one when it is called."""
    traces = tmp_path / "traces"
    traces.mkdir()
    (tmp_path / "planted_density.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(traces)!r}, 'imported').touch()\n"
        "def density(z):\n"
        f"    Path({str(traces)!r}, 'called').touch()\n"
        "    return -z.square().sum(-1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "planted_density:density", lambda: sorted(p.name for p in traces.iterdir())
    sys.modules.pop("planted_density", None)
    vi.DENSITIES.pop("planted_density:density", None)


def stranger(name: str, folder) -> vi.VI:
    """A saved q whose config names a density that nobody here has registered, opened."""
    return lk.open(build("vi", {"target": name}, vector(2)).double().save(folder))


def test_a_saved_q_answers_and_imports_nothing(tmp_path, planted) -> None:
    name, traces = planted
    q = stranger(name, tmp_path / "run")
    drawn = q.sample(5, seed=0)
    assert torch.isfinite(q.log_prob(drawn).value).all()
    assert q.mode().x.shape == (1, 2)
    assert torch.isfinite(q.complete(np.array([[0.5, math.nan]]), n=3, seed=0).x).all()
    q.graph()
    assert (traces(), "planted_density" in sys.modules) == ([], False)


@pytest.mark.parametrize(
    "needs",
    [
        lambda q: q.bound(10),
        lambda q: q.evidence(10),
        lambda q: q.weighted(10),
        lambda q: q.pareto_k(10),
        lambda q: q.density,
        lambda q: Run(q, None, 1, 0).fit(),
    ],
)
def test_what_needs_an_unregistered_density_is_refused_and_imports_nothing(
    tmp_path, planted, needs
) -> None:
    name, traces = planted
    q = stranger(name, tmp_path / "run")
    with pytest.raises(BadConfig, match="no density is registered as 'planted_density:density'"):
        needs(q)
    assert (traces(), "planted_density" in sys.modules) == ([], False)


def test_a_fit_in_python_does_not_import_what_its_options_name(planted) -> None:
    name, traces = planted
    with pytest.raises(BadConfig, match="register_density"):
        lk.fit(
            "vi",
            np.random.default_rng(0).normal(size=(20, 2)),
            target=name,
            budget=2,
            holdout=0,
            progress=False,
        )
    assert (traces(), "planted_density" in sys.modules) == ([], False)


def test_a_registered_density_is_asked_under_its_name(tmp_path, planted) -> None:
    name, _ = planted
    q = stranger(name, tmp_path / "run")
    assert vi.register_density(leaning, name) is leaning
    assert torch.equal(q.density(torch.ones(3, 2).double()), leaning(torch.ones(3, 2).double()))
    assert q.bound(100, seed=0).value.isfinite()


def test_a_fit_registers_functions_of_modules_and_nothing_whose_name_could_be_anothers() -> None:
    before = set(vi.DENSITIES)
    for function in (lambda z: 2 * leaning(z), partial(leaning), Wrapped()):
        vi.fit(function, 2, steps=1)
    assert set(vi.DENSITIES) == before
    vi.fit(leaning, 2, steps=1)
    assert vi.DENSITIES[vi.name_of(leaning)] is leaning


class Wrapped:
    """A density with data of its own."""

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        return leaning(z)


def test_what_is_no_function_is_not_registered() -> None:
    with pytest.raises(BadConfig, match="is no function"):
        vi.register_density(3.0, "three")
    assert "three" not in vi.DENSITIES


def test_runs_and_rows_of_one_seed_agree() -> None:
    q = build("vi", {"target": vi.name_of(correlated)}, vector(3)).double()
    Run(q, None, 50, 3).fit()
    other = vi.fit(correlated, 3, steps=50, seed=3)
    assert all(
        torch.equal(a, b)
        for a, b in zip(q.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert (q.count(), build("vi", {"target": "a:b", "rank": "diagonal"}, vector(3)).count()) == (
        9,
        6,
    )


@pytest.mark.parametrize("name", sorted(SPACES))
def test_data_alone_are_refused(name: str) -> None:
    answer = family("vi").accepts(family("vi").Config(), SPACES[name]())
    assert not answer
    assert "target=package.module:function" in answer.why


@pytest.mark.parametrize(
    ("space", "given", "words"),
    [
        (vector(2, Nominal(categories=3)), None, "sum discrete unknowns out"),
        (vector(2, Real(resolution=0.1)), None, "vector of reals"),
        (series(2, 5), None, "vector of reals"),
        (vector(2), label(2), "without `given`"),
    ],
)
def test_spaces_are_refused_with_what_to_do(space, given, words: str) -> None:
    assert words in family("vi").accepts(family("vi").Config(target="a:b"), space, given).why


def test_densities_that_are_none_are_told_of() -> None:
    with pytest.raises(BadConfig, match="one log-density a row"):
        vi.fit(lambda z: -z.square(), 2, steps=1)
    with pytest.raises(LikenessError, match="phase 'bound'"):
        vi.fit(lambda z: z.sum(-1) * math.nan, 2, steps=1)
