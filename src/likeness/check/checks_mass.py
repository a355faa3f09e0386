"""Whether probabilities are probabilities: their total mass, and log p with holes as a sum over the holes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from likeness.check.cell import Cell
from likeness.check.contract import STANDARD_ERRORS, Result, Skip, check, judge, worst
from likeness.check.ground import Points, listed, plane, scattered, states, stretched
from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.errors import Unsupported
from likeness.core.space import Variable

MASS = 1e-3
COARSE = 160  # points along an axis of a plane, and of a line
FINE = 320
FINEST = 600
LINE = 4000
SEEDS = 4  # draws of a bound, whose spread tells its error
DRAWN = 1024  # states that are added up where each costs several draws
CONDITIONS = 2


@dataclass(frozen=True)
class Mass:
    """A total of exp(log p), its standard error, and what it is of."""

    total: float
    stderr: float
    of: str


def conditions(cell: Cell, n: int) -> list[Batch | None]:
    """Nothing given, and each of n held-out conditions as one row."""
    given = cell.full(n).given if cell.given else None
    return [None] + ([] if given is None else [given[i : i + 1] for i in range(n)])


def under(points: Points, given: Batch | None) -> Batch:
    """Points as rows, all under one condition."""
    rows = len(points.x)
    if given is None:
        wide = None
    else:
        wide = replace(given.repeat(rows), index=torch.arange(rows))
    return Batch(points.x, length=points.length, given=wide)


def total(cell: Cell, points: Points, given: Batch | None, of: str) -> Mass:
    """The sum over points of volume times exp of the mean over draws of log p."""
    batch = under(points, given)
    # A bound is random: the mean over seeds, and its error from their spread.
    seeds = 1 if cell.exact else SEEDS
    values = torch.stack([cell.log_p(batch, seed=cell.seed + i).double() for i in range(seeds)])
    # exp(log p) times the volume of each point's cell.
    weight = (values.mean(0) + points.log_volume).exp()
    if seeds == 1:
        return Mass(float(weight.sum()), 0.0, of)
    error = values.std(0) / math.sqrt(seeds)
    return Mass(float(weight.sum()), float((weight * error).square().sum().sqrt()), of)


def planar(cell: Cell) -> bool:
    """Whether the Space is one or two unbounded reals, which a grid covers."""
    space = cell.law.space
    bounded = any(
        v.type == "real" and (v.lower is not None or v.upper is not None) for v in space.variables
    )
    return space.real and not space.counted and not space.ragged and space.dims <= 2 and not bounded


def _masses(cell: Cell) -> Iterator[Mass]:
    # Without a condition and under a few: a grid over the plane, or all states, if listed.
    for i, given in enumerate(conditions(cell, CONDITIONS)):
        name = "nothing given" if given is None else f"condition {i}"
        if planar(cell):
            yield _on_plane(cell, given, name)
        for points in listed(cell.law.space, cell.law.dtype):
            if not cell.exact and len(points.x) > DRAWN:
                break
            if points.length is None:
                length = ""
            else:
                length = f", length {int(points.length[0])}"
            yield total(cell, points, given, f"{len(points.x)} states, {name}{length}")


def _on_plane(cell: Cell, given: Batch | None, name: str) -> Mass:
    """The mass over the plane; on a finer grid where a coarse one is not enough."""
    # The grid spans what the truth draws under this condition.
    if given is None:
        sample = cell.world.sample(512, seed=cell.seed).x
    else:
        sample = cell.world.sample(512, given=given, seed=1).x[:, 0]
    # Finer grids only where the coarse one misses 1.
    for count in (COARSE, FINE):
        found = total(cell, plane(sample, count), given, f"{count}^2 points, {name}")
        if abs(found.total - 1) < MASS / 2 or not cell.exact:
            return found
    return total(
        cell, scattered(sample, FINEST, cell.seed), given, f"{FINEST}^2 scattered points, {name}"
    )


@check(4, "mass", of_laws=True)
def mass(cell: Cell) -> Result:
    """The mass is 1 where log p is exact; at most 1 where it is a lower bound."""
    if cell.kind is None:
        raise Skip("there is no log_prob")
    if cell.kind not in {Kind.EXACT, Kind.LOWER_BOUND}:
        raise Skip("an estimate need not add up to 1")
    found = list(_masses(cell))
    if not found:
        raise Skip("too many states, or too many reals, to add up")
    if cell.exact:
        return worst(
            [judge(abs(m.total - 1), MASS, f"the mass is {m.total:.6f} over {m.of}") for m in found]
        )
    return worst(
        [
            judge(max(m.total - 1, 0.0), STANDARD_ERRORS * m.stderr + 1e-9, _bounded(m))
            for m in found
        ]
    )


def _bounded(m: Mass) -> str:
    return f"the mass of the bound is {m.total:.5f} +- {m.stderr:.5f} over {m.of}"


# ---- 15: holes -----------------------------------------------------------------------------------

HOLED = 3  # rows
TAIL = 400  # counts are summed up to this


def one_row(batch: Batch, row: int, x: Tensor) -> Batch:
    """One row again and again with other values (S, *E), none of them hidden but those that still are."""
    wide = batch[torch.full((len(x),), row)]
    return replace(wide, x=x, index=torch.arange(len(x)))


def hole_points(cell: Cell, batch: Batch, row: int, count: int = LINE) -> Points | None:
    """A row with its holes in every state: (S, *E) and log volumes; None where there are too many, or two reals."""
    space = cell.law.space
    # The axes of the grid: one for each hidden entry of the row.
    where = torch.nonzero(batch.holes[row])
    columns = [space.columns[int(w[-1]) if len(set(space.columns)) > 1 else 0] for w in where]
    axes = [_axis(cell, c, w, count) for c, w in zip(columns, where, strict=True)]
    if len(axes) == 0 or math.prod(len(a[0]) for a in axes) > 4096:
        return None
    # All joint values of the missing entries, (S, holes), with the volume of each.
    grid = torch.cartesian_prod(*[a[0] for a in axes]).reshape(-1, len(axes))
    volume = torch.cartesian_prod(*[a[1] for a in axes]).reshape(-1, len(axes)).sum(-1)
    x = batch.x[row].expand(len(grid), *batch.x.shape[1:]).clone()
    x[:, batch.holes[row]] = grid.to(x)
    return Points(x, volume.to(x))


def _axis(cell: Cell, variable: Variable, where: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """All values of one hole and their log volumes."""
    kind = variable.type
    if variable.type == "real":
        resolution = variable.resolution
    else:
        resolution = None
    if kind == "real" and resolution is None:
        return stretched(_seen(cell, where), count)
    # Rounded reals: all bins within 8 standard deviations of what is seen.
    if resolution is not None:
        seen = _seen(cell, where)
        low = (seen.min() - 8 * seen.std()) / resolution
        high = (seen.max() + 8 * seen.std()) / resolution
        values = (
            torch.arange(math.floor(low), math.ceil(high) + 1, dtype=torch.float64) * resolution
        )
        return values, torch.zeros_like(values)
    values = torch.arange(
        TAIL if math.isinf(variable.states) else int(variable.states), dtype=torch.float64
    )
    return values, torch.zeros_like(values)


def _seen(cell: Cell, where: Tensor) -> Tensor:
    """What the world puts where the hole is, over many rows."""
    batch = cell.full(400)
    place = (slice(None), *where.tolist())
    return batch.x[place][batch.present[place]].double()


@check(15, "log_prob with missing entries", of_laws=True)
def holes(cell: Cell) -> Result:
    """log p of what is observed is the log of the sum of p over all values of what is not."""
    if not cell.exact:
        raise Skip("log p of full rows is not exact" if cell.kind else "there is no log_prob")
    # One hole, then two; log p with holes against the sum over their values.
    found = []
    for count in (1, 2):
        batch = cell.holed(cell.full(HOLED), count)
        try:
            given = cell.law.log_prob(batch, seed=cell.seed)
        except Unsupported as error:
            raise Skip(str(error)) from None
        if given.kind is Kind.EXACT:
            found += [
                r
                for i in range(HOLED)
                if (r := _against_sum(cell, batch, i, float(given.value[i]), count))
            ]
    if not found:
        raise Skip("log p with missing entries is not exact, or has too many values to sum")
    return worst(found)


def _against_sum(cell: Cell, batch: Batch, row: int, value: float, count: int) -> Result | None:
    points = hole_points(cell, batch, row)
    if points is None:
        return None
    full = one_row(replace(batch, observed=None), row, points.x)
    summed = float((cell.log_p(full) + points.log_volume).logsumexp(0))
    return judge(
        abs(summed - value),
        MASS,
        f"log p with {count} holes is {value:.5f}, summed over them {summed:.5f}",
    )


__all__ = [
    "Mass",
    "conditions",
    "hole_points",
    "holes",
    "mass",
    "one_row",
    "planar",
    "states",
    "total",
    "under",
]
