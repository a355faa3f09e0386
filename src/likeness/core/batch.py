"""A batch of data points: values, what of them is observed, lengths, what is given, and which item a row is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, cast

import torch
from torch import Tensor

from likeness.core.errors import BadData
from likeness.core.layouts import laid_out, laid_out_series, steps_of, with_channel
from likeness.core.numbers import as_tensor
from likeness.core.space import Real, Space

Places = Tensor | slice


@dataclass(frozen=True, eq=False)
class Batch:
    """B items of one Space.

    Args:
        x: Values in data units (codes for nominal and ordinal entries), floating point (B, *E); 0
            where hidden.
        observed: Which entries are known, bool (B, *E), or None where all are.
        length: The length of each item of a ragged Space, int64 (B,), or None.
        weight: The weight of each row, (B,), or None for ones; 0 is padding.
        given: What the distribution is conditioned on, or None.
        index: Which item each row is, int64 (B,): 0..B-1 unless told.
    """

    x: Tensor
    observed: Tensor | None = None
    length: Tensor | None = None
    weight: Tensor | None = None
    given: Batch | None = None
    index: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", self.ids)

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def ids(self) -> Tensor:
        """Which item each row is, int64 (B,)."""
        if self.index is not None:
            return self.index
        return torch.arange(self.x.shape[0], device=self.x.device)

    @property
    def lengths(self) -> Tensor:
        """The length of each item, that of the layout where the Space is not ragged, int64 (B,)."""
        if self.length is not None:
            return self.length
        return torch.full_like(self.ids, self.x.shape[1])

    @property
    def condition(self) -> Batch:
        """What the rows are conditioned on.

        Raises:
            BadData: If nothing is given.
        """
        if self.given is None:
            raise BadData(
                "these rows come without a condition", do="say what is given, with given=..."
            )
        return self.given

    @property
    def weights(self) -> Tensor:
        """The weight of each row, ones where none was given, (B,)."""
        if self.weight is not None:
            return self.weight
        return self.x.new_ones(len(self))

    @property
    def within(self) -> Tensor | None:
        """Which entries lie within their item's length, bool (B, *E), or None where all do."""
        if self.length is None:
            # Steps before the end, (B, T), then broadcast over the other axes, (B, *E).
            return None
        return self.inside

    @property
    def inside(self) -> Tensor:
        """The same of all rows, ragged or not, bool (B, *E)."""
        inside = torch.arange(self.x.shape[1], device=self.x.device) < self.lengths[:, None]
        return inside.reshape(*inside.shape, *[1] * (self.x.dim() - 2)).expand(self.x.shape)

    @property
    def present(self) -> Tensor:
        """Which entries are there and known, bool (B, *E)."""
        within = self.within
        if self.observed is None:
            if within is None:
                return torch.ones_like(self.x, dtype=torch.bool)
            return within
        if within is None:
            return self.observed
        return self.observed & within

    @property
    def holes(self) -> Tensor:
        """Which entries are there but hidden, bool (B, *E)."""
        within = self.within
        if self.observed is None:
            return torch.zeros_like(self.x, dtype=torch.bool)
        if within is None:
            return ~self.observed
        return ~self.observed & within

    @property
    def full(self) -> bool:
        """Whether nothing is hidden."""
        return self.observed is None or not bool(self.holes.any())

    def __getitem__(self, rows: Places) -> Batch:
        """Some rows, with all that belongs to them; a slice of them copies nothing."""
        return self._each(lambda t: t[rows])

    def kinds(self, *, classes: bool = False) -> Tensor:
        """A number for each row, shared by rows of one pattern of holes, in `given` too, and of one class, (B,)."""
        # Missingness of x, then of the condition, then its values where classes matter.
        parts = [self.holes.flatten(1)]
        if self.given is not None:
            holes = self.given.holes.flatten(1)
            parts += (
                [holes, self.given.x.flatten(1).masked_fill(holes, 0.0)] if classes else [holes]
            )
        # Equal rows of the joined table have one number, (B,).
        return torch.cat([part.double() for part in parts], -1).unique(dim=0, return_inverse=True)[
            1
        ]

    def repeat(self, n: int) -> Batch:
        """The rows n times over, draw-major (n*B,)."""
        return self._each(lambda t: t.repeat(n, *[1] * (t.dim() - 1)))

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Batch:
        """The batch with values of another type or on another device."""
        return self._each(
            lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None)
        )

    def hide(self, hidden: Tensor) -> Batch:
        """The batch with more entries hidden, bool broadcastable to (B, *E)."""
        observed = (
            torch.ones_like(self.x, dtype=torch.bool) if self.observed is None else self.observed
        ) & ~hidden
        return replace(self, x=self.x.masked_fill(~observed, 0.0), observed=observed)

    def with_x(self, x: Tensor) -> Batch:
        """The same rows with other values, all of them observed."""
        return replace(self, x=x, observed=None)

    def given_as(self, given: Batch | None) -> Batch:
        """The same rows under another condition."""
        return replace(self, given=given)

    def chunks(self, size: int) -> Iterator[Batch]:
        """The rows in order, at most `size` at a time."""
        for start in range(0, len(self), size):
            yield self[slice(start, start + size)]

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def maybe(t: Tensor | None) -> Tensor | None:
            if t is None:
                return None
            return change(t)

        if self.given is None:
            given = None
        else:
            given = self.given._each(change)
        return Batch(
            change(self.x),
            maybe(self.observed),
            maybe(self.length),
            maybe(self.weight),
            given,
            maybe(self.index),
        )


