import itertools
import math

import pytest
import torch

from likeness.dynamics.chain import Categories, Masked, Multinomial, pick, ranks
from tests.dynamics.oracles import TableDistribution, noise, normals, zscores

BINARY, UNEVEN = TableDistribution((2, 2, 2, 2)), TableDistribution((2, 3, 4, 2), seed=3)
each_law = pytest.mark.parametrize("law", [BINARY, UNEVEN], ids=["binary", "uneven"])


def masked(law):
    return Masked(Categories(law.sizes))


def subsets(size):
    """Every non-empty set of hidden entries, as bool masks."""
    return [
        torch.tensor(mask) for mask in itertools.product([False, True], repeat=size) if any(mask)
    ]


def scores(law, x, mask):
    """The log-probability of the entries of `mask` given the others, by the law's own (or wrong) conditionals."""
    hidden = mask.expand(len(x), -1)
    shown = torch.where(hidden, 0, x)
    return masked(law).score(law(shown, ~hidden, None), x, hidden)


def expected_bound(law, x):
    """The mean of the bound over its draws, by enumeration of the hidden sets."""
    size = x.shape[1]
    terms = (
        scores(law, x, mask) / (mask.sum() * math.comb(size, int(mask.sum())))
        for mask in subsets(size)
    )
    return sum(terms)


def ordered_log_probs(law, x):
    """The autoregressive log-probability in each of the orders, (orders, B)."""
    size, found = x.shape[1], []
    for order in itertools.permutations(range(size)):
        value = torch.zeros(len(x)).double()
        for i, entry in enumerate(order):
            hidden = torch.ones(size, dtype=torch.bool)
            hidden[list(order[:i])] = False
            log_probs = masked(law).categories.log_probs(
                law(torch.where(hidden, 0, x), (~hidden).expand(len(x), -1), None)
            )
            value = value + pick(log_probs, x)[:, entry]
        found.append(value)
    return torch.stack(found)


@each_law
def test_the_bound_of_exact_conditionals_is_the_log_probability(law):
    assert torch.allclose(expected_bound(law, law.states), law.log_p, rtol=0, atol=1e-9)


@pytest.mark.parametrize("power", [1.0, 0.6, 1.8])
def test_the_bound_is_the_mean_over_orders_and_below_the_model(power):
    law = TableDistribution((2, 2, 2, 2), power=power)
    orders = ordered_log_probs(law, law.states)
    model = orders.logsumexp(0) - math.log(24)  # the law of the model of random orders
    assert model.logsumexp(0).item() == pytest.approx(0, abs=1e-9)
    bound = expected_bound(law, law.states)
    assert torch.allclose(bound, orders.mean(0), rtol=0, atol=1e-9)
    assert (bound <= model + 1e-9).all()
    assert power == 1 or (bound < model - 1e-4).any()


@pytest.mark.parametrize(
    "law", [TableDistribution((2, 2, 2, 2), power=0.6), UNEVEN], ids=["wrong", "uneven"]
)
def test_the_mean_over_all_orders_by_sets_is_that_by_orders(law):
    """2^D passes say what D! walks do, and what is drawn one by one sums to 1."""
    value = masked(law).mixture(law, law.states, lambda _n: None, noise(len(law.states)))
    exact = ordered_log_probs(law, law.states).exp().mean(0).log()
    assert torch.allclose(value, exact, rtol=0, atol=1e-12)
    assert float(value.exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("power", [1.0, 0.6])
def test_draws_of_the_bound_have_the_expected_mean_and_error(power):
    law = TableDistribution((2, 3, 4, 2), seed=3, power=power)
    bound = masked(law).bound(law, law.states, noise=noise(len(law.states)), draws=300)
    z = (bound.value - expected_bound(law, law.states)) / bound.stderr
    assert abs(float(z.mean())) < 4.5 / len(z) ** 0.5
    assert 0.7 < float(z.std()) < 1.35


def test_the_weight_of_time_gives_the_same_bound():
    law, size = BINARY, 4
    nodes = torch.linspace(0, 1, 20001, dtype=torch.float64)[1:]  # times t; the integrand is smooth
    total = torch.zeros(len(law.states)).double()
    for mask in subsets(size):
        m = int(mask.sum())
        chance = nodes**m * (1 - nodes) ** (size - m) * masked(law).weight(nodes)
        total = total + torch.trapezoid(chance, nodes) * scores(law, law.states, mask)
    assert torch.allclose(total, expected_bound(law, law.states), rtol=1e-3)


def test_corruption_hides_at_the_rate_of_time():
    n, law = 20000, BINARY
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64).repeat_interleave(n)
    visible = masked(law).corrupt(t, noise(3 * n).uniform("u", 4)).view(3, n * 4).double().mean(1)
    assert torch.allclose(
        visible, torch.tensor([0.9, 0.5, 0.1]).double(), atol=4.5 * 0.5 / math.sqrt(4 * n)
    )


