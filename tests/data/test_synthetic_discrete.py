"""Discrete worlds and mixed columns against enumeration of every state."""

import pytest
import torch

from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.space import Nominal, sequence, vector
from likeness.data.synthetic import world
from likeness.data.synthetic.conditions import by_label
from likeness.data.synthetic.discrete import Tree, states_of

STATES = (2, 3, 2, 4, 3)


def tree(classes=1):
    """A branching tree with random tables, one entry of them 0."""
    parents, g = (-1, 0, 0, 2, -1), torch.Generator().manual_seed(1)
    tables = []
    for j, parent in enumerate(parents):
        above = 1 if parent < 0 else STATES[parent]
        tables.append(
            torch.randn(classes, above, STATES[j], generator=g, dtype=torch.float64).mul(1.5)
        )
    tables[3][:, 0, 1] = -torch.inf
    space = vector(5, tuple(Nominal(categories=k) for k in STATES))
    told = by_label(classes) if classes > 1 else None
    return Tree("tree", space, parents, tuple(t.log_softmax(-1) for t in tables), condition=told)


LAWS = {"tree": tree, "chain": lambda: world("chain", n=6), "bayes_net": lambda: world("bayes_net")}


def holed(law, n=40, seed=3):
    x = law.source(n, seed).batch
    return x.hide(torch.rand(x.x.shape, generator=torch.Generator().manual_seed(seed)) < 0.5)


def agree(counts, expected, n):
    """Whether counts of states are those expected, within 4.5 s.e. where five or more are expected."""
    often = expected > 5
    z = (counts - expected).abs() / (expected * (1 - expected / n)).sqrt().clamp_min(1e-9)
    return bool((z[often] < 4.5).all()) and bool((counts[expected == 0] == 0).all())


def fitting(batch, states):
    """Which states agree with what each row shows, (B, S)."""
    return ((batch.x[:, None] == states) | ~batch.present[:, None]).all(-1)


@pytest.mark.parametrize("name", LAWS)
def test_probabilities_sum_to_one_and_give_the_entropy(name):
    law = LAWS[name]()
    log_p = law.log_prob(states_of(law.space)).value
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-12)
    assert -float(torch.special.xlogy(log_p.exp(), log_p.exp()).sum()) == pytest.approx(
        law.entropy, abs=1e-10
    )


@pytest.mark.parametrize("name", LAWS)
def test_holes_are_summed_out(name):
    law = LAWS[name]()
    states = states_of(law.space)
    batch = holed(law)
    joint = (
        law.log_prob(states).value.expand(len(batch), -1).where(fitting(batch, states), -torch.inf)
    )
    torch.testing.assert_close(law.log_prob(batch).value, joint.logsumexp(-1), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", LAWS)
def test_completions_follow_the_conditional(name):
    law = LAWS[name]()
    states, n = states_of(law.space), 4000
    batch = holed(law, 4)
    p = (
        law.log_prob(states)
        .value.expand(4, -1)
        .where(fitting(batch, states), -torch.inf)
        .softmax(-1)
    )
    drawn = law.complete(batch, n=n, seed=5).x
    assert agree((drawn[:, :, None] == states).all(-1).double().sum(0), n * p, n)


@pytest.mark.parametrize("name", LAWS)
def test_the_mode_is_the_best_state(name):
    law = LAWS[name]()
    states, batch = states_of(law.space), holed(law)
    joint = (
        law.log_prob(states).value.expand(len(batch), -1).where(fitting(batch, states), -torch.inf)
    )
    mode = law.mode(batch)
    assert mode.kind is Kind.EXACT
    torch.testing.assert_close(law.log_prob(mode.x).value, joint.amax(-1), rtol=0, atol=1e-10)
    assert bool(
        fitting(batch, states)
        .gather(1, (mode.x[:, None] == states).all(-1).int().argmax(1)[:, None])
        .all()
    )


def test_draws_from_the_root_have_every_states_share():
    law = tree()
    states, n = states_of(law.space), 40_000
    p = law.log_prob(states).value.exp()
    assert agree((law.sample(n, seed=6).x[:, None] == states).all(-1).double().sum(0), n * p, n)


def test_a_tree_of_several_classes_is_one_tree_each():
    law = tree(classes=3)
    states = states_of(law.space)
    for y in range(3):
        alone = Tree("one", law.space, law.parents, tuple(t[y : y + 1] for t in law.tables))
        under = law.log_prob(states, given=torch.full((len(states), 1), float(y))).value
        torch.testing.assert_close(under, alone.log_prob(states).value)
        batch = holed(alone)
        told = torch.full((len(batch), 1), float(y))
        torch.testing.assert_close(
            law.log_prob(batch, given=told).value, alone.log_prob(batch).value
        )
        assert torch.equal(law.mode(batch, given=told).x, alone.mode(batch).x)


def test_past_the_end_there_is_nothing():
    """A ragged chain: an item's probability is that of a chain of its own length."""
    start = torch.tensor([[[0.2, 0.3, 0.5]]], dtype=torch.float64).log()
    step = torch.tensor(
        [[[0.1, 0.6, 0.3], [0.5, 0.25, 0.25], [0.3, 0.3, 0.4]]], dtype=torch.float64
    ).log()
    law = Tree("symbols", sequence(3, 4), (-1, 0, 1, 2), (start, step, step, step), lengths=(1, 4))
    items = law.log_prob(
        [torch.tensor([2]), torch.tensor([0, 1, 0]), torch.tensor([1, 2, 2, 0])]
    ).value.exp()
    expected = [0.5, 0.2 * 0.6 * 0.5, 0.3 * 0.25 * 0.4 * 0.3]
    torch.testing.assert_close(items, torch.tensor(expected, dtype=torch.float64))
    source = law.source(20_000, 7).batch
    assert sorted(source.length.unique().tolist()) == [1, 2, 3, 4]
    assert bool((source.x[~source.within] == 0).all())
    mean = law.log_prob(source).mean()
    assert abs(-mean.value - law.entropy) < 4 * mean.stderr


def test_an_impossible_observation_has_no_probability():
    law = tree()
    x = torch.zeros(1, 5)
    x[0, 3] = 1.0  # parent in state 0 never shows 1
    assert float(law.log_prob(x).value) == -torch.inf
    lone = Batch(x).hide(torch.tensor([True, True, False, False, True]))
    assert float(law.log_prob(lone).value) == -torch.inf
