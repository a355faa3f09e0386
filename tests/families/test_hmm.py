"""Hidden Markov models against enumeration, hmmlearn's cases by closed form, and worlds whose truth is known."""

import itertools
import math

import numpy as np
import pytest
import torch

import likeness as lk
from likeness.check.spaces import cell
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.errors import LikenessError
from likeness.core.noise import Noise
from likeness.core.space import Count, Real, label, sequence, series, vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.registry import build, family, load_all

load_all()


def run_of(space, items, passes: int = 200, **options) -> Run:
    return Run(build("hmm", options, space).double(), Table(space, as_batch(space, items)), passes)


def coins(n: int = 200, seed: int = 0) -> list[np.ndarray]:
    """A fair coin and a loaded one, either kept at 0.9."""
    g, items = np.random.default_rng(seed), []
    for length in g.integers(5, 30, n):
        state = np.cumsum(g.random(length) < 0.1) % 2
        items.append((g.random(length) < np.where(state, 0.9, 0.3)).astype(float))
    return items


def walks(n: int = 60, seed: int = 0, c: int = 2) -> list[np.ndarray]:
    """Two Gaussian states, holes in a fifth of the entries."""
    g, items = np.random.default_rng(seed), []
    for length in g.integers(3, 12, n):
        state = np.cumsum(g.random(length) < 0.2) % 2
        x = 3.0 * state[:, None] + g.normal(size=(length, c)) @ np.array([[1, 0.5], [0, 1]])[:c, :c]
        items.append(np.where(g.random(x.shape) < 0.2, np.nan, x))
    return items


def by_hand(model, batch: Batch, row: int) -> tuple[list[tuple[int, ...]], torch.Tensor]:
    """Every path of states of a row, and log p(path, what is observed), from means and covariances in data units."""
    now, k = model.fitted, model.config.states
    shift, scale = model.preprocessor.shift.double(), model.preprocessor.scale.double()
    mean, cov = now["x.mean"] * scale + shift, now["x.cov"] * scale * scale[:, None]
    paths, values = list(itertools.product(range(k), repeat=int(batch.length[row]))), []
    for path in paths:
        value = now["log_first"][path[0]] + sum(
            now["log_step"][a, b] for a, b in itertools.pairwise(path)
        )
        for t, s in enumerate(path):
            o = batch.present[row, t]
            if bool(o.any()):
                law = torch.distributions.MultivariateNormal(mean[s][o], cov[s][o][:, o])
                value = value + law.log_prob(batch.x[row, t][o].double())
        values.append(value)
    return paths, torch.stack(values)


@pytest.fixture(scope="module")
def gaussian():
    space = series(2, 12)
    run = run_of(space, walks(), states=2, covariance="full", passes=30)
    return run.fit(), as_batch(space, walks())


def test_every_answer_equals_the_sum_over_all_paths(gaussian) -> None:
    model, batch = gaussian
    short = [i for i in range(len(batch)) if int(batch.length[i]) <= 6][:4]
    rows = batch[torch.tensor(short)]
    answer, code = model.log_prob(rows), model.encode(rows)
    assert answer.kind is Kind.EXACT
    best, smoothed = code.mode, code.mean
    for i in range(len(short)):
        paths, value = by_hand(model, rows, i)
        n, p = len(paths[0]), value.softmax(0)
        assert float(answer.value[i]) == pytest.approx(float(value.logsumexp(0)), abs=1e-10)
        assert best[i, :n].tolist() == list(paths[int(value.argmax())])
        for t, s in itertools.product(range(n), range(2)):
            there = torch.tensor([path[t] == s for path in paths])
            assert float(smoothed[i, t, s]) == pytest.approx(float(p[there].sum()), abs=1e-10)
        laid = torch.zeros(1, 12)
        laid[0, :n] = torch.tensor(paths[3])
        assert float(code[i : i + 1].log_prob(laid)) == pytest.approx(float(p[3].log()), abs=1e-9)


