"""Markov chains against enumeration, counts by hand, and worlds that are chains."""

import itertools
import math

import numpy as np
import pytest
import torch

from likeness.check.spaces import cell
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.errors import LikenessError
from likeness.core.space import Nominal, binary, image, label, sequence, series, vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.registry import build, family, load_all

load_all()
S, LONGEST = 3, 5


def words(rows: int = 300, seed: int = 0, hidden: float = 0.0) -> list[np.ndarray]:
    """Symbols that follow the last two, words of 0 to 5 of them."""
    g = np.random.default_rng(seed)
    table = g.dirichlet(np.full(S, 0.5), (S + 1, S + 1))
    items = []
    for length in g.integers(0, LONGEST + 1, rows):
        x = [0, 0]
        for _ in range(length):
            x.append(1 + int(g.choice(S, p=table[x[-2], x[-1]])))
        item = np.array(x[2:], float) - 1
        items.append(np.where(g.random(length) < hidden, -1.0, item))
    return items


def run_of(items, space=None, **options) -> Run:
    space = space or sequence(S, LONGEST)
    return Run(build("markov", options, space).double(), Table(space, as_batch(space, items)), 300)


def by_hand(model, word: tuple[int, ...]) -> float:
    """log p of a word, code by code, and of its end."""
    table, past, total = model.log_p, [0] * model.config.order, 0.0
    for code in word:
        window = 0
        for c in past[len(past) - model.config.order :]:
            window = window * (S + 1) + c
        total += float(table[0, window, code])
        past.append(code + 1)
    if model.ends and len(word) < LONGEST:
        window = 0
        for c in past[len(past) - model.config.order :]:
            window = window * (S + 1) + c
        total += float(table[0, window, S])
    return total


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("end", [False, True])
def test_all_answers_equal_enumeration(order: int, end: bool) -> None:
    model = run_of(words(hidden=0.2), order=order, end=end).fit()
    for length in range(LONGEST + 1):
        every = list(itertools.product(range(S), repeat=length))
        value = torch.tensor([by_hand(model, w) for w in every], dtype=torch.float64)
        x = torch.zeros(len(every), LONGEST, dtype=torch.float64)
        x[:, :length] = torch.tensor(every, dtype=torch.float64).reshape(len(every), length)
        batch = Batch(x, length=torch.full((len(every),), length))
        answer = model.log_prob(batch)
        assert answer.kind is Kind.EXACT
        assert torch.allclose(answer.value, value, atol=1e-10)
        for hidden in itertools.product([False, True], repeat=length):
            mask = torch.zeros(LONGEST, dtype=torch.bool)
            mask[:length] = torch.tensor(hidden, dtype=torch.bool)
            some = batch[:4].hide(mask)
            found = model.log_prob(some).value
            for i in range(len(some)):
                same = (x[:, ~mask] == x[i, ~mask]).all(-1)
                assert float(found[i]) == pytest.approx(float(value[same].logsumexp(0)), abs=1e-10)
                best = model.mode(some[i : i + 1])
                top = x[same][value[same].argmax()]
                assert float(model.log_prob(best.batch).value) == pytest.approx(
                    float(value[same].max()), abs=1e-10
                )
                assert torch.equal(best.x[0, ~mask], top[~mask])


def test_all_words_have_a_mass_of_one_where_the_chain_ends() -> None:
    model = run_of(words(), order=1, end=True).fit()
    total = sum(
        math.exp(by_hand(model, w))
        for n in range(LONGEST + 1)
        for w in itertools.product(range(S), repeat=n)
    )
    assert total == pytest.approx(1.0, abs=1e-12)
    drawn = model.sample(20_000, seed=0).length
    p = [
        sum(math.exp(by_hand(model, w)) for w in itertools.product(range(S), repeat=n))
        for n in range(LONGEST + 1)
    ]
    share = drawn.bincount(minlength=LONGEST + 1).double() / 20_000
    assert bool(((share - torch.tensor(p)).abs() < 5 * 0.5 / math.sqrt(20_000)).all())
    assert "and length" in model.measure


def test_tables_are_smoothed_counts() -> None:
    items = words()
    model = run_of(items, smoothing=0.5).fit()
    counts = np.full((S + 1, S), 0.5)
    for item in items:
        for a, b in itertools.pairwise([0, *(item.astype(int) + 1)]):
            counts[a, b - 1] += 1
    assert np.allclose(model.log_p[0].exp(), counts / counts.sum(1, keepdims=True), atol=1e-12)
    assert model.count() == (1 + S) * (S - 1)


@pytest.mark.parametrize(("steps", "order"), [("tied", 1), ("tied", 2), ("free", 1), ("free", 2)])
def test_em_never_lowers_its_objective(steps: str, order: int) -> None:
    g = np.random.default_rng(0)
    x = np.cumsum(g.random((200, 6)) < 0.3, 1) % 2
    x = np.where(g.random(x.shape) < 0.3, -1.0, x)
    run = run_of(x, vector(6, binary()), steps=steps, order=order, smoothing=0.0)
    run.fit()
    assert min(a.loss - b.loss for a, b in itertools.pairwise(run.events)) > -1e-10
    assert len(run.events) > 3


