"""Whether the first record of a table holds names, and which others hold no values: units, totals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from likeness.data.dateforms import looks_dated
from likeness.data.missing import nothing_among_numbers
from likeness.data.numerals import is_amount, is_number

Row = Sequence[str]

LOOK = 200  # rows that are looked at
NOTHING = {"na", "nan", "nat", "null", "none", "true", "false"}  # no name; "error" may be one
VALUES = {"number", "date", "flag"}
FEW = 8  # rows for each word of a column of few words, at least
FEWEST = 3  # rows of values below a line of units
COUNTED = re.compile(r"\d{1,9}", re.ASCII)
YEAR = re.compile(r"(?:1[89]|20)\d\d", re.ASCII)
TOTAL = re.compile(
    r"(grand |sub-?)?totals?|sums?|averages?|mean|gesamt|summe|insgesamt|total général|somme|totale",
    re.IGNORECASE,
)


def kind(cell: str) -> str:
    """ "number", "date", "word", or "" for nothing."""
    if nothing_among_numbers(cell):
        return ""
    if is_number(cell) or is_amount(cell):
        return "number"
    return "date" if looks_dated(cell) else "word"


def kind_of_all(cells: Sequence[str]) -> str:
    """The kind of the cells of a column that are there, "word" where they are of several."""
    kinds = set(map(kind, cells)) - {""}
    return kinds.pop() if len(kinds) == 1 else "word"


@dataclass(frozen=True)
class Heading:
    """What the first row of a table is.

    Args:
        names: Whether it holds the names of the columns.
        sure: Whether the rows below tell.
    """

    names: bool
    sure: bool = True


def heading(rows: Sequence[Row]) -> Heading:
    """What the first row is: names or values.

    A word above numbers or dates is a name, and so is a date above numbers. A number above numbers
    is a value, and so is a word that comes again below it, but not one that is none of a few. Years
    or counts may be names beside others that are; where nothing tells, words are names.
    """
    first, rest = rows[0], rows[1:LOOK]
    own = [
        kind(cell) if cell.lower() in NOTHING or not cell.isalpha() else "word" for cell in first
    ]
    if not rest:
        return Heading(not any(k in VALUES for k in own))
    columns = list(zip(*rest, strict=True))
    if _numbered(first, columns):
        return Heading(names=True)
    below = [kind_of_all(column) for column in columns]
    valued = [(k, b, cell) for k, b, cell in zip(own, below, first, strict=True) if b != "word"]
    names = [cell for k, b, cell in valued if k not in {"", b}]
    values = [cell for k, b, cell in valued if k == b]
    if names and values:
        counts = len(set(values)) == len(values) and all(map(COUNTED.fullmatch, values))
        return Heading(names=counts, sure=not counts)
    if names or values:
        return Heading(names=bool(names) or _years(values, columns))
    return _of_words(first, columns, below, own)


def _of_words(
    first: Row, columns: Sequence[Row], below: Sequence[str], own: Sequence[str]
) -> Heading:
    """What the first row is where only words tell: those that come again are values."""
    told = [
        (c, column) for c, column, b in zip(first, columns, below, strict=True) if b == "word" and c
    ]
    again = sum(cell in column and len(set(column)) < len(column) for cell, column in told)
    fresh = sum(
        cell not in column and len(set(column)) * FEW <= len(column) for cell, column in told
    )
    if again != fresh:
        return Heading(names=fresh > again)
    if not any(first) or not any(own) or any(k in VALUES for k in own):
        return Heading(names=False, sure=False)
    return Heading(names=True, sure=False)


def _years(values: Sequence[str], columns: Sequence[Row]) -> bool:
    """Whether the numbers of the first row are years one after the other, above others than years."""
    if len(values) < 2 or not all(map(YEAR.fullmatch, values)):
        return False
    years = [int(value) for value in values]
    follow = years == list(range(years[0], years[0] + len(years)))
    below = (cell for column in columns for cell in column if kind(cell) == "number")
    return follow and not all(map(YEAR.fullmatch, below))


def _numbered(first: Row, columns: Sequence[Row]) -> bool:
    """Whether the first row counts the columns, above values that do not count on."""
    start = 1 if not first[0] else 0
    counted = list(first[start:]) == [str(i) for i in range(len(first) - start)]
    if not counted or len(first) - start < 2:
        return False
    whole = all(COUNTED.fullmatch(cell) for column in columns for cell in column)
    return start == 1 or not whole or len(first) > 4


def says_units(rows: Sequence[Row]) -> bool:
    """Whether the first row below the names holds no value where all others do: units, or more names."""
    first, rest = rows[0], rows[1:LOOK]
    if len(rest) < FEWEST:
        return False
    own = [
        kind(cell)
        for cell, column in zip(first, zip(*rest, strict=True), strict=True)
        if kind_of_all(column) != "word" and any(map(kind, column))
    ]
    return (
        "word" in own and all(k in {"", "word"} for k in own) and 2 * own.count("word") >= len(own)
    )


def says_total(rows: Sequence[Row]) -> bool:
    """Whether the last row holds the total of those above: by a word, or because numbers add up."""
    last, above = rows[-1], rows[:-1]
    if any(TOTAL.fullmatch(cell.rstrip(": ")) for cell in last):
        return not any(TOTAL.fullmatch(cell.rstrip(": ")) for row in above[:LOOK] for cell in row)
    return False
