"""Every family, asked of rows from 30 deviations to 1e300: numbers, in order, and the neighbours' own."""

import functools
import warnings

import numpy as np
import pytest
import torch

import likeness as lk
from likeness.core.batch import as_batch
from likeness.core.model import Model
from likeness.core.space import Space, series, vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.registry import FAMILIES, build, family, load_all

load_all()
SPACES = {"vector": vector(3), "series": series(2, 5)}
SIZES = (1e2, 1e5, 1e10, 1e30, 1e38, 1e40, 1e155, 1e160, 1e300)
NEAR = 1e-3  # of a score: rounding, and the draws of a bound


def takes(name: str, space: Space) -> bool:
    cls = family(name)
    return bool(cls.accepts(cls.Config.parse(cls.small(space)), space))


CELLS = [(f, s) for f in sorted(FAMILIES) for s in SPACES if takes(f, SPACES[s])]
SCORED = [(f, s) for f, s in CELLS if f != "vi"]


def items(space: Space, rows: int) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(0).normal(size=(rows, *space.layout)))


@functools.cache
def fitted(name: str, kind: str) -> Model:
    space = SPACES[kind]
    model = build(name, family(name).small(space), space)
    model = model.to(dtype=model.natural_dtype)
    return Run(model, Table(space, as_batch(space, items(space, 200))), "20 steps").fit()


def far(space: Space, size: float) -> torch.Tensor:
    """One ordinary row and one whose last entry lies far out."""
    x = items(space, 2)
    x.reshape(2, -1)[1, -1] = size
    return x


@pytest.mark.filterwarnings("ignore:.*too far out")
@pytest.mark.filterwarnings("ignore:.*effective particles")
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("name", "kind"), SCORED)
def test_scores_never_fall_with_distance_and_leave_neighbours_alone(name, kind, sign):
    model = fitted(name, kind)
    x = [far(SPACES[kind], sign * size) for size in SIZES]
    ordinary = model.anomaly_score(items(SPACES[kind], 200), seed=0).double()
    scores = torch.stack([model.anomaly_score(rows, seed=0).double() for rows in x])
    assert bool(scores.isfinite().all())
    assert float(scores[:, 1].min()) > float(ordinary.max())
    grown = scores[1:, 1] - scores[:-1, 1]
    assert bool((grown >= -NEAR * scores[1:, 1]).all())
    assert torch.allclose(scores[:, 0], ordinary[0].expand(len(SIZES)), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*too far out")
@pytest.mark.filterwarnings("ignore:.*effective particles")
@pytest.mark.parametrize("size", [1e40, 1e300])
@pytest.mark.parametrize(("name", "kind"), SCORED)
def test_no_verb_answers_with_nan_and_what_was_told_comes_back(name, kind, size):
    model = fitted(name, kind)
    x = far(SPACES[kind], size)
    if model.support("log_prob"):
        assert bool(model.log_prob(x, seed=0).value.isfinite().all())
        assert not bool(model.anomaly_map(x, seed=0).isnan().any())
    if model.support("encode"):
        assert not bool(model.encode(x, seed=0).mean.isnan().any())
    hidden = x.clone()
    hidden.reshape(2, -1)[:, 0] = torch.nan
    told = ~hidden.isnan()
    for verb in ("complete", "mode"):
        if model.support(verb):
            values = getattr(model, verb)(hidden).x.double().reshape(-1, *x.shape)[-1]
            assert not bool(values.isnan().any())
            assert torch.allclose(values[told], x[told], rtol=1e-6)


@pytest.mark.parametrize("name", sorted({f for f, _ in SCORED}))
def test_one_huge_row_of_the_training_rows_leaves_answers_that_are_numbers(name):
    kind = "vector" if takes(name, SPACES["vector"]) else "series"
    space = SPACES[kind]
    x = items(space, 60)
    x.reshape(60, -1)[7, -1] = 1e40
    table = Table(space, as_batch(space, x))
    options = family(name).small(space)
    model = lk.fit(name, table, budget="5 steps", holdout=0.0, progress=False, **options)
    assert bool(model.sample(3, seed=0).x.isfinite().all())
    if model.support("log_prob"):
        assert bool(model.log_prob(x[:7], seed=0).value.isfinite().all())


@pytest.mark.parametrize("verb", ["log_prob", "anomaly_score", "anomaly_map", "complete", "mode"])
@pytest.mark.parametrize(("name", "kind"), SCORED)
def test_a_question_about_no_rows_has_an_answer_of_none(name, kind, verb):
    model = fitted(name, kind)
    if not model.support(verb):
        pytest.skip("the family has no such verb")
    answer = getattr(model, verb)(items(SPACES[kind], 1)[:0])
    values = getattr(answer, "value", getattr(answer, "x", answer))
    assert 0 in values.shape
    assert len(model.sample(0)) == 0


def test_a_far_condition_is_brought_within_reach_and_named():
    rng = np.random.default_rng(0)
    given = rng.normal(size=(200, 1))
    model = lk.fit(
        "flow", given + rng.normal(size=(200, 2)), given=given, budget="20 steps", progress=False
    )
    with pytest.warns(UserWarning, match=r"1e\+40 \(row 1, entry \(0,\)\)"):
        drawn = model.sample(2, given=[[0.0], [1e40]], seed=0).x
    assert bool(drawn.isfinite().all())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = model.log_prob(np.zeros((2, 2)), given=[[0.0], [1e40]], seed=0).value
    assert bool(answers.isfinite().all())