def test_holes_at_random_leave_the_tables_where_they_were() -> None:
    whole, holes = (
        run_of(words(20_000, hidden=h), smoothing=0.0).fit().log_p.exp() for h in (0.0, 0.3)
    )
    assert float((whole - holes)[0, 1:].abs().max()) < 0.04


@pytest.mark.parametrize("name", ["binary8", "nominal4", "symbols"])
def test_it_reaches_the_truth_where_the_truth_is_a_chain(name: str) -> None:
    world = cell(name)
    train, test = (world.source(6000, s).batch for s in (0, 1))
    model = Run(build("markov", {}, world.space).double(), Table(world.space, train), 5).fit()
    gap = (world.log_prob(test).value - model.log_prob(test).value).mean()
    assert -1e-3 < float(gap) < 0.01


def test_one_chain_goes_on_to_any_length() -> None:
    model = run_of(words(), order=2).fit()
    long = np.zeros(40)
    assert float(model.log_prob([long]).value) == pytest.approx(by_hand(model, (0,) * 40), abs=1e-9)
    ahead = model.forecast([long[:3], long], 30, n=50, seed=0)
    assert ahead.x.shape == (50, 2, 30)
    assert model.mode([np.r_[long[:10], np.full(10, -1.0)]]).x.shape == (1, 20)


def test_columns_of_unlike_categories_have_tables_of_their_own() -> None:
    space = vector(3, tuple(Nominal(categories=k) for k in (2, 4, 3)))
    g = np.random.default_rng(0)
    a = g.integers(0, 2, 4000)
    b = np.where(g.random(4000) < 0.9, 2 * a + g.integers(0, 2, 4000), g.integers(0, 4, 4000))
    c = np.where(g.random(4000) < 0.8, b % 3, g.integers(0, 3, 4000))
    model = run_of(np.stack([a, b, c], 1), space).fit()
    every = torch.cartesian_prod(torch.arange(2.0), torch.arange(4.0), torch.arange(3.0))
    assert float(model.log_prob(every).value.exp().sum()) == pytest.approx(1.0, abs=1e-12)
    assert model.count() == 1 + 2 * 3 + 4 * 2
    hidden = Batch(every.double()).hide(torch.tensor([False, True, False]))
    drawn = model.complete(hidden[:1], n=4000, seed=0).x[:, 0, 1]
    value = model.log_prob(
        torch.stack([torch.zeros(4), torch.arange(4.0), torch.zeros(4)], 1)
    ).value.softmax(0)
    share = drawn.long().bincount(minlength=4).double() / 4000
    assert bool(((share - value).abs() < 5 * 0.5 / math.sqrt(4000)).all())


def test_many_windows_are_counted_but_no_holes_summed_over() -> None:
    space = sequence(27, 8)
    items = [np.random.default_rng(i).integers(0, 27, 8).astype(float) for i in range(50)]
    model = run_of(items, space, order=2).fit()
    assert model.log_prob(items).value.isfinite().all()
    assert "784 windows" in model.support("complete").why
    with pytest.raises(LikenessError, match="lower order"):
        run_of([np.where(items[0] > 20, -1.0, items[0])], space, order=2).fit()


# ---- numbers ---------------------------------------------------------------------------------------------------------


def swings(rows: int = 300, steps: int = 9, seed: int = 0, hidden: float = 0.0) -> list[np.ndarray]:
    """x_t = 1 + A x_t-1 + B x_t-2 + e of two numbers, lengths from 3 on."""
    g = np.random.default_rng(seed)
    a, b = np.array([[0.6, 0.3], [-0.2, 0.5]]), np.array([[-0.3, 0.0], [0.1, 0.2]])
    root, items = np.array([[0.5, 0.0], [0.2, 0.4]]), []
    for length in g.integers(3, steps + 1, rows):
        x = [g.normal(size=2), g.normal(size=2)]
        for _ in range(length):
            x.append(np.array([1.0, 0.0]) + a @ x[-1] + b @ x[-2] + root @ g.normal(size=2))
        item = np.stack(x[2:])
        items.append(np.where(g.random(item.shape) < hidden, np.nan, item))
    return items


def conditioned(mean, cov, x, known):
    """Mean and covariance of what is hidden, by linear algebra."""
    o, h = known.nonzero().flatten(), (~known).nonzero().flatten()
    gain = cov[h][:, o] @ torch.linalg.inv(cov[o][:, o])
    return mean[h] + gain @ (x[o] - mean[o]), cov[h][:, h] - gain @ cov[o][:, h]


