"""Dates and times as people write them, and back: orders, names of months, quarters, weeks, AM.

A format is that of strftime, with some directives of our own: %q is a quarter, %o a day with its
ending (5th); - drops a leading zero (%-d), ^ and _ ask for capitals and for small letters (%^b,
%_b), : for a colon within an offset (%:z). Days are counted from 1970-01-01, UTC; the times of a
format without a date are hours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Fields = Mapping[str, Sequence[str]]

MICROSECONDS = {"d": 86_400_000_000, "H": 3_600_000_000, "M": 60_000_000, "S": 1_000_000, "f": 1}
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
NAMES = {
    "B": MONTHS,
    "b": [name[:3] for name in MONTHS],
    "A": WEEKDAYS,
    "a": [name[:3] for name in WEEKDAYS],
}
PIVOT = 69  # two-digit years from here on are of the last century, as strptime has it
DIRECTIVE = re.compile(r"%([-^_:]?)([A-Za-z])")
DATED = re.compile(r"%[-^_:]?[YyG]")
CLOCKED = re.compile(r"%-?[HI]")
OFFSET = re.compile(r"(Z|UTC|GMT|[+-]\d\d:?\d\d)$")
FIELDS = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{1,2}",
    "d": r"\d{1,2}",
    "o": r"\d{1,2}(?:st|nd|rd|th)",
    "q": r"[1-4]",
    "G": r"\d{4}",
    "V": r"\d{2}",
    "u": r"[1-7]",
    "H": r"\d{1,3}",
    "I": r"\d{1,2}",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "f": r"\d{1,9}",
    "p": r"[ap]\.?m\.?",
    "z": r"Z|UTC|GMT|[+-]\d{2}:?\d{2}",
    "B": "|".join(NAMES["B"]),
    "b": "|".join([*NAMES["b"], "Sept"]),
    "A": "|".join(NAMES["A"]),
    "a": "|".join(NAMES["a"]),
}


def is_format(form: str | None) -> bool:
    """Whether a form is that of dates or times."""
    return form is not None and bool(DATED.search(form) or CLOCKED.search(form))


def is_clock(form: str | None) -> bool:
    """Whether a form is that of times without dates."""
    return is_format(form) and not DATED.search(form or "")


def timeless(form: str | None) -> bool:
    """Whether dates are written without a time."""
    return is_format(form) and not CLOCKED.search(form or "")


def example(form: str) -> str:
    """What a moment looks like in this format."""
    moment = np.array(["2024-12-31T18:30:00"], dtype="datetime64[us]")
    return repr(write(moment, form)[0])


# ---- reading -------------------------------------------------------------------------------------


def read(texts: Sequence[str], form: str) -> Array | None:
    """Days since 1970, or hours of a clock, of texts of this format; None where one is none."""
    # All texts or none: one that does not match means another format.
    shape = pattern(form)
    attempts = [shape.fullmatch(text) for text in texts]
    matches = [match for match in attempts if match is not None]
    if len(matches) < len(texts):
        return None
    # Each field of all texts, (N,).
    fields = {name: [match[name] for match in matches] for name in shape.groupindex}
    # The time of day in microseconds; a clock without date is hours.
    within = _within_day(fields)
    if within is None or is_clock(form):
        return None if within is None else within / MICROSECONDS["H"]
    # The date in days.
    day = _days(fields, len(texts))
    if day is None or (within >= MICROSECONDS["d"]).any():
        return None
    # Local time to UTC.
    ahead = _ahead(form, fields, len(texts))
    return np.asarray(day + (within - ahead) / MICROSECONDS["d"])


def pattern(form: str) -> re.Pattern[str]:
    """The regular expression of a format, each field a group of its letter."""
    # Literal text between directives is escaped, directives become named groups.
    place, shape = 0, ""
    for directive in DIRECTIVE.finditer(form):
        shape += re.escape(form[place : directive.start()])
        shape += f"(?P<{directive[2]}>{FIELDS[directive[2]]})"
        place = directive.end()
    return re.compile(shape + re.escape(form[place:]), re.IGNORECASE | re.ASCII)


def _whole(texts: Sequence[str]) -> Array:
    return np.array([int(text) for text in texts], dtype=np.int64)


def _days(fields: Fields, count: int) -> Array | None:
    """Days since 1970, (N,), or None where a month or a day is none."""
    if "G" in fields:
        return _days_of_weeks(fields, count)
    # Year, month and day of each text, with January and the first where a format lacks them.
    year = _years(fields)
    month = _months(fields, count)
    day = _day_of_month(fields, count)
    if month.min() < 1 or month.max() > 12 or year.min() < 1:
        return None
    # The days of the month depend on the year: checked against the calendar,
    # numpy counting months from 1970.
    first = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    if (day < 1).any() or (day > length(first)).any():
        return None
    return np.asarray(first.astype("datetime64[D]").astype(np.int64) + day - 1)


def _years(fields: Fields) -> Array:
    if "Y" in fields:
        return _whole(fields["Y"])
    # POSIX: 69 to 99 are 1969 to 1999, 0 to 68 are 2000 to 2068.
    short = _whole(fields["y"])
    return short + np.where(short < PIVOT, 2000, 1900)


def _months(fields: Fields, count: int) -> Array:
    if "m" in fields:
        return _whole(fields["m"])
    if "q" in fields:
        return 3 * _whole(fields["q"]) - 2
    named = fields.get("B") or fields.get("b")
    if named is None:
        return np.ones(count, dtype=np.int64)
    # The first three letters tell all months apart.
    place = {name.lower(): i for i, name in enumerate(NAMES["b"], 1)}
    return np.array([place[name[:3].lower()] for name in named], dtype=np.int64)


def _day_of_month(fields: Fields, count: int) -> Array:
    if "d" in fields:
        return _whole(fields["d"])
    if "o" in fields:
        return _whole([text[:-2] for text in fields["o"]])
    return np.ones(count, dtype=np.int64)


def _days_of_weeks(fields: Fields, count: int) -> Array | None:
    """Days of weeks as ISO 8601 counts them: the first holds January 4."""
    week = _whole(fields["V"])
    weekday = _whole(fields["u"]) if "u" in fields else np.ones(count, dtype=np.int64)
    # January 4 lies in week 1; its Monday begins the year (1970-01-01 was a Thursday).
    fourth = (_whole(fields["G"]) - 1970).astype("datetime64[Y]").astype("datetime64[D]") + 3
    monday = fourth - (fourth.astype(np.int64) + 3) % 7
    if week.min() < 1 or week.max() > 53:
        return None
    return np.asarray(monday.astype(np.int64) + 7 * (week - 1) + weekday - 1)


def _within_day(fields: Fields) -> Array | None:
    """Microseconds since midnight, (N,), or None where an hour, a minute or a second is none."""
    hours = _hours(fields)
    if hours is None:
        return None
    total = hours * MICROSECONDS["H"]
    # Minutes and seconds end at 59; hours of a clock may exceed a day.
    for name in ("M", "S"):
        if name in fields:
            part = _whole(fields[name])
            if part.max() > 59:
                return None
            total = total + part * MICROSECONDS[name]
    if "f" in fields:
        # Decimals of a second to microseconds, cut off beyond six.
        total = total + _whole([text.ljust(6, "0")[:6] for text in fields["f"]])
    return np.asarray(total)


def _hours(fields: Fields) -> Array | None:
    if "H" in fields:
        return _whole(fields["H"])
    if "I" not in fields:
        return np.zeros(1, dtype=np.int64)
    hour = _whole(fields["I"])
    if hour.min() < 1 or hour.max() > 12:
        return None
    # 12 am is hour 0, 12 pm is hour 12
    late = np.array([text[0] in "pP" for text in fields["p"]])
    return hour % 12 + np.where(late, 12, 0)


def _ahead(form: str, fields: Fields, count: int) -> Array:
    """Microseconds that clocks are ahead of UTC, (N,)."""
    if "z" in fields:
        return np.array([offset(text) for text in fields["z"]], dtype=np.int64)
    fixed = OFFSET.search(form)
    return np.full(count, offset(fixed[1]) if fixed else 0, dtype=np.int64)


def offset(text: str) -> int:
    """Microseconds that +02:00 is ahead of UTC."""
    # Z, UTC and GMT.
    if text[0] not in "+-":
        return 0
    minutes = 60 * int(text[1:3]) + int(text[-2:])
    sign = -1 if text[0] == "-" else 1
    return sign * minutes * MICROSECONDS["M"]


def length(month: Array) -> Array:
    """The number of days of months, (N,)."""
    following = (month + 1).astype("datetime64[D]")
    return np.asarray((following - month.astype("datetime64[D]")).astype(np.int64))


# ---- writing -------------------------------------------------------------------------------------


def snap(moments: Array, form: str) -> Array:
    """Moments of UTC, datetime64, moved to the nearest that the format can write."""
    # Rounded on the clock that is written, which may be ahead of UTC.
    fixed = OFFSET.search(form)
    ahead = np.timedelta64(offset(fixed[1]) if fixed else 0, "us")
    wall = moments.astype("datetime64[us]") + ahead
    return np.asarray(_nearest(wall, _names(form)) - ahead)


def _names(form: str) -> set[str]:
    """The letters of a format's directives."""
    return {directive[2] for directive in DIRECTIVE.finditer(form)}


