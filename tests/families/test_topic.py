"""Topics against enumeration, quadrature and closed forms; planted corpora; variational EM that never falls."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

import likeness as lk
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.noise import Noise
from likeness.core.space import Count, Nominal, Space, label, sequence, vector
from likeness.data.source import Table
from likeness.families.topic import EVEN, EXPLORED
from likeness.inference.topics.bag_of_words import Bags, seeds
from likeness.inference.topics.dirichlet import Dirichlet, fitted, log_norm, log_shares, mean_log
from likeness.inference.topics.lda import expected
from likeness.learn.run import Run
from likeness.registry import build, family, load_all

load_all()


def law(beta, alpha, space=None, rate: float = 1.0):
    """A model of known topics beta (K, V) and alpha (K,)."""
    beta = torch.as_tensor(beta, dtype=torch.float64)
    model = build("topic", {"topics": len(beta)}, space or sequence(beta.shape[1], 8)).double()
    model.weights, model.alpha = beta.T.contiguous(), torch.as_tensor(alpha, dtype=torch.float64)
    model.rate = torch.tensor(rate, dtype=torch.float64)
    return model


def random_law(k: int = 3, v: int = 5, seed: int = 0, **options):
    g = np.random.default_rng(seed)
    return law(g.dirichlet(np.ones(v), k), g.uniform(0.3, 1.5, k), **options)


def by_assignments(model, words: list[int]) -> float:
    """log p(words) = log sum_z p(words | z) p(z), p(z) Dirichlet-multinomial: exact."""
    beta, alpha, k = model.table.T, model.alpha, len(model.alpha)
    total = -math.inf
    for z in itertools.product(range(k), repeat=len(words)):
        count = torch.bincount(torch.tensor(z, dtype=torch.int64), minlength=k)
        value = float(log_norm(alpha + count) - log_norm(alpha))
        total = np.logaddexp(
            total, value + sum(math.log(beta[a, w]) for a, w in zip(z, words, strict=True))
        )
    return total


DOCUMENTS = [[0, 0, 1, 0], [4], [3, 3, 2, 4, 0, 1], [1, 2, 1, 2, 1, 2, 1], []]


def planted(
    rows: int, words: int, seed: int = 0, alpha: float = 0.3
) -> tuple[list[np.ndarray], np.ndarray]:
    """Documents of ten topics, the rows and columns of a 5x5 square (Griffiths & Steyvers 2004)."""
    g, topics = np.random.default_rng(seed), np.zeros((10, 5, 5))
    for i in range(5):
        topics[i, i], topics[5 + i, :, i] = 0.2, 0.2
    beta = topics.reshape(10, 25)
    theta = g.dirichlet(np.full(10, alpha), rows)
    return [g.choice(25, words, p=p / p.sum()).astype(float) for p in theta @ beta], beta


def run_of(items, space, passes: int = 200, **options) -> Run:
    return Run(
        build("topic", options, space).double(), Table(space, as_batch(space, items)), passes
    )


def apart(found: torch.Tensor, truth: np.ndarray) -> np.ndarray:
    """Total variation between topics (K, V) and the true ones that they are matched to."""
    distance = 0.5 * np.abs(found.numpy()[:, None] - truth).sum(-1)
    return distance[linear_sum_assignment(distance)]


# ---- sparse documents and Dirichlet laws ---------------------------------------------------------------------------


def test_sparse_products_are_the_dense_ones() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((9, 12), 0.6, dtype=torch.float64), generator=g)
    x[3] = 0
    a, b = (torch.rand(n, 4, generator=g, dtype=torch.float64) for n in (9, 12))
    rows = torch.tensor([5, 3, 3, 0])
    for bags, dense, own in (
        (Bags.of_counts(x, torch.ones_like(x, dtype=torch.bool)), x, a),
        (Bags.of_counts(x, torch.ones_like(x, dtype=torch.bool)).take(rows), x[rows], a[rows]),
        (
            Bags.of_counts(x, torch.ones_like(x, dtype=torch.bool)).repeat(2),
            x.repeat(2, 1),
            a.repeat(2, 1),
        ),
    ):
        there = dense.nonzero(as_tuple=True)
        assert torch.equal(bags.count, dense[there])
        assert torch.allclose(bags.products(own, b), (own @ b.T)[there])
        assert torch.allclose(bags.gathered(bags.count, b), dense @ b)
        assert torch.allclose(bags.scattered(bags.count, own), dense.T @ own)
        assert torch.allclose(bags.total, dense.sum(-1))


def test_sequences_and_counts_make_the_same_bags() -> None:
    x = torch.tensor([[2, 0, 2, 1], [1, 1, 9, 9]], dtype=torch.float64)
    present = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    one = Bags.of_sequences(x, present, 4)
    two = Bags.of_counts(
        torch.tensor([[1.0, 1, 2, 0], [0, 2, 0, 0]]).double(), torch.ones(2, 4, dtype=torch.bool)
    )
    for name in ("start", "word", "count"):
        assert torch.equal(getattr(one, name), getattr(two, name))


def test_seeds_lie_in_unlike_groups() -> None:
    x = torch.zeros(90, 30, dtype=torch.float64)
    for i in range(90):
        x[i, torch.arange(10) + 10 * (i % 3)] = 1.0 + torch.arange(10).double() % 3
    bags = Bags.of_counts(x, torch.ones_like(x, dtype=torch.bool))
    for seed in range(5):
        u = torch.rand(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert sorted((seeds(bags, u) % 3).tolist()) == [0, 1, 2]


def test_a_dirichlet_has_its_moments_density_and_mode() -> None:
    weights = torch.tensor([[0.05, 0.4, 2.5], [3.0, 2.0, 4.0]], dtype=torch.float64)
    one = Dirichlet(vector(3), torch.arange(2), Kind.EXACT, "", weights)
    theirs = torch.distributions.Dirichlet(weights)
    n = 40_000
    z = one.sample(n, seed=0).x
    assert torch.allclose(z.sum(-1), torch.ones(n, 2, dtype=torch.float64))
    assert bool(((z.mean(0) - theirs.mean).abs() < 5 * (theirs.variance / n).sqrt()).all())
    assert torch.allclose(z.var(0), theirs.variance, rtol=0.08)
    log_z = log_shares(
        weights[:1].expand(n, 3), Noise(1, torch.arange(n), dtype=torch.float64), "z"
    )
    assert bool(
        ((log_z.mean(0) - mean_log(weights[0])).abs() < 5 * log_z.std(0) / math.sqrt(n)).all()
    )
    assert torch.allclose(one.log_prob(z[0]), theirs.log_prob(z[0]))
    assert torch.allclose(one[1:].mode, torch.tensor([[2.0, 1.0, 3.0]]).double() / 6)
    assert one.mode[0].tolist() == [0, 0, 1]
    tiny = log_shares(
        torch.full((50, 4), 1e-4).double(), Noise(0, torch.arange(50), dtype=torch.float64), "z"
    )
    assert bool(torch.isfinite(tiny).all())


@pytest.mark.parametrize("begin", [1e-3, 1.0, 200.0])
def test_newton_finds_the_likeliest_weights(begin: float) -> None:
    truth = torch.tensor([0.05, 0.5, 3.0, 1.0], dtype=torch.float64)
    start = torch.full((4,), begin, dtype=torch.float64)
    assert torch.allclose(fitted(start, mean_log(truth), symmetric=False), truth, rtol=1e-5)
    mean = mean_log(truth)
    one = fitted(start, mean, symmetric=True)
    assert len(one.unique()) == 1
    heights = [
        float(mean.sum() * a - log_norm(torch.full((4,), a).double()))
        for a in (one[0] * f for f in (0.99, 1, 1.01))
    ]
    assert heights[1] > max(heights[0], heights[2])


# ---- log p ---------------------------------------------------------------------------------------------------------


def test_the_bound_lies_below_the_sum_over_assignments_and_draws_come_to_it() -> None:
    model = random_law()
    batch = as_batch(model.space, [np.array(d, float) for d in DOCUMENTS])
    truth = torch.tensor([by_assignments(model, d) for d in DOCUMENTS])
    bound, drawn = model.log_prob(batch), model.log_prob(batch, effort=4000, seed=0)
    assert bound.kind is drawn.kind is Kind.LOWER_BOUND
    gap = truth - bound.value
    assert bool((gap > -1e-9).all())
    assert float(gap[2]) > 1e-3  # it is a bound, no more
    assert float(gap[4]) == pytest.approx(0, abs=1e-12)  # no words, no doubt
    assert bool(((drawn.value - truth).abs() < 5 * drawn.stderr + 1e-9).all())
    assert bool((drawn.stderr < 0.05).all())


def test_two_topics_are_an_integral_over_one_share() -> None:
    model = law([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], [0.8, 1.4])
    words = [0, 0, 2, 1, 2]
    node, weight = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(4000))
    x = ((node + 1) / 2) ** 4  # most of the nodes near 0, where the density is steep
    slope = 2 * ((node + 1) / 2) ** 3
    theta = torch.stack([x, 1 - x], -1)
    density = torch.distributions.Beta(0.8, 1.4).log_prob(x).exp()
    p = (theta @ model.table.T)[:, words].prod(-1)
    integral = float((weight * slope * density * p).sum().log())
    assert by_assignments(model, words) == pytest.approx(integral, abs=1e-6)
    assert float(model.log_prob([np.array(words, float)]).value) < integral


def test_one_topic_is_a_unigram_model_and_its_bound_is_exact() -> None:
    items, _ = planted(50, 20)
    model = run_of(items, sequence(25, 20), topics=1, smoothing=0.0).fit()
    share = np.bincount(np.concatenate(items).astype(int), minlength=25) / 1000
    assert torch.allclose(model.table[:, 0], torch.from_numpy(share))
    assert torch.allclose(
        model.log_prob(items).value,
        torch.tensor([np.log(share)[i.astype(int)].sum() for i in items]),
    )


def test_counts_are_words_in_any_order_under_a_poisson_total() -> None:
    words, rate = random_law(), 4.5
    counts = law(words.table.T, words.alpha, vector(5, Count()), rate)
    batch = as_batch(words.space, [np.array(d, float) for d in DOCUMENTS])
    x = torch.from_numpy(
        np.stack([np.bincount(np.array(d, int), minlength=5) for d in DOCUMENTS])
    ).double()
    total = torch.distributions.Poisson(torch.tensor(rate)).log_prob(x.sum(-1))
    orders = torch.lgamma(x.sum(-1) + 1) - torch.lgamma(x + 1).sum(-1)
    assert torch.allclose(counts.log_prob(x).value, words.log_prob(batch).value + total + orders)
    drawn = [m.log_prob(b, effort=64, seed=0).value for m, b in ((counts, x), (words, batch))]
    assert torch.allclose(drawn[0], drawn[1] + total + orders)


def test_hidden_words_are_left_out_and_hidden_counts_are_summed_over() -> None:
    model = random_law()
    item = np.array([0, 3, np.nan, 1, np.nan])
    assert torch.allclose(model.log_prob([item]).value, model.log_prob([item[[0, 1, 3]]]).value)
    counts = random_law(space=vector(5, Count()), rate=3.0)
    x = torch.tensor([[1.0, 0, 2, float("nan"), 1]])
    full = x.repeat(40, 1)
    full[:, 3] = torch.arange(40)
    summed = counts.log_prob(full, effort=3000, seed=0).value.logsumexp(0)
    holed = counts.log_prob(x, effort=3000, seed=0)
    assert float(holed.value) == pytest.approx(float(summed), abs=5 * float(holed.stderr) + 0.02)
    assert float(counts.log_prob(x).value) < float(summed)


def test_longer_documents_than_any_seen_are_taken() -> None:
    model = random_law()
    long = np.array([0, 1, 2, 3, 4] * 5, float)
    assert float(model.log_prob([long]).value) < float(model.log_prob([long[:8]]).value)
    assert model.sample(3, seed=0, settings={"length": 30}).x.shape == (3, 30)


# ---- what is drawn -------------------------------------------------------------------------------------------------


def test_draws_have_the_frequencies_of_the_sum_over_assignments() -> None:
    model = random_law(v=3)
    x = model.sample(20_000, seed=0, settings={"length": 2}).x.long()
    seen = torch.bincount(x[:, 0] * 3 + x[:, 1], minlength=9).double() / 20_000
    truth = torch.tensor(
        [math.exp(by_assignments(model, list(w))) for w in itertools.product(range(3), repeat=2)]
    )
    assert float(truth.sum()) == pytest.approx(1, abs=1e-9)
    assert bool(((seen - truth).abs() < 5 * (truth / 20_000).sqrt()).all())


def test_drawn_counts_have_their_mean_and_are_overdispersed() -> None:
    model = random_law(space=vector(5, Count()), rate=6.0)
    x = model.sample(20_000, seed=0).x
    share = model.alpha / model.alpha.sum()
    mean = 6.0 * model.table @ share
    assert bool(((x.mean(0) - mean).abs() < 5 * x.std(0) / math.sqrt(20_000)).all())
    assert x.sum(-1).var() == pytest.approx(6.0, rel=0.05)  # the total is Poisson
    cov = torch.diag(share) - torch.outer(share, share)
    spread = 36 * model.table @ (cov / (model.alpha.sum() + 1)) @ model.table.T
    assert torch.allclose(x.var(0), mean + spread.diagonal(), rtol=0.06)


@pytest.mark.parametrize("observed", [[0, 0, 1], [3, 4, 4, 2]])
def test_completions_have_the_conditional_frequencies(observed: list[int]) -> None:
    model, n = random_law(seed=3), 4000
    drawn = model.complete(
        [np.array([*observed, np.nan])], n=n, seed=0, settings={"particles": 20_000}
    )
    assert drawn.kind is Kind.ESTIMATE
    assert float(drawn.ess) > 0.5 * n
    seen = torch.bincount(drawn.x[:, 0, len(observed)].long(), minlength=5).double() / n
    given = by_assignments(model, observed)
    truth = torch.tensor(
        [math.exp(by_assignments(model, [*observed, w]) - given) for w in range(5)]
    )
    assert bool(((seen - truth).abs() < 5 * (truth / n).sqrt() + 0.01).all())
    best = model.mode([np.array([*observed, np.nan])])
    assert int(best.x[0, len(observed)]) == int(truth.argmax())


@pytest.mark.slow
def test_completed_counts_have_the_mean_of_the_sum_over_their_values() -> None:
    model = random_law(space=vector(5, Count()), rate=3.0, seed=1)
    x = torch.tensor([[1.0, 0, 2, float("nan"), 1]])
    full = x.repeat(40, 1)
    full[:, 3] = torch.arange(40)
    weight = model.log_prob(full, effort=3000, seed=0).value.softmax(0)
    mean = float(weight @ torch.arange(40).double())
    std = math.sqrt(float(weight @ (torch.arange(40).double() - mean).square()))
    drawn = model.complete(x, n=4000, seed=0, settings={"particles": 4000}).x[:, 0, 3]
    assert float(drawn.mean()) == pytest.approx(mean, abs=5 * std / math.sqrt(4000) + 0.02)
    assert float(drawn.std()) == pytest.approx(std, rel=0.08)


def test_codes_are_the_posterior_of_the_proportions() -> None:
    model = random_law()
    items = [np.array(d, float) for d in DOCUMENTS]
    code = model.encode(items)
    assert code.kind is Kind.ESTIMATE
    assert torch.allclose(
        code.weights.sum(-1), model.alpha.sum() + torch.tensor([len(d) for d in DOCUMENTS])
    )
    assert torch.allclose(code.weights[4], model.alpha)
    one = law(
        [[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9]], [0.7, 0.9]
    )  # words that say their topic: then it is exact
    assert torch.allclose(
        one.encode([np.array([0.0, 0, 1])]).weights, torch.tensor([[2.7, 1.9]]).double(), atol=1e-6
    )


# ---- learning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("proportions", ["fixed", "symmetric", "asymmetric"])
@pytest.mark.parametrize("kind", ["words", "counts", "counts with holes"])
def test_em_never_lowers_its_bound(smoothing: float, proportions: str, kind: str) -> None:
    items, _ = planted(80, 30)
    space, data = sequence(25, 30), items
    if kind != "words":
        space = vector(25, Count())
        data = np.stack([np.bincount(i.astype(int), minlength=25) for i in items]).astype(float)
        holes = np.random.default_rng(1).random(data.shape) < 0.2
        data = np.where(holes & (kind == "counts with holes"), np.nan, data)
    options = {
        "topics": 4,
        "smoothing": smoothing,
        "proportions": proportions,
        "tolerance": 1e-7,
        "updates": 2,
    }
    run = run_of(data, space, 60, **options)
    run.fit()
    gains = [a.loss - b.loss for a, b in itertools.pairwise(run.events)]
    kept = [
        gain for made, gain in enumerate(gains, 1) if made % EVEN or made > EXPLORED
    ]  # of passes that go on
    assert min(kept) > -1e-9 * abs(run.events[-1].loss)
    assert len(kept) > 20


def test_points_for_topics_have_a_bound_that_is_the_objective() -> None:
    items, _ = planted(60, 30)
    run = run_of(
        items,
        sequence(25, 30),
        300,
        topics=3,
        smoothing=0.0,
        tolerance=1e-9,
        updates=20,
        proportions="fixed",
    )
    model = run.fit()
    assert float(model.log_prob(items).value.mean()) == pytest.approx(
        -run.events[-1].loss, abs=1e-3
    )


def test_laws_of_topics_cost_what_the_divergence_from_their_prior_says() -> None:
    items, _ = planted(60, 30)
    run = run_of(items, sequence(25, 30), 1, topics=3, proportions="fixed", smoothing=0.4)
    run.step()
    now = run.executor.parameters
    topics, bound = expected(now["weights"].T, 0.4, now["alpha"], None)
    eta = torch.full((25,), 0.4, dtype=torch.float64)
    q, p = (
        torch.distributions.Dirichlet(now["weights"].T),
        torch.distributions.Dirichlet(eta.expand(3, -1)),
    )
    assert float(bound) == pytest.approx(
        -float(torch.distributions.kl_divergence(q, p).sum()), abs=1e-9
    )
    assert torch.allclose(
        topics.table,
        (q.concentration.digamma() - q.concentration.sum(-1, keepdim=True).digamma()).exp().T,
    )


def test_alpha_that_is_learned_raises_the_bound_and_nears_the_truth() -> None:
    items, _ = planted(600, 60, alpha=0.3)
    ends, models = {}, {}
    for proportions in ("fixed", "symmetric", "asymmetric"):
        run = run_of(
            items, sequence(25, 60), topics=10, alpha=1.0, proportions=proportions, tolerance=1e-4
        )
        models[proportions], ends[proportions] = run.fit(), -run.events[-1].loss
    assert ends["fixed"] + 0.5 < ends["symmetric"] <= ends["asymmetric"] + 1e-2
    assert float(models["symmetric"].alpha[0]) == pytest.approx(0.3, abs=0.12)


def test_planted_topics_are_found() -> None:
    items, beta = planted(800, 80)
    model = run_of(items, sequence(25, 80), topics=10, restarts=4).fit()
    assert apart(model.table.T, beta).max() < 0.1
    counts = np.stack([np.bincount(i.astype(int), minlength=25) for i in items]).astype(float)
    other = run_of(counts, vector(25, Count()), topics=10, restarts=4).fit()
    assert torch.allclose(model.table, other.table, atol=1e-6)
    assert float(other.rate) == pytest.approx(80)


def test_fresh_documents_are_told_better_than_by_single_words() -> None:
    (items, beta), (test, _) = planted(600, 60), planted(200, 60, seed=1)
    model = run_of(items, sequence(25, 60), topics=10).fit()
    share = np.bincount(np.concatenate(items).astype(int), minlength=25) / (600 * 60)
    unigram = np.mean([np.log(share)[i.astype(int)].mean() for i in test])
    bound = float(model.log_prob(test).value.mean()) / 60
    truth = law(beta.clip(1e-12), np.full(10, 0.3), sequence(25, 60))
    assert unigram + 0.1 < bound < float(truth.log_prob(test, effort=200, seed=0).value.mean()) / 60


@pytest.mark.slow
def test_stochastic_steps_come_to_about_the_bound_of_whole_passes() -> None:
    (items, _), (test, _) = planted(1500, 60), planted(300, 60, seed=1)
    found = {}
    for decay in (None, 0.7):
        model = run_of(items, sequence(25, 60), 40, topics=10, decay=decay, batch=128).fit()
        found[decay] = float(model.log_prob(test).value.mean()) / 60
    assert found[0.7] == pytest.approx(found[None], abs=0.03)


def test_rows_count_by_their_weight() -> None:
    items, _ = planted(40, 30)
    space, options = sequence(25, 30), {"topics": 3, "tolerance": 0.0}
    batch = as_batch(space, items)
    twice = Batch(
        torch.cat([batch.x, batch.x[:20]]), length=torch.cat([batch.length, batch.length[:20]])
    )
    weighted = Batch(batch.x, length=batch.length, weight=1.0 + (torch.arange(40) < 20))
    sums = []
    for data in (twice, weighted):
        model = build("topic", options, space).double()
        bags = model._bags(data)
        now = model._guess(
            model._bags(batch), torch.ones(40).double(), Noise(0, torch.arange(40)), 0
        )
        now["documents"] = torch.tensor(60.0).double()
        sums.append(model._sums(bags, data, {k: v for k, v in now.items() if k != "gamma"}))
    for name in sums[0]:
        assert torch.allclose(sums[0][name], sums[1][name]), name


def test_it_tells_its_topics_by_their_words() -> None:
    g = np.random.default_rng(0)
    lines = [
        " ".join(g.choice(w, 12))
        for w in (["sun", "rain", "wind"], ["goal", "ball", "team"])
        for _ in range(40)
    ]
    model = lk.fit("topic", lk.load(lines, words=1), topics=2, seed=0, progress=False)
    told = sorted(sorted(words[:3]) for words in model.top(3))
    assert told == [["ball", "goal", "team"], ["rain", "sun", "wind"]]
    assert any(
        "ball" in r and "goal" in r and "% of the words" in r for r in model.facts["remarks"]
    )
    assert "perplexity" in model.facts["remarks"][0]
    assert model.count() == 2 * 5 + 2 + 1  # the last one tells how often a word is unknown


@pytest.mark.parametrize(
    ("space", "given", "words"),
    [
        (vector(3), None, "sequences of words"),
        (vector(3, Nominal(categories=4)), None, "sequences of words"),
        (
            Space(
                axes=("time", "channel"),
                shape=(None, 1),
                variables=(Nominal(categories=4),),
                longest=5,
            ),
            None,
            "words",
        ),
        (sequence(4, 6), label(3), "know of no condition"),
        (vector(4, Count()), vector(2), "know of no condition"),
    ],
)
def test_what_is_no_document_is_refused(space, given, words) -> None:
    why = family("topic").accepts(family("topic").Config(), space, given).why
    assert words in why
