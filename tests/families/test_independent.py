"""A product of marginals: exact counts, histograms, and the published numbers on digits."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import likeness as lk
import likeness.routes
from likeness import registry
from likeness.core.batch import Batch
from likeness.core.space import Nominal, Real, binary, label, vector
from likeness.data.source import Table
from likeness.learn.run import Run


def digits() -> tuple[Table, torch.Tensor]:
    x = (load_digits().data >= 8).astype(float)
    order = np.random.default_rng(0).permutation(1797)
    return Table(vector(64, binary()), Batch(torch.tensor(x[order[:1400]]))), torch.tensor(
        x[order[1400:]]
    )


def fit(data: Table, **options):
    registry.load_all()
    return Run(
        registry.build("independent", options, data.space, data.given_space).double(), data, 100
    ).fit()


def test_independent_pixels_of_digits() -> None:
    train, test = digits()
    lp = fit(train).log_prob(test)
    assert float(lp.bits_per_dim.mean()) == pytest.approx(0.569, abs=5e-4)
    assert lp.mean().value == pytest.approx(-25.26, abs=5e-3)
    assert lp.mean().stderr == pytest.approx(0.20, abs=5e-3)


def test_counts_with_one_added() -> None:
    x = torch.tensor([[0.0], [0.0], [1.0], [3.0]])
    model = fit(Table(vector(1, Nominal(categories=4)), Batch(x)))
    p = model.log_prob(torch.arange(4.0)[:, None]).value.exp()
    assert torch.allclose(p, torch.tensor([3, 2, 1, 2]).double() / 8, rtol=0, atol=1e-9)


def test_a_product_for_each_class_is_naive_bayes() -> None:
    from sklearn.naive_bayes import BernoulliNB

    train, test = digits()
    y = torch.tensor(
        load_digits().target[np.random.default_rng(0).permutation(1797)][:1400, None]
    ).double()
    labelled = Table(train.space, Batch(train.batch.x, given=Batch(y)), label(10))
    prior = np.full(10, 0.1)
    peer = BernoulliNB(alpha=1.0, class_prior=prior).fit(train.batch.x.numpy(), y[:, 0].numpy())
    mine = fit(labelled).classify(test, prior=prior).probabilities
    assert np.allclose(mine.numpy(), peer.predict_proba(test.numpy()), rtol=0, atol=1e-6)


def test_given_a_vector_parameters_are_linear_in_it() -> None:
    g = torch.Generator().manual_seed(0)
    s = torch.randn(2000, 1, generator=g, dtype=torch.float64)
    x = 2 * s + 1 + 0.5 * torch.randn(2000, 1, generator=g, dtype=torch.float64)
    model = fit(Table(vector(1), Batch(x, given=Batch(s)), vector(1)))
    truth = torch.distributions.Normal(2 * s + 1, 0.5).log_prob(x).mean()
    assert float(model.log_prob(x, given=s).value.mean()) == pytest.approx(float(truth), abs=0.01)


def test_a_missing_condition_is_one_of_those_of_all_rows() -> None:
    """Not of the first ones: files may be sorted by it."""
    source = np.random.default_rng(0)
    given = np.sort(source.normal(size=4000) * 5)[:, None]
    x = given + source.normal(size=(4000, 1))
    model = lk.fit("independent", (x, given), progress=False, holdout=0)
    expected = -0.5 * np.log(2 * np.pi * np.e * 26)  # x is N(0, 26)
    assert float(model.log_prob(x).value.mean()) == pytest.approx(expected, abs=0.1)
    drawn = model.sample(4000, seed=0).x
    assert float(drawn.mean()) == pytest.approx(0, abs=0.5)
    assert float(drawn.std()) == pytest.approx(26**0.5, rel=0.1)


@pytest.mark.parametrize("bounds", [(0.0, None), (None, 0.0), (0.0, 1.0)])
def test_bounds_are_kept_and_the_mass_within_them_is_one(bounds) -> None:
    lower, upper = bounds
    space = vector(1, Real(lower=lower, upper=upper))
    u = torch.rand(2000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = u**2 if upper == 1 else -u.log() if upper is None else u.log()
    x[:5] = 0.0  # values at the bound itself
    model = fit(Table(space, Batch(x)))
    drawn = model.sample(20_000, seed=0).x
    assert lower is None or float(drawn.min()) >= lower
    assert upper is None or float(drawn.max()) <= upper
    grid = torch.linspace(
        -40 if lower is None else lower, 40 if upper is None else upper, 400_001
    ).double()[:, None]
    p = model.log_prob(grid).value.exp()
    assert float(torch.trapezoid(p, grid[:, 0])) == pytest.approx(1, abs=2e-3)
    values, held = drawn[:, 0].sort().values, x[:, 0].sort().values  # two samples of one law
    share = torch.searchsorted(held, values).double() / 2000
    assert float((share - torch.arange(20_000) / 20_000).abs().max()) < 0.03


@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_a_label_given_features_is_multinomial_logistic_regression(strength: float) -> None:
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression

    x, y = load_wine(return_X_y=True)
    z, n = (x - x.mean(0)) / x.std(0), len(y)
    features = vector(x.shape[1])
    data = Table(
        label(3), Batch(torch.tensor(y[:, None]).double(), given=Batch(torch.tensor(x))), features
    )
    registry.load_all()
    model = registry.build(
        "independent", {"l2": 1 / (strength * n), "iterations": 2000}, label(3), features
    ).double()
    model = Run(model, data, 2000).fit()
    theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(z, y).predict_proba(z)
    mine = np.stack(
        [model.log_prob(np.full((n, 1), k), given=x).value.exp().numpy() for k in range(3)], 1
    )
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