def test_completions_have_the_conditional_mean_and_spread(gaussian) -> None:
    model, batch = gaussian
    row = next(i for i in range(len(batch)) if int(batch.length[i]) <= 5)
    one = batch[row : row + 1].hide(
        torch.eye(12, dtype=torch.bool)[1][:, None] & torch.tensor([True, False])
    )
    grid = torch.linspace(-8, 11, 801, dtype=torch.float64)
    many = one[torch.zeros(801, dtype=torch.int64)]
    x, seen = many.x.clone(), many.observed.clone()
    x[:, 1, 0], seen[:, 1, 0] = grid, True
    log_p = model.log_prob(Batch(x, seen, many.length)).value
    weight = log_p.softmax(0)
    mean = float((weight * grid).sum())
    std = math.sqrt(float((weight * (grid - mean).square()).sum()))
    drawn = model.complete(one, n=4000, seed=0).x[:, 0, 1, 0]
    assert abs(float(drawn.mean()) - mean) < 5 * std / math.sqrt(4000)
    assert float(drawn.std()) == pytest.approx(std, rel=0.07)


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical"])
def test_em_never_lowers_its_objective(covariance: str) -> None:
    run = run_of(
        series(2, 12),
        walks(),
        states=3,
        covariance=covariance,
        smoothing=0.0,
        floor=1e-9,
        restarts=1,
    )
    run.fit()
    gains = [a.loss - b.loss for a, b in itertools.pairwise(run.events)]
    assert min(gains) > -1e-6 * abs(run.events[-1].loss)
    assert len(gains) > 5


@pytest.mark.parametrize("components", [1, 3])
def test_em_of_codes_never_lowers_its_objective(components: int) -> None:
    run = run_of(sequence(2, 30), coins(), states=2, components=components, smoothing=0.0)
    run.fit()
    assert min(a.loss - b.loss for a, b in itertools.pairwise(run.events)) > -1e-10


def test_the_loaded_coin_is_found() -> None:
    model = run_of(sequence(2, 30), coins(800), states=2).fit()
    stay = model.fitted["log_step"].exp().diagonal()
    assert bool(((stay - 0.9).abs() < 0.06).all())
    heads = model.part.columns.distribution(model.fitted["x.table"]).parts[0].probabilities[:, 0, 1]
    assert sorted(heads.tolist()) == pytest.approx([0.3, 0.9], abs=0.06)


def test_it_reaches_the_truth_where_the_truth_is_a_chain() -> None:
    world = cell("symbols")
    train, test = (world.source(4000, s).batch for s in (0, 1))
    model = Run(build("hmm", {}, world.space).double(), Table(world.space, train), 100).fit()
    gap = (world.log_prob(test).value - model.log_prob(test).value).mean()
    assert float(gap) < 0.02


def test_counts_are_poisson_in_each_state() -> None:
    g = np.random.default_rng(0)
    state = np.cumsum(g.random((300, 20)) < 0.1, 1) % 2
    items = g.poisson(np.where(state, 9.0, 2.0))[..., None].astype(float)
    model = run_of(series(1, 20, Count()), list(items), states=2).fit()
    means = model.part.columns.distribution(model.fitted["x.table"]).mean.flatten()
    assert sorted(means.tolist()) == pytest.approx([2.0, 9.0], abs=0.25)


def test_a_mixture_in_each_state_knows_more_than_one_gaussian() -> None:
    g, items = np.random.default_rng(0), []
    for _ in range(150):
        state = np.cumsum(g.random(20) < 0.1) % 2
        items.append(
            (np.where(state, 4.0, 0.0) + g.choice([-1.5, 1.5], 20) + 0.3 * g.normal(size=20))[
                :, None
            ]
        )
    values = [
        float(
            run_of(series(1, 20), items, states=2, components=m).fit().log_prob(items).value.mean()
        )
        for m in (1, 2)
    ]
    assert values[1] > values[0] + 3


def test_a_topology_is_kept() -> None:
    model = run_of(series(2, 12), walks(), states=3, topology="left_right").fit()
    step = model.fitted["log_step"].exp()
    banned = torch.tensor([[0, 0, 1], [1, 0, 0], [1, 1, 0]]).bool()
    assert not bool((step[banned] > 0).any())
    assert float(model.fitted["log_first"].exp()[0]) == 1.0
    path = model.encode(as_batch(model.space, walks())).mode
    assert bool((path[:, 1:] >= path[:, :-1])[:, :2].all())
    ring = run_of(series(2, 12), walks(), states=2, allowed=((0, 1), (1, 0))).fit()
    assert ring.fitted["log_step"].exp().tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_any_length_is_answered_and_goes_on(gaussian) -> None:
    model, _ = gaussian
    long = np.random.default_rng(0).normal(size=(500, 2)) + 1.5
    assert math.isfinite(float(model.log_prob([long]).value))
    ahead = model.forecast([long[:7], long], 400, n=300, seed=0)
    assert ahead.x.shape == (300, 2, 400, 2)
    alone = model.forecast([long[:7]], 400, n=300, seed=0).x[:, 0]
    assert torch.allclose(alone, ahead.x[:, 0], atol=1e-9)  # what comes next knows of no other item
    share = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    for _ in range(2000):
        share = share @ model.fitted["log_step"].exp()
    shift, scale = model.preprocessor.shift, model.preprocessor.scale
    mean = (share @ model.fitted["x.mean"])[0] * scale + shift
    assert bool(((ahead.x[:, 0, 100:].mean((0, 1)) - mean).abs() < 0.15).all())
    low, high = model.forecast([long], 50, n=500, seed=1).quantiles(0.05, 0.95)
    assert bool((low < high).all())


