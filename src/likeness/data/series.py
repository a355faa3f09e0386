"""Tables whose rows are steps of time, as ragged series (T, C): one for the whole, or one for each value of a column.

The column of times is left out: it orders the steps of each series, and what it says of their
spacing is noted. It is the first column that holds dates, or numbers under a name for times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from likeness.core.batch import Batch, check
from likeness.core.errors import BadConfig, BadData
from likeness.core.space import Space
from likeness.data import tables
from likeness.data.arrays import Array, Rounding, Wanted
from likeness.data.columns import find, names_of, space_of, table_space, types_by_name
from likeness.data.source import Layout, Loud, Reading, Table
from likeness.data.times import Clock, Pace, Times, clock_of, pace_of, spacing, times_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Steps:
    """Series of a Space that is known, read from a table whose rows are steps.

    Args:
        batch: The series.
        names: What each is called, (S,), or None where all rows are one.
        clock: When the next steps are, or None where that cannot be told.
        notes: What users should hear.
        repeats: Whether a time comes twice in a series.
    """

    batch: Batch
    names: Array | None
    clock: Clock | None
    notes: tuple[str, ...] = ()
    repeats: bool = False


@dataclass(frozen=True, eq=False)
class Laid:
    """Rows of a frame, laid out as series.

    Args:
        which: The number of each row's series, (N,), in order of appearance.
        times: Of each row, or None where no column holds them.
        order: The rows, series by series and sorted by their times, (N,).
    """

    which: Array
    times: Times | None
    order: Array

    @cached_property
    def steps(self) -> Array:
        """The number of steps of each series, (S,)."""
        return np.bincount(self.which)

    @cached_property
    def pace(self) -> Pace | None:
        """How the times follow each other."""
        if self.times is None:
            return None
        return pace_of(self.times, self.which, self.order)

    def spacing(self) -> tuple[tuple[str, ...], float | None]:
        """What is noted of the times, and the steps a second where they are evenly spaced."""
        if self.times is None or self.pace is None:
            return ((), None)
        return spacing(self.times, self.pace)

    def clock(self) -> Clock | None:
        """When the next steps are, where the times tell."""
        last = self.order[self.steps.cumsum() - 1]
        if self.times is None or self.pace is None:
            return None
        return clock_of(self.times, self.pace, last)

    def first(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The first row of each series."""
        return frame.iloc[np.unique(self.which, return_index=True)[1]]

    def rows(self, flat: Space, frame: pd.DataFrame) -> Batch:
        """The series of a frame."""
        return _padded(
            tables.encode(flat, frame)[torch.from_numpy(self.order)], torch.from_numpy(self.steps)
        )


def read(
    frame: pd.DataFrame,
    *,
    name: str,
    key: str | None = None,
    given: Sequence[str] = (),
    group: str | None = None,
    columns: Mapping[Any, Wanted] | Wanted | None = None,
    rounding: Rounding = "note",
) -> Reading:
    """The rows of a frame as one series, or as one for each value of the column `key`, in order of appearance.

    `given` and `group` name columns that are the same in all rows of a series.

    Raises:
        BadData: If a column is not there, a row has no series or time, or `given` changes within a
            series.
    """
    frame = frame.rename(columns=str)
    names = names_of(frame)
    said = [*([] if key is None else [key]), *given, *([] if group is None else [group])]
    for column in said:
        find(column, names)
    wanted = types_by_name(columns, names)
    laid = _laid(frame, key, [n for n in names if n not in said and n not in wanted])
    times = laid.times
    (notes, rate) = laid.spacing()
    left = {*said, *(() if times is None else (times.name,))}
    kept = [n for n in names if n not in left]
    if not kept:
        raise BadData("no column is left to learn", do="give a table with a column of values")
    flat, space_notes = space_of(
        frame[kept],
        columns={n: w for n, w in wanted.items() if n in kept},
        rounding=rounding,
        keep=kept,
    )
    space = _ragged(flat, int(laid.steps.max()), rate)
    batch = check(space, laid.rows(flat, frame))
    first = laid.first(frame)
    _same_within(
        frame, first, laid.which, [*given, *([] if group in {None, key} else [str(group)])]
    )
    outer = _given_space(first, given, wanted) if given else None
    if outer is not None:
        batch = batch.given_as(tables.encode(outer, first))
    groups = None if group is None else tables.groups(first[group])
    layout = Layout(key, () if times is None else (times.name,))
    return Reading(
        {"all": Table(space, batch, outer, name, groups, layout)}, (*notes, *space_notes)
    )


