"""The query language against closed forms of a Gaussian of five variables and enumeration of a net of five bits."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch

import likeness as lk
from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.errors import BadConfig, BadData, Unsupported
from likeness.core.space import Nominal, Ordinal, Real, label, vector
from likeness.data.synthetic import world
from likeness.data.synthetic.discrete import Joint
from likeness.data.synthetic.gaussian import GaussianMixture
from likeness.query import names_of, query
from likeness.registry import build

NAMES = ("a", "b", "c", "d", "e")
SUBSETS = [s for r in range(1, 6) for s in itertools.combinations(range(5), r)]


def gaussian():
    g = torch.Generator().manual_seed(0)
    root = torch.randn(5, 5, generator=g, dtype=torch.float64)
    mean = torch.randn(1, 5, generator=g, dtype=torch.float64)
    return GaussianMixture(
        "five", mean, (root @ root.T + torch.eye(5))[None], space=vector(5, names=NAMES)
    )


def log_normal(law, x, at):
    mean, cov = law.mean[0][at], law.cov[0][at][:, at]
    return float(torch.distributions.MultivariateNormal(mean, cov).log_prob(x[at]))


X = torch.tensor([0.3, -1.0, 2.0, 0.5, -0.7], dtype=torch.float64)


def fixed(at):
    return {NAMES[i]: float(X[i]) for i in at}


def test_log_prob_of_every_subset_of_a_gaussian_is_its_marginal():
    law = gaussian()
    for at in map(list, SUBSETS):
        found = query(law, "log_prob", evidence=fixed(at))
        assert found.kind is Kind.EXACT
        assert float(found.value) == pytest.approx(log_normal(law, X, at), abs=1e-9)


def test_log_prob_given_columns_is_a_difference_of_marginals():
    law = gaussian()
    for at in map(list, SUBSETS):
        for split in range(1, len(at)):
            found = query(law, "log_prob", evidence=fixed(at[:split]), given=fixed(at[split:]))
            truth = log_normal(law, X, at) - log_normal(law, X, at[split:])
            assert float(found.value) == pytest.approx(truth, abs=1e-9)


def test_the_mode_is_the_conditional_mean_of_a_gaussian():
    law, at, rest = gaussian(), [0, 3], [1, 2, 4]
    found = query(law, "mode", evidence=fixed(at)).x[0]
    block = law.cov[0][rest][:, at] @ torch.linalg.inv(law.cov[0][at][:, at])
    assert torch.allclose(
        found[rest], law.mean[0][rest] + block @ (X[at] - law.mean[0][at]), rtol=0, atol=1e-9
    )
    assert torch.equal(found[at], X[at])


def test_draws_given_evidence_have_the_conditional_mean_and_covariance():
    law, at, rest, n = gaussian(), [1, 4], [0, 2, 3], 4000
    draws = query(law, "sample", evidence=fixed(at), n=n, seed=1).x[:, 0]
    block = law.cov[0][rest][:, at] @ torch.linalg.inv(law.cov[0][at][:, at])
    mean = law.mean[0][rest] + block @ (X[at] - law.mean[0][at])
    cov = law.cov[0][rest][:, rest] - block @ law.cov[0][at][:, rest]
    assert torch.equal(draws[:, at], X[at].expand(n, 2))
    assert bool(((draws[:, rest].mean(0) - mean).abs() < 5 * (cov.diagonal() / n).sqrt()).all())
    assert torch.allclose(draws[:, rest].T.cov(), cov, atol=0.15 * float(cov.abs().max()))


def net():
    return world("bayes_net")


def states_and_p(law):
    return law.table.long(), law.log_p[0].exp()


def test_every_subset_of_a_bernoulli_net_by_enumeration():
    law = net()
    states, p = states_and_p(law)
    for at in map(list, SUBSETS):
        values = {law.space.names[i]: int(i % 2) for i in at}
        fits = (states[:, at] == torch.tensor([i % 2 for i in at])).all(-1)
        assert float(query(law, "log_prob", evidence=values).value) == pytest.approx(
            math.log(float(p[fits].sum()))
        )
        best = query(law, "mode", evidence=values).x[0].long()
        assert float(p[(states == best).all(-1)]) == pytest.approx(float(p[fits].max()))


def test_the_class_of_a_column_is_its_posterior():
    law = net()
    states, p = states_and_p(law)
    found = query(law, "classify", evidence={"wet": 1, "dog_in": 0}, missing="rain")
    fits = (states[:, 2] == 1) & (states[:, 4] == 0)
    truth = torch.stack([p[fits & (states[:, 0] == k)].sum() for k in range(2)])
    assert found.kind is Kind.EXACT
    assert found.labels == ("0", "1")
    assert torch.allclose(found.probabilities[0], truth / truth.sum(), rtol=0, atol=1e-9)


def test_a_label_that_the_law_is_conditioned_on_is_classified_by_bayes_rule():
    law = world("gaussian", n=2)
    told = world("ring", given="label", classes=2)
    x = told.source(5, 0).batch.x
    found = query(told, "classify", evidence=x)
    assert torch.allclose(
        found.probabilities, told.class_posterior(x).probabilities, rtol=0, atol=1e-9
    )
    with pytest.raises(Unsupported, match="nominal `given`"):
        query(law, "classify", evidence={"x0": 1.0})


def test_the_laws_own_condition_is_given_by_name_or_by_value():
    law = world("ring", given="label", classes=2)
    name = law.given_space.names[0]
    named = query(law, "log_prob", evidence={"x0": 1.0, "x1": 0.0}, given={name: 1})
    valued = query(law, "log_prob", evidence={"x0": 1.0, "x1": 0.0}, given=torch.tensor([[1.0]]))
    assert float(named.value) == float(valued.value)
    assert query(law, "sample", given={name: [0, 1, 1]}, n=4, seed=0).x.shape == (4, 3, 2)


def test_labels_levels_and_several_rows_are_read_as_the_user_writes_them():
    variables = (Nominal(categories=2, labels=("no", "yes")), Ordinal(levels=3, start=5))
    space = vector(2, variables, ("smokes", "grade"))
    law = Joint(
        "small", space, torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.05, 0.2]], dtype=torch.float64).log()
    )
    found = query(law, "log_prob", evidence={"smokes": ["no", "yes"], "grade": 6})
    assert found.value.exp().tolist() == pytest.approx([0.2, 0.05])
    assert query(law, "classify", evidence={"smokes": "yes"}, missing="grade").labels == (
        "5",
        "6",
        "7",
    )
    graded = query(
        law, "classify", evidence={"smokes": ["no", "yes"]}, missing="grade"
    ).probabilities
    truth = torch.tensor([[0.1, 0.2, 0.3], [0.15, 0.05, 0.2]], dtype=torch.float64)
    assert torch.allclose(graded, truth / truth.sum(-1, keepdim=True), rtol=0, atol=1e-9)
    with pytest.raises(BadData, match="maybe"):
        query(law, "log_prob", evidence={"smokes": "maybe"})


def test_whole_rows_lose_what_is_named_missing():
    law = gaussian()
    frame = pd.DataFrame([X.tolist()] * 2, columns=NAMES)
    found = query(law, "log_prob", evidence=frame, missing=["b", "d"])
    assert found.value.tolist() == pytest.approx([log_normal(law, X, [0, 2, 4])] * 2)


def test_strangeness_by_name_is_that_of_the_verb():
    law = lk.fit("gaussian", gaussian().source(400, 0), holdout=0.2, seed=0)
    score = query(law, "anomaly_score", evidence=fixed(range(5)))
    assert torch.equal(score, law.anomaly_score(X[None]))
    assert float(query(law, "p_value", evidence=fixed(range(5)))) == float(law.p_value(X[None]))
    assert float(score) == pytest.approx(
        -float(query(law, "log_prob", evidence=fixed(range(5))).value)
    )


def test_a_question_that_cannot_be_answered_says_why():
    law = gaussian()
    with pytest.raises(BadConfig, match="ask one of"):
        query(law, "posterior")
    with pytest.raises(BadConfig, match="no column 'z'"):
        query(law, "log_prob", evidence={"z": 1.0})
    with pytest.raises(BadConfig, match="named twice"):
        query(law, "log_prob", evidence={"a": 1.0}, given={"a": 1.0})
    with pytest.raises(BadConfig, match="of what"):
        query(law, "log_prob", given={"a": 1.0})
    with pytest.raises(Unsupported, match="infinitely many"):
        query(law, "classify", evidence={"a": 1.0}, missing="b")
    with pytest.raises(Unsupported, match="without `given`"):
        query(law, "sample", given=torch.zeros(1, 1))


def test_entries_of_arrays_have_names_too():
    space = vector(4).model_copy(
        update={"axes": ("time", "channel"), "shape": (2, 2), "variables": (Real(),)}
    )
    law = GaussianMixture("square", torch.zeros(1, 4), torch.eye(4)[None], space=space)
    assert names_of(space) == ("0_0", "0_1", "1_0", "1_1")
    found = query(law, "complete", evidence={"1_0": 3.0}, n=2, seed=0)
    assert found.x.shape == (2, 1, 2, 2)
    assert found.x[:, 0, 1, 0].tolist() == [3.0, 3.0]
    hidden = Batch(torch.zeros(1, 2, 2), torch.tensor([[[False, False], [True, False]]]))
    assert float(query(law, "log_prob", evidence=hidden).value) == pytest.approx(
        -0.5 * math.log(2 * math.pi)
    )


def test_the_face_keeps_its_function_once_the_module_is_imported():
    law = gaussian()
    assert float(lk.query(law, "log_prob", evidence=fixed([0])).value) == pytest.approx(
        log_normal(law, X, [0])
    )
    assert callable(lk.compare)
    assert callable(lk.compare)


def test_evidence_is_names_or_a_mask_and_nothing_else():
    law, x = gaussian(), X[None]
    truth = log_normal(law, X, [0, 1, 2, 3, 4]) - log_normal(law, X, [1])
    for evidence in (
        ["b"],
        "b",
        ("b",),
        [False, True, False, False, False],
        np.arange(5) == 1,
        torch.arange(5) == 1,
    ):
        assert float(law.log_prob(x, evidence=evidence).value) == pytest.approx(truth, abs=1e-9)
    for evidence in ([0, 1], [1], torch.tensor([0.0, 1, 0, 0, 0]), 1, {"b": 1.0}, []):
        with pytest.raises(BadData, match="neither names nor a mask"):
            law.log_prob(x, evidence=evidence)
    with pytest.raises(BadData, match="no column 'bd'; the columns are a, b, c, d, e"):
        law.log_prob(x, evidence="bd")
    with pytest.raises(BadData, match="a mask of 4 for entries of 5"):
        law.log_prob(x, evidence=[True] * 4)


def test_evidence_names_columns_without_names_as_query_does():
    rows = np.random.default_rng(0).normal(size=(50, 2))
    model = lk.fit("gaussian", rows)
    truth = query(model, "log_prob", evidence={"x1": rows[:, 1]}, given={"x0": rows[:, 0]}).value
    assert torch.allclose(model.log_prob(rows, evidence=["x0"]).value, truth, rtol=0, atol=1e-9)
    with pytest.raises(BadData, match="no column 'a'; the columns are x0, x1"):
        model.log_prob(rows, evidence="a")


def test_the_states_of_a_column_are_asked_about_in_parts_with_one_answer(monkeypatch):
    model = lk.fit(
        "bayes_net",
        lk.load({"a": ["x", "y", "z", "y"] * 25, "b": [0, 1, 1, 1] * 25}),
        progress=False,
    )
    whole = query(model, "classify", evidence={"b": [0, 1, 1]}, missing="a").probabilities
    monkeypatch.setattr("likeness.query.STATE_ROWS", 3)  # one state at a time
    assert torch.equal(
        query(model, "classify", evidence={"b": [0, 1, 1]}, missing="a").probabilities, whole
    )
    assert query(model, "classify", evidence={"b": []}, missing="a").probabilities.shape == (0, 3)


@pytest.mark.parametrize("value", [10**400, [10**400], "\ud800", 2**64 + 1])
def test_values_that_no_column_can_hold_are_refused(value: object) -> None:
    given = label(2, ("a", "b"))
    model = build("gaussian", {}, vector(2), given)
    with pytest.raises(BadData, match=r"more digits than numbers keep|is no character"):
        query(model, "sample", given=value)


@pytest.mark.parametrize("asked", [{"n": 10**5000}, {"seed": -(10**5000)}], ids=["n", "seed"])
def test_numbers_of_thousands_of_digits_are_refused(asked: dict) -> None:
    with pytest.raises(BadConfig, match="is a number of more than 100 digits"):
        query(world("moons"), "sample", **asked)