def test_hiding_counts_and_spares_evidence_and_the_absent():
    n = 6000
    uniforms = noise(n).uniform("u", 5)
    present = torch.tensor([True, True, True, True, False]).expand(n, 5)
    evidence = torch.tensor([False, True, False, False, False]).expand(n, 5)
    visible = masked(BINARY).hide(torch.full((n,), 2), uniforms, present=present, evidence=evidence)
    assert visible[:, 1].all()
    assert not visible[:, 4].any()
    hidden = ~visible[:, [0, 2, 3]]
    assert (hidden.sum(1) == 2).all()
    assert zscores((~hidden).double().sum(0), torch.full((3,), 1 / 3).double()).abs().max() < 4.5


def test_ranks_are_a_random_order():
    n = 6000
    among = torch.tensor([True, False, True, True]).expand(n, 4)
    place = ranks(noise(n).uniform("u", 4), among)
    assert (place[:, 1] == 3).all()
    assert torch.equal(place.sort(1).values, torch.arange(4).expand(n, 4))
    first = torch.bincount(place[:, [0, 2, 3]].argmin(1), minlength=3).double()
    assert zscores(first, torch.full((3,), 1 / 3).double()).abs().max() < 4.5


def test_a_hidden_entry_stays_or_becomes_a_code():
    chain = masked(UNEVEN)
    log_probs = chain.categories.log_probs(normals(6, 4, 4))
    s, t = torch.full((6,), 0.2).double(), torch.full((6,), 0.8).double()
    stay, become = chain.posterior(log_probs, s, t)
    assert torch.allclose(stay.exp(), torch.full((6,), 0.25).double())
    assert torch.allclose(become.exp().sum(-1) + stay.exp()[:, None], torch.ones(6, 4).double())
    # Two steps make one: staying from t to u and from u to s is staying from t to s.
    u = torch.full((6,), 0.5).double()
    assert torch.allclose(
        chain.posterior(log_probs, u, t)[0] + chain.posterior(log_probs, s, u)[0], stay
    )
    gone, all_shown = chain.posterior(log_probs, 0 * s, t)
    assert torch.equal(gone.exp(), torch.zeros(6).double())
    assert torch.allclose(all_shown, log_probs)


def test_logits_that_an_entry_does_not_have_are_cut_off():
    categories = Categories(torch.tensor([2, 4]))
    log_probs = categories.log_probs(torch.zeros(3, 2, 4).double())
    assert torch.allclose(log_probs[:, 0, :2].exp(), torch.full((3, 2), 0.5).double())
    assert (log_probs[:, 0, 2:] == -torch.inf).all()
    codes = categories.draw(log_probs, torch.full((3, 2), 1 - 1e-17).double())
    assert torch.equal(codes, torch.tensor([[1, 3]] * 3))
    assert Categories(torch.tensor(3)).valid.shape == (3,)


def test_codes_are_drawn_with_their_probabilities():
    categories, n = Categories(torch.tensor([2, 4])), 20000
    log_probs = categories.log_probs(normals(1, 2, 4))
    codes = categories.draw(log_probs.expand(n, 2, 4), noise(n).uniform("u", 2))
    for entry in range(2):
        probs = log_probs[0, entry].exp()[: categories.sizes[entry]]
        counts = torch.bincount(codes[:, entry], minlength=len(probs)).double()
        assert zscores(counts, probs).abs().max() < 4.5


