"""Tables whose rows are steps of time, as ragged series (T, C): one for the whole, or one for each value of a column.

The column of times is left out: it orders the steps of each series, and what it says of their spacing is noted. It is
the first column that holds dates, or numbers under a name for times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from likeness.core.batch import Batch, check
from likeness.core.errors import BadConfig, BadData
from likeness.core.space import Space
from likeness.data import tables
from likeness.data.arrays import Array, Rounding, Wanted
from likeness.data.cells import cells_for
from likeness.data.columns import find, names_of, space_of, table_space, types_by_name
from likeness.data.source import Loud, Reading, Table

if TYPE_CHECKING:
    import pandas as pd

TIMES = re.compile(r"t|times?|time[ _.]?stamps?|time[ _.]?steps?|steps?|date|datetime", re.IGNORECASE)
DAY = 86_400.0  # seconds
UNITS = (("day", DAY), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))
CALENDAR = {"a month": (28.0, 31.0), "a quarter": (90.0, 92.0), "a year": (365.0, 366.0)}  # days
SLACK = 1e-4  # of a step: what days since 1970 round off


MONTHS = {"a month": 1, "a quarter": 3, "a year": 12}


@dataclass(frozen=True)
class Times:
    """The column of times: its name, its values (N,), and whether they are days."""

    name: str
    values: Array
    days: bool


@dataclass(frozen=True)
class Clock:
    """The time at which each series ends, and how it goes on where its steps are even.

    Args:
        name: Of the column of times.
        last: The last time of each series, (S,).
        step: From one time to the next.
        days: Whether times are days since 1970.
        months: Months from one time to the next, where the calendar counts them, else 0.
    """

    name: str
    last: Array
    step: float
    days: bool
    months: int = 0

    def ahead(self, steps: int) -> Array:
        """The times of the next steps, (S, steps): dates or numbers."""
        import pandas as pd

        if not self.days:
            return np.asarray(self.last[:, None] + self.step * np.arange(1, steps + 1))
        last = pd.to_datetime(self.last, unit="D", origin="unix").round("ms")
        return np.stack([(last + self._gap(k, last)).round("ms").to_numpy() for k in range(1, steps + 1)], -1)

    def _gap(self, steps: int, last: Any) -> Any:
        """What so many steps add to dates; ends of months lead to ends of months."""
        import pandas as pd

        if not self.months:
            return pd.to_timedelta(self.step * steps, unit="D")
        count = self.months * steps
        return pd.offsets.MonthEnd(count) if bool(last.is_month_end.all()) else pd.DateOffset(months=count)


@dataclass(frozen=True, eq=False)
class Steps:
    """Series of a Space that is known, read from a table whose rows are steps.

    Args:
        batch: The series.
        names: What each is called, (S,), or None where all rows are one.
        clock: When the next steps are, or None where that cannot be told.
        notes: What users should hear.
    """

    batch: Batch
    names: Array | None
    clock: Clock | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pace:
    """How times follow each other within series.

    Args:
        gaps: From each step to the next, (G,).
        sorted: Whether the rows stood in order.
    """

    gaps: Array
    sorted: bool

    @property
    def usual(self) -> float:
        """The median gap."""
        return float(np.median(self.gaps))

    @property
    def odd(self) -> int:
        """How many gaps are of another length."""
        return int((np.abs(self.gaps - self.usual) > SLACK * abs(self.usual)).sum())

    def calendar(self, days: bool) -> str | None:
        """The unit of the calendar that all gaps are."""
        return next((w for w, (low, high) in CALENDAR.items() if days and _all_in(self.gaps, low, high)), None)


def read(
    frame: pd.DataFrame, *, name: str, key: str | None = None, given: Sequence[str] = (), group: str | None = None,
    columns: Mapping[Any, Wanted] | Wanted | None = None, rounding: Rounding = "note",
) -> Reading:  # fmt: skip
    """The rows of a frame as one series, or as one for each value of the column `key`, in order of appearance.

    `given` and `group` name columns that are the same in all rows of a series.

    Raises:
        BadData: If a column is not there, a row has no series or time, or `given` changes within a series.
    """
    frame = frame.rename(columns=str)
    names = names_of(frame)
    said = [*([] if key is None else [key]), *given, *([] if group is None else [group])]
    for column in said:
        find(column, names)
    wanted = types_by_name(columns, names)
    which = np.zeros(len(frame), dtype=np.int64) if key is None else _which(frame, key)
    times = _times(frame, [n for n in names if n not in said and n not in wanted])
    order = np.argsort(which, kind="stable") if times is None else np.lexsort((times.values, which))
    notes, rate = ((), None) if times is None else _spacing(times, _pace(times, which, order))
    left = {*said, *(() if times is None else (times.name,))}
    kept = [n for n in names if n not in left]
    if not kept:
        raise BadData("no column is left to learn", do="give a table with a column of values")
    flat, seen = space_of(
        frame[kept], columns={n: w for n, w in wanted.items() if n in kept}, rounding=rounding, keep=kept
    )
    steps = np.bincount(which)
    space = _ragged(flat, int(steps.max()), rate)
    batch = check(space, _laid_out(tables.encode(flat, frame)[torch.from_numpy(order)], torch.from_numpy(steps)))
    first = frame.iloc[np.unique(which, return_index=True)[1]]
    _same_within(frame, first, which, [*given, *([] if group in {None, key} else [str(group)])])
    outer = _given_space(first, given, wanted) if given else None
    batch = batch if outer is None else batch.given_as(tables.encode(outer, first))
    groups = None if group is None else tables.groups(first[group])
    return Reading({"all": Table(space, batch, outer, name, groups)}, (*notes, *seen))


def of_frame(space: Space, given_space: Space | None, frame: pd.DataFrame, key: str | None = None) -> Steps:
    """The rows of a frame as series of a Space that is known: one, or one for each value of the column `key`.

    Raises:
        BadData: If a column is not there, a row has no series or time, or a value does not lie in the Space.
    """
    frame = frame.rename(columns=str)
    names, told = names_of(frame), () if given_space is None else given_space.names or ()
    if key is not None:
        find(key, names)
    which = np.zeros(len(frame), dtype=np.int64) if key is None else _which(frame, key)
    times = _times(frame, [n for n in names if n not in {key, *told, *(space.names or ())}])
    order = np.argsort(which, kind="stable") if times is None else np.lexsort((times.values, which))
    flat = space.model_copy(update={"axes": ("column",), "shape": space.shape[1:]})
    steps = np.bincount(which)
    batch = _laid_out(tables.encode(flat, frame)[torch.from_numpy(order)], torch.from_numpy(steps))
    first = frame.iloc[np.unique(which, return_index=True)[1]]
    if given_space is not None and told and set(told) <= set(names):
        _same_within(frame, first, which, told)
        batch = batch.given_as(tables.encode(given_space, first))
    who = None if key is None else first[key].to_numpy()
    if times is None:
        return Steps(batch, who, None)
    pace = _pace(times, which, order)
    notes = tuple(n for n in _spacing(times, pace)[0] if isinstance(n, Loud))
    return Steps(batch, who, _clock(times, pace, order[steps.cumsum() - 1]), notes)


def _which(frame: pd.DataFrame, key: str) -> Array:
    """The number of each row's series (N,), in order of appearance."""
    import pandas as pd

    codes, _ = pd.factorize(frame[key])
    if (codes < 0).any():
        raise BadData("no series is named", where=f"row {int(np.argmax(codes < 0))}, column {key!r}",
                      do="say which series each row belongs to")  # fmt: skip
    return np.asarray(codes, dtype=np.int64)


