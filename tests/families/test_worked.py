"""Worked facts of the field, on tables that ship with scikit-learn and on rows whose law is known."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.linear_model import LinearRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

import likeness as lk
from likeness.core.answers import Kind
from likeness.core.model import Model
from likeness.core.space import Nominal, Ordinal, vector
from likeness.metrics.calibration import ks_uniform
from likeness.metrics.intervals import bootstrap, mean_with_stderr
from likeness.metrics.quality import auroc, auroc_interval

WHOLE = {"holdout": 0.0, "progress": False, "seed": 0}


def shuffled(
    x: np.ndarray, y: np.ndarray, first: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows to learn from and rows to test on, x and y of each."""
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:first], order[first:]
    return x[train], y[train], x[test], y[test]


def groups(model: Model, x: np.ndarray) -> np.ndarray:
    """The likeliest component of each row."""
    return model.encode(x).mean.argmax(-1).numpy()


# ---- one joint law answers every question ---------------------------------------------------------------------------


def irises() -> Model:
    """Petals and species as three columns of one table, and the mixture that is fitted to it."""
    frame = load_iris(as_frame=True).frame.iloc[:, 2:]
    table = lk.load(frame.assign(target=frame["target"].map("abc".__getitem__)), test=0.0)
    return lk.fit("mixture", table, components=5, **WHOLE)


def test_a_joint_law_has_its_marginals_and_its_conditionals() -> None:
    model, petals = irises(), load_iris().data[::7, 2:]
    rows = [[[*petal, k] for petal in petals] for k in "abc"]
    joint = torch.stack([model.log_prob(r).value for r in rows])
    conditional = torch.stack([model.log_prob(r, evidence=["target"]).value for r in rows])
    alone = torch.stack([model.log_prob([[math.nan, math.nan, k]]).value for k in "abc"])
    marginal = model.log_prob([[*petal, None] for petal in petals])
    assert marginal.kind is Kind.EXACT
    assert float(alone.exp().sum()) == pytest.approx(1, abs=1e-9)
    assert torch.allclose(joint, conditional + alone, rtol=0, atol=1e-6)  # p(x, y) = p(x | y) p(y)
    assert torch.allclose(
        joint.logsumexp(0), marginal.value, rtol=0, atol=1e-6
    )  # p(x) = sum over y of p(x, y)


@pytest.mark.parametrize(
    ("family", "options"), [("gaussian", {}), ("bayes_net", {"parents": {"x3": (0, 1, 2)}})]
)
def test_a_joint_gaussian_predicts_as_least_squares_does(family: str, options: dict) -> None:
    g = np.random.default_rng(0)
    s = g.normal(size=(600, 3)) @ g.normal(size=(3, 3))
    rows = np.c_[s, s @ [1.0, -2.0, 0.5] + 0.7 * g.normal(size=600) + 3]
    train, test = rows[:400], rows[400:]
    model = lk.fit(family, train, **options, **WHOLE)
    line = LinearRegression().fit(train[:, :3], train[:, 3])
    deviation = (train[:, 3] - line.predict(train[:, :3])).std()
    closed = norm(line.predict(test[:, :3]), deviation).logpdf(test[:, 3])
    asked = model.log_prob(test, evidence=torch.tensor([True, True, True, False])).value
    np.testing.assert_allclose(asked.numpy(), closed, rtol=0, atol=1e-6)
    entropy, found = 0.5 * math.log(2 * math.pi * math.e * 0.7**2), mean_with_stderr(-asked)
    assert (
        abs(found.value - entropy) < 2 * found.stderr
    )  # 4 numbers from 400 rows cost a hundredth of a nat


# ---- classes and what is strange ------------------------------------------------------------------------------------


