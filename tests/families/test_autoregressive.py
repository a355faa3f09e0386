"""Autoregressive nets: mass, order, windows, holes, ends, and the published numbers on digits."""

import math

import pytest
import torch

import likeness.routes  # noqa: F401 - registers them
from likeness import registry
from likeness.core.answers import Kind
from likeness.core.batch import Batch, as_batch
from likeness.core.errors import LikenessError
from likeness.core.space import Nominal, Real, binary, image, sequence, vector
from likeness.data.source import Table
from likeness.learn.run import Run
from tests.families.test_independent import digits


def fit(data: Table, steps: int = 150, **options):
    registry.load_all()
    chosen = {"hidden": (32,), "batch": 128, "lr": 1e-2, "ema": 0.98, **options}
    return Run(
        registry.build("autoregressive", chosen, data.space, data.given_space).double(), data, steps
    ).fit()


def chain(n: int = 2000, d: int = 8) -> Table:
    g = torch.Generator().manual_seed(0)
    flips = (torch.rand(n, d, generator=g) < 0.2).double()
    return Table(vector(d, binary()), Batch(flips.cumsum(1) % 2))


@pytest.mark.parametrize("order", ["natural", "reverse", (3, 0, 6, 1, 7, 2, 5, 4)])
@pytest.mark.parametrize("window", [None, 2])
def test_probabilities_of_all_states_sum_to_one(order, window) -> None:
    model = fit(chain(), 30, order=order, window=window)
    states = torch.cartesian_prod(*[torch.arange(2.0)] * 8)
    lp = model.log_prob(states)
    assert lp.kind is Kind.EXACT
    assert float(lp.value.exp().sum()) == pytest.approx(1, abs=1e-9)


def test_samples_are_the_law() -> None:
    model = fit(chain(), 60)
    states = torch.cartesian_prod(*[torch.arange(2.0)] * 8)
    p = model.log_prob(states).value.exp()
    code = (model.sample(50000, seed=0).x @ (2.0 ** torch.arange(7, -1, -1)).double()).long()
    counts = code.bincount(minlength=256).double()
    keep = p > 1e-3
    chi = ((counts - 50000 * p).square() / (50000 * p))[keep].sum()
    n = int(keep.sum())
    assert float(chi) < n + 5 * math.sqrt(2 * n)


def test_holes_are_summed_over_exactly_or_bounded() -> None:
    data = chain()
    model = fit(data, 60)
    rows = data.batch.x[:6]
    hole = torch.zeros(8, dtype=torch.bool)
    hole[[1, 4]] = True
    batch = Batch(rows).hide(hole)
    whole = model.log_prob(batch)
    assert whole.kind is Kind.EXACT
    parts = []
    for a in (0.0, 1.0):
        for b in (0.0, 1.0):
            x = rows.clone()
            x[:, 1], x[:, 4] = a, b
            parts.append(model.log_prob(x).value)
    assert torch.allclose(whole.value, torch.logsumexp(torch.stack(parts), 0), rtol=0, atol=1e-9)
    late = torch.zeros(8, dtype=torch.bool)
    late[5:] = True
    assert model.log_prob(Batch(rows).hide(late)).kind is Kind.EXACT


def test_particles_agree_with_the_sum_where_both_can_be_had() -> None:
    data = chain()
    model = fit(data, 60)
    hole = torch.zeros(8, dtype=torch.bool)
    hole[[0, 3]] = True
    batch = Batch(data.batch.x[:40]).hide(hole)
    exact = model.log_prob(batch).value
    from likeness.core.noise import Noise
    from likeness.core.routes import Question

    question = Question(
        batch, Noise(0, batch.ids, dtype=torch.float64), model.Settings(), effort=4000
    )
    scored = model._particles(question)
    assert scored.kind is Kind.LOWER_BOUND
    assert ((scored.value - exact).abs() < 5 * scored.stderr + 1e-9).all()