@each_law
@pytest.mark.parametrize("steps", [4, 9])
def test_revealing_one_by_one_draws_the_joint(law, steps):
    n = 20000
    x = masked(law).unmask(law, torch.zeros(n, 4, dtype=torch.int64), steps=steps, noise=noise(n))
    counts = torch.bincount(law.index(x), minlength=len(law.states)).double()
    expected = n * law.log_p.exp()
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = len(law.states) - 1
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


def test_revealing_at_once_draws_the_marginals():
    n, law = 20000, BINARY
    x = masked(law).unmask(law, torch.zeros(n, 4, dtype=torch.int64), steps=1, noise=noise(n))
    marginal = law.log_p.exp() @ law.states.double()
    product = torch.prod(torch.where(law.states == 1, marginal, 1 - marginal), 1)
    counts = torch.bincount(law.index(x), minlength=16).double()
    assert zscores(counts, product).abs().max() < 4.5
    assert zscores(counts, law.log_p.exp()).abs().max() > 10


def test_evidence_is_kept_and_conditioned_on():
    n, law = 20000, UNEVEN
    evidence = torch.tensor([False, True, False, True]).expand(n, 4)
    given = torch.tensor([1, 2, 3, 1]).expand(n, 4)
    x = masked(law).unmask(law, given, steps=4, noise=noise(n), evidence=evidence)
    assert torch.equal(x[evidence], given[evidence])
    agrees = ((law.states == given[0]) | ~evidence[0]).all(1)
    probs = torch.where(agrees, law.log_p.exp(), 0)
    probs = probs / probs.sum()
    counts = torch.bincount(law.index(x), minlength=len(probs)).double()
    assert zscores(counts[agrees], probs[agrees]).abs().max() < 4.5
    assert counts[~agrees].sum() == 0
    states = law.states[agrees]
    bound = masked(law).bound(
        law, states, noise=noise(len(states)), draws=400, evidence=evidence[: len(states)]
    )
    z = (bound.value - probs[agrees].log()) / bound.stderr
    assert z.abs().max() < 5


def test_an_absent_tail_counts_nothing():
    law, n = TableDistribution((2, 3)), 20000
    present = torch.tensor([True, True, False]).expand(n, 3)

    def denoise(x, visible, t, context, noise):
        assert not visible[:, 2].any()
        assert (x[:, 2] == 0).all()
        inner = law(x[:, :2], visible[:, :2], t)
        return torch.cat([inner, torch.full_like(inner[:, :1], 3.0)], 1)

    chain = Masked(Categories(torch.tensor([2, 3, 3])))
    x = chain.unmask(
        denoise, torch.ones(n, 3, dtype=torch.int64), steps=3, noise=noise(n), present=present
    )
    assert (x[:, 2] == 0).all()
    counts = torch.bincount(law.index(x[:, :2]), minlength=6).double()
    assert zscores(counts, law.log_p.exp()).abs().max() < 4.5
    padded = torch.cat([law.states, torch.zeros(6, 1, dtype=torch.int64)], 1)
    bound = chain.bound(denoise, padded, noise=noise(6), draws=400, present=present[:6])
    assert ((bound.value - law.log_p) / bound.stderr).abs().max() < 5


def test_nothing_open_is_certain():
    x = torch.ones(2, 4, dtype=torch.int64)
    everything = torch.ones(2, 4, dtype=torch.bool)
    assert masked(BINARY).bound(BINARY, x, noise=noise(2), evidence=everything).value.tolist() == [
        0,
        0,
    ]
    assert torch.equal(
        masked(BINARY).unmask(BINARY, x, steps=2, noise=noise(2), evidence=everything), x
    )


def test_events_of_rank_three():
    n = 3000
    chain, seen = Masked(Categories(torch.tensor(3))), []

    def denoise(x, visible, t, context, noise):
        seen.append((t, visible))
        return torch.tensor([0.2, 0.3, 0.5]).double().log().expand(*x.shape, 3)

    x = chain.unmask(denoise, torch.zeros(n, 1, 2, 2, dtype=torch.int64), steps=2, noise=noise(n))
    assert all(torch.allclose(t, 1 - v.flatten(1).double().mean(1)) for t, v in seen)
    assert (
        zscores(torch.bincount(x.flatten()).double(), torch.tensor([0.2, 0.3, 0.5]).double())
        .abs()
        .max()
        < 4.5
    )
    bound = chain.bound(denoise, x, noise=noise(n))
    exact = (
        pick(torch.tensor([0.2, 0.3, 0.5]).double().log().expand(n, 1, 2, 2, 3), x)
        .flatten(1)
        .sum(1)
    )
    assert (
        abs(float((bound.value - exact).mean())) < 4.5 * float((bound.value - exact).std()) / n**0.5
    )


