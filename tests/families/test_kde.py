"""Kernel density estimates against double loops, scikit-learn and enumeration."""

import itertools
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.neighbors import KernelDensity

import likeness as lk
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.errors import LikenessError
from likeness.core.space import Count, Nominal, Real, binary, label, vector
from likeness.data.source import Table
from likeness.data.synthetic import world
from likeness.learn.run import Run
from likeness.registry import build, load_all

load_all()


def run_of(x, given=None, given_space=None, space=None, **options) -> Run:
    space = space or vector(x.shape[1])
    batch = as_batch(space, x)
    condition = None if given is None else as_batch(given_space, given)
    data = Table(space, Batch(batch.x, batch.observed, given=condition), given_space)
    return Run(build("kde", options, space, given_space).double(), data, 200)


def fit(x, *args, **options):
    return run_of(x, *args, **options).fit()


def draws(n: int = 300, d: int = 3, seed: int = 0) -> np.ndarray:
    g = np.random.default_rng(seed)
    return g.normal(size=(n, d)) @ g.normal(size=(d, d)) * 2 + 3


def slow(model, rows: np.ndarray, columns: list[int]) -> np.ndarray:
    """log p of some columns by a loop over centres, in data units."""
    scale, shift = (
        t.double().numpy() for t in (model.preprocessor.scale, model.preprocessor.shift)
    )
    centres, width = (
        model.centres.double().numpy() * scale + shift,
        model.width.double().numpy() * scale,
    )
    gaps = (rows[:, None, columns] - centres[None, :, columns]) / width[columns]
    each = (
        -0.5 * np.square(gaps).sum(-1)
        - np.log(width[columns]).sum()
        - 0.5 * len(columns) * math.log(2 * math.pi)
    )
    return np.log(np.exp(each).mean(1))


def test_density_is_scikit_learns_and_a_double_loops() -> None:
    x, fresh = draws(2000), draws(500, seed=1)
    x, fresh = (x - x.mean(0)) / x.std(0), (fresh - x.mean(0)) / x.std(0)
    model = fit(x, width=0.3, bandwidth="one")
    mine = model.log_prob(fresh)
    assert mine.kind is Kind.EXACT
    theirs = KernelDensity(bandwidth=0.3).fit(x).score_samples(fresh)
    near = theirs > -30  # beyond it errs: by 20 nats at -574
    assert 100 < near.sum() < 500
    np.testing.assert_allclose(mine.value.numpy()[near], theirs[near], rtol=0, atol=5e-7)
    gaps = torch.tensor(fresh)[:, None] - torch.tensor(x)
    each = -0.5 * (gaps / 0.3).square().sum(-1) - 3 * math.log(0.3 * math.sqrt(2 * math.pi))
    exact = each.logsumexp(1) - math.log(2000)
    assert torch.allclose(
        mine.value, exact, rtol=0, atol=5e-7
    )  # exponentials are in single precision


def test_a_far_point_has_a_finite_density() -> None:
    value = float(fit(draws(), width=0.1).log_prob(np.full((1, 3), 1e4)).value)
    assert -1e12 < value < -1e6


def test_holes_are_summed_out_in_rows_and_in_what_is_kept() -> None:
    x = draws()
    model, rows = fit(x), x[:20].copy()
    rows[:, 1] = np.nan
    np.testing.assert_allclose(
        model.log_prob(rows).value.numpy(), slow(model, x[:20], [0, 2]), rtol=0, atol=1e-6
    )
    kept = x.copy()
    kept[::2, 2] = np.nan
    holed = fit(kept, width=0.25)
    value = holed.log_prob(x[:5]).value
    scale, shift = holed.preprocessor.scale.double(), holed.preprocessor.shift.double()
    v = (torch.tensor(x[:5]) - shift) / scale
    spread = torch.where(holed.known, 0.25, 1.0).double()
    each = torch.distributions.Normal(holed.centres.double(), spread).log_prob(v[:, None]).sum(-1)
    want = each.logsumexp(1) - math.log(len(x)) - scale.log().sum()
    assert torch.allclose(value, want, rtol=0, atol=1e-6)