def of_frame(
    space: Space,
    given_space: Space | None,
    frame: pd.DataFrame,
    key: str | None = None,
    times: Sequence[str] | None = None,
) -> Steps:
    """The rows of a frame as series of a Space that is known: one, or one for each value of the column `key`.

    `times` is the column that ordered the steps that were learned, `()` where none did, None where
    that is not known.

    Raises:
        BadData: If a column is not there, a row has no series or time, or a value does not lie in
            the Space.
    """
    frame = frame.rename(columns=str)
    names = names_of(frame)
    told = () if given_space is None else given_space.names or ()
    if key is not None:
        find(key, names)
    free = [n for n in names if n not in {key, *told, *(space.names or ())}]
    laid = _laid(frame, key, [n for n in free if times is None or n in times])
    batch = laid.rows(
        space.model_copy(update={"axes": ("column",), "shape": space.shape[1:]}), frame
    )
    first = laid.first(frame)
    if given_space is not None and told and set(told) <= set(names):
        _same_within(frame, first, laid.which, told)
        batch = batch.given_as(tables.encode(given_space, first))
    who = None if key is None else first[key].to_numpy()
    notes = [*Loud.among(laid.spacing()[0])]
    if times and laid.times is None:
        notes.append(
            Loud(
                f"no column {times[0]!r} holds times: the steps are taken in the order of the rows"
            )
        )
    return Steps(
        batch, who, laid.clock(), tuple(notes), laid.pace is not None and laid.pace.repeats
    )


def _laid(frame: pd.DataFrame, key: str | None, free: Sequence[str]) -> Laid:
    """Where each row goes; the times are the first column that holds some, among those that are free to."""
    if key is None:
        which = np.zeros(len(frame), dtype=np.int64)
    else:
        which = _which(frame, key)
    times = times_of(frame, free)
    if times is None:
        order = np.argsort(which, kind="stable")
    else:
        order = np.lexsort((times.values, which))
    return Laid(which, times, order)


def _which(frame: pd.DataFrame, key: str) -> Array:
    """The number of each row's series (N,), in order of appearance."""
    import pandas as pd

    codes, _ = pd.factorize(frame[key])
    if (codes < 0).any():
        raise BadData(
            "no series is named",
            where=f"row {int(np.argmax(codes < 0))}, column {key!r}",
            do="say which series each row belongs to",
        )
    return np.asarray(codes, dtype=np.int64)


def _ragged(flat: Space, longest: int, rate: float | None) -> Space:
    """Series of such rows."""
    return flat.model_copy(
        update={
            "axes": ("time", "channel"),
            "shape": (None, flat.width),
            "longest": longest,
            "rate": rate,
        }
    )


def _padded(rows: Batch, steps: torch.Tensor) -> Batch:
    """Rows, those of a series side by side, as series of so many steps (S,)."""
    inside = torch.arange(int(steps.max())) < steps[:, None]
    x = rows.x.new_zeros((*inside.shape, rows.x.shape[1]))
    x[inside] = rows.x
    if rows.observed is None:
        return Batch(x, length=steps)
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[inside] = rows.observed
    return Batch(x, observed=observed, length=steps)


def _same_within(
    frame: pd.DataFrame, first: pd.DataFrame, which: Array, names: Sequence[str]
) -> None:
    for name in names:
        told = first[name].to_numpy(dtype=object)[which]
        here = frame[name].to_numpy(dtype=object)
        gone = frame[name].isna().to_numpy() & first[name].isna().to_numpy()[which]
        changed = np.flatnonzero((told != here) & ~gone)
        if len(changed):
            raise BadData(
                f"{here[changed[0]]!r} where the series began with {told[changed[0]]!r}",
                where=f"row {int(changed[0])}, column {name!r}",
                do="name a column that is the same in all rows of a series, or learn it with the others",
            )


def _given_space(first: pd.DataFrame, given: Sequence[str], wanted: Mapping[str, Wanted]) -> Space:
    told = {n: w for n, w in wanted.items() if n in given}
    space, _ = space_of(first[list(given)], columns=told, keep=given)
    forms = dict(zip(space.names or (), space.written or (None,) * space.width, strict=True))
    variables = dict(zip(space.names or (), space.columns, strict=True))
    return table_space(tables.as_label(first, variables, wanted), forms)


def asked_key(series: bool | str | None) -> str | None:
    """The column that says which series a row belongs to, or None where all rows are one.

    Raises:
        BadConfig: If it is neither a name nor true.
    """
    if isinstance(series, str) or series is True:
        if isinstance(series, str):
            return series
        return None
    raise BadConfig(
        f"series={series!r} is no column",
        do="give series=True, or the column that names each row's series",
    )