def concat(batches: list[Batch]) -> Batch:
    """Batches of one Space, one after the other."""

    def join(parts: list[Tensor | None]) -> Tensor | None:
        tensors = [p for p in parts if p is not None]
        if tensors:
            return torch.cat(tensors)
        return None

    # Optional fields appear where any batch has them; the others contribute their defaults.
    some_hidden = any(b.observed is not None for b in batches)
    observed = [
        b.observed if b.observed is not None else torch.ones_like(b.x, dtype=torch.bool)
        for b in batches
    ]
    weighted = any(b.weight is not None for b in batches)
    givens = [b.given for b in batches if b.given is not None]
    return Batch(
        torch.cat([b.x for b in batches]),
        torch.cat(observed) if some_hidden else None,
        join([b.length for b in batches]),
        torch.cat([b.weights for b in batches]) if weighted else None,
        concat(givens) if givens else None,
        join([b.index for b in batches]),
    )


def thinned(batches: Iterable[Batch], stride: int) -> Batch:
    """Every so-manieth row of each batch, as one.

    Rows are copied: a view of a batch would keep all of it, and many views all of the data.
    """
    return concat([batch[torch.arange(0, len(batch), stride)] for batch in batches])


def missing(space: Space, rows: int, like: Tensor) -> Batch:
    """A batch in which nothing is known: the missing `given`."""
    x = like.new_zeros((rows, *space.layout))
    if space.ragged:
        length = torch.zeros(rows, dtype=torch.int64, device=like.device)
    else:
        length = None
    return Batch(x, observed=torch.zeros_like(x, dtype=torch.bool), length=length)


def after(batch: Batch, steps: int) -> Batch:
    """The items of a ragged Space with so many more steps behind each, which are hidden."""
    # Rows of padding behind the longest item that results; negative where the layout was longer.
    size = int(max(batch.lengths.tolist(), default=0)) + steps - batch.x.shape[1]
    pad = (0, 0) * (batch.x.dim() - 2) + (
        0,
        size,
    )  # less than nothing where items were laid out to a longer one
    # The new steps are there (within `length`) but not observed.
    x, present = (torch.nn.functional.pad(t, pad) for t in (batch.x, batch.present))
    return replace(
        batch, x=x.masked_fill(~present, 0.0), length=batch.lengths + steps, observed=present
    )


# Readers of other types (frames, paths) are filled in by the data layer: core knows tensors and arrays only.
CONVERTERS: list[Callable[[Space, Any], Batch | None]] = []
# And so are readers of a condition that stands beside the items: functions of (space, given space, data).
BESIDE: list[Callable[[Space, Space, Any], Batch | None]] = []


def beside(space: Space, given_space: Space, data: Any) -> Batch | None:
    """The condition that data hold beside items of `space`, as columns of its names in a table; None where they do not.

    Raises:
        BadData: If it does not lie in its Space.
    """
    condition = next(
        (batch for read in BESIDE if (batch := read(space, given_space, data)) is not None), None
    )
    if condition is None:
        return None
    return check(given_space, condition)


