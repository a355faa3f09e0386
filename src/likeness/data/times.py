"""Times of the steps of series: which column holds them, how they are spaced, and how they go on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from likeness.core.errors import BadData
from likeness.data import datetimes, written
from likeness.data.arrays import Array
from likeness.data.cells import Cells, as_texts, cells_for
from likeness.data.source import Loud

if TYPE_CHECKING:
    import pandas as pd

TIMES = re.compile(
    r"t|times?|time[ _.]?stamps?|time[ _.]?steps?|steps?|date|datetime", re.IGNORECASE
)
DAY = 86_400e6  # microseconds
HOUR = 3_600e6
UNITS = (
    ("day", DAY),
    ("hour", 3_600e6),
    ("minute", 60e6),
    ("second", 1e6),
    ("millisecond", 1e3),
    ("microsecond", 1.0),
)
CALENDAR = {1: "a month", 3: "a quarter", 12: "a year"}
END = 31  # the day of month of series whose dates are all ends of months
SLACK = 1e-4  # of a step: what decimals round off
WALL = (
    0.9 * DAY
)  # steps so long are those of a clock on the wall, which is put forward and back once a year


# When clocks are put forward or back, in either hemisphere: months, and the last hour that shows before they are
CHANGE_MONTHS = (3, 4, 9, 10, 11)
CHANGE_HOUR = 4


@dataclass(frozen=True, eq=False)
class Times:
    """The column of times.

    Args:
        name: Of the column.
        values: Numbers, or microseconds since 1970, UTC, (N,).
        wall: What a clock on the wall shows, datetime64 (N,), or None for numbers.
        zone: The time zone that the column is of, if it says one.
        zoned: Whether the offset from UTC is to be written.
        form: How they are written, as `written` says it.
    """

    name: str
    values: Array
    wall: Array | None = None
    zone: Any = None
    zoned: bool = False
    form: str | None = None

    @property
    def clock(self) -> Array:
        """What a clock on the wall shows, datetime64 (N,).

        Raises:
            BadData: Where the times are numbers.
        """
        if self.wall is None:
            raise BadData("times in numbers have no dates", where=f"column {self.name!r}")
        # Plain dates are written in the column's own form.
        return self.wall

    def at(self, index: Array) -> Times:
        """Some of them."""
        # With offsets: the form must have a field for them, else the dates stay as they are.
        wall = None if self.wall is None else self.wall[index]
        return replace(self, values=self.values[index], wall=wall)

    def texts(self, times: Array) -> Array:
        """Other times of the same clocks as the column writes them; themselves where that is not known."""
        import pandas as pd

        if not self.zoned:
            naive = written.as_texts(pd.Series(times), self.form)
            # No offset was read, so none is written.
            return times if naive is None else naive
        if not datetimes.is_format(self.form):
            # A named zone knows its own offsets, daylight saving included.
            return times
        utc = np.array([time.tz_convert("UTC").to_datetime64() for time in times])
        ahead = np.array([time.utcoffset() // pd.Timedelta(microseconds=1) for time in times])
        return np.array(datetimes.write(utc, self.form or "", ahead), dtype=object)

    def shown(self, wall: Array) -> Array:
        """Other times of the same clocks, (N,): dates, with the offset where these have one."""
        import pandas as pd

        # Fixed offsets: each series keeps the one of its last time.
        if not self.zoned:
            return wall
        if self.zone is not None:
            first = np.ones(
                len(wall), dtype=bool
            )  # an hour that comes twice is the first of the two
            return _objects(
                pd.DatetimeIndex(wall).tz_localize(
                    self.zone, ambiguous=first, nonexistent="shift_forward"
                )
            )
        ahead = pd.to_timedelta(_micro(self.clock) - self.values, unit="us")
        return _objects(
            pd.Timestamp(w).tz_localize(_fixed(by)) for w, by in zip(wall, ahead, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Clock:
    """The time at which each series ends, and how it goes on where its steps are even.

    Args:
        last: The last time of each series, (S,).
        step: From one time to the next: a number, or microseconds.
        months: Months from one time to the next, where the calendar counts them, else 0.
        days: The day of the month that each series keeps to, (S,), where the calendar counts.
    """

    last: Times
    step: float
    months: int = 0
    days: Array | None = None

    @property
    def name(self) -> str:
        """Of the column of times."""
        return self.last.name

    def ahead(self, steps: int) -> Array:
        """The times of the next steps, (S, steps): dates or numbers."""
        return np.stack([self._after(k) for k in range(1, steps + 1)], -1)

    def _after(self, steps: int) -> Array:
        last = self.last
        # Numbers: equal steps.
        if last.wall is None:
            return np.asarray(last.values + self.step * steps)
        # Calendar steps: so many months later, on the same day of the month.
        if self.months and self.days is not None:
            return last.shown(_months_on(last.wall, self.months * steps, self.days))
        # Short steps are elapsed time, so they go through UTC and summer time
        # (an hourly series has 23 or 25 steps on the days of change).
        if last.zone is not None and self.step < WALL:
            return _objects(
                _moments(last.values + self.step * steps).tz_localize("UTC").tz_convert(last.zone)
            )
        # Long steps are those of the wall clock: daily at noon stays noon.
        return last.shown(last.wall + np.timedelta64(round(self.step * steps), "us"))


@dataclass(frozen=True)
class Pace:
    """How times follow each other within series.

    Args:
        gaps: From each step to the next, numbers or microseconds, (G,).
        sorted: Whether the rows stood in order.
        dates: Whether times are dates.
        changed: Which gaps are an hour off because clocks without a zone were changed there, (G,).
        months: Months from each step to the next, where the calendar counts them, else 0.
        days: The day of the month that each series keeps to, (S,), where times are dates.
    """

    gaps: Array
    sorted: bool
    dates: bool
    changed: Array
    months: int = 0
    days: Array | None = None

    @property
    def usual(self) -> float:
        """The median gap."""
        return float(np.median(self.gaps))

    @property
    def odd(self) -> int:
        """How many gaps are of another length, changes of clocks aside."""
        off = np.abs(self.gaps - self.usual) > SLACK * abs(self.usual)
        return int((off & ~self.changed).sum())

    @property
    def repeats(self) -> bool:
        """Whether a time comes twice in a series."""
        return bool(((self.gaps == 0) & ~self.changed).any())

    @property
    def even(self) -> bool:
        """Whether all steps are of one length, or of so many months."""
        return self.months > 0 or (len(self.gaps) > 0 and not self.odd and self.usual > 0)

    @property
    def step(self) -> str:
        """The usual step in words."""
        if self.months:
            return _in_months(self.months)
        return in_words(self.usual, self.dates)


# ---- reading -------------------------------------------------------------------------------------


def times_of(frame: pd.DataFrame, names: Sequence[str]) -> Times | None:
    """The first column of dates, or of numbers under a name for times.

    Raises:
        BadData: If a row has no time.
    """
    for name in names:
        # A column of plain numbers is a time only by its name.
        if frame[name].dtype.kind in "biuf" and not TIMES.fullmatch(name):
            continue
        held = cells_for(frame[name], name, None)
        if held.kind != "date" and not (held.kind == "number" and TIMES.fullmatch(name)):
            continue
        # A missing time leaves a row without a place in its series.
        if not held.known.all():
            raise BadData(
                "no time is given",
                where=f"row {int(np.argmin(held.known))}, column {name!r}",
                do="give each row its time, or leave the column out",
            )
        if held.kind == "date":
            return _dates(name, frame[name], held)
        return Times(name, held.values, form=held.written)
    return None


def _dates(name: str, column: pd.Series[Any], held: Cells) -> Times:
    # Microseconds since 1970, UTC.
    values = np.round(held.values * DAY)
    zone = getattr(column.dtype, "tz", None)
    # A zone-aware column states its zone; texts may state an offset each.
    if zone is not None:
        wall = _moments(values).tz_localize("UTC").tz_convert(zone).tz_localize(None).to_numpy()
        return Times(name, values, wall.astype("datetime64[us]"), zone, zoned=True)
    ahead = None if column.dtype.kind == "M" else written.offsets(as_texts(column), held.written)
    wall = _moments(values if ahead is None else values + ahead).to_numpy()
    return Times(name, values, wall, zoned=ahead is not None, form=held.written)


def _moments(values: Array) -> pd.DatetimeIndex:
    """Microseconds since 1970 as dates."""
    import pandas as pd

    return pd.DatetimeIndex(np.round(values).astype(np.int64).astype("datetime64[us]"))


def _micro(wall: Array) -> Array:
    return np.asarray(wall.astype("datetime64[us]").astype(np.int64))


def _fixed(ahead: Any) -> Any:
    from datetime import timezone

    return timezone(ahead.to_pytimedelta())


def _objects(moments: Any) -> Array:
    """Dates with offsets of their own, (N,)."""
    items = list(moments)
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


# ---- spacing -------------------------------------------------------------------------------------


def pace_of(times: Times, which: Array, order: Array) -> Pace:
    """How the times follow each other; rows in `order` are sorted by their series `which` and then by time."""
    # Gaps between neighbours within a series, (G,).
    own = which[order]
    same = own[1:] == own[:-1]
    in_order = bool((np.diff(order)[same] > 0).all())
    gaps = np.diff(times.values[order])[same]
    unchanged = np.zeros(len(gaps), dtype=bool)
    if times.wall is None or not len(gaps):
        return Pace(gaps, in_order, times.wall is not None, unchanged)
    wall = times.wall[order]
    # Daily and longer: gaps on the wall clock, which daylight saving does not disturb.
    if np.median(gaps) >= WALL:
        gaps = np.diff(_micro(wall))[same].astype(np.float64)
    changed = unchanged if times.zoned else _clock_changes(gaps, wall[:-1][same])
    return Pace(gaps, in_order, True, changed, *_calendar(wall, own))


def _clock_changes(gaps: Array, start: Array) -> Array:
    """Which gaps begin in a night of a change of clocks and are an hour longer or shorter than others, (G,)."""
    usual = np.median(gaps)
    hour_off = np.abs(np.abs(gaps - usual) - HOUR) <= SLACK * HOUR
    month = start.astype("datetime64[M]").astype(np.int64) % 12 + 1
    hour = (start - start.astype("datetime64[D]")) / np.timedelta64(1, "h")
    night = np.isin(month, CHANGE_MONTHS) & (hour <= CHANGE_HOUR)
    changed: Array = hour_off & night & (usual < WALL)
    return changed


def _calendar(wall: Array, which: Array) -> tuple[int, Array]:
    """Months from each date to the next, or 0 where no such count tells them, and the day each series keeps to, (S,).

    All steps are as many months, at one time of day, on one day of the month or, in shorter months,
    on their last.
    """
    # The day of the month, from 1.
    date = wall.astype("datetime64[D]")
    month = wall.astype("datetime64[M]")
    day = (date - month.astype("datetime64[D]")).astype(np.int64) + 1
    length = _length(month)
    # The day that each series aims at: 31 shortened to 30 and 28 in shorter months.
    days = _days_kept(day, day == length, which)
    same = which[1:] == which[:-1]
    # Months apart, and whether the time of day stays.
    apart = np.diff(month.astype(np.int64))[same]
    still = (np.diff(wall - date)[same] == np.timedelta64(0, "us")).all()
    # Even where months, time of day and the (shortened) day agree throughout.
    even = bool(
        (apart == apart[0]).all() and still and (day == np.minimum(days[which], length)).all()
    )
    return int(apart[0]) if even else 0, days


def _days_kept(day: Array, end: Array, which: Array) -> Array:
    """The largest day of the month of each series, (S,), or END; one date alone is an end where all others are."""
    count = np.bincount(which)
    # All dates are ends of months; a single date proves nothing by itself.
    ends = (np.bincount(which, weights=end) == count) & ((count > 1) | bool(end.all()))
    largest = np.zeros(len(count), dtype=np.int64)
    np.maximum.at(largest, which, day)
    return np.where(ends, END, largest)


def _length(month: Array) -> Array:
    """The number of days of months, (N,)."""
    return np.asarray(
        ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    )


def _months_on(wall: Array, months: int, days: Array) -> Array:
    """Dates so many months later, on the days of the month that are kept to."""
    month = wall.astype("datetime64[M]") + months
    within = wall - wall.astype("datetime64[D]")
    return np.asarray(
        month.astype("datetime64[D]") + (np.minimum(days, _length(month)) - 1) + within
    )


def spacing(times: Times, pace: Pace) -> tuple[tuple[str, ...], float | None]:
    """What is noted of the times, and the steps a second where dates are evenly spaced."""
    name = times.name
    notes: list[str] = (
        [] if pace.sorted else [Loud(f"column {name!r} is not in order: sorted by it")]
    )
    if not len(pace.gaps):
        return (f"column {name!r} holds the times: left out", *notes), None
    if pace.usual == 0:
        which = "where rows are of several series, name the column that tells them apart with series= or --series"
        return (
            f"column {name!r} holds the times: left out",
            *notes,
            Loud(f"times of {name!r} repeat: {which}"),
        ), None
    notes.insert(0, f"column {name!r} holds the times, {pace.step} apart: left out")
    if pace.changed.any():
        many = int(pace.changed.sum())
        notes.append(
            f"clocks of {name!r} were put forward or back in {many} night{'' if many == 1 else 's'}: "
            "each step there counts as one"
        )
    if not pace.even:
        far = in_words(float(pace.gaps.max()), pace.dates)
        total = len(pace.gaps)
        notes.append(
            Loud(
                f"{pace.odd} of {total} steps of {name!r} are not {pace.step} long (up to {far}): all count as one step"
            )
        )
    rate = pace.dates and pace.even and not pace.months
    return tuple(notes), float(f"{1e6 / pace.usual:.6g}") if rate else None


def clock_of(times: Times, pace: Pace, last: Array) -> Clock | None:
    """When series that end in the rows `last` go on, where all of their steps are of one length."""
    if pace.even:
        return Clock(times.at(last), pace.usual, pace.months, pace.days)
    return None


def _in_months(months: int) -> str:
    years, left = divmod(months, 12)
    return CALENDAR.get(months) or (f"{months} months" if left else f"{years} years")


def in_words(value: float, dates: bool) -> str:
    """Microseconds in the largest unit that they are whole in, or a plain number."""
    if not dates:
        return f"{value:g}"
    unit, size = next(((u, s) for u, s in UNITS if value >= s and value % s == 0), UNITS[-1])
    return f"{value / size:.15g} {unit}" + ("" if value == size else "s")
