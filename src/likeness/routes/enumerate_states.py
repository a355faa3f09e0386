"""Missing entries summed over: exact where their joint states are few."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from likeness.core import scoring
from likeness.core.answers import Completed, Kind, Mode, Scored, weakest
from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.noise import Noise
from likeness.core.routes import Question, route
from likeness.numerics.draws import inverse_cdf
from likeness.numerics.patterns import patterns_of

MOST_STATES = 4096


@dataclass(frozen=True, eq=False)
class Pattern:
    """The rows whose missing entries are the same, and what each state of the missing entries scores.

    Args:
        rows: Which rows, int64 (R,).
        holes: Their holes, bool (*E).
        states: Every joint state of the missing entries, (S, number of missing entries).
        value: log p of each row in each state, (R, S).
        stderr: Its standard error, (R, S), or None.
        kind: How the values stand to log p.
    """

    rows: Tensor
    holes: Tensor
    states: Tensor
    value: Tensor
    stderr: Tensor | None
    kind: Kind


def states_of(dist: Distribution, holes: Tensor) -> Tensor | None:
    """Every joint state of one row's missing entries, `holes` (*E), (S, missing entries), or None where too many."""
    sizes = _sizes(dist, holes)
    if not all(map(math.isfinite, sizes)) or math.prod(sizes) > MOST_STATES:
        return None
    return _joint_states(dist, holes)


def _sizes(dist: Distribution, holes: Tensor) -> list[float]:
    """The number of states of each missing entry."""
    columns = dist.space.columns
    where = torch.nonzero(holes)
    return [columns[int(w[-1]) if len(columns) > 1 else 0].states for w in where]


def _joint_states(dist: Distribution, holes: Tensor) -> Tensor:
    """The product of the missing entries' states, (S, number of missing entries)."""
    return _product(tuple(int(s) for s in _sizes(dist, holes))).to(dist.dtype)


@functools.lru_cache(maxsize=64)
def _product(sizes: tuple[int, ...]) -> Tensor:
    return torch.tensor(list(itertools.product(*map(range, sizes))), dtype=torch.float64)


def _needs_few(dist: Distribution) -> str | None:
    if not dist.space.discrete:
        return "missing entries of uncountably or infinitely many states cannot be summed over"
    return None


def _filled(batch: Batch, rows: Tensor, holes: Tensor, states: Tensor) -> Batch:
    """Each of the rows with its missing entries in every state, row by row, (R * S, *E)."""
    # (R, S) combinations laid out row by row; a combination's index is its state's number.
    each = batch[rows.repeat_interleave(len(states))]
    x = each.x.clone()
    x[:, holes] = states.repeat(len(rows), 1)
    return replace(each, x=x, observed=None, index=torch.arange(len(states)).repeat(len(rows)))


def _table(dist: Distribution, question: Question) -> list[Pattern]:
    """Rows grouped by missingness pattern, with log p of every state; at most `settings.rows` rows at once."""
    holes = question.batch.holes
    # Rows of one missingness pattern have the same states.
    patterns, of = patterns_of(holes.flatten(1))
    each = [torch.nonzero(of == k).flatten() for k in range(len(patterns))]
    return [
        _scored(dist, question, rows, h.reshape(holes.shape[1:]))
        for rows, h in zip(each, patterns, strict=True)
    ]


