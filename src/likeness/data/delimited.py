"""Delimited text as frames whose cells are the text that stands there: names, units, totals, notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from likeness.core.errors import BadData
from likeness.data import headings, textfile
from likeness.data.dialects import CUT, Parse, Record, choose
from likeness.data.numerals import WHOLE, is_number
from likeness.data.source import COMMA, NOTES, Loud

if TYPE_CHECKING:
    import pandas as pd

SAMPLE, LINES = 100_000, 20  # characters and lines that tell tables from text
SHOWN = 60  # characters of a line in a note


def table(text: str, where: str) -> pd.DataFrame:
    """A table of text, its cells verbatim, empty ones as "".

    Raises:
        BadData: If it is empty, two columns have one name, quotes are not closed, or records are of
            unlike length.
    """
    parse = choose(text)
    # Faults first: a file that cannot be read gets one error and no notes.
    _refuse(parse, where)
    # What was passed over, and what is doubtful, in the reader's order.
    notes = [*_left_out(parse), *_doubts(parse)]
    rows = [cells for _, cells in parse.records]
    names, rows, name_notes = _named(rows, parse)
    _differ(names, where)
    rows, row_notes = _values(rows, names)
    # Left without rows: names alone are no data.
    if not rows:
        raise BadData("the file holds a line of names and no rows", where=where)
    frame = _frame(names, rows)
    frame.attrs = {
        NOTES: (*notes, *name_notes, *row_notes),
        COMMA: parse.dialect.delimiter == ";" or None,
    }
    return frame


def numbers_only(text: str) -> bool:
    """Whether the first lines of a text are a table of numbers; one column has no name."""
    # The head of the file is enough to tell.
    head = [line for line in textfile.lines(text[:SAMPLE])[:LINES] if line.strip()]
    parse = choose("\n".join(head))
    if not parse.fits:
        return False
    names, rows, _ = _named([cells for _, cells in parse.records], parse)
    # "column 0" are names made up for a file without any.
    named = parse.width == 1 and not names[0].startswith("column ") if names else True
    cells = [cell for row in rows for cell in row]
    return not named and bool(cells) and all(map(is_number, cells))


def _frame(names: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Columns of text, without those that have neither a name nor a cell."""
    import pandas as pd

    # A trailing delimiter makes an empty column without name or cells.
    columns = list(zip(*rows, strict=True))
    places = [i for i, name in enumerate(names) if name or any(columns[i])]
    frame = pd.DataFrame({i: pd.Series(columns[i], dtype="str") for i in places})
    frame.columns = pd.Index([names[i] or f"Unnamed: {i}" for i in places], dtype=object)
    return frame


# ---- faults --------------------------------------------------------------------------------------


def _refuse(found: Parse, where: str) -> None:
    if not any(any(cells) for _, cells in found.records):
        raise BadData("the file is empty", where=where)
    if found.fault is not None:
        line, (said,) = found.fault
        what = "ends within a cell"
        if said == CUT:
            what = "is never closed"
        raise BadData(
            f"a quote in line {line} {what}",
            where=where,
            do="mend it: a quote is doubled within quotes",
        )
    if found.odd is not None:
        line, cells = found.odd
        raise BadData(
            f"line {line} has {len(cells)} cells where {found.width} are expected",
            where=where,
            do="give every line the same number of cells; one that holds the delimiter stands in quotes",
        )


def _differ(names: Sequence[str], where: str) -> None:
    twice = next((name for name, times in Counter(names).items() if name and times > 1), None)
    if twice is not None:
        raise BadData(
            f"two columns are called {twice!r}",
            where=where,
            do="give each column a name of its own",
        )


# ---- names and rows ------------------------------------------------------------------------------


def _named(rows: list[list[str]], parse: Parse) -> tuple[list[str], list[list[str]], list[str]]:
    """The names of the columns, the rows below them, and what was seen of the names."""
    if not rows:
        return [], [], []
    first, rest = rows[0], rows[1:]
    width = parse.width
    if len(first) < width:  # names of which one lacks: that of the rows' names, or none at all
        last = any(row[-1] for row in rest)
        return ["", *first] if last else [*first, ""], rest, []
    # "#" lines may stand above the names; the last that heads values counts.
    while first[0].startswith("#") and len(rest) > 1 and headings.heading(rest).names:
        first, rest = rest[0], rest[1:]
    # The first line heads the columns where it differs in kind from the cells below.
    heading = headings.heading([first, *rest])
    if heading.names:
        names = [first[0].lstrip("# "), *first[1:]]
        doubt = "nothing tells whether the first line holds names or values: taken for names"
        return names, rest, [] if heading.sure or not rest else [Loud(doubt)]
    # Otherwise names may stand in a comment above.
    commented = _in_comment(parse)
    if commented:
        said = f"the names are those of the comment {_shown(commented)} above the table"
        return commented, [first, *rest], [Loud(said)]
    # No names at all: columns are numbered.
    return [f"column {i}" for i in range(width)], [first, *rest], []


