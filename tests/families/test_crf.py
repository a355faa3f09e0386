"""Conditional random fields against enumeration, scikit-learn's logistic regression, and sentences."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.errors import LikenessError
from likeness.core.space import Nominal, Real, Space, label, sequence, series
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.metrics.spans import compared, spans
from likeness.registry import build, family, load_all

load_all()
WORDS, TAGS, LONGEST = 6, 3, 7


def features(
    columns: tuple = (Nominal(categories=WORDS), Real()), names: tuple | None = ("word", "size")
) -> Space:
    return Space(
        axes=("time", "column"),
        shape=(None, len(columns)),
        variables=columns,
        names=names,
        longest=LONGEST,
    )


def tagged(rows: int = 120, seed: int = 0, *, hidden: float = 0.0) -> Table:
    """Tags that follow their word, the word before and a number, and like to stay."""
    g, given_space = np.random.default_rng(seed), features()
    tags, told = [], []
    for length in g.integers(1, LONGEST + 1, rows):
        word, size = g.integers(0, WORDS, length), g.normal(size=length)
        tag = np.zeros(length)
        for t in range(length):
            worth = np.array([word[t] % 3 == k for k in range(3)]) * 2.0 + np.array(
                [0, 0, 1.5 * size[t]]
            )
            worth[int(tag[t - 1])] += 1.0 if t else 0.0
            tag[t] = (worth + g.gumbel(size=3)).argmax()
        tags.append(np.where(g.random(length) < hidden, -1.0, tag))
        told.append(np.stack([word, size], 1))
    space = sequence(TAGS, LONGEST)
    x = as_batch(space, tags)
    return Table(
        space,
        Batch(x.x.double(), x.observed, x.length, given=as_batch(given_space, told)),
        given_space,
    )


def fitted(data: Table, **options):
    model = build("crf", {"window": 1, "l2": 0.5} | options, data.space, data.given_space).double()
    run = Run(model, data, options.get("iterations", 200))
    return run.fit(), run


@pytest.fixture(scope="module")
def tagger():
    data = tagged()
    return fitted(data)[0], data.batch


def paths_of(model, batch: Batch, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every labelling of a row, and its weight by the formula, one step after the other."""
    n, given = int(batch.length[row]), batch.given.x[row].double()
    table = dict(zip(model.seen.tolist(), model.weight.tolist(), strict=True))
    keys, step = model.indicators.keys.tolist(), (model.step * model.linked).tolist()
    every = list(itertools.product(range(TAGS), repeat=n))
    view = model._view(batch[row : row + 1])
    read = model.indicators.codes(view.features, view.observed, view.length).tolist()
    size = (given[:n, 1] - model.mean[0]) / model.std[0]
    padded, there = (
        torch.nn.functional.pad(v, (1, 1)) for v in (size, torch.ones(n, dtype=torch.float64))
    )
    weights = []
    for path in every:
        total = 0.0
        for t, y in enumerate(path):
            total += sum(table.get(keys.index(c) * TAGS + y, 0.0) for c in read[t] if c in keys)
            dense = [
                1.0,
                *(v for o in range(3) for v in (float(padded[t + o]), float(there[t + o]))),
            ]
            total += sum(d * s for d, s in zip(dense, model.slope[:, y].tolist(), strict=True))
            total += step[path[t - 1]][y] if t else 0.0
        weights.append(total)
    return torch.tensor(every), torch.tensor(weights, dtype=torch.float64)