def test_series_of_one_length_go_on_too() -> None:
    items = np.random.default_rng(0).normal(size=(40, 9, 2)).cumsum(1)
    model = lk.fit("hmm", items, states=3, holdout=0.0, progress=False)
    assert not model.space.ragged
    assert model.forecast(items[:3], 5, n=7, seed=0).x.shape == (7, 3, 5, 2)
    parts = model.log_prob([items[0][:4], items[1]]).value
    assert torch.allclose(parts[1], model.log_prob(items[1:2]).value[0])
    assert model.encode([items[0][:4]]).mean.shape == (1, 9, 3)
    assert model.sample(2, seed=0).x.shape == (2, 9, 2)
    assert (
        model.log_prob(items[:2]).measure != model.log_prob([items[0][:4]]).measure
    )  # unlike numbers of entries
    holes = items[:1, :4].copy()
    holes[0, 2] = np.nan
    assert len(model.complete(list(holes), n=3, seed=0).batch) == 3


def test_items_of_no_steps_and_weights_are_legal() -> None:
    space = series(1, 4)
    x = torch.randn(6, 4, 1, generator=torch.Generator().manual_seed(0)).double()
    batch = Batch(
        x, length=torch.tensor([4, 0, 2, 4, 3, 1]), weight=torch.tensor([1.0, 1, 1, 1, 0, 0])
    )
    model = Run(build("hmm", {"states": 2}, space).double(), Table(space, batch), 20).fit()
    assert float(model.log_prob(batch).value[1]) == 0.0
    now = model.fitted | {"gain": torch.tensor(0.0)}
    whole, part = (
        model._e_step(model.inputs(b, Noise(0, b.ids))[0], now) for b in (batch, batch[:4])
    )
    assert all(torch.allclose(whole[name], part[name], atol=1e-9) for name in part)


def test_what_it_cannot_take_is_said() -> None:
    for space, given, options, words in (
        (vector(3), None, {}, "take `mixture`"),
        (series(2, 5), label(2), {}, "density=hmm"),
        (series(2, 5), None, {"states": 2, "allowed": ((1,),)}, "a row of 2 numbers"),
        (series(2, 5), None, {"states": 2, "allowed": ((0, 0), (1, 1))}, "followed by none"),
        (series(2, 5, Real(lower=0, upper=1)), None, {"covariance": "full"}, ""),
    ):
        answer = family("hmm").accepts(family("hmm").Config.parse(options), space, given)
        assert words in answer.why
        assert bool(answer) == (not words)
    with pytest.raises(LikenessError, match="fixed length"):
        lk.fit("gaussian", np.random.default_rng(0).normal(size=(50, 2)), progress=False).forecast(
            [[0.0, 0.0]], 3
        )


def test_each_class_has_its_own_chain() -> None:
    g = np.random.default_rng(0)
    quick, slow = (
        [(np.cumsum(g.random(30) < p) % 2 + 0.3 * g.normal(size=30))[:, None] for _ in range(80)]
        for p in (0.5, 0.05)
    )
    space, given = series(1, 30), label(2)
    batch = as_batch(space, [*quick, *slow])
    y = torch.tensor([0.0] * 80 + [1.0] * 80)[:, None]
    data = Table(space, Batch(batch.x, length=batch.length, given=Batch(y)), given)
    options = {"density": {"family": "hmm", "states": 2}}
    model = Run(build("discriminant", options, space, given).double(), data, 60).fit()
    right = model.classify(batch).probabilities.argmax(-1) == y[:, 0]
    assert float(right.double().mean()) > 0.95