def _in_comment(parse: Parse) -> list[str]:
    """Names in the last line of comments, if there are as many as columns, each one word."""
    if not parse.comments or parse.width < 2:
        return []
    mark = parse.dialect.delimiter
    bare = parse.comments[-1].lstrip("#% \t")
    names = [part.strip() for part in (bare.split() if mark == " " else bare.split(mark))]
    words = all(name and " " not in name and headings.kind(name) == "word" for name in names)
    return names if words and len(names) == len(set(names)) == parse.width else []


def _values(rows: list[list[str]], names: Sequence[str]) -> tuple[list[list[str]], tuple[str, ...]]:
    """The rows that hold items, and what was seen of the others."""
    notes: list[str] = []
    # A line of units ("kg", "m/s") below the names.
    if rows and headings.says_units(rows):
        said = (
            f"the line {_shown(rows[0])} below the names holds no values: taken for units or names"
        )
        notes.append(Loud(f"{said}, and left out"))
        rows = rows[1:]
    # Names repeated in the middle, where files were joined.
    again = [row for row in rows if row == list(names)]
    if again and len(names) > 1:
        notes.append(Loud(f"the names come again in {len(again)} lines: left out"))
        rows = [row for row in rows if row != list(names)]
    # A line of bare delimiters is a row with all values missing.
    empty = sum(not any(row) for row in rows)
    if empty and len(names) > 1:
        notes.append(Loud(f"{empty} lines hold nothing but delimiters: rows of missing values"))
    # A total below the column would count everything twice.
    if len(rows) > 1 and headings.says_total(rows):
        said = f"the last line {_shown(rows[-1])} looks like a total of those above"
        notes.append(Loud(f"{said}: kept; delete it if it is no item"))
    return rows, tuple(notes)


# ---- notes ---------------------------------------------------------------------------------------


def _shown(cells: Sequence[str]) -> str:
    text = ", ".join(cells)
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def _left_out(found: Parse) -> list[str]:
    """What was said of comments, and of lines above or below the table."""
    comments = [record for record in found.left_out if record[1][0].startswith(("#", "%", "//"))]
    others = [record for record in found.left_out if len(record[1]) == 1 and record not in comments]
    count = len(comments) + len(found.comments)
    notes = [f"lines of comments are passed over: {count}"] if count else []
    if others:
        line, cells = others[0]
        more = f" and {len(others) - 1} more are" if len(others) > 1 else " is"
        said = f"line {line} ({_shown(cells)}){more} no part of the table: left out"
        notes.append(Loud(said))
    return notes


def _doubts(found: Parse) -> list[str]:
    """Where the text could be parted otherwise."""
    mark = found.dialect.delimiter
    notes: list[str] = []
    if found.width == 1 and found.blank:
        said = f"{found.blank} blank lines are passed over: write NA where a value is missing"
        notes.append(Loud(said))
    # "1,234" or "3,5" in each line: two columns, or one number.
    whole = all(WHOLE.fullmatch(cell) for _, cells in found.records for cell in cells)
    if mark in {",", " "} and found.width == 2 and whole and _could_be_one(found.records, mark):
        notes.append(Loud("each line could also be one number: read as two columns"))
    words = not all(headings.kind(cell) for _, cells in found.records[1:20] for cell in cells)
    opened = any(cell.startswith('"') for _, cells in found.records for cell in cells)
    if not found.dialect.quote and opened:
        notes.append(Loud("quotes part no cells, since some are not closed: read as they stand"))
    if mark == " " and not words:
        notes.append("cells are parted by blanks")
    return notes


def _could_be_one(records: Sequence[Record], mark: str) -> bool:
    thousands = all(re.fullmatch(r"\d{3}", cells[1]) for _, cells in records)
    return thousands or (
        mark == "," and not any(cells[1].startswith(("+", "-")) for _, cells in records)
    )