def test_probabilities_marginals_and_the_best_path_equal_enumeration(tagger) -> None:
    model, batch = tagger
    short = [i for i in range(len(batch)) if int(batch.length[i]) <= 4][:6]
    for row in short:
        every, weight = paths_of(model, batch, row)
        n, p = every.shape[1], weight.softmax(0)
        one = batch[row : row + 1]
        own = int((every == batch.x[row, :n]).all(-1).nonzero())
        assert float(model.log_prob(one).value) == pytest.approx(float(p[own].log()), abs=1e-10)
        hidden = one.hide(torch.ones(LONGEST, dtype=torch.bool))
        assert torch.equal(model.mode(hidden).x[0, :n].long(), every[p.argmax()])
        assert model.mode(hidden).kind is Kind.EXACT
        hot = torch.nn.functional.one_hot(every, TAGS).double()
        code = model.encode(hidden)
        assert torch.allclose(code.mean[0, :n], (p[:, None, None] * hot).sum(0), atol=1e-10)
        first = one.hide(torch.arange(LONGEST) > 0)
        same = every[:, 0] == batch.x[row, 0]
        assert float(model.log_prob(first).value) == pytest.approx(
            float(p[same].sum().log()), abs=1e-10
        )
        rest = model.encode(first).mean[0, :n]
        assert torch.allclose(
            rest, ((p * same)[:, None, None] * hot).sum(0) / p[same].sum(), atol=1e-10
        )


def test_draws_have_the_marginals(tagger) -> None:
    model, batch = tagger
    drawn = model.sample(4000, given=batch.given[:5], seed=0)
    assert torch.equal(drawn.length, batch.length[:5].expand(4000, 5))
    hidden = batch[:5].hide(torch.ones(LONGEST, dtype=torch.bool))
    mean = model.encode(hidden).mean
    share = torch.nn.functional.one_hot(drawn.x.long(), TAGS).double().mean(0)
    inside = (torch.arange(LONGEST) < batch.length[:5, None])[..., None]
    error = (mean * (1 - mean) / 4000).sqrt()
    assert bool((((share - mean).abs() < 5 * error + 1e-9) | ~inside).all())


def test_without_steps_between_labels_it_is_logistic_regression() -> None:
    space, given_space = (
        sequence(TAGS, 1),
        features((Real(), Real()), None).model_copy(update={"longest": 1}),
    )
    g = np.random.default_rng(0)
    x = g.normal(size=(300, 2))
    y = (x @ g.normal(size=(2, 3)) + g.gumbel(size=(300, 3))).argmax(1)
    given = Batch(torch.from_numpy(x)[:, None], length=torch.ones(300, dtype=torch.int64))
    batch = Batch(torch.from_numpy(y[:, None].astype(float)), length=given.length, given=given)
    model, _ = fitted(
        Table(space, batch, given_space), window=0, l2=1e-6, iterations=500, tolerance=1e-10
    )
    peer = LogisticRegression(C=1e6, tol=1e-10, max_iter=2000).fit(x, y)
    hidden = batch.hide(torch.ones(1, dtype=torch.bool))
    assert np.abs(model.encode(hidden).mean[:, 0].numpy() - peer.predict_proba(x)).max() < 1e-4


def test_the_optimum_is_one() -> None:
    """A slope of 0 at the end, and penalties on the sum over items as CRFsuite counts them."""
    data = tagged()
    model, run = fitted(data, iterations=1000, tolerance=1e-10)
    mean = sum(p.square().sum() for p in (model.weight, model.slope, model.step * model.linked))
    nll = -float(model.log_prob(data.batch).value.sum())
    assert run.events[-1].loss * len(data) == pytest.approx(
        nll + 0.5 * float(mean.detach()), rel=1e-9
    )
    again = build("crf", {"window": 1, "l2": 0.5}, data.space, data.given_space).double()
    again.prepare(data)
    for p, q in zip(again.parameters(), model.parameters(), strict=True):
        p.data = q.data.clone()
    loss = again(again.inputs(data.batch, None)[0], None, "full")["nll"].sum()
    loss = loss + 0.5 * sum(p.square().sum() for p in (again.weight, again.slope, again.step))
    slopes = torch.autograd.grad(loss, list(again.parameters()))
    assert max(float(s.abs().max()) for s in slopes) < 1e-3