def as_batch(space: Space, data: Any) -> Batch:
    """Anything that holds items of `space`, as a checked Batch.

    Arrays hold NaN where a real entry is missing and -1 (or NaN) where a discrete one is.

    Raises:
        BadData: If the shape, a value or a code does not lie in the Space.
    """
    if isinstance(data, Batch):
        return check(space, data)
    for convert in CONVERTERS:
        batch = convert(space, data)
        if batch is not None:
            return check(space, batch)
    return check(space, from_array(space, data))


def lengths_of(space: Space, data: Any) -> set[int]:
    """The lengths of items whose first axis may be of any, none where only a reader could tell."""
    if isinstance(data, Batch):
        if data.length is None:
            return {int(data.x.shape[1])}
        return set(data.length.tolist())
    if isinstance(data, list | tuple):
        return {len(item) for item in data if hasattr(item, "__len__")}
    steps = steps_of(space, getattr(data, "shape", ()))
    return set() if steps is None else {steps}


def from_array(space: Space, data: Any) -> Batch:
    """A Batch from a tensor, an array, or (ragged spaces) a list of arrays."""
    # Items of several lengths.
    if space.ragged and isinstance(data, list | tuple):
        return _from_ragged(space, [as_tensor(item) for item in data])
    x = as_tensor(data)
    # Items of one fixed shape.
    if not space.ragged:
        x = laid_out(space, x)
        return _holes(space, x if x.dim() else refuse_shape(space, x), None)
    # A ragged Space given as one array: all items have its length.
    x = laid_out_series(space, x)
    if x.dim() == len(space.shape) + 1 and x.shape[1] < (space.longest or 0):
        return _from_ragged(space, list(x))
    if x.dim() < 2:
        refuse_shape(space, x)
    return _holes(space, x, torch.full((x.shape[0],), x.shape[1], dtype=torch.int64))


def _from_ragged(space: Space, items: Sequence[Tensor]) -> Batch:
    # Each item's shape is checked by itself, so that the error can name the item.
    tensors = [with_channel(space, item) for item in items]
    for item, tensor in enumerate(tensors):
        if tensor.dim() != len(space.shape) or tuple(tensor.shape[1:]) != space.layout[1:]:
            refuse_shape(space, tensor[None], where=f"item {item}")
    # Padded to the longest item, or to the layout the Space prescribes: (B, T, ...).
    lengths = torch.tensor([t.shape[0] for t in tensors], dtype=torch.int64)
    rows = max(int(lengths.max()) if tensors else 0, space.longest or 0)
    double = any(t.dtype == torch.float64 for t in tensors)
    x = torch.zeros(
        (len(tensors), rows, *space.layout[1:]), dtype=torch.float64 if double else torch.float32
    )
    for i, t in enumerate(tensors):
        x[i, : t.shape[0]] = t
    return _holes(space, x, lengths)


def _holes(space: Space, x: Tensor, length: Tensor | None) -> Batch:
    """NaN everywhere, and -1 in discrete columns, become `observed = False` and 0."""
    hidden = torch.isnan(x)
    # -1 marks a missing code; in a real column it is a value.
    if any(v.type != "real" for v in space.variables) and x.dim() > 1:
        codes = torch.tensor([v.type != "real" for v in space.columns], device=x.device)
        hidden = hidden | ((x == -1) & (codes if x.shape[-1] == len(codes) else codes[0]))
    if not bool(hidden.any()):
        return Batch(x, length=length)
    return Batch(x.masked_fill(hidden, 0.0), observed=~hidden, length=length)


def check(space: Space, batch: Batch) -> Batch:
    """The batch, if every item lies in the Space; rows laid out to its longest item.

    Raises:
        BadData: Naming the row and entry at fault, and what to do.
    """
    x = batch.x
    if x.dim() != len(space.shape) + 1 or tuple(x.shape[2:]) != space.layout[1:]:
        refuse_shape(space, x)
    batch = _fit_length(space, batch)
    if tuple(batch.x.shape[1:]) != space.layout:
        refuse_shape(space, x)
    _check_values(space, batch)
    return batch


