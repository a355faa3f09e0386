"""Completion and missing conditions: what is seen stays, what is not follows the distribution's own conditional."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from likeness.check.cell import Cell
from likeness.check.checks_mass import hole_points, one_row
from likeness.check.contract import STANDARD_ERRORS, Result, Skip, check, demand, judge, worst
from likeness.check.ground import drift, kolmogorov
from likeness.core.answers import Kind
from likeness.core.batch import Batch, missing
from likeness.core.batch import check as checked
from likeness.core.draws import Draws
from likeness.core.errors import Unsupported

RANKED = 3
RANKS = 300
MANY = 256
CHAINED = 300
MIXED = 64
CONDITIONS = 256
NULL = 0.1
POINTS = 1500


def hiding(cell: Cell, batch: Batch, rate: float) -> Batch:
    """Rows with a random part of their entries hidden, at least one hidden and one seen where there are two."""
    u = torch.rand(
        batch.x.shape, generator=torch.Generator().manual_seed(cell.seed), dtype=torch.float64
    )
    # Entries by random rank, absent ones last; at least one stays hidden and one observed.
    u = u.masked_fill(~batch.present, 2.0).flatten(1)
    rank = u.argsort(-1).argsort(-1)
    there = batch.present.flatten(1).sum(-1, keepdim=True)
    count = (there * rate).long().clamp_min(1).minimum(there - 1)
    return batch.hide((rank < count).reshape(batch.x.shape))


def completed(cell: Cell, batch: Batch, n: int, particles: int = 32) -> Draws:
    """n completions of each row.

    Raises:
        Skip: If no route leads there.
    """
    if not cell.law.support("complete"):
        raise Skip(cell.law.support("complete").why)
    try:
        return cell.law.complete(batch, n=n, seed=cell.seed, settings={"particles": particles})
    except Unsupported as error:
        raise Skip(str(error)) from None


def _holed(cell: Cell, n: int, rate: float) -> Batch:
    """Rows with many holes, or with one where the distribution has no route for many."""
    batch = hiding(cell, cell.full(n), rate)
    try:
        completed(cell, batch[:2], 1)
    except Skip:
        return cell.holed(cell.full(n), 1)
    return batch


@check(13, "what is observed stays", of_laws=True)
def survives(cell: Cell) -> Result:
    """Observed entries come back bit-identical from `complete` and `mode`; what is drawn lies in the Space."""
    batch = _holed(cell, 32, 0.5)
    draws = completed(cell, batch, 2)
    same = (draws.x == batch.x) | ~batch.present
    demand(bool(same.all()), f"{int((~same).sum())} observed entries were changed by complete")
    checked(cell.law.space, Batch(draws.x.flatten(0, 1), length=batch.repeat(2).length))
    if cell.law.support("mode"):
        try:
            best = cell.law.mode(batch).x
        except Unsupported:
            return Result(0, 0, "complete")
        demand(
            bool(((best == batch.x) | ~batch.present).all()),
            "observed entries were changed by mode",
        )
    return Result(0, 0, "complete and mode")


@check(16, "complete follows the conditional", of_laws=True)
def conditional(cell: Cell) -> Result:
    """Completions have uniform ranks under the exact conditional, and a chain that keeps it moves nothing."""
    if not cell.exact:
        raise Skip("the model's own conditional is not known exactly")
    return worst([*_ranks(cell), *_chained(cell)])


def _ranks(cell: Cell) -> list[Result]:
    """The rank of each completion of one hole under the exact conditional (Cook, Gelman & Rubin 2006)."""
    # One hole a row, so that the exact conditional is a table over its values.
    rows = max(1, cell.fewer(RANKED))
    batch = cell.holed(cell.full(rows), 1)
    draws = completed(cell, batch, RANKS, MANY)
    found = []
    for row in range(rows):
        points = hole_points(cell, batch, row, POINTS)
        if points is None:
            continue
        full = one_row(replace(batch, observed=None), row, points.x)
        # p(hole = v | rest), normalised over the grid.
        weight = (cell.log_p(full).double() + points.log_volume).softmax(0)
        hole = batch.holes[row]
        u = _rank(
            points.x[:, hole][:, 0].double(),
            weight,
            draws.x[:, row][:, hole][:, 0].double(),
            cell.seed + row,
        )
        # Importance-weighted draws count as their effective number.
        ess = RANKS if draws.kind is Kind.EXACT or draws.ess is None else float(draws.ess[row])
        z = kolmogorov(u, 1 / (1 / RANKS + (0 if draws.kind is Kind.EXACT else 1 / ess)))
        found.append(
            judge(z, STANDARD_ERRORS, f"ranks of {RANKS} completions of row {row}, ess {ess:.0f}")
        )
    return found


def _rank(values: Tensor, weight: Tensor, drawn: Tensor, seed: int) -> Tensor:
    """Where draws stand in a distribution over sorted values, uniform within the cell of each, (n,)."""
    # The CDF at each draw, uniform within its cell: uniform where the draws are right.
    cdf = torch.cat([weight.new_zeros(1), weight.cumsum(0)])
    edges = (values[1:] + values[:-1]) / 2
    place = torch.bucketize(drawn, edges)
    low = torch.cat([values[:1] - 1, edges])[place]
    high = torch.cat([edges, values[-1:] + 1])[place]
    source = torch.Generator().manual_seed(seed)
    within = (drawn - low) / (high - low)
    # Draws on a lattice carry no place within their cell, which is then random.
    lattice = (drawn == values[place]).double().mean() > 0.5
    if lattice:
        within = torch.rand(within.shape, generator=source, dtype=within.dtype)
    return cdf[place] + within.clamp(0, 1) * weight[place]


def _chained(cell: Cell) -> list[Result]:
    """Many rows completed once: the chain moves hidden entries only."""
    # Completed rows follow p(observed) p(hidden | observed) = p, if completion is exact.
    rows = cell.fewer(CHAINED)
    batch = _holed(cell, rows, 0.5)
    draws = completed(cell, batch, 1, 64)
    full = replace(batch, x=draws.x[0], observed=None)
    if draws.kind is Kind.EXACT or draws.ess is None:
        slack = 0.0
    else:
        slack = 1 / float(draws.ess.clamp_min(1).mean())
    # A Metropolis chain over the hidden entries leaves p as it is.
    moved, where = drift(cell.law.space, full, cell.log_p, may=batch.holes, seed=cell.seed)
    allowed = STANDARD_ERRORS * (1 + rows * slack)
    return [
        judge(
            moved, allowed, f"how far {where} of completed rows drifts along a chain that keeps p"
        )
    ]


# ---- 17: a missing condition ---------------------------------------------------------------------


@check(17, "a missing given is integrated out", of_laws=True)
def marginal(cell: Cell) -> Result:
    """p(x) under a missing condition is the mean of p(x | given) over conditions."""
    if not cell.given or cell.kind is None:
        raise Skip("nothing is given" if not cell.given else "there is no log_prob")
    classes = cell.law.condition_space.label
    if classes is not None:
        return _over_labels(cell, classes)
    if not cell.exact:
        raise Skip("a mixture of bounds or estimates bounds nothing")
    return _over_conditions(cell)


def _over_labels(cell: Cell, classes: int) -> Result:
    # log p(x) under a missing label against logsumexp over labels.
    batch = cell.held(MIXED)
    parts = [
        cell.log_p(batch.given_as(Batch(batch.x.new_full((MIXED, 1), float(y)))))
        for y in range(classes)
    ]
    mixed = (torch.stack(parts, -1) + cell.law.class_prior().log()).logsumexp(-1)
    alone = cell.log_p(batch.given_as(_unknown(cell, MIXED)))
    return judge(
        float((alone - mixed).abs().max()),
        1e-8,
        "log p with a missing label against the mixture over labels",
    )


def _unknown(cell: Cell, rows: int) -> Batch:
    return missing(cell.law.condition_space, rows, torch.zeros(1, dtype=cell.law.dtype))


def _over_conditions(cell: Cell) -> Result:
    """The mean difference from the mixture over the conditions of unseen rows, beyond its Monte-Carlo error."""
    batch = cell.full(MIXED)
    given = cell.full(MIXED + CONDITIONS).condition
    # Every row under many conditions, (rows, conditions): the log of the mean of p(x | c).
    others = given[torch.arange(MIXED, MIXED + CONDITIONS)]
    wide = batch[torch.arange(MIXED).repeat_interleave(CONDITIONS)]
    wide = replace(wide, given=others.repeat(MIXED), index=torch.arange(len(wide)))
    values = cell.log_p(wide).double().reshape(MIXED, CONDITIONS)
    mixed = values.logsumexp(-1) - torch.tensor(float(CONDITIONS)).log()
    weight = values.softmax(-1)
    poor = (weight.square().sum(-1) - 1 / CONDITIONS).clamp_min(
        0
    )  # the delta method's variance of each log mean
    alone = cell.log_p(batch.given_as(_unknown(cell, MIXED))).double()
    # Rows where few conditions count are left out: their log of a mean is unsure.
    change = (alone - mixed)[poor < 0.25]
    if len(change) < MIXED // 2:
        raise Skip("too few conditions resemble each other to tell")
    error = float((poor[poor < 0.25].mean() + change.var()) / len(change)) ** 0.5
    told = f"mean log p without the condition differs from the mixture's by {float(change.mean()):.4f} +- {error:.4f}"
    return judge(abs(float(change.mean())), NULL + STANDARD_ERRORS * error, told)


__all__ = ["conditional", "hiding", "marginal", "survives"]