def test_partly_labelled_items_teach_what_they_can() -> None:
    some, test = tagged(400, hidden=0.7), tagged(300, seed=1).batch
    model, _ = fitted(some)
    blind = -(test.length.double() * np.log(3)).sum()
    assert float(model.log_prob(test).value.sum()) > float(blind) * 0.75
    weighty = Batch(
        some.batch.x,
        some.batch.observed,
        some.batch.length,
        torch.rand(400).double(),
        some.batch.given,
    )
    inside, _ = model.inputs(weighty, None)
    loss = (model(inside, None, "full")["nll"] * inside.weights).sum()
    slope = torch.autograd.grad(loss, model.step)[0]
    model.step.data[0, 1] += 1e-5
    moved = (model(inside, None, "full")["nll"] * inside.weights).sum()
    model.step.data[0, 1] -= 1e-5
    assert float((moved - loss).detach() / 1e-5) == pytest.approx(
        float(slope[0, 1]), rel=1e-3, abs=1e-3
    )


def test_l1_leaves_most_indicators_out() -> None:
    model, _ = fitted(tagged(), l1=2.0, l2=0.0)
    assert float((model.weight == 0).double().mean()) > 0.5
    assert float((fitted(tagged())[0].weight == 0).double().mean()) < 0.05


def test_templates_say_which_indicators_there_are() -> None:
    data = tagged()
    model, _ = fitted(data, templates=("word[0]", "word[-1]|word[0]"), iterations=2)
    words = {tuple(p) for b in (data.batch.given,) for p in _pairs(b)}
    assert model.indicators.size == WORDS + len(words)
    rare, _ = fitted(data, templates=("word[-1]|word[0]",), least=5, iterations=2)
    assert rare.indicators.size < len(words)
    for text, words in (("word", "no offset"), ("colour[0]", "no column"), ("size[0]", "a number")):
        with pytest.raises(LikenessError, match=words):
            fitted(data, templates=(text,), iterations=1)


def _pairs(given: Batch) -> list[tuple[int, int]]:
    found = []
    for x, n in zip(given.x[..., 0].long().tolist(), given.length.tolist(), strict=True):
        found += list(itertools.pairwise([-1, *x[:n]]))
    return found


def test_what_it_cannot_take_is_said(tagger) -> None:
    model, batch = tagger
    for space, given, words in (
        (series(2, 5), None, "labels the steps of sequences"),
        (sequence(3, 7), series(2, 9), "as many as labels"),
    ):
        assert words in family("crf").accepts(family("crf").Config(), space, given).why
    shorter = Batch(batch.given.x, batch.given.observed, batch.given.length - 1)
    with pytest.raises(LikenessError, match=r"labels but \d+ steps of features"):
        model.log_prob(Batch(batch.x, length=batch.length), given=shorter)
    with pytest.raises(LikenessError, match="needs its condition"):
        model.log_prob(Batch(batch.x, length=batch.length))
    assert family("crf").accepts(family("crf").Config(), sequence(3, 7), label(2))
    odd = family("crf").Config(templates=("colour[0]",))
    assert "no column" in family("crf").accepts(odd, sequence(TAGS, LONGEST), features()).why


def test_words_never_seen_and_items_longer_than_any_are_tagged(tagger) -> None:
    model, _ = tagger
    given = Batch(torch.randn(1, 20, 2).double().abs().round(), length=torch.tensor([20]))
    given = Batch(given.x.clamp(max=WORDS - 1), torch.rand(1, 20, 2) < 0.7, given.length)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        best = model.mode(given=given)
    assert best.x.shape[1] == 20
    assert best.batch.length.tolist() == [20]


def test_spans_are_counted_as_conlleval_does() -> None:
    assert spans(["B-NP", "I-NP", "O", "B-VP", "B-NP", "I-VP"]) == {
        (0, 2, "NP"), (3, 4, "VP"), (4, 5, "NP"), (5, 6, "VP"),
    }  # fmt: skip
    counted = compared([["B-NP", "I-NP", "O"]], [["B-NP", "I-NP", "B-NP"]])
    assert (counted.right, counted.found, counted.there) == (1, 1, 2)
    assert counted.f1 == pytest.approx(2 / 3)
    assert (counted.precision, counted.recall) == (1.0, 0.5)
