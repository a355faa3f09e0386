"""Bayesian networks against enumeration of all states, all trees and all subsets, and hand arithmetic."""

import itertools
import math

import numpy as np
import pytest
import torch

import likeness as lk
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.errors import Unsupported
from likeness.core.space import (
    Count,
    Nominal,
    Ordinal,
    Real,
    Space,
    binary,
    image,
    label,
    sequence,
    vector,
)
from likeness.data.source import Table
from likeness.inference.bayes_net.graph import levels, spanning
from likeness.learn.run import Run
from likeness.registry import build, family, load_all

load_all()

SIZES = (2, 3, 2, 4, 2)
SPACE = vector(5, tuple(Nominal(categories=k) for k in SIZES))
STATES = torch.tensor(list(itertools.product(*map(range, SIZES)))).double()
DAG = {"x1": ("x0",), "x2": ("x0",), "x3": ("x1", "x2"), "x4": ("x3", "x0")}
NETS = {
    "tree": {},
    "given tree": {"parents": {"x1": ("x0",), "x3": (1,), "x4": ("1",)}},
    "graph": {"parents": DAG},
    "all before": {"parents": {f"x{j}": tuple(range(j)) for j in range(1, 5)}},
    "mixture": {"components": 3, "restarts": 2},
}


def codes(n: int = 400, seed: int = 0, hidden: float = 0.0) -> np.ndarray:
    """Codes that hang together in pairs and triples."""
    g = np.random.default_rng(seed)
    x0, x1 = g.integers(2, size=n), g.integers(3, size=n)
    x2 = np.where(g.random(n) < 0.8, x0, 1 - x0)
    x3 = np.where(g.random(n) < 0.7, (x1 + x2) % 4, g.integers(4, size=n))
    x4 = np.where(g.random(n) < 0.75, (x3 >= 2) ^ x0, g.integers(2, size=n))
    x = np.stack([x0, x1, x2, x3, x4], 1).astype(float)
    return np.where(g.random(x.shape) < hidden, np.nan, x)


def run_of(x, space: Space = SPACE, **options) -> Run:
    return Run(build("bayes_net", options, space).double(), Table(space, as_batch(space, x)), 200)


@pytest.fixture(scope="module", params=NETS)
def net(request):
    return run_of(codes(), **NETS[request.param]).fit()


def test_every_subset_is_the_sum_over_the_rest(net) -> None:
    log_p = net.log_prob(STATES).value
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-10)
    rows = STATES[torch.arange(0, len(STATES), 7)]
    for mask in itertools.product([False, True], repeat=5):
        known = torch.tensor(mask)
        same = ((rows[:, None] == STATES) | ~known).all(-1)
        truth = torch.where(same, log_p, -torch.inf).logsumexp(-1)
        asked = net.log_prob(Batch(rows * known, known.expand(len(rows), -1)))
        assert asked.kind is Kind.EXACT
        assert bool(((asked.value - truth).abs() < 1e-10).all())


def test_rows_of_unlike_holes_are_asked_together(net) -> None:
    g = torch.Generator().manual_seed(0)
    rows = STATES[torch.randint(len(STATES), (64,), generator=g)]
    known = torch.rand(64, 5, generator=g) < 0.5
    together = net.log_prob(Batch(rows * known, known)).value
    alone = torch.cat(
        [net.log_prob(Batch(r[None] * k, k[None])).value for r, k in zip(rows, known, strict=True)]
    )
    assert bool(((together - alone).abs() < 1e-12).all())


def test_modes_are_the_greatest_of_all(net) -> None:
    log_p = net.log_prob(STATES).value
    rows = STATES[::11]
    for mask in itertools.product([False, True], repeat=5):
        known = torch.tensor(mask)
        same = ((rows[:, None] == STATES) | ~known).all(-1)
        found = net.mode(Batch(rows * known, known.expand(len(rows), -1)))
        assert found.kind is Kind.EXACT
        reached = net.log_prob(found.batch.x).value
        assert bool((reached - torch.where(same, log_p, -torch.inf).amax(-1)).abs().max() < 1e-10)
        assert bool((found.batch.x == rows)[:, known].all())


