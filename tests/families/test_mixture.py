"""Mixtures against closed forms, enumeration, quadrature and scikit-learn."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

import likeness as lk
import likeness.families.mixture
import likeness.routes
from likeness import registry
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.config import Settings
from likeness.core.space import (
    Count,
    Nominal,
    Ordinal,
    Real,
    binary,
    image,
    label,
    sequence,
    series,
    vector,
)
from likeness.data.source import Table
from likeness.data.synthetic import world
from likeness.learn.run import Run
from likeness.registry import reading, store

COVARIANCES = ("full", "tied", "diagonal", "spherical")


def table(space, x, given_space=None, given=None):
    batch = as_batch(space, x)
    condition = None if given is None else as_batch(given_space, given)
    return Table(space, replace(batch, given=condition), given_space)


def build(space, given_space=None, **options):
    return registry.build("mixture", options, space, given_space).double()


def fit(space, x, given_space=None, given=None, passes=200, **options):
    model = build(space, given_space, **options)
    return Run(model, table(space, x, given_space, given), passes).fit()


def clusters(n=600, d=3, k=3, seed=0):
    g = np.random.default_rng(seed)
    own = g.integers(k, size=n)
    shapes = g.normal(size=(k, d, d))
    return 4 * g.normal(size=(k, d))[own] + np.einsum(
        "nij,nj->ni", shapes[own], g.normal(size=(n, d))
    ), own


def holed(x, rate=0.3, seed=1):
    x = np.array(x, dtype=float)
    x[np.random.default_rng(seed).random(x.shape) < rate] = np.nan
    return x


def outside(model):
    """Weights, means and covariances in data units."""
    scale, shift = model.preprocessor.scale.double(), model.preprocessor.shift.double()
    cov = model.x_cov if model.x_cov.dim() == 3 else torch.diag_embed(model.x_cov)
    cov = cov.expand(len(model.x_mean), -1, -1) * scale * scale[:, None]
    return model.log_weight.exp(), model.x_mean * scale + shift, cov


def truth(model, x, columns):
    """log p of some columns by scipy."""
    w, m, c = (t.numpy() for t in outside(model))
    at = np.ix_(columns, columns)
    return np.log(sum(wk * multivariate_normal(mk[columns], ck[at]).pdf(x[:, columns])
                      for wk, mk, ck in zip(w, m, c, strict=True)))  # fmt: skip


# ---- EM ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_takes_the_same_path_as_scikit_learn(covariance):
    x, _ = clusters()
    x = (x - x.mean(0)) / x.std(0)
    data = table(vector(3), x)
    model = build(vector(3), components=3, covariance=covariance, floor=1e-12)
    model.prepare(data)
    learner, now = model.learner(), model.joint.init()
    now["x.mean"] = data.batch.x[:3]
    for _ in range(7):
        now = learner.maximise(learner.expect(data.batch, now), now)
    eye = np.eye(3)
    first = {
        "full": np.stack([eye] * 3),
        "tied": eye,
        "diagonal": np.ones((3, 3)),
        "spherical": np.ones(3),
    }[covariance]
    name = {"diagonal": "diag"}.get(covariance, covariance)
    peer = GaussianMixture(3, covariance_type=name, max_iter=7, tol=0, reg_covar=1e-12, means_init=x[:3],
                           weights_init=np.full(3, 1 / 3), precisions_init=first)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.fit(x)
    assert np.allclose(now["x.mean"], peer.means_, rtol=0, atol=1e-5)
    assert np.allclose(now["log_weight"].exp(), peer.weights_, rtol=0, atol=1e-6)
    ours = (
        now["x.cov"].numpy()[..., 0]
        if covariance == "spherical"
        else now["x.cov"].squeeze(0).numpy()
    )
    assert np.allclose(ours, peer.covariances_, rtol=0, atol=1e-5)


@pytest.mark.parametrize("hidden", [0.0, 0.3])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_no_pass_of_em_loses(covariance, hidden):
    x, _ = clusters(d=4)
    data = table(vector(4), holed(x, hidden))
    run = Run(
        build(vector(4), components=5, covariance=covariance, tolerance=0.0, floor=1e-12), data, 60
    )
    while not run.done:
        run.step()
    assert min(e.facts["rise"] for e in run.events[1:]) > -1e-6
    assert float(run.model.log_prob(data.batch).value.mean()) >= run.events[-1].terms[
        "objective"
    ] - math.log(1e9)


def test_no_pass_of_em_loses_on_a_table_of_heads_with_holes():
    space = vector(4, (Nominal(categories=3), Ordinal(levels=2), Count(), Real()))
    g = np.random.default_rng(0)
    own = g.integers(3, size=500)
    x = np.stack([(own + g.integers(2, size=500)) % 3, g.random(500) < 0.2 + 0.3 * own,
                  g.poisson(1 + 4 * own), own + 0.3 * g.normal(size=500)], -1).astype(float)  # fmt: skip
    run = Run(
        build(space, components=4, smoothing=0.0, tolerance=0.0), table(space, holed(x, 0.2)), 40
    )
    while not run.done:
        run.step()
    assert min(e.facts["rise"] for e in run.events[1:]) > -1e-9


@pytest.mark.parametrize("width", [3, 60])
def test_the_two_products_are_the_sums_they_stand_for(width):
    """Sums of r, r x and r x x', with and without holes, where E[x | x_o] and its covariance stand in for holes."""
    g = torch.Generator().manual_seed(0)
    part = likeness.families.mixture.Gaussians(2, "full", 1e-9)
    v, r = torch.randn(20, width, generator=g).double(), torch.rand(2, 20, generator=g).double()
    params = part.init(torch.ones(width).double())
    root = torch.randn(2, width, width, generator=g).double() / math.sqrt(width)
    params |= {
        "mean": torch.randn(2, width, generator=g).double(),
        "cov": root @ root.mT + torch.eye(width),
    }
    some = (torch.rand(20, width, generator=g) < 0.6) | (torch.arange(width) == 0)
    for known in (torch.ones_like(some), some):
        e_step = part.e_step_at(params)(v, known)
        sums = e_step.statistics(r)
        for k in range(2):
            m, c, first, second = params["mean"][k], params["cov"][k], 0, 0
            for i in range(20):
                o, h = known[i].nonzero()[:, 0], (~known[i]).nonzero()[:, 0]
                gain = c[h][:, o] @ torch.linalg.inv(c[o][:, o])
                full, left = v[i].clone(), torch.zeros_like(c)
                full[h] = m[h] + gain @ (v[i, o] - m[o])
                left[h[:, None], h] = c[h][:, h] - gain @ c[o][:, h]
                first, second = (
                    first + r[k, i] * full,
                    second + r[k, i] * (torch.outer(full, full) + left),
                )
                expected = multivariate_normal(m[o].numpy(), c[o][:, o].numpy()).logpdf(
                    v[i, o].numpy()
                )
                assert float(e_step.log_density[k, i]) == pytest.approx(float(expected), abs=1e-9)
            assert torch.allclose(sums["first"][k], first, rtol=0, atol=1e-9)
            assert torch.allclose(sums["second"][k], second, rtol=0, atol=1e-9)


