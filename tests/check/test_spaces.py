"""Every cell: its data lie in its Space, its entropy is known, its condition tells the class, its holes are sums."""

import math
from itertools import product

import pytest
import torch

from likeness.check.spaces import CLASSES, GIVENS, HIDDEN, MEANS, SIGMAS, SPACES, cell
from likeness.core import inputs
from likeness.core.batch import Batch, check, missing
from likeness.core.errors import BadConfig
from likeness.data.synthetic.conditions import CONDITIONS
from likeness.data.synthetic.discrete import states_of

DISCRETE = ("binary8", "nominal4")
TOLD = tuple(g for g in GIVENS if g != "none")


def bits(*shape, seed=0, rate=0.4):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate


def test_the_spaces_are_those_of_the_contract():
    assert len(SPACES) == 12 and len(GIVENS) == 5
    made = {name: make() for name, make in SPACES.items()}
    assert (
        made["table"].names is not None
        and [v.type for v in made["table"].variables].count("real") == 3
    )
    assert [v.resolution for v in made["rounded"].variables] == [s / 4 for s in SIGMAS]
    assert made["image_8bit"].shape == (3, 8, 8) and made["audio"].shape == (1, 64)
    assert (
        made["symbols"].ragged
        and made["symbols"].longest == 12
        and made["series"].layout == (16, 3)
    )
    with pytest.raises(BadConfig, match="choose among"):
        cell("reals3")
    with pytest.raises(BadConfig, match="choose among"):
        cell("reals2", "weather")


@pytest.mark.parametrize(("space", "given"), [(s, g) for s in SPACES for g in ("none", "label")]
                         + [(s, g) for s in ("reals2", "nominal4", "image_binary") for g in TOLD[1:]])  # fmt: skip
def test_data_lie_in_the_space_and_have_the_entropy(space, given):
    law = cell(space, given)
    assert law.space == SPACES[space]() and law.given_space == GIVENS[given]()
    table = law.source(4000, 11)
    check(law.space, table.batch)
    if given != "none":
        check(law.given_space, table.batch.given)
    mean = law.log_prob(table.batch).mean()
    assert abs(-mean.value - law.entropy) < 4 * mean.stderr


@pytest.mark.parametrize("given", TOLD)
@pytest.mark.parametrize("space", ["reals2", "symbols", "table"])
def test_a_missing_condition_is_the_mixture_of_classes(space, given):
    law = cell(space, given)
    batch = law.source(300, 12).batch
    told = CONDITIONS[given](CLASSES)
    each = []
    for y in range(CLASSES):
        noise = inputs.noise_of(law, 1, batch.ids, "test")
        under = told.draw(noise, torch.full((300,), y))
        each.append(law.log_prob(batch, given=under).value - math.log(CLASSES))
    nothing = batch.given_as(missing(law.given_space, 300, batch.x))
    expected = torch.stack(each, -1).logsumexp(-1)
    torch.testing.assert_close(law.log_prob(nothing).value, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        law.log_prob(batch.given_as(None)).value, expected, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("given", TOLD)
@pytest.mark.parametrize("classes", [2, 4])
def test_a_condition_tells_its_class(given, classes):
    told = CONDITIONS[given](classes)
    noise = inputs.noise_of(cell("reals2"), 3, torch.arange(2000), "test")
    y = torch.arange(2000) % classes
    drawn = told.draw(noise, y)
    check(told.space, drawn)
    posterior = told.log_likelihood(drawn).softmax(-1)
    assert torch.equal(posterior.argmax(-1), y)
    assert float(posterior.amax(-1).min()) > 1 - 1e-12


@pytest.mark.parametrize("given", TOLD)
def test_part_of_a_condition_is_weighed_by_bayes(given):
    """Calibration: of conditions seen in part, those believed to be class 0 with probability p are so p of the time."""
    told = CONDITIONS[given](CLASSES)
    n = 40_000
    noise = inputs.noise_of(cell("reals2"), 4, torch.arange(n), "test")
    y = torch.arange(n) % CLASSES
    drawn = told.draw(noise, y)
    partly = drawn.hide(bits(*drawn.x.shape, seed=5, rate=0.8))
    p = told.log_likelihood(partly).softmax(-1)
    right = torch.nn.functional.one_hot(y, CLASSES).double()
    for low, high in (
        (-0.01, 0.05),
        (0.05, 0.2),
        (0.2, 0.3),
        (0.3, 0.6),
        (0.6, 0.95),
        (0.95, 1.01),
    ):
        here = (p > low) & (p <= high)
        count = int(here.sum())
        if count > 50:
            spread = float((p[here] * (1 - p[here])).sum().sqrt())
            assert abs(float((right - p)[here].sum())) < 4.5 * spread + 1e-9


@pytest.mark.parametrize("space", DISCRETE)
def test_discrete_cells_sum_to_one_with_and_without_holes(space):
    law = cell(space, "label")
    states = states_of(law.space)
    batch = law.source(20, 13).batch
    holed = batch.hide(bits(*batch.x.shape, seed=1))
    fits = ((holed.x[:, None] == states) | ~holed.present[:, None]).all(-1)
    for y in range(CLASSES):
        log_p = law.log_prob(states, given=torch.full((len(states), 1), float(y))).value
        assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-12)
        exact = log_p.expand(20, -1).where(fits, -torch.inf).logsumexp(-1)
        answer = law.log_prob(holed, given=torch.full((20, 1), float(y))).value
        torch.testing.assert_close(answer, exact, rtol=0, atol=1e-10)


