"""Sources: rows by index. In memory one tensor, and batches are look-ups; splits are deterministic."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from likeness.core.answers import SHOWN_ROWS
from likeness.core.batch import Batch
from likeness.core.draws import FRAMES
from likeness.core.errors import BadData
from likeness.core.noise import mix_each
from likeness.core.overview import Overview, Shown
from likeness.core.space import Space

# What the attrs of a frame hold that was read from a text file: what was seen while it was read, and
# whether numbers such as 1,234 are likely to hold a decimal comma there.
NOTES, COMMA = "notes", "decimal comma"


class Source(Protocol):
    """Rows by index, which can be split, and of which an epoch may be a draw."""

    @property
    def space(self) -> Space:
        """What an item is."""

    @property
    def given_space(self) -> Space | None:
        """What is given, if anything."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def batch(self) -> Batch:
        """All items."""

    def __len__(self) -> int:
        """The number of items."""

    def rows(self, index: Tensor) -> Batch:
        """Some items; Batch.index says which of the whole."""

    def chunks(self, size: int) -> Iterator[Batch]:
        """All items in order, at most `size` at a time."""

    def take(self, index: Tensor) -> Self:
        """Some rows as a source of their own; they keep their index."""

    def split(self, holdout: float, seed: int = 0) -> tuple[Self, Self]:
        """A training part and a held-out part, by hash."""

    def epoch(self, number: int) -> Self:
        """The items as this pass sees them."""

    def hash(self) -> str:
        """A hash of the rows' bits."""


def held_out(ids: Tensor, groups: Tensor | None, holdout: float, seed: int) -> Tensor:
    """Which rows are held out, bool (N,): those whose hash lies in the share's part of the unit interval.

    Where that leaves one side without a row, the row (or group) of smallest hash is held out.
    """
    keys = ids if groups is None else groups
    values = mix_each(seed, keys).double() / 2.0**63
    out = values < holdout
    if (
        holdout > 0
        and len(keys)
        and bool((keys != keys[0]).any())
        and not 0 < int(out.sum()) < len(out)
    ):
        out = values <= values.min()
    return out


def between(batch: Batch, start: Tensor, stop: Tensor) -> Batch:
    """The steps start..stop (B,) of each item, and of what is given where it goes step by step."""
    size = batch.x.shape[1]
    steps = torch.arange(size)
    at = (torch.arange(len(batch))[:, None], (start[:, None] + steps).clamp(max=size - 1))
    outside = (steps >= (stop - start)[:, None]).reshape(
        len(batch), size, *[1] * (batch.x.dim() - 2)
    )
    if batch.observed is None:
        observed = None
    else:
        observed = batch.observed[at] | outside
    given = batch.given
    if given is not None and given.length is not None:
        given = between(given, start, stop)
    return replace(
        batch,
        x=batch.x[at].masked_fill(outside, 0.0),
        observed=observed,
        length=stop - start,
        given=given,
    )