def test_monotone_holes_have_their_closed_form():
    """Where only the second of two is ever missing (Anderson 1957)."""
    g = np.random.default_rng(0)
    x = g.normal(size=(400, 2)) @ np.array([[1.0, 0.8], [0.0, 0.5]]) + [3, -1]
    gone = g.random(400) < 1 / (
        1 + np.exp(-2 * (x[:, 0] - 3))
    )  # missing more often where the first is large
    shown = np.where(gone[:, None] & [False, True], np.nan, x)
    model = fit(vector(2), shown, components=1, tolerance=1e-14, floor=1e-12)
    there = x[~gone]
    slope = np.cov(there.T, bias=True)[0, 1] / there[:, 0].var()
    mean = there[:, 1].mean() + slope * (x[:, 0].mean() - there[:, 0].mean())
    rest = np.var(there[:, 1] - slope * there[:, 0])
    _, m, c = outside(model)
    assert m[0].numpy() == pytest.approx([x[:, 0].mean(), mean], abs=1e-5)
    s = x[:, 0].var()
    assert c[0].numpy() == pytest.approx(
        np.array([[s, slope * s], [slope * s, rest + slope**2 * s]]), abs=1e-5
    )


def test_the_truth_is_found_and_not_beaten():
    ring = world("ring")
    model = fit(ring.space, ring.source(4000, 0).batch, components=8)
    fresh = ring.source(20_000, 0, first=1_000_000).batch
    gap = ring.log_prob(fresh).value - model.log_prob(fresh).value
    assert (
        -3 * float(gap.std()) / math.sqrt(len(gap)) < float(gap.mean()) < 0.02
    )  # 47 parameters: .006 expected


