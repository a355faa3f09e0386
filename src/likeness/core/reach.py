"""How far out values may lie: beyond it squares overflow, and what is told of a row would be no number."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import NoReturn

import torch
from torch import Tensor

from likeness.core.answers import Kind, Scored
from likeness.core.batch import Batch, place_of
from likeness.core.errors import BadData, LikenessError
from likeness.core.row_distribution import RowDistribution
from likeness.core.space import Space, Variable

LARGEST = 1e100  # of a training value: squares of larger ones come near the largest double
ROOM = 4.0  # by which an edge stays below the largest number of its type


@dataclass(frozen=True, eq=False)
class Reached:
    """Rows in a distribution's own type, whose every value lies where its arithmetic holds.

    Args:
        batch: The rows; a value that lay farther out is brought to the edge.
        x: The values as they came, (B, *E), in double precision where one lay farther out.
        over: Which values did, bool (B, *E), or None where none did.
    """

    batch: Batch
    x: Tensor
    over: Tensor | None

    @property
    def far(self) -> bool:
        """Whether any value lay farther out."""
        return self.over is not None

    def warn(self, space: Space) -> None:
        """Name the first value that lay farther out, and say how many rows have one."""
        if self.over is None:
            return
        rows = int(self.over.flatten(1).any(-1).sum())
        place = torch.nonzero(self.over)[0].tolist()
        value = float(self.x[tuple(place)])
        where = f"row {int(self.batch.ids[place[0]])}, {place_of(space, place)}"
        warnings.warn(
            f"{rows} of {len(self.x)} rows lie too far out for the arithmetic "
            f"and count as lying at its edge: {value:g} ({where})",
            stacklevel=5,
        )


def extent(space: Space, batches: Iterable[Batch]) -> Tensor:
    """The least and the largest value of every column that is a number, 0 elsewhere, (2, columns), float64.

    Raises:
        BadData: Where a value is so large that its square is none, with its row and column.
    """
    # Running extremes over all batches, (columns,).
    width = len(space.columns)
    numbers = _numbers(space)
    low = torch.full((width,), torch.inf, dtype=torch.float64)
    high = -low
    for batch in batches:
        if not len(batch):
            continue
        least, most = _ends(batch, width)
        if bool((least < -LARGEST).any()) or bool((most > LARGEST).any()):
            _refuse_huge(space, batch)
        low = torch.minimum(low, least.double().cpu())
        high = torch.maximum(high, most.double().cpu())
    # Codes, and columns that are missing throughout, get 0.
    there = numbers & (low <= high)
    return torch.where(there, torch.stack([low, high]), 0.0)


def _ends(batch: Batch, width: int) -> tuple[Tensor, Tensor]:
    """The least and the largest known value of each column, (columns,); inf and -inf where none is known."""
    x = batch.x.reshape(-1, width)
    if batch.observed is None and batch.length is None:
        return x.amin(0), x.amax(0)
    hidden = ~batch.present.reshape(-1, width)
    return x.masked_fill(hidden, torch.inf).amin(0), x.masked_fill(hidden, -torch.inf).amax(0)


def _refuse_huge(space: Space, batch: Batch) -> NoReturn:
    """Name the first of the values that are too large."""
    huge = (batch.x.abs() > LARGEST) & batch.present
    place = torch.nonzero(huge)[0].tolist()
    value = float(batch.x[tuple(place)])
    raise BadData(
        f"{value:g} is too large to learn from: its square is beyond double precision",
        where=f"row {int(batch.ids[place[0]])}, {place_of(space, place)}",
        do="mend the value, mark it as missing (NaN), or divide the column",
    )


def reached(
    space: Space, batch: Batch, known: Tensor | None, dtype: torch.dtype, device: torch.device
) -> Reached:
    """The rows within reach of a distribution that learned from values of that extent (2, columns)."""
    # The presence of an entry is computed only where a value is out of range at all.
    low, high = (edge.to(batch.x) for edge in _edges(space, known, dtype))
    over = (batch.x < low) | (batch.x > high)
    if not bool(over.any()) or not bool((over := over & batch.present).any()):
        rows = batch.to(dtype=dtype, device=device)
        return Reached(rows, rows.x, None)
    # Clamped to the nearest edge; the values as they came are kept for the warning.
    near = replace(batch, x=torch.where(over, batch.x.clamp(low, high), batch.x))
    return Reached(
        near.to(dtype=dtype, device=device), batch.x.to(device).double(), over.to(device)
    )


def _edges(space: Space, known: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The least and the largest value of each column that its arithmetic is asked about, (columns,), float64.

    They lie beyond the extent by its width times the cube root of the type's largest number, so
    that squares of deviations have room; those of a real within bounds, which enters by its
    logarithm, wherever the type ends.
    """
    columns, top = space.columns, torch.finfo(dtype).max / ROOM
    known = (
        torch.zeros(2, len(columns), dtype=torch.float64) if known is None else known.double().cpu()
    )
    # The scale of a column: its range, else the size of its one value, else 1.
    width = known[1] - known[0]
    width = torch.where(width > 0, width, known.abs().amax(0))
    width = torch.where(width > 0, width, 1.0)
    # Squares of max^(1/3) deviations stay below max^(2/3).
    beyond = width * torch.finfo(dtype).max ** (1 / 3)
    bounded = torch.tensor([_bounded(v) for v in columns])
    low = torch.where(bounded, -top, (known[0] - beyond).clamp(min=-top))
    high = torch.where(bounded, top, (known[1] + beyond).clamp(max=top))
    return low, high


def nearest(space: Space, batch: Batch, known: Tensor | None) -> Batch:
    """The rows with each number brought to the extent (2, columns) that was learned from."""
    if known is None:
        return batch
    numbers = _numbers(space)
    low = torch.where(numbers, known[0].double().cpu(), -torch.inf).to(batch.x)
    high = torch.where(numbers, known[1].double().cpu(), torch.inf).to(batch.x)
    return replace(batch, x=torch.where(batch.present, batch.x.clamp(low, high), batch.x))


def at_the_edge(scored: Scored) -> Scored:
    """Scores of rows of which one counts as lying where it does not."""
    return replace(
        scored, kind=Kind.ESTIMATE, how=f"{scored.how}, rows beyond reach taken at its edge"
    )


def refuse_nan(what: str, value: Tensor, rows: Tensor, axis: int = 0) -> None:
    """No answer is NaN.

    Args:
        what: The answer, in words.
        value: Its numbers, whose `axis` is that of the rows.
        rows: Which item each row is, (B,).
        axis: Of the rows.

    Raises:
        LikenessError: Naming the first row at fault.
    """
    wrong = value.isnan()
    if not bool(wrong.any()):
        return
    row = int(rows[int(torch.nonzero(wrong)[0, axis])])
    raise LikenessError(
        f"{what} is no number", where=f"row {row}",
        do="leave the row out if its values lie far from those that were learned from, else fit again",
    )  # fmt: skip


def refuse_nans(what: str, made: RowDistribution, rows: Tensor) -> None:
    """The same of every number that the distributions of rows are made of."""
    for part in fields(made):
        value = getattr(made, part.name)
        if isinstance(value, Tensor) and value.is_floating_point() and len(value) == len(rows):
            refuse_nan(what, value, rows)


def _numbers(space: Space) -> Tensor:
    """Which columns hold numbers that may be of any size, bool (columns,)."""
    return torch.tensor([v.type in {"real", "count"} for v in space.columns])


def _bounded(variable: Variable) -> bool:
    if variable.type != "real":
        return variable.type != "count"
    return (variable.lower, variable.upper) != (None, None)