def lines(rows: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Words of three grammars over six letters, each with its own steps, one of them half of all."""
    g = np.random.default_rng(seed)
    steps = np.random.default_rng(9).dirichlet(np.ones(6), (3, 6))
    own, words = g.choice(3, rows, p=[0.5, 0.3, 0.2]), []
    for k in own:
        word = [int(g.integers(6))]
        for _ in range(g.integers(15, 30)):
            word.append(int(g.choice(6, p=steps[k, word[-1]])))
        words.append("".join("abcdef"[i] for i in word))
    return words, own


def test_texts_are_told_apart_by_a_law_of_letters_for_each_class() -> None:
    (train, own), (test, truth) = lines(400, 0), lines(300, 1)
    law = {"family": "markov", "order": 1}
    model = lk.fit(
        "discriminant", train, given=[("x", "y", "z")[k] for k in own], density=law, **WHOLE
    )
    right = (model.classify(test).best.numpy() == truth).mean()
    majority = np.bincount(truth).max() / len(truth)
    assert right > majority + 0.2, (right, majority)


@pytest.mark.parametrize("kind", ["lda", "qda", "naive"])
def test_tumours_are_ranked_by_the_odds_of_two_laws(kind: str) -> None:
    x, y, unseen, truth = shuffled(*load_breast_cancer(return_X_y=True), 400)
    model = lk.fit("discriminant", x, given=y.astype(str), kind=kind, **WHOLE)
    logits = model.classify(unseen).logits
    assert auroc(logits[:, 1] - logits[:, 0], torch.tensor(truth == 1)) >= 0.97


def test_planted_rows_are_strange_and_normal_ones_have_uniform_p_values() -> None:
    """Each column of a planted row is usual; what goes together in it is not."""
    turn = np.random.default_rng(0).normal(size=(6, 6))
    train, usual, other = (
        np.random.default_rng(s).normal(size=(n, 6)) @ turn
        for s, n in ((1, 1500), (2, 500), (3, 50))
    )
    planted, odd = np.random.default_rng(4).permuted(other, axis=0), torch.arange(550) >= 500
    rows = torch.from_numpy(np.r_[usual, planted])
    model = lk.fit("gaussian", train, holdout=0.3, progress=False, seed=0)
    area = auroc_interval(model.anomaly_score(rows), odd, seed=0)
    truth = torch.distributions.MultivariateNormal(
        torch.zeros(6).double(), torch.from_numpy(turn.T @ turn)
    )
    assert auroc(-truth.log_prob(rows), odd) in area
    columns = (
        (rows / torch.from_numpy(train.std(0))).square().sum(-1)
    )  # strangeness that knows of no dependence
    assert auroc(columns, odd) < area.low
    p = model.p_value(usual)
    assert ks_uniform(p).p_value > 0.01
    assert kstest(p, "uniform").pvalue > 0.01


# ---- what is found in known tables ----------------------------------------------------------------------------------


def test_irises_fall_into_three_groups_as_scikit_learns_do() -> None:
    x, species = load_iris(return_X_y=True)
    model = lk.fit("mixture", x, components=3, covariance="full", **WHOLE)
    theirs = GaussianMixture(3, random_state=0).fit(x)
    found = adjusted_rand_score(species, groups(model, x))
    assert found == pytest.approx(0.904, abs=5e-4)
    assert found == pytest.approx(adjusted_rand_score(species, theirs.predict(x)), abs=1e-9)
    assert float(model.log_prob(x).value.mean()) > theirs.score(x) - 1e-3


@pytest.mark.filterwarnings("ignore:columns")
def test_groups_of_digits_are_digits_by_far_more_than_chance() -> None:
    x, digit = load_digits(return_X_y=True)
    found = groups(lk.fit("mixture", x, components=10, covariance="tied", **WHOLE), x)
    area = bootstrap(
        lambda rows: adjusted_rand_score(digit[rows], found[rows]), len(x), seed=0, draws=200
    )
    assert 0.5 < area.low < area.value < area.high < 0.75
    by_chance = adjusted_rand_score(digit, np.random.default_rng(0).permutation(found))
    assert abs(by_chance) < 0.01


def test_a_flow_for_each_class_tells_digits_apart() -> None:
    """One affine step, each pixel after those before it, under the class; pixels spread over their cells."""
    x, y = load_digits(return_X_y=True)
    x, y, unseen, truth = shuffled(x + np.random.default_rng(1).random(x.shape), y, 1400)
    options = {
        "transform": "affine",
        "layers": 1,
        "mixing": "permutation",
        "hidden": (128,),
        "weight_decay": 1.0,
    }
    model = lk.fit(
        "flow", x, given=y.astype(str), budget=600, lr=3e-3, ema=0.98, **options, **WHOLE
    )
    posterior = model.classify(unseen)
    assert posterior.kind is Kind.EXACT
    assert (posterior.best.numpy() == truth).mean() >= 0.95


def test_weights_of_proportions_are_found_from_the_words_alone() -> None:
    """Four topics that share no word, so that words tell them: a Dirichlet law of counts of categories."""
    g, truth, letters = (
        np.random.default_rng(0),
        np.array([0.2, 0.5, 1.0, 0.3]),
        np.array(list("abcdefghijklmnopqrst")),
    )
    texts = [
        "".join(letters[g.choice(4, 50, p=p) * 5 + g.integers(5, size=50)])
        for p in g.dirichlet(truth, 2000)
    ]
    options = {"topics": 4, "proportions": "asymmetric", "restarts": 4, "tolerance": 1e-4}
    model = lk.fit("topic", texts, budget=300, **options, **WHOLE)
    own = model.table.reshape(4, 5, 4).sum(1).argmax(0)
    assert sorted(own.tolist()) == [0, 1, 2, 3]
    assert model.alpha.tolist() == pytest.approx(truth[own].tolist(), rel=0.1)


# ---- counting -------------------------------------------------------------------------------------------------------


def test_a_die_of_three_faces_is_drawn_as_often_as_it_says() -> None:
    rolled = np.repeat([0, 1, 2], [1, 7, 2])[:, None]
    model = lk.fit(
        "independent",
        lk.load(rolled, space=vector(1, Nominal(categories=3)), test=0.0),
        smoothing=0.0,
        **WHOLE,
    )
    p = model.log_prob([[0], [1], [2]]).value.exp()
    assert torch.allclose(p, torch.tensor([0.1, 0.7, 0.2], dtype=torch.float64), rtol=0, atol=1e-12)
    seen = torch.bincount(model.sample(1_000_000, seed=0).x.flatten().long(), minlength=3) / 1e6
    assert float((seen - p).abs().max()) < 0.0015
    five = sum(math.prod(float(p[k]) for k in way) for way in itertools.product(range(3), repeat=5)
               if sorted(way) == [1, 1, 1, 1, 2])  # fmt: skip
    assert five == pytest.approx(0.2401, abs=1e-9)


@pytest.mark.parametrize("n", [1, 5, 12])
def test_a_full_table_of_bits_has_mass_one(n: int) -> None:
    x = (np.random.default_rng(0).random((500, n)) < 0.4).astype(float)
    told = {f"x{j}": tuple(range(j)) for j in range(1, n)}
    model = lk.fit(
        "bayes_net", lk.load(x, space=vector(n, Ordinal(levels=2)), test=0.0), parents=told, **WHOLE
    )
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))
    assert float(model.log_prob(states).value.exp().sum()) == pytest.approx(1, abs=1e-9)
    assert model.count() == 2**n - 1