@pytest.mark.parametrize(
    "mask", [(0, 0, 0, 0, 0), (1, 0, 0, 1, 0), (0, 1, 0, 0, 1), (0, 0, 1, 0, 0)]
)
def test_completions_follow_the_conditional(net, mask) -> None:
    n, known = 20_000, torch.tensor(mask).bool()
    row = torch.tensor([[1.0, 2, 1, 3, 0]])
    drawn = net.complete(Batch(row * known, known[None]), n=n, seed=0).x[:, 0]
    same = ((row == STATES) | ~known).all(-1)
    p = torch.where(same, net.log_prob(STATES).value, -torch.inf).softmax(0)
    radix = torch.tensor([math.prod(SIZES[i + 1 :]) for i in range(5)])
    share = torch.bincount((drawn.long() * radix).sum(-1), minlength=len(p)) / n
    assert bool(((share - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 1e-12).all())


def test_the_learned_tree_is_the_likeliest_of_all_labelled_trees() -> None:
    for seed, smoothing in ((0, 0.0), (1, 5.0)):
        x = codes(80, seed)
        pseudo = STATES if smoothing else STATES[:0]
        rows = torch.cat([torch.tensor(x), pseudo])
        weight = torch.cat(
            [torch.ones(80), torch.full((len(pseudo),), smoothing / len(STATES))]
        ).double()
        best = run_of(x, smoothing=smoothing).fit()
        reached = float(best.log_prob(rows).value @ weight)
        values = []
        for prufer in itertools.product(range(5), repeat=3):
            told = {f"x{j}": (p,) for j, p in rooted(prufer)}
            values.append(
                float(
                    run_of(x, smoothing=smoothing, parents=told).fit().log_prob(rows).value @ weight
                )
            )
        assert len(values) == 5**3  # Cayley's number of trees of five nodes
        assert reached == pytest.approx(max(values), abs=1e-8)
        assert reached > np.median(values) + 1


def rooted(prufer: tuple[int, ...]) -> list[tuple[int, int]]:
    """The edges (child, parent) of the labelled tree of a Prüfer sequence, hung from its last node."""
    n = len(prufer) + 2
    degree = [1 + prufer.count(i) for i in range(n)]
    edges = []
    for p in prufer:
        leaf = min(i for i in range(n) if degree[i] == 1)
        edges.append((leaf, p))
        degree[leaf], degree[p] = 0, degree[p] - 1
    u, v = (i for i in range(n) if degree[i] == 1)
    return [*edges, (u, v)]


def test_spanning_trees_are_those_of_greatest_weight() -> None:
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        weight = torch.rand(5, 5, generator=g)
        weight = weight + weight.T
        parent = spanning(weight)
        own = sum(float(weight[j, p]) for j, p in enumerate(parent.tolist()) if p >= 0)
        every = [
            sum(float(weight[j, p]) for j, p in rooted(s))
            for s in itertools.product(range(5), repeat=3)
        ]
        assert own == pytest.approx(max(every))
        assert len(levels(parent)) <= 3  # hung from its middle


def test_a_planted_tree_is_recovered() -> None:
    g = np.random.default_rng(0)
    parent = [-1, *(int(g.integers(j)) for j in range(1, 30))]
    x = np.zeros((4000, 30))
    for j, p in enumerate(parent):
        x[:, j] = (
            g.random(4000) < 0.5 if p < 0 else np.where(g.random(4000) < 0.85, x[:, p], 1 - x[:, p])
        )
    model = run_of(x, vector(30, binary())).fit()
    assert {frozenset(e) for e in model.edges[0]} == {
        frozenset((f"x{j}", f"x{p}")) for j, p in enumerate(parent) if j
    }
    reals = np.zeros((4000, 30))
    for j, p in enumerate(parent):
        reals[:, j] = g.normal(size=4000) + (reals[:, p] if p >= 0 else 0)
    model = run_of(reals, vector(30)).fit()
    assert {frozenset(e) for e in model.edges[0]} == {
        frozenset((f"x{j}", f"x{p}")) for j, p in enumerate(parent) if j
    }
    assert model.count() == 60 + 29


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("hidden", [0.0, 0.3])
def test_em_never_lowers_its_objective(name: str, hidden: float) -> None:
    run = run_of(codes(300, hidden=hidden), **NETS[name], smoothing=0.0, tolerance=0.0)
    run.fit()
    heights = [-e.loss for e in run.events]
    assert all(b >= a - 1e-9 for a, b in itertools.pairwise(heights))
    assert len(heights) > 5 or (not hidden and name != "mixture")
    if hidden or name == "mixture":  # and what it reports is the likelihood of what is observed
        run = run_of(
            codes(300, hidden=hidden), **NETS[name], smoothing=0.0, tolerance=0.0, passes=4
        )
        run.fit()
        now = run_of(
            codes(300, hidden=hidden), **NETS[name], smoothing=0.0, tolerance=0.0, passes=3
        ).fit()
        assert float(now.log_prob(codes(300, hidden=hidden)).value.mean()) == pytest.approx(
            -run.events[-1].loss
        )


def test_expected_counts_equal_enumeration() -> None:
    x = codes(40, hidden=0.4)
    model = run_of(x, parents=DAG, passes=3).fit()
    batch, now = as_batch(SPACE, x), model.fitted
    rows, known = model._view(batch)
    sums = model.net.e_step((rows, known), batch.weights.double(), now)
    log_p = model.log_prob(STATES).value
    total = torch.zeros_like(sums["t3"])
    for row, seen in zip(rows, known, strict=True):
        if bool(seen[3]) or bool(seen[4]):  # else nothing known lies below
            p = torch.where(((row == STATES) | ~seen).all(-1), log_p, -torch.inf).softmax(0)
            total.index_put_(
                (STATES[:, 1].long(), STATES[:, 2].long(), STATES[:, 3].long()), p, accumulate=True
            )
    assert torch.allclose(sums["t3"], total, atol=1e-10)


def alarm():
    """Burglary and earthquake ring an alarm: p(b) = 0.01, p(e) = 0.02, p(a | b, e) by hand."""
    space = vector(3, binary(), names=("burglary", "earthquake", "alarm"))
    model = build("bayes_net", {"parents": {"alarm": ("burglary", "earthquake")}}, space).double()
    ring = torch.tensor([[0.001, 0.29], [0.94, 0.95]], dtype=torch.float64)
    model.t0, model.t1 = (torch.tensor([1 - p, p], dtype=torch.float64).log() for p in (0.01, 0.02))
    model.t2 = torch.stack([1 - ring, ring], -1).log()
    return model


def test_an_alarm_is_explained_away() -> None:
    model = alarm()
    rang = 0.99 * 0.98 * 0.001 + 0.99 * 0.02 * 0.29 + 0.01 * 0.98 * 0.94 + 0.01 * 0.02 * 0.95
    hole = math.nan

    def p(*row: float) -> float:
        return float(model.log_prob([row]).value.exp())

    assert p(hole, hole, 1) == pytest.approx(rang, abs=1e-12)
    burglar = p(1, hole, 1) / p(hole, hole, 1)
    assert burglar == pytest.approx((0.01 * 0.98 * 0.94 + 0.01 * 0.02 * 0.95) / rang, abs=1e-12)
    shaken = p(1, 1, 1) / p(hole, 1, 1)
    assert shaken == pytest.approx(0.01 * 0.95 / (0.01 * 0.95 + 0.99 * 0.29), abs=1e-12)
    assert shaken < burglar / 10
    assert p(1, 1, hole) == pytest.approx(
        0.01 * 0.02, abs=1e-15
    )  # independent until the alarm is heard
    assert model.count() == 1 + 1 + 4


def test_a_regression_graph_is_its_joint_gaussian() -> None:
    g = np.random.default_rng(0)
    x = np.zeros((500, 4))
    x[:, 0], x[:, 1] = 2 + g.normal(size=500), 3 * g.normal(size=500)
    x[:, 2] = x[:, 0] - 0.5 * x[:, 1] + g.normal(size=500)
    x[:, 3] = 0.7 * x[:, 2] + x[:, 0] + 0.3 * g.normal(size=500)
    graph = {"x2": (0, 1), "x3": (2, 0)}
    model = run_of(x, vector(4), parents=graph).fit()
    b, mean, left = np.zeros((4, 4)), x.mean(0), np.zeros(4)
    for j, above in ((0, []), (1, []), (2, [0, 1]), (3, [2, 0])):  # least squares, one by one
        design = np.column_stack([np.ones(500), x[:, above]])
        solved = np.linalg.lstsq(design, x[:, j], rcond=None)[0]
        b[j, above], left[j] = solved[1:], ((x[:, j] - design @ solved) ** 2).mean()
    root = np.linalg.inv(np.eye(4) - b)
    law = torch.distributions.MultivariateNormal(
        torch.tensor(mean), torch.tensor(root @ np.diag(left) @ root.T)
    )
    assert torch.allclose(model.log_prob(x).value, law.log_prob(torch.tensor(x)), atol=1e-6)
    for mask in itertools.product([False, True], repeat=4):
        known = np.array(mask)
        if known.any():
            part = torch.distributions.MultivariateNormal(
                law.mean[known], law.covariance_matrix[known][:, torch.tensor(known)]
            )
            asked = model.log_prob(np.where(known, x[:50], np.nan)).value
            assert torch.allclose(asked, part.log_prob(torch.tensor(x[:50, known])), atol=1e-6)
    whole = run_of(x, vector(4), parents={f"x{j}": tuple(range(j)) for j in range(1, 4)}).fit()
    free = lk.fit("gaussian", x, holdout=0.0, progress=False)
    assert torch.allclose(whole.log_prob(x).value, free.log_prob(x).value, atol=1e-6)


def test_reals_with_holes_are_learned_by_em() -> None:
    g = np.random.default_rng(0)
    x = g.normal(size=(600, 5)).cumsum(1)
    gone = np.where(g.random(x.shape) < 0.3, np.nan, x)
    for options in ({}, {"parents": {f"x{j}": (j - 1,) for j in range(1, 5)}}):
        run = run_of(gone, vector(5), tolerance=0.0, **options)
        model = run.fit()
        assert min(a.loss - b.loss for a, b in itertools.pairwise(run.events)) > -1e-9
        assert {frozenset(e) for e in model.edges[0]} == {
            frozenset((f"x{j}", f"x{j - 1}")) for j in range(1, 5)
        }


def test_a_mixture_tells_its_components_apart() -> None:
    g = np.random.default_rng(0)
    z, turn = (
        g.integers(2, size=3000),
        g.random((3000, 8)) < 0.15,
    )  # a chain that keeps its value, or one that turns it
    x = ((turn ^ (z[:, None] == 1)) * np.where(np.arange(8) == 0, 0, 1)).cumsum(1)
    x = ((x + g.integers(2, size=(3000, 1))) % 2).astype(float)
    turned = np.abs(
        np.abs(np.diff(x)).sum(1)[:, None] - np.array([0, 7])
    )  # steps that are unlike each component
    log_joint = turned * math.log(0.15) + (7 - turned) * math.log(0.85) + 2 * math.log(0.5)
    truth = np.logaddexp(*log_joint.T)
    space = vector(8, binary())
    one = run_of(x, space).fit().log_prob(x).value.mean()
    model = run_of(x, space, components=2).fit()
    reached = float(model.log_prob(x).value.mean())
    assert reached > float(one) + 0.2
    assert reached == pytest.approx(truth.mean(), abs=0.02)
    own = model.encode(x).mode[:, 0].numpy()
    assert max((own == z).mean(), (own != z).mean()) > 0.97
    share = model.encode(x[:5]).mean
    joint = model.net.log_joint(*model._view(as_batch(space, x[:5])), model.fitted)
    assert torch.allclose(share, (joint - joint.logsumexp(0)).exp().T)


def test_all_bits_that_depend_on_those_before_need_a_number_for_each_state_but_one() -> None:
    for n in (1, 4, 10):
        space = vector(n, binary())
        told = {f"x{j}": tuple(range(j)) for j in range(1, n)}
        assert build("bayes_net", {"parents": told}, space).count() == 2**n - 1
    assert build("bayes_net", {}, vector(10, binary())).count() == 10  # nothing learned, no edges


def test_zero_rows_weights_and_certainties_are_legal() -> None:
    x = np.repeat([[0.0, 1], [1, 0]], 20, 0)
    batch = Batch(torch.tensor(np.vstack([x, [[1.0, 1]]])), weight=torch.tensor([1.0] * 40 + [0.0]))
    space = vector(2, binary())
    run = Run(build("bayes_net", {"smoothing": 0.0}, space).double(), Table(space, batch), 5)
    model = run.fit()
    assert float(model.log_prob([[0.0, 1]]).value) == pytest.approx(math.log(0.5), abs=1e-9)
    assert float(model.log_prob([[1.0, 1]]).value) < -100
    assert model.complete([[math.nan, 1.0]], n=50, seed=0).x[:, 0, 0].tolist() == [0.0] * 50


def test_what_it_cannot_take_is_said() -> None:
    bits = vector(3, binary(), names=("a", "b", "c"))
    for space, given, options, words in (
        (bits, label(2), {}, "density=bayes_net"),
        (vector(2, Count()), None, {}, "finitely many states"),
        (vector(2, (Real(), Ordinal(levels=3))), None, {}, "take `mixture`"),
        (sequence(3, 5), None, {}, "take `hmm`"),
        (image(3, 8, 8), None, {}, "tables of all pairs"),
        (vector(3), None, {"components": 2}, "take `mixture` for reals"),
        (bits, None, {"components": 2, "parents": {"a": ("b",)}}, "leave one of them out"),
        (bits, None, {"parents": {"a": ("d",)}}, "speaks of d"),
        (bits, None, {"parents": {"a": ("b",), "b": ("a",)}}, "circle"),
        (vector(30, binary()), None, {"parents": {"x29": tuple(range(29))}}, "fewer parents"),
        (bits, None, {"parents": {"a": ("b", 2)}}, ""),
    ):
        answer = family("bayes_net").accepts(
            family("bayes_net").Config.parse(options), space, given
        )
        assert words in answer.why
        assert bool(answer) == (not words)


def test_a_graph_that_is_too_dense_says_so_where_it_matters() -> None:
    pairs = list(itertools.combinations(range(11), 2))
    space = vector(
        66, tuple(Nominal(categories=4) for _ in range(11)) + tuple(binary() for _ in pairs)
    )
    model = build(
        "bayes_net", {"parents": {f"x{11 + k}": pair for k, pair in enumerate(pairs)}}, space
    ).double()
    row = np.zeros((1, 66))
    assert float(model.log_prob(row).value) == pytest.approx(-11 * math.log(4) - 55 * math.log(2))
    row[0, :11] = np.nan
    with pytest.raises(Unsupported, match="too closely"):
        model.log_prob(row)
    row[0, 0] = 3
    assert float(model.log_prob(row).value) == pytest.approx(-math.log(4) - 55 * math.log(2))
    assert model.sample(5, seed=0).x.shape == (5, 66)


def test_classes_have_a_net_each() -> None:
    g = np.random.default_rng(0)
    y, base = g.integers(2, size=600), g.integers(2, size=(600, 1))
    x = (np.where(y[:, None], base, (base + np.arange(6)) % 2) ^ (g.random((600, 6)) < 0.1)).astype(
        float
    )
    space, given = vector(6, binary()), label(2)
    data = Table(
        space, Batch(torch.tensor(x), given=Batch(torch.tensor(y[:, None]).double())), given
    )
    model = Run(
        build("discriminant", {"density": {"family": "bayes_net"}}, space, given).double(), data, 5
    ).fit()
    assert (
        float((model.classify(x).best.numpy() == y).mean()) > 0.85
    )  # each entry alone says nothing of the class