def _nearest(wall: Array, names: set[str]) -> Array:
    # The smallest unit that the format has: parts of a day.
    if names & set("HI"):
        unit = next(MICROSECONDS[name] for name in "fSMH" if name in names | {"H"})
        return _to_multiple(wall, unit)
    # Days.
    if names & set("du"):
        return _to_multiple(wall, MICROSECONDS["d"])
    if "o" in names:
        return _to_multiple(wall, MICROSECONDS["d"])
    # Weeks, which begin on Mondays.
    if "G" in names:
        monday = np.datetime64("1970-01-05", "us")
        return monday + (_to_multiple(wall - monday, 7 * MICROSECONDS["d"]))
    # Months, quarters and years, which have unlike lengths.
    months = 12
    if names & set("mbB"):
        months = 1
    if "q" in names:
        months = 3
    return _to_months(wall, months)


def _to_multiple(values: Array, unit: int) -> Array:
    counts = np.floor_divide(values.astype(np.int64) + unit // 2, unit)
    return np.asarray((counts * unit).astype(values.dtype))


def _to_months(wall: Array, months: int) -> Array:
    """The nearer of the month's (quarter's, year's) beginning and the next one's."""
    # Months since 1970, down to a multiple of `months`, and the next.
    number = wall.astype("datetime64[M]").astype(np.int64)
    early = (number // months * months).astype("datetime64[M]").astype("datetime64[us]")
    late = ((number // months + 1) * months).astype("datetime64[M]").astype("datetime64[us]")
    return np.where(wall - early <= late - wall, early, late)


def write(moments: Array, form: str, ahead: Array | None = None) -> list[str]:
    """Moments of UTC, datetime64 without gaps, in this format.

    Args:
        moments: (N,).
        form: The format; an offset that it ends with is that of its clock.
        ahead: Microseconds that the clock of each moment is ahead of UTC, (N,), where they differ.
    """
    # One offset for all, if the format fixes it.
    if ahead is None:
        fixed = OFFSET.search(form)
        ahead = np.full(len(moments), offset(fixed[1]) if fixed else 0, dtype=np.int64)
    # Rounding comes before the parts are taken, so that 23:59:59.9 carries into the date.
    wall = _nearest(
        moments.astype("datetime64[us]") + ahead.astype("timedelta64[us]"), _names(form)
    )
    # Column by column: one list of texts a directive, joined row by row.
    columns = [_spoken(part, wall, ahead=ahead) for part in _parts(form)]
    return ["".join(row) for row in zip(*columns, strict=True)]


def write_clock(hours: Array, form: str) -> list[str]:
    """Hours, without gaps, in a format without a date; they may be more than a day's."""
    moments = (np.round(hours * MICROSECONDS["H"])).astype(np.int64).astype("datetime64[us]")
    wall = _nearest(moments, _names(form))
    columns = [_spoken(part, wall, hours=wall.astype(np.int64)) for part in _parts(form)]
    return ["".join(row) for row in zip(*columns, strict=True)]


def _parts(form: str) -> list[str]:
    """Directives and what stands between them."""
    return [part for part in re.split(r"(%[-^_:]?[A-Za-z])", form) if part]


def _spoken(
    part: str, wall: Array, hours: Array | None = None, ahead: Array | None = None
) -> list[str]:
    """One directive, or a literal, for each moment."""
    directive = DIRECTIVE.fullmatch(part)
    if directive is None:
        return [part] * len(wall)
    # Directives by kind: names, half days, offsets, ordinals, then plain numbers.
    flag, name = directive[1], directive[2]
    if name in NAMES:
        return [_cased(text, flag) for text in _named(name, wall)]
    if name == "p":
        late = _part_of_day(wall, "H") >= 12
        return [_cased("PM" if after else "AM", flag) for after in late]
    if name == "z" and ahead is not None:
        return [_offset(each, flag) for each in (ahead // MICROSECONDS["M"]).tolist()]
    if name == "o":
        return [f"{day}{_ending(day)}" for day in _numbers("d", wall).tolist()]
    if name == "H" and hours is not None:
        numbers = hours // MICROSECONDS["H"]
    else:
        numbers = _numbers(name, wall)
    # Leading zeros, unless the format drops them.
    width = 1 if flag == "-" else {"Y": 4, "G": 4, "q": 1, "u": 1, "f": 6}.get(name, 2)
    return [str(number).zfill(width) for number in numbers.tolist()]


def _offset(minutes: int, mark: str) -> str:
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}{mark}{abs(minutes) % 60:02}"


def _cased(text: str, flag: str) -> str:
    if flag == "^":
        return text.upper()
    return text.lower() if flag == "_" else text


def _ending(day: int) -> str:
    if day in {11, 12, 13}:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _named(name: str, wall: Array) -> list[str]:
    # 1970-01-01 was a Thursday: + 3 counts from Monday.
    if name in "aA":
        places = (wall.astype("datetime64[D]").astype(np.int64) + 3) % 7
    else:
        places = wall.astype("datetime64[M]").astype(np.int64) % 12
    return [NAMES[name][place] for place in places.tolist()]


def _part_of_day(wall: Array, name: str) -> Array:
    within = (wall - wall.astype("datetime64[D]")).astype(np.int64)
    return np.asarray(within // MICROSECONDS[name])


def _numbers(name: str, wall: Array) -> Array:
    """The number of a directive for each moment."""
    # Calendar fields from numpy's units, vectorised over the moments.
    month = wall.astype("datetime64[M]")
    day = wall.astype("datetime64[D]")
    year = month.astype("datetime64[Y]").astype(np.int64) + 1970
    if name in "GVu":
        return _iso(name, day)
    if name in "HMSf":
        top = {"H": 24, "M": 60, "S": 60, "f": 1_000_000}[name]
        return _part_of_day(wall, name) % top
    values = {
        "Y": year,
        "y": year % 100,
        "m": month.astype(np.int64) % 12 + 1,
        "q": month.astype(np.int64) % 12 // 3 + 1,
        "d": (day - month.astype("datetime64[D]")).astype(np.int64) + 1,
        "I": (_part_of_day(wall, "H") - 1) % 12 + 1,
    }
    return np.asarray(values[name])


def _iso(name: str, day: Array) -> Array:
    """Year, week and weekday of ISO 8601: a week is of the year of its Thursday."""
    # ISO 8601: the week's Thursday tells its year.
    weekday = (day.astype(np.int64) + 3) % 7
    thursday = day - weekday + 3
    year = thursday.astype("datetime64[Y]")
    if name == "G":
        return np.asarray(year.astype(np.int64) + 1970)
    if name == "u":
        return np.asarray(weekday + 1)
    return np.asarray((thursday - year.astype("datetime64[D]")).astype(np.int64) // 7 + 1)
