"""Sums over the states of holes: many rows at once give what each row gives alone, and what brute force gives."""

import itertools

import pytest
import torch

import likeness.routes  # noqa: F401 - registers the routes
from likeness import registry
from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.space import Nominal, Ordinal, vector
from likeness.data.source import Table
from likeness.learn.run import Run

BITS = vector(4, Ordinal(levels=2))
CODES = vector(3, Nominal(categories=3))


def chain() -> Distribution:
    """A net of three codes, each of which leans on the one before."""
    x = torch.randint(0, 3, (500, 3), generator=torch.Generator().manual_seed(0)).double()
    x[:, 2] = x[:, 0]
    model = registry.build("autoregressive", {"hidden": (16,)}, CODES).double()
    return Run(model, Table(CODES, Batch(x)), 40).fit()


def holed(rows: int = 40) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 3, (rows, 3), generator=generator).double()
    observed = torch.rand(rows, 3, generator=generator) < 0.5
    return Batch(x.masked_fill(~observed, 0.0), observed=observed)


def test_the_sum_is_brute_force_for_every_pattern_of_holes_at_once():
    law, batch = chain(), holed()
    states = torch.tensor(list(itertools.product(range(3), repeat=3))).double()
    p = law.log_prob(states).value.exp()
    fits = ((batch.x[:, None] == states) | ~batch.observed[:, None]).all(-1)
    torch.testing.assert_close(
        law.log_prob(batch).value.exp(), (fits * p).sum(-1), rtol=0, atol=1e-12
    )
    best = torch.where(fits, p, -1.0).argmax(-1)
    assert torch.equal(law.mode(batch).x, states[best])


@pytest.mark.parametrize("strict", [False, True])
def test_rows_draw_what_they_draw_alone(strict: bool):
    law, batch = chain(), holed(20)
    ask = {"n": 5, "seed": 3, "settings": {"strict": strict}}
    whole = law.complete(batch, **ask).x
    for i in (0, 7, 19):
        one = law.complete(
            Batch(batch.x[i : i + 1], observed=batch.observed[i : i + 1], index=torch.tensor([i])),
            **ask,
        )
        assert torch.equal(one.x[:, 0], whole[:, i])


def test_a_thousand_rows_of_few_patterns_ask_the_net_a_few_times(monkeypatch):
    law, batch, calls = chain(), holed(1000), []
    original = law._log_prob
    monkeypatch.setattr(law, "_log_prob", lambda *a: calls.append(len(a[0])) or original(*a))
    law.log_prob(batch)
    assert sum(calls) >= len(batch)
    assert (
        len(calls) <= 1 + 2 * 8
    )  # eight patterns of holes: what tells the kind, and all rows of the pattern


def test_drawn_scores_are_asked_for_once():
    model = registry.build("flow", {"layers": 1, "hidden": (8,)}, BITS).double()
    model = Run(model, Table(BITS, Batch(torch.randint(0, 2, (200, 4)).double())), 5).fit()
    assert model.log_prob(torch.zeros(1, 4)).kind is Kind.LOWER_BOUND
    seen = []
    original = model._log_prob
    model._log_prob = lambda *a: seen.append(len(a[0])) or original(*a)
    x = Batch(torch.zeros(3, 4), observed=torch.tensor([[True, True, False, False]]).expand(3, 4))
    model.complete(x, n=2, seed=0, settings={"particles": 64})
    # One row tells the kind; then 3 rows x 4 states x 16 of 64 draws.
    assert 3 * 4 * 16 <= sum(seen) <= 3 * 4 * 16 + model.default_effort