@pytest.mark.parametrize("steps", ["tied", "free"])
@pytest.mark.parametrize("order", [1, 2])
def test_numbers_are_one_gaussian_step_by_step(order: int, steps: str) -> None:
    items = swings(hidden=0.15)
    model = run_of(items, series(2, 9), order=order, steps=steps, passes=20).fit()
    draws = model.sample(60_000, seed=0, settings={"length": 9}).x.flatten(1)
    shift, scale = (getattr(model.preprocessor, n).double().repeat(9) for n in ("shift", "scale"))
    mean, cov = model.chain.lags.joint(9, model.fitted)
    mean, cov = mean * scale + shift, cov * scale * scale[:, None]
    error = (cov.diagonal() / len(draws)).sqrt()
    assert bool(((draws.mean(0) - mean).abs() < 5 * error).all())
    assert torch.allclose(torch.cov(draws.T), cov, atol=0.05, rtol=0.05)
    batch = as_batch(model.space, items)[:20]
    law = torch.distributions.MultivariateNormal
    found, best = model.log_prob(batch).value, model.mode(batch).x
    for i in range(20):
        known = batch.present[i].flatten()
        own = law(mean[known], cov[known][:, known]).log_prob(batch.x[i].flatten()[known].double())
        assert float(found[i]) == pytest.approx(float(own), abs=1e-8)
        hidden = batch.holes[i].flatten()
        if bool(hidden.any()):
            middle, _ = conditioned(mean, cov, batch.x[i].flatten().double(), known)
            there = torch.full((18,), torch.nan, dtype=torch.float64)
            there[~known] = middle
            assert torch.allclose(best[i].flatten()[hidden].double(), there[hidden], atol=1e-8)


def test_completions_of_numbers_have_the_conditional_law() -> None:
    model = run_of(swings(), series(2, 9), order=2).fit()
    shift, scale = (getattr(model.preprocessor, n).double().repeat(9) for n in ("shift", "scale"))
    mean, cov = model.chain.lags.joint(9, model.fitted)
    mean, cov = mean * scale + shift, cov * scale * scale[:, None]
    x = torch.from_numpy(np.stack([i for i in swings() if len(i) == 9][:2]))
    for mask in (
        torch.arange(9) >= 5,
        (torch.arange(9) == 3) | (torch.arange(9) == 4),
    ):  # ahead, and a gap
        drawn = model.complete(
            Batch(x, length=torch.tensor([9, 9])).hide(mask[:, None]), n=20_000, seed=0
        ).x
        hidden = mask.repeat_interleave(2)
        for i in range(2):
            middle, spread = conditioned(mean, cov, x[i].flatten(), ~hidden)
            own = drawn[:, i].flatten(1)[:, hidden]
            assert bool(
                ((own.mean(0) - middle).abs() < 5 * (spread.diagonal() / 20_000).sqrt()).all()
            )
            assert torch.allclose(torch.cov(own.T), spread, atol=0.02, rtol=0.05)


def test_planted_regressions_are_found_and_em_never_falls_back() -> None:
    model = run_of(swings(3000), series(2, 9), order=2).fit()
    scale = model.preprocessor.scale.double()
    coef = model.fitted["coef"][-1] * scale / torch.cat([torch.ones(1), scale, scale])[:, None]
    assert torch.allclose(coef[1:3].T, torch.tensor([[0.6, 0.3], [-0.2, 0.5]]).double(), atol=0.04)
    assert torch.allclose(coef[3:].T, torch.tensor([[-0.3, 0.0], [0.1, 0.2]]).double(), atol=0.04)
    run = run_of(swings(hidden=0.3), series(2, 9), order=2)
    run.fit()
    assert min(a.loss - b.loss for a, b in itertools.pairwise(run.events)) > -1e-9
    assert len(run.events) > 3


def test_numbers_go_on_to_any_length() -> None:
    model = run_of(swings(), series(2, 9), order=2).fit()
    ahead = model.forecast(swings(4), 300, n=200, seed=0)
    assert ahead.x.shape == (200, 4, 300, 2)
    far = ahead.x[:, :, 200:].mean((0, 1, 2))
    a, b = (
        torch.tensor([[0.6, 0.3], [-0.2, 0.5]]).double(),
        torch.tensor([[-0.3, 0.0], [0.1, 0.2]]).double(),
    )
    still = torch.linalg.solve(torch.eye(2).double() - a - b, torch.tensor([1.0, 0.0]).double())
    assert torch.allclose(far, still, atol=0.15)
    with pytest.raises(LikenessError, match="linear_dynamical"):
        model.log_prob([np.where(np.arange(2000)[:, None] == 7, np.nan, np.zeros((2000, 2)))])


def test_what_it_cannot_take_is_said() -> None:
    for space, given, options, words_ in (
        (image(1, 4, 4), None, {}, "up to 64"),
        (sequence(3, 5), label(2), {}, "density=markov"),
        (sequence(60, 5), None, {"order": 4}, "take a lower order"),
        (
            vector(2, (binary(), Nominal(categories=3))),
            None,
            {"steps": "tied"},
            "leave out steps=tied",
        ),
        (vector(3, binary()), None, {"end": True}, "leave out end="),
    ):
        answer = family("markov").accepts(family("markov").Config.parse(options), space, given)
        assert words_ in answer.why
