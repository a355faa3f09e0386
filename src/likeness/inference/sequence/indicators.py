"""Sparse indicator features of steps: which codes stand where around a step, by templates, as taggers use them.

A template joins columns at offsets: "word[-1]|word[0]" is the word before with the word itself.
Whatever it reads at a step of the training part is an indicator of its own; outside of its
item a column reads "outside".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from likeness.core.errors import BadConfig
from likeness.core.space import Space
from likeness.numerics.sparse import by_rows

FIELD = re.compile(r"^(?P<name>.+)\[(?P<offset>[+-]?\d+)\]$")


@dataclass(frozen=True)
class Template:
    """Columns of a step, each at an offset: what they read together is one indicator."""

    fields: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Sparse:
    """Which of A indicators each of N steps has.

    Args:
        rows: Step by indicator, compressed by rows, (N, A).
        columns: The same by indicator, (A, N).
    """

    rows: Tensor
    columns: Tensor


class Indicators(nn.Module):
    """Steps of codes to indicators.

    Args:
        space: Of the items: ragged, its coded columns are those with finitely many states.
        templates: As users write them, or None for every column at every offset of the window, and
            neighbours in pairs.
        window: Steps before and after that the usual templates look at.
    """

    keys: Tensor

    def __init__(self, space: Space, templates: Sequence[str] | None, window: int) -> None:
        super().__init__()
        self.space = space
        self.sizes = [int(v.states) + 1 if math.isfinite(v.states) else 0 for v in space.columns]
        if templates is None:
            self.templates = usual(space, window)
        else:
            self.templates = [parse(space, t) for t in templates]
        self.register_buffer("keys", torch.zeros(0, dtype=torch.int64))

    @property
    def size(self) -> int:
        """How many indicators there are."""
        return len(self.keys)

    def codes(self, x: Tensor, known: Tensor, length: Tensor) -> Tensor:
        """What each template reads at each of N steps (N, C), items one after the other, int64 (N, T); -1 if hidden."""
        place = torch.arange(len(x), device=x.device)
        # Where each step's item begins and ends among all steps, (N,).
        start = (length.cumsum(0) - length).repeat_interleave(length)
        end = start + length.repeat_interleave(length)
        # 0 outside of the item, -1 missing, else the category + 1.
        code = torch.where(known, x.long() + 1, -1)
        keys = []
        for number, template in enumerate(self.templates):
            # A mixed-radix number of what the template's columns
            # read, made unique by the template's own number.
            key = torch.full_like(place, number)
            hidden = torch.zeros_like(place, dtype=torch.bool)
            for column, offset in template.fields:
                there = place + offset
                inside = (there >= start) & (there < end)
                one = torch.where(inside, code[there.clamp(0, max(len(x) - 1, 0)), column], 0)
                key = key * self.sizes[column] + one.clamp(min=0)
                hidden = hidden | (one < 0)
            keys.append(torch.where(hidden, -1, key * len(self.templates) + number))
        if keys:
            return torch.stack(keys, -1)
        return place.new_zeros(len(x), 0)

    def fit(self, codes: Sequence[Tensor], least: int) -> None:
        """Keep the indicators that occur at least `least` times."""
        keys, counts = torch.cat([c.flatten() for c in codes]).unique(return_counts=True)
        self.keys = keys[(counts >= least) & (keys >= 0)]

    def place(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Steps and indicators that go together, int64 (M,) each, steps in order; what was never read is left out."""
        if not len(self.keys):
            return codes.new_zeros(0), codes.new_zeros(0)
        # Keys are sorted: a binary search finds each code's
        # place, and equality tells whether it is there.
        at = torch.searchsorted(self.keys, codes).clamp(max=len(self.keys) - 1)
        step, which = (self.keys[at] == codes).nonzero(as_tuple=True)
        return step, at[step, which]

    def sparse(self, codes: Tensor, dtype: torch.dtype) -> Sparse:
        """The indicator matrix, compressed by rows and by columns."""
        # Entries in order of indicators give the transpose, which the gradient multiplies by.
        step, indicator = self.place(codes)
        order = indicator.argsort(stable=True)
        shape = (len(codes), self.size)
        return Sparse(
            _rows(step, indicator, shape, dtype),
            _rows(indicator[order], step[order], shape[::-1], dtype),
        )


class SparseProduct(torch.autograd.Function):
    """X W of a sparse X (N, A) and dense weights W (A, K)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Sparse) -> Tensor:
        """The product by rows."""
        ctx.x = x
        product: Tensor = x.rows @ weight
        return product

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        """X' times the slope, by columns."""
        return ctx.x.columns @ slopes[0], None


def _rows(row: Tensor, column: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Ones at (row, column), compressed by rows, row in order."""
    # Compressed rows: row i has the entries starts[i] to starts[i + 1].
    ends = torch.bincount(row, minlength=shape[0]).cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends])
    ones = torch.ones(len(row), dtype=dtype, device=row.device)
    return by_rows(starts, column, ones, shape)


def names(space: Space) -> tuple[str, ...]:
    """What templates call the columns: their names, or x0, x1, ..."""
    return space.names or tuple(f"x{i}" for i in range(space.width))


def parse(space: Space, text: str) -> Template:
    """A template from its text.

    Raises:
        BadConfig: If it names no coded column, or no offset.
    """
    columns = names(space)
    # Each part is a column with an offset in brackets.
    fields = []
    for part in text.split("|"):
        match = FIELD.match(part.strip())
        if match is None:
            raise BadConfig(
                f"the template {text!r} has no offset in {part!r}", do=f"write {columns[0]}[0], say"
            )
        if match["name"] not in columns:
            raise BadConfig(
                f"the template {text!r} names no column", do=f"the columns are {', '.join(columns)}"
            )
        column = columns.index(match["name"])
        if not math.isfinite(space.columns[column].states):
            raise BadConfig(
                f"the template {text!r} reads a number",
                do="numbers are taken as they are: leave it out",
            )
        fields.append((column, int(match["offset"])))
    # Keys of all templates have to fit an int64.
    if math.prod(float(space.columns[c].states) + 1 for c, _ in fields) > 2.0**50:
        raise BadConfig(f"the template {text!r} joins too many categories", do="join fewer columns")
    return Template(tuple(fields))


def usual(space: Space, window: int) -> list[Template]:
    """Every coded column at every offset of the window, and with its neighbour on either side."""
    coded = [i for i, v in enumerate(space.columns) if math.isfinite(v.states)]
    alone = [Template(((c, o),)) for c in coded for o in range(-window, window + 1)]
    return alone + [
        Template(((c, o), (c, o + 1))) for c in coded for o in ((-1, 0) if window else ())
    ]
