"""What checks measure by: Spaces listed or on a grid, tails in standard errors, a Metropolis chain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from scipy import stats
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.space import Space, Variable

MOST_STATES = 4096
REACH = 5.0  # sinh(5) = 74 scales to each side
FINEST = 1.5  # decades between the largest and the smallest moves of a chain
FEW = 5  # the least expected count of a cell of a chi-square test


@dataclass(frozen=True, eq=False)
class Points:
    """Points that stand for all of a Space, each for a cell of its own.

    Args:
        x: (S, *E).
        log_volume: The log of each cell's volume, 0 where points are counted, (S,).
        length: The length of each item, or None.
        axes: For grids, the coordinates along each axis.
    """

    x: Tensor
    log_volume: Tensor
    length: Tensor | None = None
    axes: tuple[Tensor, ...] = ()


def standard_errors(p: float) -> float:
    """How many standard errors a two-sided p-value is: 1e-6 is 4.9."""
    return float(stats.norm.isf(max(p, 1e-300) / 2))


def z_of(values: Tensor) -> float:
    """How many standard errors the mean of independent values lies from 0; 0 where all are 0, signed."""
    values = values.double()
    spread = float(values.std()) / math.sqrt(len(values))
    mean = float(values.mean())
    if mean == 0:
        return 0.0
    return mean / max(spread, 1e-12 * abs(mean))


def states(space: Space, dtype: torch.dtype, length: int | None = None) -> Tensor | None:
    """Every event of a discrete space (S, *E), of that length where it is ragged; None where they are too many."""
    if not space.discrete:
        return None
    rows = 1 if space.ragged is False else int(length or 0)
    if not space.ragged:
        shape = space.layout
    else:
        shape = (rows, *space.layout[1:])
    sizes = [int(v.states) for v in space.columns] * (math.prod(shape) // space.width)
    if sum(map(math.log, sizes)) > math.log(MOST_STATES):
        return None
    table = torch.tensor(list(itertools.product(*map(range, sizes))), dtype=dtype)
    return table.reshape(-1, *shape)


def listed(space: Space, dtype: torch.dtype) -> list[Points]:
    """All events of a Space of few states; of a ragged one, of each length of few states; [] where there are none."""
    if not space.ragged:
        x = states(space, dtype)
        if x is None:
            return []
        return [Points(x, torch.zeros(len(x), dtype=dtype))]
    found = []
    for length in range(1, space.layout[0] + 1):
        x = states(space, dtype, length)
        if x is None:
            break
        pad = (0, 0) * (x.dim() - 2) + (0, space.layout[0] - length)
        lengths = torch.full((len(x),), length)
        found.append(
            Points(torch.nn.functional.pad(x, pad), torch.zeros(len(x), dtype=dtype), lengths)
        )
    return found


def stretched(sample: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """A grid of one axis that is dense where the sample is and reaches 74 scales out: values, log widths, (count,).

    x = m + s sinh(t) for t uniform on [-5, 5], with the sample's median and interquartile range.
    """
    scale, middle = _stretch(sample)
    t = torch.linspace(-REACH, REACH, count, dtype=torch.float64)
    return middle + scale * t.sinh(), (scale * t.cosh()).log() + math.log(2 * REACH / (count - 1))


def _stretch(sample: Tensor) -> tuple[float, float]:
    """The interquartile range and the median."""
    low, middle, high = (
        sample.double().quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    )
    return max(high - low, 1e-3), middle


def plane(sample: Tensor, count: int) -> Points:
    """A grid over one or two real axes (S, D) with the log volume of each point's cell."""
    parts = [stretched(column, count) for column in sample.T]
    axes = tuple(p[0] for p in parts)
    x = torch.cartesian_prod(*axes).reshape(-1, len(axes))
    volume = torch.cartesian_prod(*[p[1] for p in parts]).reshape(-1, len(axes)).sum(-1)
    return Points(x.to(sample), volume.to(sample), axes=axes)


def scattered(sample: Tensor, count: int, seed: int) -> Points:
    """The same grid with each point at random within its own cell: no edges of a density can fall in with its own."""
    scale, middle = zip(*[_stretch(column) for column in sample.T], strict=True)
    cell = 2 * REACH / (count - 1)
    axis = torch.linspace(-REACH, REACH, count, dtype=torch.float64)
    t = torch.cartesian_prod(*[axis] * len(scale)).reshape(-1, len(scale))
    source = torch.Generator().manual_seed(seed)
    t = t + cell * (torch.rand(t.shape, generator=source, dtype=t.dtype) - 0.5)
    spread = torch.tensor(scale, dtype=torch.float64)
    x = torch.tensor(middle, dtype=torch.float64) + spread * t.sinh()
    return Points(x.to(sample), ((spread * t.cosh()).log() + math.log(cell)).sum(-1).to(sample))


def chi_square(counts: Tensor, probability: Tensor) -> float:
    """How strange counts (S,) are under probabilities (S,), in standard errors; rare cells are joined."""
    # Cells that expect few items are joined, the rarest first.
    n = float(counts.sum())
    order = probability.argsort()
    expected = (probability * n)[order]
    seen = counts[order].to(probability)
    rare = expected.cumsum(0) < FEW
    few = int(rare.sum()) + 1 if bool(rare.any()) else 0
    if few:
        expected = torch.cat([expected[:few].sum()[None], expected[few:]])
        seen = torch.cat([seen[:few].sum()[None], seen[few:]])
    if len(expected) < 2:
        return 0.0
    # Expected counts add up to the observed ones.
    expected = expected * n / expected.sum()
    statistic = float(((seen - expected).square() / expected.clamp_min(1e-300)).sum())
    return standard_errors(2 * float(stats.chi2.sf(statistic, len(expected) - 1)))