def test_the_search_climbs_the_likelihood_of_rows_left_out() -> None:
    x = draws(200)
    run = run_of(x, bandwidth="one", tolerance=1e-9, passes=200)
    model = run.fit()
    heights = [e.terms["objective"] for e in run.events]
    assert all(b >= a - 1e-7 for a, b in pairwise(heights))  # exponentials are in single precision
    v = (x - x.mean(0)) / x.std(0)

    def left_out(width: float) -> float:
        each = -0.5 * np.square((v[:, None] - v) / width).sum(-1) - 3 * math.log(
            width * math.sqrt(2 * math.pi)
        )
        np.fill_diagonal(each, -np.inf)
        return float((np.log(np.exp(each).sum(1)) - math.log(len(v) - 1)).mean())

    best = float(model.width[0])
    assert heights[-1] == pytest.approx(left_out(best), abs=1e-5)
    assert left_out(best) > max(left_out(best * 1.05), left_out(best / 1.05))


def test_each_number_gets_the_width_that_it_needs() -> None:
    g = np.random.default_rng(0)
    sharp, smooth = g.integers(0, 2, 500) * 4.0 + 0.05 * g.normal(size=500), g.normal(size=500)
    model = fit(np.stack([sharp, smooth], 1))
    assert float(model.width[0]) < 0.2 * float(model.width[1])


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_codes_add_up_to_one_and_are_the_kernels_of_aitchison_and_aitken(share) -> None:
    g = np.random.default_rng(0)
    space = vector(3, (Nominal(categories=3), binary(), Nominal(categories=4)))
    x = np.stack([g.integers(0, k, 60) for k in (3, 2, 4)], 1).astype(float)
    x[:, 1] = x[:, 0] > 0
    x = np.where(g.random(x.shape) < share, np.nan, x)
    model = fit(x, space=space)
    states = np.array(list(itertools.product(range(3), range(2), range(4))), dtype=float)
    value = model.log_prob(states).value
    assert float(value.exp().sum()) == pytest.approx(1, abs=1e-6)
    p = np.ones((len(states), len(x)))
    for e, c in enumerate((3, 2, 4)):
        b = float(model.blur[e])
        own = (1 - b) * (states[:, None, e] == x[None, :, e]) + b / c
        p *= np.where(np.isnan(x[:, e]), 1 / c, own)
    np.testing.assert_allclose(value.exp().numpy(), p.mean(1), rtol=1e-5)
    assert float(model.blur[1]) < 0.6  # it says what the first says
    half = states[:6].copy()
    half[:, 2] = np.nan
    summed = value.exp().reshape(6, 4).sum(1)
    assert torch.allclose(
        model.log_prob(states[::4] * [1, 1, np.nan]).value.exp(), summed, rtol=1e-5
    )


def test_a_table_of_numbers_and_codes_is_one_law() -> None:
    g = np.random.default_rng(0)
    space = vector(2, (Real(), Nominal(categories=2)))
    code = g.integers(0, 2, 400)
    x = np.stack([code * 6.0 + g.normal(size=400) + 50, code], 1)
    model = fit(x, space=space)
    grid = np.linspace(30, 80, 4001)
    mass = sum(
        float(model.log_prob(np.stack([grid, np.full(4001, k)], 1)).value.exp().sum())
        for k in (0.0, 1.0)
    )
    assert mass * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-4)
    drawn = model.complete(np.array([[np.nan, 1.0], [50.0, np.nan]]), n=2000, seed=0).x
    assert float(drawn[:, 0, 0].mean()) == pytest.approx(56, abs=0.3)
    assert float(drawn[:, 1, 1].mean()) < 0.1


def test_completion_follows_the_conditional_of_the_kernels() -> None:
    x = draws(400, 2)
    model, at = fit(x), 3.5
    drawn = model.complete(np.array([[at, np.nan]]), n=20_000, seed=0)
    assert drawn.kind is Kind.EXACT
    grid = np.linspace(x[:, 1].min() - 10, x[:, 1].max() + 10, 4001)
    p = model.log_prob(np.stack([np.full(4001, at), grid], 1)).value.softmax(0).numpy()
    mean, got = float(p @ grid), drawn.x[:, 0, 1]
    deviation = math.sqrt(p @ np.square(grid - mean))
    assert abs(float(got.mean()) - mean) < 5 * deviation / math.sqrt(20_000)
    assert float(got.std()) == pytest.approx(deviation, rel=0.03)