def refuse_shape(space: Space, x: Tensor, where: str | None = None) -> NoReturn:
    """Refuse items (B, ...) of another shape than the Space's, and say which is expected."""
    shape = " x ".join("any" if s is None else str(s) for s in space.shape)
    raise BadData(
        f"items of shape {' x '.join(map(str, x.shape[1:])) or 'one number'} where {shape} is expected",
        where=where,
        do=f"give an array of shape (rows, {shape.replace(' x ', ', ')})",
    )


def _fit_length(space: Space, batch: Batch) -> Batch:
    if not space.ragged:
        return batch
    rows = batch.x.shape[1]
    longest = space.layout[0]
    length = batch.lengths
    if len(batch) and int(length.max()) > longest:
        row = int(length.argmax())
        raise BadData(
            f"an item of length {int(length.max())} where the longest known is {longest}",
            where=f"row {row}",
            do="cut it, or fit again with items as long as that",
        )
    # Items are laid out to the Space's longest: a longer layout is cut, a shorter one padded.
    if rows >= longest:
        if batch.observed is None:
            hidden = None
        else:
            hidden = batch.observed[:, :longest]
        return replace(batch, x=batch.x[:, :longest], observed=hidden, length=length)
    pad = (0, 0) * (batch.x.dim() - 2) + (0, longest - rows)
    if batch.observed is None:
        hidden = None
    else:
        hidden = torch.nn.functional.pad(batch.observed, pad, value=True)
    return replace(batch, x=torch.nn.functional.pad(batch.x, pad), observed=hidden, length=length)


def _out_of_bounds(space: Space, x: Tensor) -> Tensor:
    """Where a real lies outside what its variable may be."""
    low = [
        v.lower if v.type == "real" and v.lower is not None else -torch.inf for v in space.columns
    ]
    high = [
        v.upper if v.type == "real" and v.upper is not None else torch.inf for v in space.columns
    ]
    return (x < torch.tensor(low).to(x)) | (x > torch.tensor(high).to(x))


def _finite(column: Real) -> str:
    if column.lower is None and column.upper is None:
        return "a finite number"
    low, high = (
        f"{edge:g}" if edge is not None else "any" for edge in (column.lower, column.upper)
    )
    return f"a number between its bounds, {low} and {high}"


def place_of(space: Space, where: list[int]) -> str:
    """What users call the entry at this place (row, *E) of a batch."""
    return f"column {space.names[where[-1]]!r}" if space.names else f"entry {tuple(where[1:])}"


def _check_values(space: Space, batch: Batch) -> None:
    """Finite reals, whole codes within range; the first offending entry is named."""
    # Wrong are numbers that are not finite.
    bad = ~torch.isfinite(batch.x)
    # Wrong are codes beyond 0..states-1, and fractions.
    top = torch.tensor(
        [v.states - 1 if v.type != "real" else torch.inf for v in space.columns],
        device=batch.x.device,
    )
    coded = torch.tensor([v.type != "real" for v in space.columns], device=batch.x.device)
    if bool(coded.any()):
        outside = (batch.x < 0) | (batch.x > top) | (batch.x != batch.x.round())
        bad = bad | (outside & coded)
    # Wrong are reals beyond their bounds.
    if any(v.type == "real" and (v.lower, v.upper) != (None, None) for v in space.variables):
        bad = bad | _out_of_bounds(space, batch.x)
    # Hidden and absent entries may hold anything.
    bad = bad & batch.present
    if not bool(bad.any()):
        return
    # The first wrong entry, in the user's terms.
    where = torch.nonzero(bad)[0].tolist()
    value = float(batch.x[tuple(where)])
    if len(space.columns) > 1:
        column = space.columns[where[-1]]
    else:
        column = space.columns[0]
    if column.type == "real":
        domain = _finite(cast("Real", column))
    else:
        domain = f"a whole code 0..{int(min(column.states, 2**53)) - 1}"
    if column.type == "count":
        domain = "a whole number 0, 1, 2, ..."
    raise BadData(
        f"{value:g} is not {domain}",
        where=f"row {where[0]}, {place_of(space, where)}",
        do="mend the value, or mark it as missing (NaN)",
    )