# ---- what log p means ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_density_and_marginals_are_the_closed_form(covariance):
    x, _ = clusters()
    model = fit(vector(3), x, components=3, covariance=covariance, passes=20)
    lp = model.log_prob(x[:50])
    assert lp.kind is Kind.EXACT
    assert np.allclose(lp.value, truth(model, x[:50], [0, 1, 2]), rtol=0, atol=1e-10)
    part = x[:50].copy()
    part[:, 1] = np.nan
    assert np.allclose(model.log_prob(part).value, truth(model, part, [0, 2]), rtol=0, atol=1e-9)
    given = model.log_prob(x[:50], evidence=torch.tensor([True, False, True])).value
    assert np.allclose(given, lp.value.numpy() - truth(model, x[:50], [0, 2]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_change_of_units_shifts_log_p(covariance):
    x, _ = clusters()
    a, b = np.array([3.0, -0.01, 500.0]), np.array([5.0, -7.0, 0.1])
    here = fit(vector(3), x, components=3, covariance=covariance, passes=30).log_prob(x).value
    there = (
        fit(vector(3), a * x + b, components=3, covariance=covariance, passes=30)
        .log_prob(a * x + b)
        .value
    )
    assert torch.allclose(there, here - math.log(abs(a.prod())), rtol=0, atol=1e-6)


def test_binary_states_have_mass_one_and_their_marginals():
    g = np.random.default_rng(0)
    own = g.random(300) < 0.4
    x = (g.random((300, 5)) < np.where(own[:, None], 0.8, 0.3)).astype(float)
    model = fit(vector(5, binary()), x, components=3)
    states = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 5)
    p = model.log_prob(states).value.exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    hidden = Batch(
        torch.tensor([[1.0, 0, 0, 1, 0]]).double(), torch.tensor([[True, False, True, False, True]])
    )
    fits = (states[:, [0, 2, 4]] == torch.tensor([1.0, 0, 0])).all(-1)
    assert float(model.log_prob(hidden).value.exp()) == pytest.approx(
        float(p[fits].sum()), abs=1e-12
    )


def test_categories_may_be_renamed():
    g = np.random.default_rng(0)
    x = g.integers(3, size=(300, 4)).astype(float)
    x[:, 1] = (x[:, 0] + (g.random(300) < 0.2)) % 3
    space, renamed = vector(4, Nominal(categories=3)), (x + 1) % 3
    a = fit(space, x, components=4, passes=50).log_prob(x).value
    assert torch.allclose(
        a, fit(space, renamed, components=4, passes=50).log_prob(renamed).value, rtol=0, atol=1e-6
    )


def test_rounded_entries_are_bins_where_independent_and_a_bound_else():
    g = np.random.default_rng(0)
    x = np.round(2 * g.normal(size=(800, 2)) @ np.array([[1, 0.7], [0, 0.7]])) / 2
    space = vector(2, Real(resolution=0.5))
    exact, bound = (
        fit(space, x, components=2, covariance=c).log_prob(x, seed=0) for c in ("diagonal", "full")
    )
    assert (exact.kind, bound.kind) == (Kind.EXACT, Kind.LOWER_BOUND)
    line = np.arange(-16, 16.5, 0.5)
    states = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    model = fit(space, x, components=2, covariance="diagonal")
    assert float(model.log_prob(states).value.exp().sum()) == pytest.approx(1, abs=1e-6)
    assert float(bound.value.mean()) > float(exact.value.mean())  # it knows the correlation


def test_a_shorter_series_is_the_marginal_of_a_longer_one():
    g = np.random.default_rng(0)
    items = [g.normal(size=(n, 2)).cumsum(0) for n in g.integers(2, 6, size=300)]
    space = series(2, 5)
    model = fit(space, items, components=2, passes=20)
    long = np.stack([i for i in items if len(i) == 5])
    cut = Batch(torch.tensor(long), length=torch.full((len(long),), 3))
    hidden = torch.zeros(long.shape, dtype=torch.bool)
    hidden[:, 3:] = True
    whole = Batch(torch.tensor(long), ~hidden, torch.full((len(long),), 5))
    assert torch.allclose(model.log_prob(cut).value, model.log_prob(whole).value, rtol=0, atol=1e-9)


# ---- what is given -------------------------------------------------------------------------------------------------


def test_one_component_conditions_as_least_squares():
    g = np.random.default_rng(0)
    s = g.normal(size=(500, 2))
    x = s @ np.array([[1.0, 0.5], [-2.0, 0.3]]) + 0.4 * g.normal(size=(500, 2))
    model = fit(vector(2), x, vector(2), s, components=1, floor=1e-12)
    design = np.c_[np.ones(500), s]
    fitted = design @ np.linalg.lstsq(design, x, rcond=None)[0]
    cov = (x - fitted).T @ (x - fitted) / 500
    expected = [
        multivariate_normal(f, cov).logpdf(v) for f, v in zip(fitted[:9], x[:9], strict=True)
    ]
    assert model.log_prob(x[:9], given=s[:9]).value.numpy() == pytest.approx(
        np.array(expected), abs=1e-6
    )


def test_a_hidden_part_of_a_given_vector_is_integrated_out():
    g = np.random.default_rng(0)
    own = g.integers(2, size=600)
    s = 2.0 * own[:, None] + g.normal(size=(600, 2))
    x = (own * s[:, 1] + 0.5 * g.normal(size=600))[:, None]
    model = fit(vector(1), x, vector(2), s, components=3)
    part = np.array([[0.7, np.nan]])
    line = np.linspace(-9, 12, 4001)
    whole = np.c_[np.full(4001, 0.7), line]
    joint = model.joint.log_joint(  # p(s): what the components say of the condition alone
        model._views_of_given(
            model._views(Batch(torch.zeros(4001, 1).double(), given=as_batch(vector(2), whole)))
        ),
        model.fitted,
    ).logsumexp(0)
    weight = joint.softmax(0)
    by_hand = (
        (model.log_prob(np.full((4001, 1), 1.3), given=whole).value.exp() * weight).sum().log()
    )
    assert float(model.log_prob([[1.3]], given=part).value) == pytest.approx(
        float(by_hand), abs=1e-4
    )


GIVENS = {
    "label": (label(3), lambda g, own: own[:, None]),
    "vector": (vector(2), lambda g, own: own[:, None] + 0.3 * g.normal(size=(len(own), 2))),
    "image": (
        image(1, 2, 2),
        lambda g, own: 60 * own[:, None, None, None] + g.integers(60, size=(len(own), 1, 2, 2)),
    ),
    "tokens": (
        sequence(6, 4),
        lambda g, own: [2 * o + g.integers(2, size=g.integers(1, 5)) for o in own],
    ),
}


@pytest.mark.parametrize("name", GIVENS)
def test_discrete_conditionals_have_mass_one_and_follow_what_is_given(name):
    given_space, make = GIVENS[name]
    g = np.random.default_rng(0)
    own = g.integers(3, size=900)
    x = np.stack(
        [np.where(g.random(900) < 0.85, own, g.integers(3, size=900)) for _ in range(2)], -1
    )
    space = vector(2, Nominal(categories=3))
    data = table(space, x, given_space, make(g, own))
    model = Run(build(space, given_space, components=4), data, 100).fit()
    states = torch.cartesian_prod(*[torch.arange(3.0, dtype=torch.float64)] * 2)
    for i in range(3):
        given = data.batch.given[torch.full((9,), i)]
        p = model.log_prob(states, given=given).value.exp()
        assert float(p.sum()) == pytest.approx(1, abs=1e-9)
        assert int(p.argmax()) == 4 * own[i]
    gain = (
        model.log_prob(data.batch).value.mean()
        - model.log_prob(data.batch.given_as(None)).value.mean()
    )
    assert (
        0.9 < float(gain) < math.log(3)
    )  # the class is worth log 3, and x tells it with 1.7 bits of noise


def test_rows_without_a_label_help():
    """Two clear clusters and labels for few of their rows: the others say where the clusters are."""
    x, own = clusters(n=1000, d=2, k=2, seed=3)
    shown = np.where(np.arange(1000) < 10, own, -1.0)
    model = fit(vector(2), x, label(2), shown[:, None], components=2)
    posterior = model.classify(x)
    assert posterior.kind is Kind.EXACT
    assert float((posterior.best.numpy() == own).mean()) > 0.95
    joint = torch.stack(
        [model.log_prob(x, given=torch.full((1000, 1), float(y))).value for y in range(2)], -1
    )
    summed = (joint + model.class_prior().log()).logsumexp(-1)
    assert torch.allclose(summed, model.log_prob(x).value, rtol=0, atol=1e-9)


# ---- other verbs ---------------------------------------------------------------------------------------------------


def test_completion_follows_the_conditional():
    x, _ = clusters()
    model = fit(vector(3), x, components=3, passes=30)
    row = x[:1].copy()
    row[0, 1:] = np.nan
    done = model.complete(row, n=20_000, seed=0)
    assert done.kind is Kind.EXACT
    drawn = done.x[:, 0]
    assert bool((drawn[:, 0] == row[0, 0]).all())
    w, m, c = (t.numpy() for t in outside(model))
    share = np.array([wk * multivariate_normal(mk[0], ck[0, 0]).pdf(row[0, 0])
                      for wk, mk, ck in zip(w, m, c, strict=True)])  # fmt: skip
    share /= share.sum()
    means = np.array(
        [mk[1:] + ck[1:, 0] / ck[0, 0] * (row[0, 0] - mk[0]) for mk, ck in zip(m, c, strict=True)]
    )
    covs = np.array([ck[1:, 1:] - np.outer(ck[1:, 0], ck[0, 1:]) / ck[0, 0] for ck in c])
    mean = share @ means
    cov = np.einsum("k,kij->ij", share, covs + means[:, :, None] * means[:, None]) - np.outer(
        mean, mean
    )
    error = np.sqrt(np.diag(cov) / 20_000)
    assert np.all(np.abs(drawn[:, 1:].mean(0).numpy() - mean) < 4 * error)
    assert np.allclose(np.cov(drawn[:, 1:].T), cov, rtol=0.1, atol=0.1 * np.diag(cov).min())


def test_draws_have_the_frequencies_of_log_prob():
    g = np.random.default_rng(0)
    x = np.stack([g.integers(3, size=400), g.integers(2, size=400)], -1).astype(float)
    x[:, 1] = np.where(x[:, 0] == 2, 1, x[:, 1])
    space = vector(2, (Nominal(categories=3), Ordinal(levels=2)))
    model = fit(space, x, components=3)
    drawn = model.sample(30_000, seed=0).x
    states = torch.cartesian_prod(
        torch.arange(3.0, dtype=torch.float64), torch.arange(2.0, dtype=torch.float64)
    )
    p = model.log_prob(states).value.exp()
    e_step = torch.stack([(drawn == s).all(-1).double().mean() for s in states])
    assert bool(((e_step - p).abs() < 5 * (p * (1 - p) / 30_000).sqrt() + 1e-9).all())


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_components_decode_to_what_they_are(covariance):
    """Sum over codes of p(k) p(x | k) is p(x), and p(k | x) follows from them by Bayes' rule."""
    x, _ = clusters()
    model = fit(vector(3), x, components=3, covariance=covariance, passes=30)
    each = torch.stack(
        [
            model.decode(torch.full((40, 1), float(k))).log_prob(torch.tensor(x[:40]))
            for k in range(3)
        ],
        -1,
    )
    joint = each + model.log_weight
    assert torch.allclose(joint.logsumexp(-1), model.log_prob(x[:40]).value, rtol=0, atol=1e-9)
    assert torch.allclose(model.encode(x[:40]).mean, joint.softmax(-1), rtol=0, atol=1e-9)
    drawn = model.decode(torch.full((1, 1), 2.0)).sample(5000, seed=0).x[:, 0]
    assert torch.allclose(
        drawn.mean(0), model.decode([[2.0]]).mean[0], atol=4 * float(drawn.std(0).max()) / 70
    )


def test_the_mode_is_the_highest_peak():
    line = torch.linspace(-8, 8, 3201).double()[:, None]
    x = np.r_[
        np.random.default_rng(0).normal(-2, 1.0, 700), np.random.default_rng(1).normal(2, 0.7, 300)
    ][:, None]
    model = fit(vector(1), x, components=2, covariance="full")
    best = float(line[model.log_prob(line).value.argmax()])
    found = model.mode()
    assert found.kind is Kind.ESTIMATE
    assert float(found.x) == pytest.approx(best, abs=0.01)
    alone = fit(vector(1), x, components=1)
    assert alone.mode().kind is Kind.EXACT
    assert float(alone.mode().x) == pytest.approx(x.mean(), abs=1e-9)


def test_the_mode_of_what_is_hidden_beats_other_values():
    x, _ = clusters()
    model = fit(vector(3), x, components=3)
    rows = x[:20].copy()
    rows[:, 2] = np.nan
    peak = model.mode(rows).x
    around = peak + torch.linspace(-6, 6, 241).double()[:, None, None] * torch.tensor([0.0, 0, 1])
    beside = model.log_prob(around.reshape(-1, 3)).value.reshape(241, 20).amax(0)
    assert bool((beside <= model.log_prob(peak).value + 1e-6).all())


def test_the_mode_of_discrete_rows_is_enumerated():
    g = np.random.default_rng(0)
    x = g.integers(3, size=(300, 4)).astype(float)
    x[:, 1] = x[:, 0]
    model = fit(vector(4, Nominal(categories=3)), x, components=3)
    states = torch.cartesian_prod(*[torch.arange(3.0, dtype=torch.float64)] * 4)
    found = model.mode()
    assert found.kind is Kind.EXACT
    assert float(model.log_prob(found.x).value) == pytest.approx(
        float(model.log_prob(states).value.max()), abs=1e-12
    )


def test_the_mode_of_a_table_with_counts_is_no_worse_than_any_row_seen():
    g = np.random.default_rng(0)
    own = g.integers(2, size=400)
    x = np.stack([own, g.poisson(3 + 20 * own)], -1).astype(float)
    model = fit(vector(2, (Nominal(categories=2), Count())), x, components=2)
    best = model.mode().x
    assert float(model.log_prob(best).value) >= float(model.log_prob(x).value.max()) - 1e-9


@pytest.mark.parametrize("hidden", [0.0, 0.4])
def test_a_row_does_not_depend_on_the_rows_beside_it(hidden):
    x, _ = clusters(d=5)
    model = fit(vector(5), holed(x, hidden), components=4, passes=10)
    batch = as_batch(vector(5), holed(x, hidden))
    strict = Settings(strict=True)
    together = model.log_prob(batch[:20], settings=strict).value
    alone = torch.cat([model.log_prob(batch[i : i + 1], settings=strict).value for i in range(20)])
    assert torch.equal(together, alone)
    assert torch.equal(
        model.sample(20, seed=3, settings=strict).x[5:],
        model.sample(15, seed=3, first=5, settings=strict).x,
    )


def test_a_saved_model_gives_the_same_answers(tmp_path):
    x, own = clusters()
    model = fit(vector(3), x, label(3), own[:, None], components=4, passes=10)
    store.save(model, tmp_path / "m")
    again = reading.open_model(tmp_path / "m")
    assert torch.equal(
        again.log_prob(x, given=own[:, None]).value, model.log_prob(x, given=own[:, None]).value
    )
    assert torch.equal(again.sample(5, seed=1).x, model.sample(5, seed=1).x)


def test_more_components_than_rows():
    x = np.array([[0.0, 1.0], [1.0, 0.0], [3.0, 2.0]])
    model = fit(vector(2), x, components=5)
    assert bool(torch.isfinite(model.log_prob(x).value).all())


def test_three_planted_components_are_found() -> None:
    source, centres = np.random.default_rng(1), np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 6.0]])
    own = source.integers(3, size=3000)
    x = centres[own] + source.normal(size=(3000, 2))
    model = fit(vector(2), x, components=3)
    assert model.preprocessor is not None
    means = model.preprocessor.inverse(model.fitted["x.mean"])
    apart = torch.cdist(means, torch.tensor(centres))
    assert float(apart.amin(0).max()) < 0.1
    shares = model.encode(x).mean
    torch.testing.assert_close(
        shares.sum(-1), torch.ones(3000, dtype=torch.float64), rtol=0, atol=1e-12
    )
    assert (apart.argmin(1)[shares.argmax(-1)].numpy() == own).mean() > 0.99