def test_rounded_items_are_bins_that_sum_to_one():
    law = cell("rounded")
    x = law.source(2000, 14).batch.x
    step = torch.tensor([s / 4 for s in SIGMAS])
    assert torch.equal((x / step).round() * step, x)
    axes = [torch.arange(-34, 35).double() * s for s in step.tolist()]
    log_p = law.log_prob(torch.cartesian_prod(*axes), settings={"rows": 100_000}).value
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-6)
    assert bool(torch.isfinite(law.log_prob(torch.tensor([[40.0, -80.0, 20.0]])).value).all())


def test_the_table_hides_a_fifth_and_sums_out_what_it_hides():
    law = cell("table")
    batch = law.source(20_000, 15).batch
    share = float(batch.holes.double().mean())
    assert share == pytest.approx(HIDDEN, abs=4 * (0.16 / 140_000) ** 0.5)
    full = law.sample(6, seed=1).x
    grid = [torch.arange(k).double() for k in (5, 3, 4)] + [torch.arange(60).double()]
    codes = torch.cartesian_prod(*grid)  # every value of the four discrete columns
    each = torch.cat([full[:, None, :3].expand(-1, len(codes), -1), codes.expand(6, -1, -1)], -1)
    summed = law.log_prob(each.flatten(0, 1)).value.reshape(6, -1).logsumexp(-1)
    hidden = Batch(full).hide(torch.tensor([False] * 3 + [True] * 4))
    torch.testing.assert_close(law.log_prob(hidden).value, summed, rtol=0, atol=1e-7)
    line = torch.arange(-6, 8, 0.05, dtype=torch.float64)
    swept = full.repeat_interleave(len(line), 0)
    swept[:, 1] = line.repeat(6)
    integral = law.log_prob(swept).value.reshape(6, -1).logsumexp(-1) + math.log(0.05)
    hidden = Batch(full).hide(torch.tensor([False, True] + [False] * 5))
    torch.testing.assert_close(law.log_prob(hidden).value, integral, rtol=0, atol=1e-7)


def test_completions_of_the_table_follow_the_conditional():
    law, n = cell("table"), 8000
    x = law.sample(3, seed=2).x
    hidden = torch.tensor([False, False, False, True, True, False, False])
    drawn = law.complete(Batch(x).hide(hidden), n=n, seed=3).x
    for grade, colour in product(range(5), range(3)):
        at = x.clone()
        at[:, 3], at[:, 4] = grade, colour
        p = law.log_prob(at, evidence=~hidden).value.exp()
        share = ((drawn[..., 3] == grade) & (drawn[..., 4] == colour)).double().mean(0)
        assert bool(((share - p).abs() < 4.5 * (p * (1 - p) / n).sqrt() + 3 / n).all())