@dataclass(frozen=True)
class Layout:
    """How the rows of a table became series, so that others can be read as those were.

    Args:
        series: The column that says which series a row belongs to, or None where all rows are one.
        times: The column that orders the steps, or none.
    """

    series: str | None
    times: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Table(Shown):
    """Rows in memory.

    Args:
        space: What an item is.
        batch: All items.
        given_space: What is given, where the batch holds it.
        name: What reports call it.
        groups: A group for each row, int64 (N,): a split keeps groups whole.
        layout: How rows became series, where they did.
    """

    space: Space
    batch: Batch
    given_space: Space | None = None
    name: str = "data"
    groups: Tensor | None = None
    layout: Layout | None = None

    def __len__(self) -> int:
        return len(self.batch)

    def overview(self) -> Overview:
        """What a row is, and the first of them."""
        facts = {"rows": f"{len(self):,}", "items": self.space.item}
        if self.given_space is not None:
            facts["given"] = self.given_space.item
        first = (
            FRAMES[0](self.space, self.batch[:SHOWN_ROWS]) if self.space.flat and FRAMES else None
        )
        return Overview(f"Table: {self.name}", facts, first)

    def rows(self, index: Tensor) -> Batch:
        """Some items; Batch.index says which of the whole."""
        return self.batch[index]

    def chunks(self, size: int) -> Iterator[Batch]:
        """All items in order, at most `size` at a time."""
        yield from self.batch.chunks(size)

    def take(self, index: Tensor) -> Table:
        """Some rows as a source of their own; they keep their index."""
        groups = None if self.groups is None else self.groups[index]
        return replace(self, batch=self.batch[index], groups=groups)

    def split(self, holdout: float, seed: int = 0) -> tuple[Table, Table]:
        """A training part and a held-out part of about `holdout` of the rows, by hash of (seed, row or group).

        A row's side depends on its own index (or group) and the seed only, so that adding rows
        moves none.

        Raises:
            BadData: If `holdout` leaves nothing to learn from.
        """
        if not 0 <= holdout < 1:
            raise BadData(
                f"a held-out share of {holdout} leaves nothing to learn from",
                do="choose 0 <= holdout < 1",
            )
        out = held_out(self.batch.ids, self.groups, holdout, seed)
        return self.take(torch.nonzero(~out).flatten()), self.take(torch.nonzero(out).flatten())

    def split_time(self, holdout: float) -> tuple[Table, Table]:
        """The first steps of every series, and its last ones, about `holdout` of them; one step at least is learned.

        Raises:
            BadData: If `holdout` leaves nothing to learn from, or the items have no lengths of
                their own.
        """
        if not 0 <= holdout < 1:
            raise BadData(
                f"a held-out share of {holdout} leaves nothing to learn from",
                do="choose 0 <= holdout < 1",
            )
        length = self.batch.length
        if length is None:
            raise BadData(
                "items of one shape have no time to be split by", do="give a list of arrays (T, C)"
            )
        cut = (length - (length * holdout).round().long()).clamp(min=1).minimum(length)
        if holdout > 0 and len(length) == 1 and int(length[0]) > 1:
            cut = cut.clamp(max=int(length[0]) - 1)
        early = replace(self, batch=between(self.batch, torch.zeros_like(cut), cut))
        late = replace(self, batch=between(self.batch, cut, length))
        return early, late.take(torch.nonzero(cut < length).flatten())

    def epoch(self, number: int) -> Table:
        """The items as this pass sees them: always the same."""
        return self

    def hash(self) -> str:
        """A hash of the rows' bits, for the lineage of what is learned from them."""
        sha = hashlib.sha256(self.space.to_json().encode())
        for part in (self.batch, self.batch.given):
            for t in () if part is None else (part.x, part.observed, part.length, part.weight):
                sha.update(b"-" if t is None else t.detach().cpu().contiguous().numpy().data)
        return sha.hexdigest()[:16]


@contextmanager
def inside(place: object) -> Iterator[None]:
    """Every refusal of data says in which file it arose, and counts its rows from 1, as whoever opens it does."""
    try:
        yield
    except BadData as error:
        if str(place) in (error.where or ""):
            raise
        row = re.sub(
            r"\brow (\d+)\b", lambda found: f"data row {int(found[1]) + 1}", error.where or ""
        )
        raise BadData(
            error.what, where=f"{place}, {row}" if row else str(place), do=error.do
        ) from error


class Loud(str):
    """A note that a user should hear before any answer: something is left out, or read as something else."""

    __slots__ = ()

    @classmethod
    def as_is(cls, note: str, text: str) -> str:
        """A text that says what the note says, as loud as it."""
        if isinstance(note, cls):
            return cls(text)
        return text

    @classmethod
    def among(cls, notes: Iterable[str]) -> tuple[str, ...]:
        """Those of some notes that a user should hear."""
        return tuple(note for note in notes if isinstance(note, cls))


@dataclass(frozen=True, eq=False)
class Reading:
    """What a reader found.

    Args:
        parts: The rows: under "all", or under "train", "valid" and "test" where the set has an
            official split.
        notes: What inference saw and did, a sentence each.
        aside: The name of the label that each part holds as `given` without being asked for it, or
            None.
        truth: The distribution that the rows were drawn from, where it is known.
    """

    parts: Mapping[str, Table]
    notes: tuple[str, ...] = ()
    aside: str | None = None
    truth: object | None = None