def test_no_rows_give_no_answers():
    x = np.random.default_rng(0).normal(size=(100, 2))
    model = fit(vector(1), x[:, :1], vector(1), x[:, 1:], components=2)
    none = np.zeros((0, 1))
    assert model.log_prob(none, given=none).value.shape == (0,)
    assert model.sample(3, given=none, seed=0).x.shape == (3, 0, 1)


def degenerate(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    return {
        "one row repeated": np.repeat(x[:1], 60, 0),
        "collinear": np.c_[x, x[:, 0] + x[:, 1], 2 * x[:, 2]],
        "constant": np.c_[x, np.full(60, 5.0)],
        "fewer rows than columns": rng.normal(size=(8, 30)),
    }[kind]


@pytest.mark.parametrize("covariance", ["full", "tied"])
@pytest.mark.parametrize(
    "kind", ["one row repeated", "collinear", "constant", "fewer rows than columns"]
)
def test_covariances_without_full_rank_have_densities(kind, covariance):
    x = degenerate(kind)
    space = vector(x.shape[1])
    options = {"components": 2, "covariance": covariance}
    model = registry.build("mixture", options, space).double()
    model = Run(model, Table(space, as_batch(space, x)), "5 steps").fit()
    assert bool(model.log_prob(x).value.isfinite().all())
    assert bool(model.sample(5, seed=0).x.isfinite().all())


def test_thousands_of_categories_are_clustered_by_a_sketch_of_their_codes():
    """Two clusters, each with a thousand categories and numbers of its own, are found; no one-hot code is laid out."""
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 4000)
    frame = pd.DataFrame(
        {
            "k": [f"c{v}" for v in rng.integers(0, 1000, 4000) + 1000 * side],
            "x": rng.normal(size=4000) + 6 * side,
        }
    )
    model = lk.fit("mixture", frame, components=2, budget="20 steps", progress=False)
    own = model.encode(frame).mode.flatten().long().numpy()
    assert max(np.mean(own == side), np.mean(own != side)) > 0.99
    batch = as_batch(model.space, frame)
    assert model._features(batch).shape == (4000, likeness.families.mixture.SKETCH + 1)


def test_zeros_beyond_poisson_are_told_from_counts_and_their_share_is_found():
    """Two groups of Poisson counts, two of five of which are not counted at all."""
    g = torch.Generator().manual_seed(3)
    group = torch.rand(4000, generator=g) < 0.5
    rate = torch.where(group[:, None], torch.tensor([2.0, 9.0]), torch.tensor([9.0, 2.0]))
    x = torch.poisson(rate, generator=g) * (torch.rand(4000, 2, generator=g) < 0.6)
    model = fit(vector(2, Count()), x.double(), components=2, count="zero_inflated")
    heads = model.columns.distribution(model.fitted["x.table"]).parts[0]
    zeros = heads.dispersion / (1 + heads.dispersion)
    assert zeros.flatten().tolist() == pytest.approx([0.4] * 4, abs=0.05)
    assert sorted(heads.counts.mean.flatten().tolist()) == pytest.approx([2, 2, 9, 9], rel=0.06)
    plain = fit(vector(2, Count()), x.double(), components=2, count="poisson")
    assert float(model.log_prob(x).value.mean()) > float(plain.log_prob(x).value.mean()) + 0.3
