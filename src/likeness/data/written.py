"""How people write numbers and dates: decimal commas, thousands marks, currencies, the order of day, month and year.

A form is kept with the Space, so that later rows are read as the first ones were: "point" and
"comma" for numbers (with the decimals that they have, as in "point:2"), a strftime format for
dates, "flag" for truth values.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likeness.data.source import Loud

Array = NDArray[Any]

FLAG = "flag"
DAY = "%Y-%m-%d"
UNIT = re.compile(r"[$€£¥₹%]|(?:USD|EUR|GBP|CHF|JPY)\b|\b(?:USD|EUR|GBP|CHF|JPY)")
# A first group of thousands never starts with 0: 0,123 holds a decimal comma.
POINT = re.compile(r"[+-]?(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)")
COMMA = re.compile(
    r"[+-]?(?:[1-9]\d{0,2}(?:[. '\u2019\u00a0\u202f]\d{3})+(?:,\d*)?|\d+(?:,\d*)?|,\d+)"
)
PARTS = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})(?:[ T](\d{1,2}:\d{2})(:\d{2})?)?")
DIGITS_MOST = 6
SAID = {
    "point": Loud("is written with thousands marks or units: read as numbers such as 1234.5"),
    "comma": Loud("is written with decimal commas: 1.234,5 is read as 1234.5"),
}


def numbers(texts: Array, form: str | None = None) -> tuple[Array, str] | None:
    """Amounts such as 1,234.50, 1.234,50 or $19.75 as float64 with their form; None where one is no amount.

    Args:
        texts: Cells that are there, objects (N,).
        form: "point" or "comma", or None where it is to be found.
    """
    units = {mark for text in texts for mark in UNIT.findall(text)}
    if len(units) > 1:
        return None  # amounts in several currencies are no numbers of one kind
    bare = [UNIT.sub("", text).strip() for text in texts]
    signed = [re.sub(r"^([+-])\s+", r"\1", text.replace("\u2212", "-")) for text in bare]
    for name, shape in (("point", POINT), ("comma", COMMA)):
        if form in {None, name} and all(shape.fullmatch(text) for text in signed):
            if name == "point":
                plain = signed
            else:
                plain = [re.sub(r"[. '\u2019\u00a0\u202f]", "", t) for t in signed]
            mark = "" if name == "point" else "."
            return np.array([float(t.replace(",", mark)) for t in plain], dtype=np.float64), name
    return None


def dates(texts: Array, form: str | None = None) -> tuple[Array, str, str] | None:
    """Dates of one order as moments in UTC, with their format and a sentence; None where one is no such date."""
    import pandas as pd

    found = (form, "") if form is not None else _order(texts)
    if found is None:
        return None
    moments = pd.to_datetime(
        pd.Series(texts, dtype=object), format=found[0], errors="coerce", utc=True
    )
    if bool(moments.isna().any()):
        return None
    return (np.asarray(moments), *found)


def _order(texts: Array) -> tuple[str, str] | None:
    """The format that all share. Only a number above 12 tells days from months; 1/2/2020 alone is read as January 2."""
    cells = [PARTS.fullmatch(text) for text in texts]
    if not all(cells):
        return None
    parts = [cell.groups() for cell in cells if cell is not None]
    marks = {p[1] for p in parts}
    clocks = {(p[4] is not None, p[5] is not None) for p in parts}
    if len(marks) > 1 or len(clocks) > 1:
        return None
    mark = marks.pop()
    (minutes, seconds) = clocks.pop()
    first, second, last = ([p[i] for p in parts] for i in (0, 2, 3))
    clock = (" %H:%M" if minutes else "") + (":%S" if seconds else "")
    if all(len(year) == 4 for year in first):
        return f"%Y{mark}%m{mark}%d{clock}", "holds dates written year, month, day"
    if not all(len(year) == 4 for year in last):
        return None
    told = max(map(int, first)) > 12 or max(map(int, second)) > 12
    days_first = max(map(int, first)) > 12 or (not told and mark != "/")
    order, words = (
        ("%d{0}%m{0}%Y", "day, month, year") if days_first else ("%m{0}%d{0}%Y", "month, day, year")
    )
    if told or mark == ".":
        doubt = ""
    else:
        doubt = " (no day above 12 tells: write YYYY-MM-DD if that is wrong)"
    said = f"holds dates written {words}{doubt}"
    return order.format(mark) + clock, Loud(said) if doubt else said


def decimals(values: Array) -> int | None:
    """How many decimals all values have at most, None where they have more than six."""
    return next((d for d in range(DIGITS_MOST + 1) if (np.round(values, d) == values).all()), None)


def digits(form: str | None) -> int | None:
    """The decimals that a form of numbers states."""
    _, colon, count = (form or "").partition(":")
    if colon and count.isdecimal():
        return int(count)
    return None


def kind(form: str | None) -> str | None:
    """The form of numbers without its decimals: "point", "comma", or None."""
    name = (form or "").partition(":")[0]
    if name in SAID:
        return name
    return None


def is_format(form: str | None) -> bool:
    """Whether a form is that of dates."""
    return form is not None and "%" in form


def timeless(form: str | None) -> bool:
    """Whether dates are written without a time."""
    return is_format(form) and "%H" not in (form or "")