def test_a_condition_weighs_the_rows_kept_and_a_label_chooses_them() -> None:
    g = np.random.default_rng(0)
    s = g.uniform(-3, 3, size=(800, 1))
    model = fit(np.sin(s) + 0.1 * g.normal(size=s.shape), s, vector(1))
    drawn = model.sample(2000, given=np.array([[1.5], [-1.5]]), seed=0).x
    assert torch.allclose(
        drawn.mean(0).flatten(),
        torch.tensor([math.sin(1.5), -math.sin(1.5)]).double(),
        rtol=0,
        atol=0.1,
    )
    x, y = load_iris(return_X_y=True)
    classes = fit(x, y[:, None], label(3))
    alone = fit(x[y == 1], width=1.0)
    assert torch.equal(classes.log_share.exp().gt(1e-6).sum(1), torch.tensor([50, 50, 50]))
    assert float((classes.classify(x).best.numpy() == y).mean()) > 0.95
    assert alone.centres.shape == (50, 4)


def test_no_more_rows_are_kept_than_were_asked_for_and_the_card_says_that_they_are() -> None:
    model = lk.fit("kde", draws(1000), rows=100, progress=False, holdout=0)
    assert len(model.centres) == 100
    assert any("100 rows as they are" in r for r in model.remarks(as_batch(vector(3), draws(5))))


def test_it_beats_one_gaussian_on_a_ring_and_comes_near_the_truth() -> None:
    ring = world("ring")
    train, fresh = ring.source(5000, 0), ring.source(5000, 0, first=10_000_000).batch
    truth = ring.log_prob(fresh).value.mean()
    gap = {name: float(truth - lk.fit(name, train, holdout=0, progress=False).log_prob(fresh).value.mean())
           for name in ("kde", "gaussian")}  # fmt: skip
    assert gap["kde"] < 0.08
    assert gap["gaussian"] > 1


def test_counts_are_refused_with_the_way_out() -> None:
    with pytest.raises(LikenessError, match="take `mixture`"):
        lk.fit(
            "kde",
            lk.load(np.random.default_rng(0).poisson(4, size=(500, 2)), space=vector(2, Count())),
        )


def test_a_class_that_no_row_has_gets_the_law_of_all_rows() -> None:
    x, y = load_iris(return_X_y=True)
    model = fit(x, y[:, None], label(4), width=0.3)
    every = fit(x, width=0.3)
    unseen = model.log_prob(x[:9], given=np.full((9, 1), 3.0)).value
    assert torch.allclose(unseen, every.log_prob(x[:9]).value, rtol=0, atol=1e-9)
    p = model.classify(x).probabilities
    assert torch.isfinite(p).all()
    assert float((p.argmax(-1).numpy() == y).mean()) > 0.95


HALF = np.random.default_rng(1).normal(size=(200, 2))
HOLED = np.where(np.random.default_rng(2).random((200, 2)) < 0.2, np.nan, HALF)


@pytest.mark.parametrize("times", [2, 10])
@pytest.mark.parametrize("rows", [HALF, HOLED, HALF.round(1)], ids=["plain", "holes", "rounded"])
def test_a_table_pasted_many_times_has_the_law_of_the_table(rows, times):
    once = lk.fit("kde", rows, holdout=0.0, progress=False)
    often = lk.fit("kde", np.tile(rows, (times, 1)), holdout=0.0, progress=False)
    fresh = np.random.default_rng(3).normal(size=(500, 2))
    gap = once.log_prob(fresh).value - often.log_prob(fresh).value
    assert float(gap.abs().mean()) < 0.02
    assert torch.allclose(once.width, often.width, rtol=0.05)


def test_copies_count_as_weight_does():
    weight = torch.cat([torch.full((100,), 3.0), torch.ones(100)]).double()
    space = vector(2)
    weighted = Run(
        build("kde", {}, space).double(),
        Table(space, replace(as_batch(space, HALF), weight=weight)),
        100,
    ).fit()
    copied = lk.fit("kde", np.r_[HALF, HALF[:100], HALF[:100]], holdout=0.0, progress=False)
    fresh = np.random.default_rng(3).normal(size=(500, 2))
    gap = weighted.log_prob(fresh).value - copied.log_prob(fresh).value
    assert float(gap.abs().mean()) < 0.02


def test_codes_that_repeat_of_themselves_explain_each_other():
    first = HALF[:, 0] > 0
    frame = pd.DataFrame({"a": first, "b": first ^ (HALF[:, 1] > 1.6)}).astype(str)
    model = lk.fit("kde", frame, holdout=0.0, progress=False)
    assert float(model.blur.max()) < 0.2
