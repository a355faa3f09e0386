"""Probabilistic PCA and factor analysis against scikit-learn, dense Gaussians and closed forms."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA, FactorAnalysis

import likeness as lk
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.errors import LikenessError
from likeness.core.space import label, vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.numerics import gaussian
from likeness.registry import build, load_all

load_all()


def fit(x, given=None, given_space=None, **options):
    space = vector(x.shape[1])
    batch = as_batch(space, x)
    condition = None if given is None else as_batch(given_space, given)
    data = Table(space, Batch(batch.x, batch.observed, given=condition), given_space)
    return Run(build("pca", options, space, given_space).double(), data, 2000).fit()


def low_rank(n: int = 400, d: int = 6, q: int = 2, seed: int = 0) -> np.ndarray:
    g = np.random.default_rng(seed)
    return (
        g.normal(size=(n, q)) @ g.normal(size=(q, d))
        + 0.3 * g.normal(size=(n, d)) * np.arange(1, d + 1)
        + 2.0
    )


def holed(x: np.ndarray, share: float = 0.3, seed: int = 1) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(x.shape) < share, np.nan, x)


def covariance(model) -> torch.Tensor:
    """Of x in data units."""
    scale = model.preprocessor.scale
    return (model.weight @ model.weight.T + torch.diag(model.psi)) * scale[:, None] * scale


def test_the_subspace_and_the_noise_are_those_of_principal_component_analysis() -> None:
    x = load_wine().data
    mine, theirs = fit(x, components=3, scale=False), PCA(3).fit(x)
    directions = mine.weight.T / mine.weight.norm(dim=0)[:, None]
    overlap = (directions @ torch.tensor(theirs.components_.T)).abs()
    assert torch.allclose(overlap, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-6)
    rows = len(x)  # scikit-learn divides by one row less, as maximum likelihood does not
    dense = torch.tensor(theirs.get_covariance()) * (rows - 1) / rows
    assert torch.allclose(covariance(mine), dense, rtol=1e-6, atol=1e-6)
    likeliest = torch.distributions.MultivariateNormal(torch.tensor(x.mean(0)), dense)
    assert torch.allclose(
        mine.log_prob(x).value, likeliest.log_prob(torch.tensor(x)), rtol=0, atol=1e-6
    )


def test_two_directions_of_irises_hold_all_but_a_fiftieth_of_the_variance() -> None:
    x = load_iris().data
    model, theirs = fit(x, components=2, scale=False), PCA(2).fit(x)
    variances = torch.linalg.eigvalsh(covariance(model)).flip(0)
    explained = float(variances[:2].sum() / variances.sum())
    assert explained == pytest.approx(0.97769, abs=5e-6)
    assert explained == pytest.approx(theirs.explained_variance_ratio_.sum(), abs=1e-9)


def test_factor_analysis_reaches_scikit_learns_likelihood() -> None:
    x = load_wine().data
    z = (x - x.mean(0)) / x.std(0)
    theirs = FactorAnalysis(3, tol=1e-9, max_iter=5000).fit(z)
    mine = fit(x, components=3, noise="diagonal", passes=2000, tolerance=1e-9)
    assert float(mine.log_prob(x).value.mean()) == pytest.approx(
        theirs.score(z) - np.log(x.std(0)).sum(), abs=1e-6
    )
    assert torch.allclose(mine.psi, torch.tensor(theirs.noise_variance_), rtol=0, atol=1e-3)


@pytest.mark.parametrize("noise", ["isotropic", "diagonal"])
def test_density_posterior_and_completion_are_those_of_the_dense_gaussian(noise) -> None:
    x = low_rank()
    model, rows = fit(x, components=2, noise=noise), holed(x[:40])
    shift, scale = model.preprocessor.shift, model.preprocessor.scale
    mean, cov = shift + scale * model.mean[0], covariance(model)
    batch = as_batch(vector(6), rows)
    known = batch.present
    dense = gaussian.log_density(batch.x.double(), mean, cov, known)
    assert torch.allclose(model.log_prob(rows).value, dense, rtol=0, atol=1e-8)
    filled = gaussian.conditional_mean(batch.x.double(), mean, cov, known)
    assert torch.allclose(model.mode(rows).x, filled, rtol=0, atol=1e-6)
    code = model.encode(rows)
    for i in (0, 7):
        o = known[i]
        gain = (model.weight * scale[:, None])[o].T @ torch.linalg.inv(cov[o][:, o])
        loc = gain @ (batch.x[i, o].double() - mean[o])
        left = torch.eye(2, dtype=torch.float64) - gain @ (model.weight * scale[:, None])[o]
        assert torch.allclose(code.loc[i], loc, rtol=0, atol=1e-7)
        assert torch.allclose(code.factor[i] @ code.factor[i].T, left, rtol=0, atol=1e-7)
    assert code.kind is Kind.EXACT


def test_draws_of_what_is_hidden_have_the_conditionals_mean_and_covariance() -> None:
    model = fit(low_rank(), components=2, noise="diagonal")
    row, n = np.array([[1.0, np.nan, 3.0, np.nan, np.nan, 2.0]]), 20_000
    drawn = model.complete(row, n=n, seed=0)
    assert drawn.kind is Kind.EXACT
    mean, cov = (
        model.preprocessor.shift + model.preprocessor.scale * model.mean[0],
        covariance(model),
    )
    o, h = [0, 2, 5], [1, 3, 4]
    gain = cov[h][:, o] @ torch.linalg.inv(cov[o][:, o])
    want, left = (
        mean[h] + gain @ (torch.tensor(row[0, o]) - mean[o]),
        cov[h][:, h] - gain @ cov[o][:, h],
    )
    got = drawn.x[:, 0, h]
    assert ((got.mean(0) - want).abs() < 5 * (left.diagonal() / n).sqrt()).all()
    assert torch.allclose(
        torch.cov(got.T), left, rtol=0.1, atol=0.05 * float(left.diagonal().max())
    )


def test_em_with_holes_never_falls_and_finds_the_law_that_the_whole_rows_have() -> None:
    x = low_rank(4000)
    space = vector(6)
    batch = as_batch(space, holed(x))
    run = Run(
        build("pca", {"components": 2, "noise": "diagonal"}, space).double(),
        Table(space, batch),
        2000,
    )
    model = run.fit()
    heights = [e.terms["objective"] for e in run.events]
    assert all(b >= a - 1e-9 for a, b in pairwise(heights))
    whole = fit(x, components=2, noise="diagonal")
    assert torch.allclose(covariance(model), covariance(whole), rtol=0.1, atol=0.25)
    spaced = lk.fit("gaussian", holed(x), holdout=0)
    gap = model.log_prob(holed(x)).value - spaced.log_prob(holed(x)).value
    assert (
        -0.02 < float(gap.mean()) <= 1e-6
    )  # 2 directions are the truth; any covariance can only be likelier


def test_directions_are_sorted_and_turned_the_same_way_however_they_were_found() -> None:
    model = fit(low_rank(), components=3, noise="diagonal")
    inside = model.weight / model.psi.sqrt()[:, None]
    gram = inside.T @ inside
    assert torch.allclose(gram, torch.diag(gram.diagonal()), rtol=0, atol=1e-8)
    assert (gram.diagonal().diff() < 0).all()
    assert (model.weight.gather(0, model.weight.abs().argmax(0, keepdim=True)) > 0).all()


def test_a_label_moves_the_mean_and_classes_follow_by_bayes_rule() -> None:
    x, y = load_iris(return_X_y=True)
    model = fit(x, y[:, None], label(3), components=3)
    for k in range(3):
        mean = model.preprocessor.shift + model.preprocessor.scale * model.mean[k]
        assert torch.allclose(mean, torch.tensor(x[y == k].mean(0)), rtol=0, atol=1e-8)
    assert float((model.classify(x).probabilities.argmax(-1).numpy() == y).mean()) > 0.95
    each = torch.stack(
        [model.log_prob(x, given=np.full((150, 1), float(k))).value for k in range(3)], -1
    )
    prior = torch.full((3,), 1 / 3, dtype=torch.float64)
    assert torch.allclose(
        model.log_prob(x).value, (each + prior.log()).logsumexp(-1), rtol=0, atol=1e-9
    )


def test_a_given_vector_is_conditioned_on() -> None:
    x = low_rank(d=5)
    model = fit(x[:, :3], x[:, 3:], vector(2), components=2, noise="diagonal")
    v = torch.tensor(x)
    scale = torch.cat([model.preprocessor.scale, model.joined.summary.std.double()])
    shift = torch.cat([model.preprocessor.shift, model.joined.summary.mean.double()])
    cov = (model.weight @ model.weight.T + torch.diag(model.psi)) * scale[:, None] * scale
    mean = shift + scale * model.mean[0]
    both = gaussian.log_density(v, mean, cov)
    given = gaussian.log_density(v[:, 3:], mean[3:], cov[3:, 3:])
    assert torch.allclose(
        model.log_prob(x[:, :3], given=x[:, 3:]).value, both - given, rtol=0, atol=1e-4
    )
    assert torch.allclose(model.log_prob(x[:, :3]).value, gaussian.log_density(v[:, :3], mean[:3], cov[:3, :3]),
                          rtol=0, atol=1e-4)  # fmt: skip


def test_more_directions_fill_in_hidden_pixels_better_than_their_means() -> None:
    x = load_digits().data[:, 8:56]
    rows, test = holed(x[1500:], 0.5), x[1500:]
    hidden = np.isnan(rows)

    def error(filled: np.ndarray) -> float:
        return float(np.square(filled - test)[hidden].mean())

    few, many = (
        error(fit(x[:1500], components=q, scale=False).mode(rows).x.numpy()) for q in (2, 12)
    )
    plain = error(np.broadcast_to(x[:1500].mean(0), test.shape))
    assert few < 0.85 * plain
    assert many < 0.75 * few


def test_parameters_are_counted_without_the_rotations_that_change_nothing() -> None:
    assert fit(low_rank(), components=2).count() == 6 + 6 * 2 - 1 + 1
    assert fit(low_rank(), components=2, noise="diagonal").count() == 6 + 6 * 2 - 1 + 6


def test_one_column_and_named_categories_are_refused_with_the_way_out() -> None:
    with pytest.raises(LikenessError, match="take `gaussian`"):
        lk.fit("pca", low_rank()[:, :1])
    with pytest.raises(LikenessError, match="take `mixture`"):
        lk.fit("pca", lk.load(np.array([["a", "b"], ["b", "a"], ["a", "a"]] * 9, dtype=object)))