def test_an_end_of_its_own_is_part_of_the_law() -> None:
    g = torch.Generator().manual_seed(0)
    items = [
        torch.randint(0, 2, (int(n),), generator=g)
        for n in torch.randint(1, 4, (500,), generator=g)
    ]
    space = sequence(2, 3)
    model = fit(Table(space, as_batch(space, items)), 60, end=True)
    every = [
        torch.tensor(list(map(int, format(i, f"0{n}b")))) for n in (1, 2, 3) for i in range(2**n)
    ]
    every.append(torch.zeros(0))
    lp = model.log_prob(as_batch(space, every))
    assert float(lp.value.exp().sum()) == pytest.approx(1, abs=1e-9)
    assert "and length" in lp.measure
    given_length = fit(Table(space, as_batch(space, items)), 10)
    lengths = torch.tensor([len(i) for i in every])
    mass = given_length.log_prob(as_batch(space, every)).value.exp()
    for n in (1, 2, 3):
        assert float(mass[lengths == n].sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("net", ["masked", "pixel"])
def test_walks_draw_what_one_pass_scores(net: str) -> None:
    g = torch.Generator().manual_seed(0)
    data = Table(
        image(2, 3, 3, 3), Batch(torch.randint(0, 3, (300, 2, 3, 3), generator=g).double())
    )
    model = fit(data, 20, net=net, width=8, depth=2)
    batch = Batch(data.batch.x[:20])
    from likeness.core.noise import Noise

    _, weight, _ = model._walk(batch, Noise(0, batch.ids, dtype=torch.float64))
    assert torch.allclose(weight, model.log_prob(batch).value, rtol=0, atol=1e-9)


def test_markov_and_logistic_pixels_of_digits() -> None:
    train, test = digits()
    markov = fit(train, 300, hidden=(), window=1, l2=1 / 1400)
    assert float(markov.log_prob(test).bits_per_dim.mean()) == pytest.approx(0.544, abs=1e-3)
    nats = markov.log_prob(test).mean()
    assert (nats.value, nats.stderr) == (
        pytest.approx(-24.13, abs=0.01),
        pytest.approx(0.19, abs=5e-3),
    )
    assert markov.count() == 127
    logistic = fit(train, 300, hidden=(), l2=4 / (0.1 * 1400))
    assert float(logistic.log_prob(test).bits_per_dim.mean()) == pytest.approx(0.416, abs=1e-3)
    assert logistic.count() == 2080


def test_nominal_mode_is_the_best_state() -> None:
    g = torch.Generator().manual_seed(1)
    x = torch.randint(0, 3, (800, 3), generator=g).double()
    x[:, 2] = (x[:, 0] + x[:, 1]) % 3
    model = fit(Table(vector(3, Nominal(categories=3)), Batch(x)), 80)
    states = torch.cartesian_prod(*[torch.arange(3.0)] * 3)
    values = model.log_prob(states).value
    mode = model.mode()
    assert mode.kind is Kind.EXACT
    assert float(model.log_prob(mode.x).value) == pytest.approx(float(values.max()), abs=1e-12)


def test_any_order_is_the_law_of_its_declared_order_for_every_subset() -> None:
    data = chain(4000, 4)
    model = fit(data, 500, net="any_order", hidden=(64, 64))
    states = torch.cartesian_prod(*[torch.arange(2.0)] * 4)
    joint = model.log_prob(states)
    assert joint.kind is Kind.EXACT
    assert float(joint.value.exp().sum()) == pytest.approx(1, abs=1e-9)
    assert model.evaluations(model.Settings()) == 4
    for code in range(1, 15):
        hidden = torch.tensor([bool(code >> i & 1) for i in range(4)])
        answer = model.log_prob(Batch(states).hide(hidden), seed=0)
        truth = torch.stack(
            [
                torch.logsumexp(joint.value[(states[:, ~hidden] == s[~hidden]).all(-1)], 0)
                for s in states
            ]
        )
        assert answer.kind is Kind.EXACT
        assert torch.allclose(answer.value, truth, rtol=0, atol=1e-9)
    row = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    drawn = model.complete(
        Batch(row).hide(torch.tensor([True, False, False, False])), n=4000, seed=0
    )
    assert drawn.kind is Kind.EXACT
    pair = model.log_prob(torch.cat([row, row + torch.eye(4)[:1]])).value.softmax(0)
    assert abs(float(drawn.x[:, 0, 0].mean() - pair[1])) < 4 * math.sqrt(float(pair.prod()) / 4000)


def test_any_order_weighs_what_it_proposes_for_reals_by_the_law_of_its_order() -> None:
    """The first of two reals hidden: log p of the second, and the mean of the first, against quadrature."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 2, generator=g, dtype=torch.float64)
    x[:, 1] = x[:, 0].square() + 0.3 * x[:, 1]
    model = fit(Table(vector(2), Batch(x)), 150, net="any_order", hidden=(32,), components=3)
    row = Batch(torch.tensor([[0.0, 0.8]])).hide(torch.tensor([True, False]))
    grid = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    whole = model.log_prob(torch.stack([grid, torch.full_like(grid, 0.8)], -1)).value
    truth = float(whole.logsumexp(0)) + math.log(12 / 4000)
    found = model.log_prob(row, seed=0, effort=4000)
    assert found.kind is Kind.LOWER_BOUND
    assert abs(float(found.value) - truth) < 4 * float(found.stderr) < 0.2
    weight = whole.softmax(0)
    for power in (1, 2):
        mean = float(weight @ grid**power)
        std = math.sqrt(float(weight @ (grid**power - mean).square()))
        drawn = model.complete(row, n=4000, seed=1, settings={"particles": 4000})
        error = std * math.sqrt(1 / 4000 + 1 / float(drawn.ess))
        assert abs(float((drawn.x[:, 0, 0] ** power).mean()) - mean) < 4 * error


@pytest.mark.slow
def test_probabilities_of_all_images_in_patches_sum_to_one_and_draws_follow_them() -> None:
    g = torch.Generator().manual_seed(0)
    x = (torch.rand(500, 1, 4, 4, generator=g) < torch.rand(500, 1, 1, 1, generator=g)).double()
    model = fit(
        Table(image(1, 4, 4, levels=2), Batch(x)), 40, net="pixel", patch=2, width=8, depth=2
    )
    states = torch.cartesian_prod(*[torch.arange(2.0)] * 16).reshape(-1, 1, 4, 4)
    p = model.log_prob(states).value.exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    draws = model.sample(20_000, seed=0).x.flatten(1)
    exact, error = p @ states.flatten(1).double(), 0.5 / math.sqrt(20_000)
    assert float((draws.mean(0) - exact).abs().max()) < 5 * error
    half = Batch(draws[:50].reshape(-1, 1, 4, 4)).hide(
        (torch.arange(16) >= 10).reshape(1, 1, 4, 4).expand(50, -1, -1, -1)
    )
    filled = model.complete(half, n=1, seed=0).x[0].flatten(1)
    assert torch.equal(filled[:, :10], draws[:50, :10])


@pytest.mark.parametrize("net", ["masked", pytest.param("any_order", marks=pytest.mark.slow)])
def test_reals_within_bounds_stay_there(net: str) -> None:
    """A share, a length and a number: log p integrates to 1 within the bounds, and no draw leaves them."""
    g = torch.Generator().manual_seed(0)
    u = torch.rand(2000, 2, generator=g).double()
    space = vector(2, (Real(lower=0.0, upper=1.0), Real(lower=0.0)))
    data = Table(space, Batch(torch.stack([u[:, 0], -u[:, 1].log() * (0.5 + u[:, 0])], -1)))
    model = fit(data, 60, net=net)
    draws = model.sample(5000, seed=0).x
    assert bool((draws >= 0).all())
    assert float(draws[:, 0].max()) <= 1
    a, b = (torch.arange(400).double() + 0.5) / 400, (torch.arange(3000).double() + 0.5) / 100
    lp = model.log_prob(torch.cartesian_prod(a, b)).value
    assert float(lp.exp().sum() / 400 / 100) == pytest.approx(1, abs=2e-3)
    with pytest.raises(LikenessError, match="bound"):
        model.log_prob([[1.2, 0.3]])


@pytest.mark.parametrize(("net", "size"), [("masked", 4), ("pixel", 6), ("auto", 4)])
def test_patches_that_nothing_would_use_are_refused(net: str, size: int) -> None:
    with pytest.raises(LikenessError, match="patch=4"):
        registry.build("autoregressive", {"net": net, "patch": 4}, image(1, size, size, levels=2))