def transition(size, s, t):
    """The matrix of q(x_t | x_s)."""
    stay = (1 - t) / (1 - s)
    return stay * torch.eye(size).double() + (1 - stay) / size


@pytest.mark.parametrize(("s", "t"), [(0.0, 0.3), (0.2, 0.7), (0.5, 1.0)])
def test_the_uniform_chain_follows_bayes_rule(s, t):
    sizes, size = (3, 2), 3
    chain = Multinomial(Categories(torch.tensor(sizes)))
    guess = chain.categories.log_probs(normals(1, 2, size))
    at = torch.tensor([s, t], dtype=torch.float64)
    for x_t in itertools.product(*map(range, sizes)):
        found = chain.posterior(guess, torch.tensor([x_t]), at[:1], at[1:])
        for e, k in enumerate(sizes):
            first, second = transition(k, 0.0, s), transition(k, s, t)
            joint = first * second[:, x_t[e]]  # (x_0, x_s)
            expected = (guess[0, e, :k].exp()[:, None] * joint / joint.sum(1, keepdim=True)).sum(0)
            assert torch.allclose(found[0, e, :k].exp(), expected, rtol=0, atol=1e-12)
            assert (found[0, e, k:].exp() == 0).all()


def test_uniform_corruption_has_the_matrix_of_the_chain():
    n = 30000
    chain = Multinomial(Categories(torch.tensor([3])))
    x = chain.corrupt(
        torch.full((n, 1), 2), torch.full((n,), 0.6).double(), noise(n).uniform("u", 1)
    )
    assert zscores(torch.bincount(x[:, 0]).double(), transition(3, 0.0, 0.6)[2]).abs().max() < 4.5


def ideal(law):
    """The exact marginals of x_0 given x_t, for the uniform chain."""

    def denoise(x, t, context, noise):
        same = (law.states == x[:, None]).double()  # (B, S, D)
        level = t[:, None, None]
        likelihood = ((1 - level) * same + level / law.sizes).prod(-1) * law.log_p.exp()
        return torch.einsum("bs,sdk->bdk", likelihood, law.onehot).clamp(min=1e-300).log()

    return denoise


def test_one_entry_makes_the_uniform_bound_tight():
    law = TableDistribution((3,), seed=2)
    chain = Multinomial(Categories(law.sizes), steps=7)
    bound = chain.bound(ideal(law), law.states, noise=noise(3), draws=1500)
    assert ((bound.value - law.log_p) / bound.stderr).abs().max() < 4.5


def test_the_uniform_chain_is_below_the_joint_and_draws_it():
    law, n = UNEVEN, 2000
    chain = Multinomial(Categories(law.sizes), steps=40)
    bound = chain.bound(ideal(law), law.states, noise=noise(len(law.states)), draws=500)
    gap = (law.log_p.exp() * (law.log_p - bound.value)).sum()
    error = (law.log_p.exp() * bound.stderr).norm()
    assert -3 * error < gap < 0.2 + 3 * error
    x = chain.sample(ideal(law), (4,), noise=noise(n))
    counts = torch.bincount(law.index(x), minlength=len(law.states)).double()
    assert (counts / n - law.log_p.exp()).abs().sum() < 0.2


@pytest.mark.parametrize("chain", [Masked, Multinomial])
def test_gradients_are_finite_where_categories_are_cut_off(chain):
    logits = normals(4, 4).requires_grad_()

    def denoise(x, *rest):
        return logits.expand(len(x), 4, 4)

    chain(Categories(UNEVEN.sizes)).bound(
        denoise, UNEVEN.states, noise=noise(len(UNEVEN.states))
    ).value.sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0
