"""Discriminant analysis against scikit-learn, closed forms and quadrature."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import likeness as lk
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.errors import LikenessError
from likeness.core.space import label, vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.registry import build, load_all

load_all()


def fit(x, y, space=None, classes=None, **options):
    space, given_space = space or vector(x.shape[1]), label(classes or int(np.nanmax(y)) + 1)
    batch, condition = (
        as_batch(space, x),
        as_batch(given_space, np.asarray(y, dtype=float)[:, None]),
    )
    data = Table(space, Batch(batch.x, batch.observed, given=condition), given_space)
    return Run(build("discriminant", options, space, given_space).double(), data, 300).fit()


def shares(y) -> list[float]:
    return (np.bincount(y) / len(y)).tolist()


PEERS = {
    "lda": lambda prior: LinearDiscriminantAnalysis(solver="lsqr", priors=prior),
    "qda": lambda prior: QuadraticDiscriminantAnalysis(priors=prior),
    "naive": lambda prior: GaussianNB(priors=prior, var_smoothing=0),
}


@pytest.mark.parametrize("kind", sorted(PEERS))
@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_posteriors_are_scikit_learns(kind, load) -> None:
    x, y = load(return_X_y=True)
    prior = shares(y)
    mine, theirs = fit(x, y, kind=kind), PEERS[kind](prior).fit(x, y)
    p = mine.classify(x, prior=prior)
    assert p.kind is Kind.EXACT
    np.testing.assert_allclose(p.probabilities.numpy(), theirs.predict_proba(x), rtol=0, atol=1e-6)
    assert (p.best.numpy() == theirs.predict(x)).all()


def test_quadratic_posteriors_are_those_of_the_likeliest_gaussians() -> None:
    x, y = load_wine(return_X_y=True)
    model, prior = fit(x, y, kind="qda"), shares(y)
    laws = [
        torch.distributions.MultivariateNormal(
            torch.tensor(x[y == k].mean(0)), torch.tensor(np.cov(x[y == k].T, bias=True))
        )
        for k in range(3)
    ]
    joint = (
        torch.stack([law.log_prob(torch.tensor(x)) for law in laws], -1) + torch.tensor(prior).log()
    )
    assert torch.allclose(
        model.classify(x, prior=prior).probabilities, joint.softmax(-1), rtol=0, atol=1e-5
    )


def test_a_missing_feature_is_integrated_out() -> None:
    x, y = load_iris(return_X_y=True)
    model, prior = fit(x, y), [1 / 3] * 3
    row = x[70:71].copy()
    row[0, 3] = np.nan
    grid = np.linspace(-4, 8, 4001)
    rows = np.repeat(x[70:71], len(grid), 0)
    rows[:, 3] = grid
    each = [
        model.log_prob(rows, given=np.full((len(grid), 1), float(k))).value.logsumexp(0)
        for k in range(3)
    ]
    want = torch.stack(each).softmax(0)
    assert torch.allclose(
        model.classify(row, prior=prior).probabilities[0], want, rtol=0, atol=1e-8
    )


def test_priors_are_changed_after_training() -> None:
    x, y = load_iris(return_X_y=True)
    model = fit(x, y)
    even, tilted = (model.classify(x[50:], prior=p).logits for p in ([1, 1, 1], [1, 1, 9]))
    moved = (tilted[:, 2] - tilted[:, 1]) - (even[:, 2] - even[:, 1])
    np.testing.assert_allclose(moved.numpy(), np.log(9.0), rtol=0, atol=1e-9)


def told(model, x: np.ndarray) -> np.ndarray:
    """The likeliest label of each row, of a law of labels given features."""
    each = [model.log_prob(np.full((len(x), 1), k), given=x).value for k in range(3)]
    return torch.stack(each, -1).argmax(-1).numpy()


def line(x: np.ndarray, y: np.ndarray, strength: float):
    """Multinomial logistic regression: labels under features, as scikit-learn's of C = strength on columns over sd."""
    features = vector(x.shape[1])
    data = Table(
        label(3), Batch(torch.tensor(y[:, None]).double(), given=Batch(torch.tensor(x))), features
    )
    options = {"l2": 1 / (strength * len(y)), "iterations": 500}
    return Run(build("independent", options, label(3), features).double(), data, 500).fit()


