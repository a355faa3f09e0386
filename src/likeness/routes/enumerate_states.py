"""Holes summed over: exact where their joint states are few."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from likeness.core.answers import Completed, Kind, Mode, Scored
from likeness.core.batch import Batch
from likeness.core.law import Law
from likeness.core.routes import Question, route

MOST_STATES = 4096


def states_of(law: Law, holes: Tensor) -> Tensor | None:
    """Every joint state of the holes (*E) of one row, (S, number of holes), or None where they are too many."""
    columns = law.space.columns
    where = torch.nonzero(holes)
    sizes = [columns[int(w[-1]) if len(columns) > 1 else 0].states for w in where]
    if not all(map(math.isfinite, sizes)) or math.prod(sizes) > MOST_STATES:
        return None
    return torch.tensor(list(itertools.product(*[range(int(s)) for s in sizes])), dtype=law.dtype)


def _needs_few(law: Law) -> str | None:
    if not law.space.discrete:
        return "holes of uncountably or infinitely many states cannot be summed over"
    return None


def _filled(batch: Batch, row: int, states: Tensor) -> Batch:
    """One row with its holes in every state, (S, *E)."""
    one = batch[torch.full((len(states),), row)]
    x = one.x.clone()
    x[:, batch.holes[row]] = states
    return replace(one, x=x, observed=None, index=torch.arange(len(states)))


def _table(law: Law, question: Question) -> list[tuple[Tensor, Scored]] | None:
    """For each row the states of its holes and the score of each; None where some row has too many.

    Scores that are drawn share `particles` draws among the states, so that what is picked follows the law.
    """
    batch, rows = question.batch, []
    for i in range(len(batch)):
        states = states_of(law, batch.holes[i])
        if states is None:
            return None
        full = _filled(batch, i, states)
        noise = replace(question.noise, draw=0)[torch.full((len(states),), i)]  # one table for all draws
        scored = law._score(full, noise, question.effort, question.settings)
        share = -(-question.settings.particles // len(states))
        if scored.kind is not Kind.EXACT and question.effort is None and share > law.default_effort:
            scored = law._score(full, noise, share, question.settings)
        rows.append((states, scored))
    return rows


def few(law: Law, batch: Batch) -> bool:
    """Whether every row's holes have at most 4,096 joint states."""
    return all(states_of(law, h) is not None for h in batch.holes.unique(dim=0))


def summed(law: Law, question: Question) -> Scored:
    """Log of the sum of p over all states of the holes, exact where p is."""
    rows = _table(law, question)
    assert rows is not None
    value = torch.stack([torch.logsumexp(s.value, 0) for _, s in rows])
    kind = rows[0][1].kind
    return Scored(value, kind, f"summed over {max(len(r[0]) for r in rows)} states")


def drawn(law: Law, question: Question) -> Completed:
    """Draws of the holes from their exact conditional, by inverse CDF."""
    rows = _table(law, question)
    assert rows is not None
    n, batch = question.n, question.batch
    u = question.noise.draws(n).uniform("state", 1).reshape(n, len(batch))
    x = batch.x.repeat(n, *[1] * batch.x.dim()).reshape(n, *batch.x.shape).clone()
    for i, (states, scored) in enumerate(rows):
        cdf = scored.value.softmax(0).cumsum(0)
        pick = (cdf[:-1] <= (u[:, i, None] * cdf[-1])).sum(-1)
        x[:, i][:, batch.holes[i]] = states[pick]
    if rows[0][1].kind is Kind.EXACT:
        return Completed(x, "enumerated conditional")
    size = torch.stack([_effective(scored, question.settings.particles) for _, scored in rows])
    return Completed(x, "enumerated conditional, of drawn scores", ess=size, kind=Kind.ESTIMATE)


def _effective(scored: Scored, most: int) -> Tensor:
    """1 / sum_s p_s^2 r_s^2, r the relative error of each state's p: as many particles would tell the states apart."""
    if scored.stderr is None:  # one draw each cannot tell how good it is
        return scored.value.new_ones(())
    p = scored.value.softmax(0)
    return (p * scored.stderr).square().sum().clamp_min(1 / most).reciprocal()


def best(law: Law, question: Question) -> Mode:
    """The most probable state of the holes."""
    rows = _table(law, question)
    assert rows is not None
    x = question.batch.x.clone()
    for i, (states, scored) in enumerate(rows):
        x[i][question.batch.holes[i]] = states[int(scored.value.argmax())]
    kind = Kind.EXACT if rows[0][1].kind is Kind.EXACT else Kind.ESTIMATE
    return Mode(question.batch.with_x(x), kind, "enumerated")


_exact = partial(route, needs=("log_prob",), kind=Kind.EXACT, refuse=_needs_few, suits=few)
_exact("log_prob with holes", "sum over states")(summed)
_exact("complete", "enumeration")(drawn)
_exact("mode", "enumeration")(best)
