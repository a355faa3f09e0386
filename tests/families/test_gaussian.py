"""One Gaussian against closed forms and scikit-learn."""

import math

import numpy as np
import pytest
import torch

import likeness as lk
import likeness.routes
from likeness import registry
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.space import Real, label, vector
from likeness.data.source import Table
from likeness.learn.run import Run

HEIGHTS = [1.6, 1.7, 1.65, 1.63, 1.75, 1.71, 1.68, 1.72, 1.77, 1.62]


def fit(x, given=None, given_space=None, **options):
    registry.load_all()
    space = vector(x.shape[1])
    batch = as_batch(space, x)
    condition = None if given is None else as_batch(given_space, given)
    data = Table(space, Batch(batch.x, batch.observed, given=condition), given_space)
    return Run(registry.build("gaussian", options, space, given_space).double(), data, 200).fit()


def draws(n: int = 400, d: int = 4, seed: int = 0) -> np.ndarray:
    g = np.random.default_rng(seed)
    return g.normal(size=(n, d)) @ g.normal(size=(d, d)) * 3 + 5


def test_heights_have_their_maximum_likelihood() -> None:
    model = fit(np.array(HEIGHTS)[:, None])
    lp = model.log_prob(np.array(HEIGHTS)[:, None])
    assert lp.kind is Kind.EXACT
    assert float(lp.value.sum()) == pytest.approx(14.98976, abs=1e-5)
    assert float(lp.value.sum()) == pytest.approx(lp.mean().n * lp.mean().value, abs=1e-12)
    assert str(lp.mean()).startswith("1.4990 ± ")
    assert str(lp.mean()).endswith(" nats a row, the mean of 10 (exact)")
    assert float(model.preprocessor.shift) == pytest.approx(1.683, abs=1e-12)
    assert float(model.preprocessor.scale**2 * model.cov) == pytest.approx(0.00292100, rel=1e-6)


def test_the_density_of_heights_is_torchs_and_has_mass_one() -> None:
    model = fit(np.array(HEIGHTS)[:, None])
    grid = torch.linspace(1.683 - 0.6, 1.683 + 0.6, 4001, dtype=torch.float64)[:, None]
    p = model.log_prob(grid).value
    law = torch.distributions.Normal(
        *torch.tensor([1.683, math.sqrt(0.002921)], dtype=torch.float64)
    )
    assert torch.allclose(p, law.log_prob(grid[:, 0]), rtol=0, atol=1e-7)
    assert float(torch.trapezoid(p.exp(), grid[:, 0])) == pytest.approx(1, abs=1e-9)


def test_density_is_the_closed_form() -> None:
    x = draws()
    truth = torch.distributions.MultivariateNormal(
        torch.tensor(x.mean(0)), torch.tensor(np.cov(x.T, bias=True))
    )
    assert torch.allclose(
        fit(x).log_prob(x).value, truth.log_prob(torch.tensor(x)), rtol=0, atol=1e-6
    )


def test_scaling_shifts_log_p_by_the_log_of_the_scale() -> None:
    x = draws()
    a, b = fit(x).log_prob(x).value, fit(7 * x - 2).log_prob(7 * x - 2).value
    assert torch.allclose(a - 4 * math.log(7), b, rtol=0, atol=1e-8)


def test_own_covariances_classify_as_quadratic_discriminant_analysis() -> None:
    from sklearn.datasets import load_iris
    from sklearn.discriminant_analysis import (
        LinearDiscriminantAnalysis,
        QuadraticDiscriminantAnalysis,
    )

    x, y = load_iris(return_X_y=True)
    prior = [1 / 3] * 3
    qda = QuadraticDiscriminantAnalysis(priors=prior).fit(x, y)
    mine = fit(x, y[:, None], label(3), classes="own")
    assert np.allclose(
        mine.classify(x, prior=prior).probabilities.numpy(), qda.predict_proba(x), rtol=0, atol=1e-6
    )
    lda = LinearDiscriminantAnalysis(solver="lsqr", priors=prior).fit(x, y)
    shared = fit(x, y[:, None], label(3))
    assert np.allclose(
        shared.classify(x, prior=prior).probabilities.numpy(),
        lda.predict_proba(x),
        rtol=0,
        atol=1e-6,
    )


def test_a_given_vector_is_conditioned_on_and_integrated_out_where_missing() -> None:
    x = draws(d=5)
    model, joint = fit(x[:, :3], x[:, 3:], vector(2)), fit(x)
    both = (
        joint.log_prob(x).value
        - joint.log_prob(as_batch(vector(5), x).hide(torch.tensor([1, 1, 1, 0, 0]).bool())).value
    )
    assert torch.allclose(model.log_prob(x[:, :3], given=x[:, 3:]).value, both, rtol=0, atol=1e-6)
    hidden = as_batch(vector(5), x).hide(torch.tensor([0, 0, 0, 1, 1]).bool())
    assert torch.allclose(
        model.log_prob(x[:, :3]).value, joint.log_prob(hidden).value, rtol=0, atol=1e-6
    )


