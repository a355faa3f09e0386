"""Codes of one Space as those of another: a table from another file counts its labels in an order of its own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.space import Space, Variable
from likeness.data.tables import unknown_label


def recoded(batch: Batch, own: Space, space: Space, *, hide: bool = False) -> Batch:
    """Items of the Space `own` as items of `space`: columns by their names, categories by their labels.

    A label that was never learned is the symbol of all unknown ones where there is one.

    Args:
        batch: Items in codes of `own`.
        own: What they are.
        space: What they are asked as.
        hide: Whether labels that `space` does not have are hidden, as unknown words of a sentence
            are.

    Raises:
        BadData: Naming the first label that `space` does not have, unless it is to be hidden.
    """
    if own == space:
        return batch
    batch, columns = _ordered(batch, own, space)
    if len(columns) != len(space.columns):
        return batch  # of another width, which the check of all items says better
    x = batch.x
    observed = batch.present
    alone = len(space.columns) == 1
    for i, (mine, theirs) in enumerate(zip(columns, space.columns, strict=True)):
        places = _places(mine, theirs)
        if places is None:
            continue
        codes = _translated(x if alone else x[..., i], places)
        known = observed if alone else observed[..., i]
        strange = (codes < 0) & known
        if bool(strange.any()) and not hide:
            row = torch.nonzero(strange)[0].tolist()
            label = _labels(mine)[int((x if alone else x[..., i])[tuple(row)])]
            where = f"row {row[0]}" + (f", column {space.names[i]!r}" if space.names else "")
            raise unknown_label(label, _labels(theirs), where)
        codes = codes.clamp(min=0)
        x = codes if alone else _with(x, i, codes)
        observed = known & ~strange if alone else _with(observed, i, known & ~strange)
    if batch.observed is None and bool((observed == batch.present).all()):
        return replace(batch, x=x)
    return replace(batch, x=x.masked_fill(~observed, 0.0), observed=observed)


def _ordered(batch: Batch, own: Space, space: Space) -> tuple[Batch, tuple[Variable, ...]]:
    """The columns in the order of `space`, where both have the same names."""
    columns = own.columns
    names = space.names
    if own.names == names or names is None or own.names is None or set(names) != set(own.names):
        return batch, columns
    order = [own.names.index(name) for name in names]
    observed = None if batch.observed is None else batch.observed[..., order]
    moved = replace(batch, x=batch.x[..., order], observed=observed)
    return moved, tuple(columns[i] for i in order)


def _labels(variable: Variable) -> tuple[str, ...]:
    """The names of a variable's categories; none where they have no names, or it is no category."""
    if variable.type != "nominal":
        return ()
    return variable.labels or ()


def _places(mine: Variable, theirs: Variable) -> list[int | None] | None:
    """Where each of one variable's labels stands among another's; None where they are counted alike, or not named."""
    labels = _labels(theirs)
    if not _labels(mine) or not labels or _labels(mine) == labels:
        return None
    place = {label: code for code, label in enumerate(labels)}
    pooled = theirs.type == "nominal" and theirs.pooled is not None
    unknown = len(labels) - 1 if pooled else None
    return [place.get(label, unknown) for label in _labels(mine)]


def _translated(x: Tensor, places: list[int | None]) -> Tensor:
    """Codes by their places, -1 where there is none."""
    table = torch.tensor([-1.0 if place is None else float(place) for place in places])
    return table.to(x)[x.long().clamp(0, len(places) - 1)]


def _with(x: Tensor, i: int, column: Tensor) -> Tensor:
    """The same values but for one column."""
    x = x.clone()
    x[..., i] = column
    return x
