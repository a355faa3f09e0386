"""Whether what a distribution draws, its log p, and what is known of the truth agree."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from likeness.check.cell import Cell
from likeness.check.checks_mass import conditions, planar, under
from likeness.check.contract import STANDARD_ERRORS, Result, Skip, check, judge, worst
from likeness.check.ground import Points, chi_square, drift, listed, plane, z_of
from likeness.core.answers import Kind
from likeness.core.batch import Batch

DRAWN = 3000
CHAINED = 600
BOUNDS = 4
GRID = 240  # points along an axis, and bins along an axis that they are joined to
CELLS = 8
HELD = 1000
EFFORTS = (1, 4, 16)


# ---- 5: draws against log p ----------------------------------------------------------------------


@check(5, "draws follow log_prob", of_laws=True)
def goodness(cell: Cell) -> Result:
    """Drawn items have the frequencies that log p states; a chain that keeps p does not move them."""
    if cell.kind is None or not cell.law.support("sample"):
        raise Skip("there is no log_prob" if cell.kind is None else "there is no sample")
    if cell.kind is Kind.ESTIMATE:
        raise Skip("log p is an estimate")
    found = []
    for given in conditions(cell, 1):
        found += [_listed(cell, p, given) for p in listed(cell.law.space, cell.law.dtype)[:3]]
        found += [_on_plane(cell, given)] if planar(cell) and cell.exact else []
    found += [_chained(cell)] if cell.exact else []
    return worst(found)


def _draw(cell: Cell, n: int, given: Batch | None, length: int | None) -> Tensor:
    """n items under one condition, (n, *E)."""
    settings = None if length is None else {"length": length}
    draws = cell.law.sample(n, given=given, seed=cell.seed, settings=settings)
    if given is None:
        return draws.x
    return draws.x[:, 0]


def _listed(cell: Cell, points: Points, given: Batch | None) -> Result:
    """Frequencies of all states: chi-square where p is exact; none rarer than a lower bound allows otherwise."""
    if points.length is None:
        length = None
    else:
        length = int(points.length[0])
    x = _draw(cell, DRAWN, given, length).flatten(1)
    place = _place(points.x.flatten(1), x)
    counts = torch.bincount(place, minlength=len(points.x)).double()
    batch = under(points, given)
    what = f"frequencies of {len(points.x)} states in {DRAWN} draws"
    if cell.exact:
        return judge(chi_square(counts, cell.log_p(batch).double().exp()), STANDARD_ERRORS, what)
    values = torch.stack(
        [cell.log_p(batch, effort=16, seed=cell.seed + i).double() for i in range(BOUNDS)]
    )
    p = values.mean(0).exp()
    error = values.std(0) / BOUNDS**0.5
    variance = DRAWN * p * (1 - p) + (DRAWN * p * error).square()
    short = (p * DRAWN - counts) / variance.sqrt().clamp_min(1.0)
    return judge(float(short.max()), STANDARD_ERRORS, f"{what} below a lower bound")


def _place(table: Tensor, x: Tensor) -> Tensor:
    """Which row of the table each row of x is."""
    sizes = table.amax(0).long() + 1
    weights = torch.cat([sizes.flip(0).cumprod(0).flip(0)[1:], torch.ones(1, dtype=torch.int64)])
    return (x.long() * weights).sum(-1)


def _on_plane(cell: Cell, given: Batch | None) -> Result:
    """Frequencies in bins of a grid over one or two reals."""
    x = _draw(cell, DRAWN, given, None)
    points = plane(x, GRID)
    weight = (cell.log_p(under(points, given)).double() + points.log_volume).exp()
    edges = [(a[1:] + a[:-1]) / 2 for a in points.axes]
    bins = [_bins(column, CELLS) for column in x.T]
    place = sum(
        b[torch.bucketize(column.contiguous(), e)] * CELLS**i
        for i, (b, e, column) in enumerate(zip(bins, edges, x.T, strict=True))
    )
    joint = sum(_outer(b, i, len(bins)) * CELLS**i for i, b in enumerate(bins)).flatten()
    total = CELLS ** len(bins)
    probability = torch.zeros(total, dtype=torch.float64).index_add(0, joint, weight)
    counts = torch.bincount(place, minlength=total).double()
    return judge(
        chi_square(counts, probability),
        STANDARD_ERRORS,
        f"frequencies of {total} cells in {DRAWN} draws",
    )


def _bins(column: Tensor, count: int) -> Tensor:
    """The bin of each grid point along one axis: about equally many items in each."""
    axis = plane(column[:, None], GRID).axes[0]
    cuts = column.double().quantile(torch.linspace(0, 1, count + 1, dtype=torch.float64)[1:-1])
    return torch.bucketize(axis, cuts)


def _outer(bins: Tensor, axis: int, axes: int) -> Tensor:
    shape = [1] * axes
    shape[axis] = GRID
    return bins.reshape(shape).expand(*[GRID] * axes)


def _chained(cell: Cell) -> Result:
    rows = cell.fewer(CHAINED)
    batch = cell.drawn(rows)
    moved, where = drift(cell.law.space, batch, cell.log_p, seed=cell.seed)
    return judge(
        moved, STANDARD_ERRORS, f"how far {where} drifts along a chain that keeps p, {rows} items"
    )


# ---- 7: nobody beats the truth -------------------------------------------------------------------


@check(7, "nobody beats the truth", of_laws=True)
def honest(cell: Cell) -> Result:
    """The mean of log p over unseen rows is at most the truth's own; the truth's is minus its entropy."""
    if cell.kind is None:
        raise Skip("there is no log_prob")
    batch = cell.held(HELD)
    own = cell.log_p(batch).double()
    known = cell.world.log_prob(batch).value
    if cell.law is cell.world:
        z = abs(z_of(known + cell.world.entropy))
        return judge(
            z,
            STANDARD_ERRORS,
            f"mean log p {float(known.mean()):.4f}, entropy {cell.world.entropy:.4f}",
        )
    excess = own - known
    told = f"mean log p {float(own.mean()):.4f} where the truth's is {float(known.mean()):.4f}"
    return judge(z_of(excess), STANDARD_ERRORS, told)


# ---- 10: bounds ----------------------------------------------------------------------------------


@check(10, "bounds rise with effort", of_laws=True)
def bounds(cell: Cell) -> Result:
    """The mean of a lower bound never falls with effort; an exact value does not know of effort."""
    if cell.kind is None:
        raise Skip("there is no log_prob")
    if cell.kind is Kind.EXACT:
        held = cell.held(
            64
        )  # whose holes may be answered by particles: then the rows without them are asked
        if cell.law.log_prob(held, seed=0, effort=2).kind is Kind.EXACT:
            batch = held
        else:
            batch = cell.full(64)
        one, many = (cell.log_p(batch, effort=e) for e in (1, 4))
        return judge(float((one - many).abs().max()), 1e-9, "change of an exact value with effort")
    batch = cell.held(cell.fewer(HELD))
    values = [cell.log_p(batch, effort=e, seed=cell.seed + e).double() for e in EFFORTS]
    if cell.kind is Kind.ESTIMATE:
        return _errors_fall(cell, batch)
    falls = [-z_of(b - a) for a, b in pairwise(values)]
    means = ", ".join(f"{float(v.mean()):.4f}" for v in values)
    return judge(max(falls), STANDARD_ERRORS, f"means at effort {EFFORTS}: {means}")


def _errors_fall(cell: Cell, batch: Batch) -> Result:
    """The standard error of an estimate does not rise with effort (by more than its own noise)."""
    errors = [cell.law.log_prob(batch[:100], effort=e, seed=cell.seed).stderr for e in (4, 16)]
    found = [float(e.double().square().mean().sqrt()) for e in errors if e is not None]
    if len(found) < 2:
        raise Skip("the estimate names no standard error")
    few, many = found
    return judge(
        many / max(few, 1e-300), 1.25, f"standard errors {few:.4g} at effort 4, {many:.4g} at 16"
    )


__all__ = ["bounds", "goodness", "honest"]