def test_completion_follows_the_conditional() -> None:
    x = draws()
    model = fit(x)
    row = np.array([[x[0, 0], np.nan, np.nan, x[0, 3]]])
    drawn = model.complete(row, n=20000, seed=0)
    assert drawn.kind is Kind.EXACT
    mean, cov = torch.tensor(x.mean(0)), torch.tensor(np.cov(x.T, bias=True))
    o, h = [0, 3], [1, 2]
    gain = cov[h][:, o] @ torch.linalg.inv(cov[o][:, o])
    want = mean[h] + gain @ (torch.tensor(x[0, o]) - mean[o])
    left = cov[h][:, h] - gain @ cov[o][:, h]
    got = drawn.x[:, 0, h]
    assert ((got.mean(0) - want).abs() < 5 * (left.diagonal() / 20000).sqrt()).all()
    assert torch.allclose(
        torch.cov(got.T), left, rtol=0.1, atol=0.05 * float(left.diagonal().max())
    )
    assert torch.allclose(model.mode(row).x[0, h], want, rtol=0, atol=1e-6)
    assert torch.equal(drawn.x[:, 0, o], torch.tensor(x[0, o]).expand(20000, 2))


def test_shrinkage_pulls_to_the_mean_variance() -> None:
    cov = fit(draws(), shrinkage=1.0).cov[0]
    assert torch.allclose(cov, torch.eye(4, dtype=torch.float64) * cov[0, 0], rtol=0, atol=1e-12)


def test_draws_without_a_condition_tell_the_classes_that_they_were_drawn_with() -> None:
    """Mean of each column within a class as in the data, shares of classes too; the frame holds all columns."""
    classes = np.repeat([0, 1, 2], [200, 300, 500])
    x = draws(1000, 2) * 0.1 + 10.0 * classes[:, None]
    model = fit(x, classes[:, None], label(3))
    drawn = model.sample(3000, seed=0)
    told = drawn.batch.given.x[:, 0].numpy()
    for k in range(3):
        share, mean = (told == k).mean(), drawn.x.numpy()[told == k].mean(0)
        assert share == pytest.approx((classes == k).mean(), abs=0.04)
        np.testing.assert_allclose(mean, x[classes == k].mean(0), atol=0.5)
    frame = drawn.to_pandas()
    assert len(frame.columns) == 3
    assert (frame.iloc[:, 2].astype(int) == told).all()
    some = model.sample(2, given=np.array([[2.0], [0.0]]), seed=1).to_pandas()
    assert some.iloc[:, 2].astype(int).tolist() == [2, 0, 2, 0]


def test_rows_without_a_class_belong_to_the_class_that_they_look_like() -> None:
    source = np.random.default_rng(0)
    classes = (source.random(2000) < 0.5).astype(float)
    x = source.normal(size=(2000, 1)) + np.where(classes == 1, 10.0, -10.0)[:, None]
    told = np.where(source.random(2000) < 0.5, classes, np.nan)[:, None]
    model = fit(x, told, label(2))
    for k, middle in ((0.0, -10.0), (1.0, 10.0)):
        drawn = model.sample(2000, given=np.array([[k]]), seed=0).x
        assert float(drawn.mean()) == pytest.approx(middle, abs=0.15)
        assert float(drawn.std()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("family", ["gaussian", "mixture", "flow"])
def test_rounded_values_are_drawn_where_the_data_have_them(family) -> None:
    source = np.random.default_rng(0)
    x = np.stack(
        [2.0 * source.integers(0, 60, 500) + 1, 0.05 + 0.1 * source.integers(-9, 9, 500)], -1
    )
    space = vector(2, (Real(resolution=2.0), Real(resolution=0.1)))
    options = {"budget": 3} if family == "flow" else {"budget": 20}
    drawn = (
        lk.fit(family, lk.load(x, space=space), progress=False, **options)
        .sample(300, seed=0)
        .x.double()
    )
    off = (drawn - torch.tensor([1.0, 0.05])) / torch.tensor([2.0, 0.1])
    assert float((off - off.round()).abs().max()) < 1e-4


def test_many_numbers_are_drawn_by_one_product() -> None:
    """A thousand draws of 400 numbers would take 1.3 GB if every row had a matrix of its own."""
    model = fit(draws(900, 400))
    x = model.sample(4000, seed=0).x
    expected = model.preprocessor.scale[0] ** 2 * model.cov[0, 0, 0]
    assert float(x[:, 0].var()) == pytest.approx(float(expected), rel=0.15)


def test_a_bound_asked_twice_is_the_same_and_new_draws_are_new():
    """Rounded values are scored within their cells by draws: those of seed 0 where none is named."""
    rows = np.random.default_rng(0).integers(0, 40, size=(300, 2))
    model = lk.fit("gaussian", rows, holdout=0.0, progress=False)
    first, again, other = (model.log_prob(rows[:9], seed=seed) for seed in (None, None, 1))
    assert first.kind is Kind.LOWER_BOUND
    assert torch.equal(first.value, again.value)
    assert first.seed == 0
    assert not torch.equal(first.value, other.value)
    assert not torch.equal(model.sample(9).x, model.sample(9).x)


@pytest.mark.parametrize("family", ["gaussian", "mixture", "kde", "pca"])
@pytest.mark.parametrize("factor", [1e-150, 1e-60, 1e-6, 1e60])
def test_other_units_move_log_p_by_their_logarithm(family, factor):
    x = np.random.default_rng(0).normal(size=(200, 2))
    how = {"budget": "5 steps", "progress": False}
    base = float(lk.fit(family, x, **how).log_prob(x).value.mean())
    moved = float(lk.fit(family, x * factor, **how).log_prob(x * factor).value.mean())
    assert moved + 2 * math.log(factor) == pytest.approx(base, abs=1e-6)