def _scored(dist: Distribution, question: Question, rows: Tensor, holes: Tensor) -> Pattern:
    """Log p of every state of the rows' missing entries; estimated scores share `particles` draws among the states."""
    states = _joint_states(dist, holes)
    noise = replace(question.noise, draw=0)  # one table for all draws
    share = -(-question.settings.particles // len(states))
    effort = question.effort
    settings = question.settings.model_copy(
        update={"strict": False}
    )  # the rows of a tile have their slots already

    def score(part: Tensor, of: Tensor) -> Scored:
        full = _filled(question.batch, part, holes, of)
        return scoring.score(dist, full, noise[part.repeat_interleave(len(of))], effort, settings)

    # Scores that are estimates get enough draws in all for the states to be told apart.
    if (
        effort is None
        and share > dist.default_effort
        and score(rows[:1], states[:1]).kind is not Kind.EXACT
    ):
        effort = share  # so that what is picked follows the distribution
    # Chunks of rows whose states together fill `settings.rows`.
    size = max(1, question.settings.rows // len(states))
    table = Scored.cat([score(part, states) for part in rows.split(size)])
    shape = (len(rows), len(states))
    if table.stderr is None:
        stderr = None
    else:
        stderr = table.stderr.reshape(shape)
    return Pattern(rows, holes, states, table.value.reshape(shape), stderr, table.kind)


def few(dist: Distribution, batch: Batch) -> bool:
    """Whether every row's missing entries have at most 4,096 joint states."""
    return all(states_of(dist, h) is not None for h in batch.holes.unique(dim=0))


def summed(dist: Distribution, question: Question) -> Scored:
    """Log of the sum of p over all states of the missing entries, exact where p is."""
    patterns = _table(dist, question)
    value = torch.empty(
        len(question.batch), dtype=patterns[0].value.dtype, device=patterns[0].value.device
    )
    # Marginal of what is observed: log-sum over the states, (R, S) -> (R,).
    for p in patterns:
        value[p.rows] = torch.logsumexp(p.value, -1)
    return Scored(
        value, weakest(patterns), f"summed over {max(len(p.states) for p in patterns)} states"
    )


def drawn(dist: Distribution, question: Question) -> Completed:
    """Draws of the missing entries from their exact conditional, by inverse CDF."""
    patterns = _table(dist, question)
    n = question.n
    batch = question.batch
    u = question.noise.draws(n).uniform("state", 1).reshape(n, len(batch))
    x = batch.x.repeat(n, *[1] * batch.x.dim()).reshape(n, *batch.x.shape).clone()
    size = batch.x.new_ones(len(batch))
    # p(state | observed) of every row, and n draws of it.
    for p in patterns:
        cdf = p.value.softmax(-1).cumsum(-1)
        pick = inverse_cdf(cdf[:, None], u[:, p.rows].T)  # (R, n)
        part = x[:, p.rows]
        part[:, :, p.holes] = p.states[pick.T]
        x[:, p.rows] = part
        size[p.rows] = _effective(p, question.settings.particles)
    if weakest(patterns) is Kind.EXACT:
        return Completed(x, "enumerated conditional")
    return Completed(x, "enumerated conditional, of drawn scores", ess=size, kind=Kind.ESTIMATE)


def _effective(p: Pattern, most: int) -> Tensor:
    """1 / sum_s p_s^2 r_s^2, r the relative error of each state's p: the effective number of particles."""
    if p.stderr is None:  # one draw each cannot tell how good it is
        return p.value.new_ones(len(p.rows))
    return (p.value.softmax(-1) * p.stderr).square().sum(-1).clamp_min(1 / most).reciprocal()


def best(dist: Distribution, question: Question) -> Mode:
    """The most probable state of the missing entries."""
    patterns = _table(dist, question)
    x = question.batch.x.clone()
    for p in patterns:
        part = x[p.rows]
        part[:, p.holes] = p.states[p.value.argmax(-1)].to(x.dtype)
        x[p.rows] = part
    if weakest(patterns) is Kind.EXACT:
        kind = Kind.EXACT
    else:
        kind = Kind.ESTIMATE
    return Mode(question.batch.with_x(x), kind, "enumerated")


def best_of(dist: Distribution, batch: Batch, settings: Any) -> Mode:
    """The most probable state of the missing entries, of a batch in model units."""
    noise = Noise(0, batch.ids, scope="mode", dtype=dist.dtype)
    return best(dist, Question(batch, noise, settings))


_exact = partial(route, needs=("log_prob",), kind=Kind.EXACT, refuse=_needs_few, suits=few)
_exact("log_prob with missing entries", "sum over states")(summed)
_exact("complete", "enumeration")(drawn)
_exact("mode", "enumeration")(best)