def test_counts_have_the_means_and_the_law_of_poisson_chains():
    law = cell("counts4")
    x = law.sample(20_000, seed=4).x
    for j, mean in enumerate(MEANS):
        assert float(x[:, j].mean()) == pytest.approx(
            mean, abs=4 * float(x[:, j].std()) / 20_000**0.5
        )
    at = torch.tensor([[2.0, 5.0, 7.0, 23.0]], dtype=torch.float64)
    rates = [1.0] + [
        m * (0.6 + 0.4 * k / above)
        for m, above, k in zip(MEANS[1:], MEANS, at[0].tolist(), strict=False)
    ]
    expected = sum(
        k * math.log(r) - r - math.lgamma(k + 1)
        for k, r in zip(at[0].tolist(), rates, strict=False)
    )
    assert float(law.log_prob(at).value) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("space", ["series", "symbols", "audio", "image_binary"])
def test_holes_of_long_items_are_the_ratio_that_completion_draws(space):
    """log p(all) - log p(seen) is log p(hidden | seen), whatever the pattern; completion keeps what is seen."""
    law = cell(space, "label")
    batch = law.source(40, 16).batch
    first, second = bits(*batch.x.shape, seed=2, rate=0.3), bits(*batch.x.shape, seed=3, rate=0.3)
    whole = law.log_prob(batch).value
    seen = law.log_prob(batch.hide(first)).value
    less = law.log_prob(batch.hide(first | second)).value
    ratio = law.log_prob(batch, evidence=~first).value
    torch.testing.assert_close(ratio, whole - seen)
    between = law.log_prob(batch.hide(first), evidence=~(first | second)).value
    torch.testing.assert_close(between, seen - less)
    drawn = law.complete(batch.hide(first), n=2, seed=5).x
    present = batch.hide(first).present
    assert torch.equal(drawn[0][present], batch.x[present])
    if law.space.counted:
        assert float(ratio.max()) <= 1e-12 and float(between.max()) <= 1e-12


def test_completed_items_are_items():
    """Hide half, fill it from the law: what comes out has the entropy of the law."""
    for space in ("series", "symbols", "table", "image_binary", "reals10"):
        law = cell(space, "label")
        batch = law.source(3000, 17).batch
        whole = batch if batch.full else batch.with_x(law.complete(batch, seed=1).x[0])
        filled = whole.with_x(
            law.complete(whole.hide(bits(*batch.x.shape, seed=6, rate=0.5)), seed=7).x[0]
        )
        before, after = law.log_prob(whole).mean(), law.log_prob(filled).mean()
        assert abs(before.value - after.value) < 4 * math.hypot(before.stderr, after.stderr)


def test_a_prefix_of_a_series_is_a_shorter_series():
    law = cell("series")
    x = law.source(50, 18).batch.x
    short = Batch(x, length=torch.full((50,), 5))
    tail = Batch(x, length=torch.full((50,), 16)).hide((torch.arange(16) >= 5)[:, None])
    torch.testing.assert_close(law.log_prob(short).value, law.log_prob(tail).value)
    shuffled = bits(50, 16, 3, seed=8)
    direct = law.log_prob(Batch(x, length=torch.full((50,), 16)).hide(shuffled)).value
    for i in range(5):
        o = ~shuffled[i].flatten()
        part = torch.distributions.MultivariateNormal(law.mean[0, o], law.cov[0][o][:, o])
        assert float(direct[i]) == pytest.approx(float(part.log_prob(x[i].flatten()[o])), abs=1e-9)


@pytest.mark.parametrize("space", SPACES)
def test_cells_are_reproducible_by_index(space):
    law = cell(space, "tokens")
    whole, part = law.source(80, 19).batch, law.source(30, 19, first=50).batch
    torch.testing.assert_close(part.x, whole.x[50:], rtol=0, atol=1e-12)
    assert torch.equal(part.given.x, whole.given.x[50:]) and torch.equal(
        part.present, whole.present[50:]
    )