def test_irises_without_petals_are_told_apart_where_filled_in_means_mislead() -> None:
    x, y = load_iris(return_X_y=True)
    mine, theirs, own = np.zeros(3), np.zeros(3), 0
    for train, test in StratifiedKFold(10, shuffle=True, random_state=0).split(x, y):
        law = fit(x[train], y[train], kind="qda")
        peer = LogisticRegression(C=1000, max_iter=10_000).fit(x[train], y[train])
        own += (told(line(x[train], y[train], 1000), x[test]) == y[test]).sum()
        for i, missing in enumerate(([], [3], [2, 3])):
            seen, mended = x[test].copy(), x[test].copy()
            seen[:, missing], mended[:, missing] = np.nan, x[train].mean(0)[missing]
            mine[i] += (law.classify(seen).best.numpy() == y[test]).sum()
            theirs[i] += (peer.predict(mended) == y[test]).sum()
    assert mine / len(y) == pytest.approx([0.973, 0.947, 0.767], abs=5e-4)
    assert theirs / len(y) == pytest.approx(
        [0.980, 0.727, 0.353], abs=0.007
    )  # a row, by how far theirs converged
    assert own / len(y) == pytest.approx(0.980, abs=5e-4)


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_draws_of_a_class_are_of_that_class_to_a_classifier_that_never_saw_the_law(load) -> None:
    x, y = load(return_X_y=True)
    judge = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    drawn = fit(x, y, kind="qda").sample(2000, given=np.array([[2.0]]), seed=0).x[:, 0]
    assert (judge.predict(drawn.numpy()) == 2).mean() >= 0.95


def test_any_family_may_stand_inside() -> None:
    x, y = load_wine(return_X_y=True)
    some = np.random.default_rng(0).permutation(len(x))
    train, test = some[:120], some[120:]
    for law in (
        {"family": "mixture", "components": 2},
        {"family": "pca", "components": 3},
        {"family": "kde"},
    ):
        model = fit(x[train], y[train], density=law)
        assert float((model.classify(x[test]).best.numpy() == y[test]).mean()) > 0.9
    nets = fit(
        x[train][:, :2], y[train] % 2, density={"family": "flow", "layers": 1, "hidden": [16]}
    )
    assert nets.classify(x[:5, :2]).kind is Kind.EXACT


def test_named_features_are_told_apart_by_independent_ones() -> None:
    bits = lk.load("digits", binarize="threshold", given="label")
    model = lk.fit("discriminant", bits, holdout=0, progress=False)
    test = bits.test.batch
    assert model.config.kind == "auto"
    assert (
        float(
            (model.classify(test.given_as(None)).best == test.given.x[:, 0].long()).double().mean()
        )
        > 0.8
    )


def test_draws_of_a_class_look_like_it_and_holes_are_filled_within_it() -> None:
    x, y = load_iris(return_X_y=True)
    model = fit(x, y)
    drawn = model.sample(3000, given=np.array([[0.0], [2.0]]), seed=0).x
    for i, k in enumerate((0, 2)):
        error = torch.tensor(x[y == k].std(0)) / np.sqrt(3000)
        assert ((drawn[:, i].mean(0) - torch.tensor(x[y == k].mean(0))).abs() < 5 * error).all()
    row = np.array([[5.0, 3.4, np.nan, np.nan]])
    filled = model.complete(row, n=500, seed=0, given=np.array([[0.0]])).x[:, 0, 2]
    assert float(filled.mean()) == pytest.approx(1.46, abs=0.1)


def test_a_class_without_rows_and_data_without_classes_are_named() -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(LikenessError, match="class 3 has no rows"):
        fit(x, y, classes=4)
    with pytest.raises(LikenessError, match="give it a label"):
        lk.fit("discriminant", x)


def test_options_that_would_say_nothing_are_refused() -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(LikenessError, match="leave out kind="):
        fit(x, y, density={"family": "kde"}, kind="lda")
    with pytest.raises(LikenessError, match="shrinkage is of covariances"):
        fit(x, y, kind="naive", shrinkage=0.1)


@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, stop) -> None:
    x, y = load_iris(return_X_y=True)
    space, given_space = vector(4), label(3)
    batch = as_batch(space, x)
    data = Table(
        space, Batch(batch.x, given=as_batch(given_space, y[:, None].astype(float))), given_space
    )

    def run(**options) -> Run:
        return Run(
            build("discriminant", {"density": {"family": "kde"}}, space, given_space).double(),
            data,
            30,
            1,
            **options,
        )

    whole, first = run().fit(), run(out=tmp_path)
    for _ in range(stop):
        first.step()
    first.save()
    resumed = run(out=tmp_path, resume=True).fit().state_dict()
    assert all(torch.equal(v, resumed[k]) for k, v in whole.state_dict().items())