def _times(frame: pd.DataFrame, names: Sequence[str]) -> Times | None:
    """The first column of dates, or of numbers under a name for times."""
    for name in names:
        if frame[name].dtype.kind in "biuf" and not TIMES.fullmatch(name):
            continue
        held = cells_for(frame[name], name, None)
        if held.kind != "date" and not (held.kind == "number" and TIMES.fullmatch(name)):
            continue
        if not held.known.all():
            raise BadData("no time is given", where=f"row {int(np.argmin(held.known))}, column {name!r}",
                          do="give each row its time, or leave the column out")  # fmt: skip
        return Times(name, held.values, held.kind == "date")
    return None


def _pace(times: Times, which: Array, order: Array) -> Pace:
    same = which[order][1:] == which[order][:-1]
    return Pace(np.diff(times.values[order])[same], bool((np.diff(order)[same] > 0).all()))


def _spacing(times: Times, pace: Pace) -> tuple[tuple[str, ...], float | None]:
    """What is noted of the times, and the steps a second where dates are evenly spaced."""
    notes: list[str] = [] if pace.sorted else [Loud(f"column {times.name!r} is not in order: sorted by it")]
    if not len(pace.gaps):
        return (f"column {times.name!r} holds the times: left out", *notes), None
    usual, odd, calendar = pace.usual, pace.odd, pace.calendar(times.days)
    step = calendar or _duration(usual, times.days)
    notes.insert(0, f"column {times.name!r} holds the times, {step} apart: left out")
    if odd and calendar is None:
        far = _duration(float(pace.gaps.max()), times.days)
        total = len(pace.gaps)
        notes.append(
            Loud(f"{odd} of {total} steps of {times.name!r} are not {step} long (up to {far}): all count as one step")
        )
    even = times.days and not odd and usual > 0
    return tuple(notes), float(f"{1 / (usual * DAY):.6g}") if even else None


def _clock(times: Times, pace: Pace, last: Array) -> Clock | None:
    """When series that end so go on, where all of their steps are of one length."""
    calendar = pace.calendar(times.days) if len(pace.gaps) else None
    if calendar is None and (not len(pace.gaps) or pace.odd or pace.usual <= 0):
        return None
    return Clock(times.name, times.values[last], pace.usual, times.days, MONTHS.get(calendar or "", 0))


def _all_in(gaps: Array, low: float, high: float) -> bool:
    return bool(((gaps >= low) & (gaps <= high)).all()) and bool(gaps.min() < gaps.max() or high > DAY)


def _duration(value: float, days: bool) -> str:
    """A number of days in the largest unit that it is whole in, or a plain number."""
    if not days:
        return f"{value:g}"
    seconds = round(value * DAY, 3)
    unit, size = next(((u, s) for u, s in UNITS if seconds >= s and seconds % s == 0), UNITS[-1])
    return f"{seconds / size:g} {unit}" + ("" if seconds == size else "s")


def _ragged(flat: Space, longest: int, rate: float | None) -> Space:
    """Series of such rows."""
    return flat.model_copy(
        update={"axes": ("time", "channel"), "shape": (None, flat.width), "longest": longest, "rate": rate}
    )


def _laid_out(rows: Batch, steps: torch.Tensor) -> Batch:
    """Rows, those of a series side by side, as series of so many steps (S,)."""
    inside = torch.arange(int(steps.max())) < steps[:, None]
    x = rows.x.new_zeros((*inside.shape, rows.x.shape[1]))
    x[inside] = rows.x
    if rows.observed is None:
        return Batch(x, length=steps)
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[inside] = rows.observed
    return Batch(x, observed=observed, length=steps)


def _same_within(frame: pd.DataFrame, first: pd.DataFrame, which: Array, names: Sequence[str]) -> None:
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
        return series if isinstance(series, str) else None
    raise BadConfig(
        f"series={series!r} is no column", do="give series=True, or the column that names each row's series"
    )