def kolmogorov(u: Tensor, effective: float) -> float:
    """How far so many independent values in [0, 1] are from uniform by their largest gap, in standard errors."""
    # The largest gap between the empirical CDF and the diagonal, on both sides of each step.
    sorted_ = u.double().sort().values
    steps = torch.arange(len(u) + 1, dtype=torch.float64) / len(u)
    gap = float(torch.maximum((sorted_ - steps[:-1]).abs(), (sorted_ - steps[1:]).abs()).max())
    return standard_errors(float(stats.kstwobign.sf(gap * math.sqrt(effective))))


# ---- a chain that keeps a distribution --------------------------------------------------------------------


def proposal(variable: Variable, x: Tensor, scale: Tensor, source: torch.Generator) -> Tensor:
    """A symmetric random move of entries of one variable; it may leave the variable's range."""
    normal = torch.randn(x.shape, generator=source, dtype=x.dtype)
    if variable.type == "nominal":
        k = int(variable.states)
        return (x + torch.randint(1, max(k, 2), x.shape, generator=source)) % k
    if variable.type == "real":
        if variable.resolution is None:
            return x + scale * normal
        return x + variable.resolution * (scale / variable.resolution * normal).round()
    return x + normal.sign() * (scale * normal.abs()).ceil()


def allowed(variable: Variable, x: Tensor) -> Tensor:
    """Which entries lie in their variable's range."""
    if variable.type == "real":
        if variable.lower is None:
            above = torch.ones_like(x, dtype=torch.bool)
        else:
            above = x > variable.lower
        if variable.upper is None:
            return above
        return above & (x < variable.upper)
    return (x >= 0) & (x <= variable.states - 1)


def moved(
    space: Space, batch: Batch, may: Tensor, scale: Tensor, source: torch.Generator
) -> tuple[Batch, Tensor]:
    """A symmetric move of one or a few of the entries that may move, and which rows stay in the Space, (B,)."""
    # Moves of several sizes, one to three entries each, so that some are accepted everywhere.
    x = batch.x.clone()
    size = 10 ** (-FINEST * torch.rand(len(x), generator=source, dtype=x.dtype)).reshape(
        -1, *[1] * (x.dim() - 1)
    )
    score = torch.rand(x.shape, generator=source).masked_fill(~may, -1.0).flatten(1)
    few = 1 + torch.randint(3, (len(x), 1), generator=source)
    rank = score.argsort(-1, descending=True).argsort(-1).reshape(x.shape)
    chosen = may & (rank < few.reshape(-1, *[1] * (x.dim() - 1)))
    # Each variable moves in its own way, and stays where it would leave its range.
    inside = torch.ones_like(chosen)
    one = len(set(space.columns)) == 1
    for i, variable in enumerate(space.columns[:1] if one else space.columns):
        part = (slice(None),) if one else (..., i)
        new = proposal(variable, x[part], (scale * size).expand_as(x)[part], source)
        inside[part] = allowed(variable, new)
        x[part] = torch.where(chosen[part] & inside[part], new, x[part])
    return replace(batch, x=x), ~(chosen & ~inside).flatten(1).any(-1)


def drift(
    space: Space,
    batch: Batch,
    log_p: Callable[[Batch], Tensor],
    *,
    may: Tensor | None = None,
    steps: int = 6,
    seed: int = 0,
) -> tuple[float, str]:
    """How far a chain that keeps p moves items that should follow p, in standard errors, and by which statistic.

    Metropolis et al. 1953: if x ~ p, then x after any number of accepted steps is ~ p, so that
    every function of x keeps its mean. The functions are log p, entries and squared entries.
    """
    # Metropolis: symmetric moves, accepted with probability min(1, p(new) / p(old)).
    source = torch.Generator().manual_seed(seed)
    free = batch.present if may is None else may
    scale = _scale(batch.x, free)
    now = batch
    before = log_p(batch)
    if not bool(torch.isfinite(before).all()):
        return math.inf, "a drawn item has probability 0"
    start = before
    # Rows move independently of each other.
    for _ in range(steps):
        there, inside = moved(space, now, free, scale, source)
        value = log_p(there)
        u = torch.rand(len(value), generator=source, dtype=torch.float64).to(value)
        accept = inside & (u.log() < value - before)
        wide = accept.reshape(-1, *[1] * (batch.x.dim() - 1))
        now = replace(now, x=torch.where(wide, there.x, now.x))
        before = torch.where(accept, value, before)
    return _furthest(batch, now, before - start, free, scale)


def _scale(x: Tensor, free: Tensor) -> Tensor:
    """The spread of each entry over the items in which it may move, (*E)."""
    count = free.sum(0).clamp_min(2)
    mean = (x * free).sum(0) / count
    return (((x - mean).square() * free).sum(0) / count).sqrt().clamp_min(1e-6)


def _furthest(
    start: Batch, end: Batch, rise: Tensor, free: Tensor, scale: Tensor
) -> tuple[float, str]:
    # The change of log p, and of the first two moments of all entries together and of each.
    found = [(abs(z_of(rise)), "log p")]
    old, new = (b.x.flatten(1) / scale.flatten() for b in (start, end))
    for name, change in (("mean", new - old), ("mean square", new.square() - old.square())):
        moved_ = free.flatten(1).any(0)
        total = (change[:, moved_]).sum(-1)
        found.append((abs(z_of(total)), f"the {name} of all entries"))
        single = [(abs(z_of(change[:, i])), f"the {name} of entry {i}") for i in _some(moved_)]
        found += single
    return max(found)


def _some(mask: Tensor) -> list[int]:
    """At most 16 of the entries that move."""
    return torch.nonzero(mask).flatten()[:16].tolist()
