"""How a text file parts its cells: delimiter, quotes and escapes, chosen by how well each way reads it.

Every candidate parses the first records. Its score is the share of records as wide as most, squared,
times the share of cells that look like one thing, as numbers, dates and words do and 5;2 does not,
times 1 - 1/columns (after van den Burg, Nazabal & Sutton 2019, Wrangling messy CSV files by
detecting row and type patterns).
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from likeness.data import textfile
from likeness.data.dateforms import looks_dated
from likeness.data.missing import nothing_among_numbers
from likeness.data.numerals import is_amount, is_number

Record = tuple[int, list[str]]  # the line where it begins, and its cells

STRONG = (",", ";", "\t", "|")
WEAK = (
    " ",
    ":",
    "^",
    "~",
    "\x1f",
    "\x01",
)  # taken only where every record is as wide as the others
SAMPLE = 100_000  # characters
RECORDS = 200
CELLS = 2000  # cells that a score looks at
FEWEST = 5  # records in which a mark that stands as often in each parts cells
PREAMBLE = 30  # lines above the table, at most
WORD = re.compile(r"""(?!['"])[^,;|\t"]*""")
COMMENTS = re.compile(r"(?:[#%][ \t#%!][^\r\n]*(?:\r\n|\n|\r))+")
BLANKS = re.compile(r"[ \t]{2}|^[ \t]|[ \t]$", re.MULTILINE)  # more than one blank parts cells
ESCAPED = re.compile(r"""\\['",;\t| \\:]""")
BACKSLASH = re.compile(r"""(?<!\\)(?:\\\\)*\\[^'",;\t| \\:\r\n]""")  # one that escapes nothing
WRAPPED = re.compile(r"'.*'", re.DOTALL)  # a cell in apostrophes
NEEDED = re.compile(r"""'(?=.*(?:''|\\'|"|\n|\r).*.).*'""", re.DOTALL)  # one that has need of them
SEP = re.compile(r"\Asep=(.)(\r?\n)")  # a line that spreadsheets write
CUT = "unexpected end of data"  # what the csv module says where a quote is not closed
DIGITS = re.compile(
    r"0\d{9,}", re.ASCII
)  # decimals that a comma was cut off from, rather than a code
DELIMITERS = re.compile(r"[,;\t|]")
BETWEEN = re.compile(r"[ :]")
RULE = re.compile(r"[ :=+-]*[-=]{2,}[ :=+-]*")
ALONE = 0.49  # the score of one column of numbers or dates: less than that of two columns
SLIGHT = 0.9  # what is left of a score where a weak mark parts the cells
ALONE_IN_WORDS = 0.001
UNESCAPED = 0.5  # what is left of a score where every backslash escapes something, and is kept
UNEVEN = 0.1  # what is left of a score where records are not all as wide


@dataclass(frozen=True)
class Dialect:
    """How cells are parted.

    Args:
        delimiter: Between cells; "" where a line is one cell.
        quote: Around cells that hold a delimiter, or "".
        escape: Before a delimiter or a quote that is none, or "".
        runs: Whether several blanks part cells as one does.
    """

    delimiter: str
    quote: str = '"'
    escape: str = ""
    runs: bool = False


@dataclass(frozen=True, eq=False)
class Parse:
    """What a dialect makes of a text.

    Args:
        dialect: The dialect.
        records: Those of the table, comments and lines above it left out.
        left_out: Lines that are no part of the table.
        blank: How many blank lines were passed over.
        width: How many cells most records have.
        fault: Where quotes make no sense, and why.
        comments: Lines of comments that stand above all.
        quoted: Whether it begins with a quote.
    """

    dialect: Dialect
    records: list[Record]
    left_out: list[Record]
    blank: int
    width: int
    fault: Record | None = None
    comments: tuple[str, ...] = ()
    quoted: bool = False

    @property
    def odd(self) -> Record | None:
        """The first record that is not as wide as the others; names may lack one for the row's."""
        # A header may lack one name: that of the column of row names.
        named = self.width > 2 and self.records and len(self.records[0][1]) == self.width - 1
        rest = self.records[1:] if named else self.records
        return next((record for record in rest if len(record[1]) != self.width), None)

    @property
    def above(self) -> bool:
        """Whether lines of one cell above the table were left out."""
        return any(len(cells) == 1 and not _is_comment(cells) for _, cells in self.left_out[:1])

    @property
    def fits(self) -> bool:
        """Whether it parts the text into records of one width."""
        return bool(self.records) and self.fault is None and self.odd is None

    @property
    def even(self) -> float:
        """The share of records that are as wide as most."""
        wide = sum(len(cells) == self.width for _, cells in self.records)
        return wide / max(len(self.records), 1)


# ---- candidates ----------------------------------------------------------------------------------


def choose(text: str) -> Parse:
    """The whole text as the best of all dialects reads it.

    Where the best cannot read all of it, the next that can; where none can, the best says where not.
    """
    # Lines of comment at the top must not vote on the width.
    text, comments = _uncommented(text)
    best = _best(text)
    return replace(best, comments=comments)


def _best(text: str) -> Parse:
    # 1. Score every candidate on the head of the text.
    head, whole = _head(text)
    parses = [parse(head, dialect, whole) for dialect in candidates(text)]
    parses.sort(key=_quoted_names)
    plain = {p.dialect: p for p in parses}
    scored = [
        (0.0 if _in_vain(p, plain) else score(p) * _escaping(text, p.dialect), p.dialect)
        for p in parses
    ]
    # 2. "2024-01-02 10:30" or "1 000" alone in a line: a blank or colon parts no cells there.
    alone = any(value == ALONE and not dialect.delimiter for value, dialect in scored)
    if alone:  # numbers or dates that hold a blank or a colon are one column
        scored = [(v, d) for v, d in scored if v >= 0.5 or d.delimiter not in WEAK]
    # 3. The best that parses the whole text wins; sorting is stable, so ties go to the commoner.
    scored.sort(key=lambda one: -one[0])
    first = parse(text, scored[0][1])
    if first.fits:
        return first
    others = [
        dialect for value, dialect in scored[1:4] if value > ALONE_IN_WORDS and dialect.delimiter
    ]
    again = (parse(text, dialect) for dialect in others)
    return next((other for other in again if other.fits), first)


def _quoted_names(found: Parse) -> int:
    """How many names keep quotes around them, which tells the quotes where no other cell has any."""
    names = found.records[0][1] if found.records else []
    return sum(len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" for name in names)


def _in_vain(found: Parse, others: Mapping[Dialect, Parse]) -> bool:
    """Whether quotes were taken for such though the text has as many cells in every line without them.

    Then a quote that opens a cell and one that ends a later line are no pair. Apostrophes stand around a few cells by
    chance: quotes stand around all names, all cells of a column, or around those that hold a quote or a line's end.
    """
    bare = others.get(replace(found.dialect, quote=""))
    lines = bare is not None and bare.fits and bare.width == found.width > 1
    if lines and bare is not None and len(bare.records) > len(found.records):
        return True
    other = others.get(replace(found.dialect, quote='"'))
    if found.dialect.quote != "'" or other is None or not other.fits or other.width != found.width:
        return False
    names, *rows = [cells for _, cells in other.records]
    groups = [names, *zip(*rows, strict=True)]
    whole = any(all(map(WRAPPED.fullmatch, cells)) for cells in groups)
    return not whole and not any(NEEDED.fullmatch(cell) for row in rows for cell in row)


def _escaping(text: str, dialect: Dialect) -> float:
    """Less than 1 where delimiters or quotes stand behind backslashes that a dialect takes for text."""
    marks = [mark for mark in (dialect.delimiter, '"', "'") if mark]
    escaped = any(f"\\{mark}" in text for mark in marks)
    if dialect.escape or not escaped or BACKSLASH.search(text):
        return 1.0
    return UNESCAPED


def _uncommented(text: str) -> tuple[str, tuple[str, ...]]:
    """A text with the lines of comments that it begins with left blank, and those lines.

    A line whose # a word follows may hold names or values, so that it is kept.
    """
    # The lines stay, blank, so that errors name the right line numbers.
    comments = COMMENTS.match(text)
    if comments is None or comments.end() == len(text):
        return text, ()
    lines = textfile.lines(comments[0])
    ends = "".join(c for c in comments[0] if c in "\r\n")
    return ends + text[comments.end() :], tuple(lines)


def candidates(text: str) -> list[Dialect]:
    """The dialects that a text could be in, the commonest first."""
    # A spreadsheet's "sep=;" line settles the delimiter.
    named = SEP.match(text)
    marks: Sequence[str] = [named[1]] if named else [m for m in (*STRONG, *WEAK) if m in text]
    quotes = ['"'] + (["'"] if "'" in text else []) + ([""] if '"' in text else [])
    escapes = [""] + (["\\"] if "\\" in text else [])
    # Backslashes that always precede a special character are an escape.
    if ESCAPED.search(text) and not BACKSLASH.search(text):
        escapes.reverse()
    dialects = [Dialect(m, q, e) for e in escapes for q in quotes for m in marks]
    # Runs of blanks, as in tables that are aligned for the eye.
    blanks = BLANKS.search(text)
    dialects += [Dialect(" ", q, "", runs=True) for q in quotes if blanks and not named]
    # Last, no delimiter at all: one cell a line.
    return [*dialects, *(Dialect("", q, e) for e in escapes for q in quotes)]


def _head(text: str) -> tuple[str, bool]:
    """The first lines of a text, and whether they are all of it."""
    if len(text) <= SAMPLE:
        return text, True
    # Cut at the end of a line; where lines are so long that few fit, after the tenth more.
    end = text.rfind("\n", 0, SAMPLE)
    if end < 0 or text.count("\n", 0, end) < 5:
        for _ in range(10):
            end = text.find("\n", end + 1)
            if end < 0:
                return text, True
    return text[: end + 1], False


def score(found: Parse) -> float:
    """How well a dialect reads a text, from 0 to 1."""
    dialect = found.dialect
    # One column: good only if it holds numbers or dates throughout.
    if not dialect.delimiter:
        cells = [cells[0] for _, cells in found.records if len(cells) == 1]
        numbers = len(cells) > 1 and found.fault is None and all(map(_valued, cells[1:]))
        return ALONE if numbers else ALONE_IN_WORDS * _plain_cells(found) * (found.fault is None)
    # An apostrophe within words is no quote; a weak delimiter must fit everywhere, since blanks and colons occur in
    # prose.
    apostrophes = dialect.quote == "'" and found.fault is not None
    if apostrophes or found.width < 2 or (dialect.delimiter in WEAK and not _surely(found)):
        return 0.0
    # consistency^2 * plainness * (1 - 1/columns), the module's formula.
    value = found.even**2 * _plain_cells(found) * (1 - 1 / found.width)
    if not found.fits or found.above:
        value *= UNEVEN
    # A weak delimiter loses against an equally good strong one, unless all cells are numbers.
    if dialect.delimiter in STRONG:
        return value
    numbers = all(is_number(cell) for _, cells in found.records for cell in cells)
    return value * (1.0 if numbers and dialect.delimiter == " " else SLIGHT)


def _surely(found: Parse) -> bool:
    """Whether all records are as wide, from the first on, and values or quotes part them too.

    Blanks part words of one cell as well; no other mark stands as often in every line by chance.
    """
    chance = found.dialect.delimiter == " " or len(found.records) < FEWEST
    told = found.quoted or not chance or _some_values(found)
    return found.fits and not found.above and told


def _plain_cells(found: Parse) -> float:
    cells = _some_cells(found)
    return sum(map(plainness, cells)) / max(len(cells), 1)


def _some_cells(found: Parse) -> list[str]:
    rows = found.records[1:RECORDS] or found.records  # names may hold whatever they like
    cells = [cell for _, cells in rows for cell in cells]
    return cells[:: max(len(cells) // CELLS, 1)]


def _some_values(found: Parse) -> bool:
    """Whether a column below the first record holds numbers or dates alone."""
    # Names in the first record say nothing of the cells below.
    rows = [cells for _, cells in found.records[1:RECORDS]]
    return any(all(map(_valued, column)) for column in zip(*rows, strict=False))


def plainness(cell: str) -> float:
    """From 1 for a cell that looks like one thing to 0 for several numbers in one.

    One thing is a number, a date, nothing, or words without delimiters.
    """
    if _valued(cell):
        return 1.0
    # "5;2" is two numbers that were not parted: this delimiter is wrong.
    parts = DELIMITERS.split(cell)
    if len(parts) > 1 and all(map(_number_or_date, parts)):
        return 0.0
    # "3 4" or "10:30 word": a number beside something else.
    parts = BETWEEN.split(cell)
    joined = len(parts) > 1 and any(map(_number_or_date, parts))
    if WORD.fullmatch(cell) and not joined and not DIGITS.fullmatch(cell):
        return 1.0
    return 0.3


def _valued(cell: str) -> bool:
    return nothing_among_numbers(cell) or cell.lower() in {"true", "false"} or _number_or_date(cell)


def _number_or_date(cell: str) -> bool:
    return not DIGITS.fullmatch(cell) and (is_amount(cell) or looks_dated(cell))


# ---- parsing -------------------------------------------------------------------------------------


def parse(text: str, dialect: Dialect, whole: bool = True) -> Parse:
    """The records of a text in this dialect; the last of a part of a text may be cut off."""
    records, fault = _records(text, dialect)
    # The last record of a partial text may be cut, and so may its quote.
    if not whole:
        records = records[:-1] or records
        fault = None if fault and fault[1] == [CUT] else fault
    # The width of the table is that of most records, comments apart.
    width = _width(cells for _, cells in records if cells and not cells[0].startswith("#"))
    # A record of empty cells is a row; a blank line, or a lone empty cell in a wide table, is none.
    there = [
        record
        for record in records
        if record[1] and (len(record[1]) > 1 or width == 1 or any(record[1]))
    ]
    last = there[-1][0] if there else 0
    blank = sum(line < last for line, cells in records if not cells)
    rows, left_out = _table(there, width)
    quoted = bool(dialect.quote) and text.lstrip().startswith(dialect.quote)
    return Parse(dialect, rows, left_out, blank, width, fault, quoted=quoted)


def _width(rows: Iterable[Sequence[str]]) -> int:
    """How many cells most records have, of several as frequent the widest."""
    counts = Counter(len(cells) for cells in rows)
    return max(counts, key=lambda width: (counts[width], width), default=1)


def _table(records: Sequence[Record], width: int) -> tuple[list[Record], list[Record]]:
    """The records of the table, and those that are comments, rules, or stand above or below it."""
    rows: list[Record] = []
    left_out: list[Record] = []
    # Sentences at the end are no rows.
    below = _below(records, width)
    for place, (line, cells) in enumerate(records):
        # Line by line: a comment, a title above the table, a note below it, a ruled line, or a row.
        comment = _is_comment(cells) and len(cells) != width
        above = not rows and width > 1 and len(cells) == 1 and len(left_out) < PREAMBLE
        if comment or above or place >= below or (len(cells) == width > 1 and _is_rule(cells)):
            left_out.append((line, cells))
        else:
            rows.append((line, cells))
    return rows, left_out


def _is_comment(cells: Sequence[str]) -> bool:
    return cells[0].startswith(("#", "%", "//"))


def _below(records: Sequence[Record], width: int) -> int:
    """Where sentences below a table begin: a cell cut off would not be one."""
    end = len(records)
    # From the end upwards, while a line is one cell that reads like a sentence.
    while width > 2 and end > 2:
        cells = records[end - 1][1]
        if len(cells) > 1 or " " not in cells[0] or _valued(cells[0]):
            break
        end -= 1
    return end


def _is_rule(cells: Sequence[str]) -> bool:
    there = [cell for cell in cells if cell]
    return bool(there) and all(map(RULE.fullmatch, there))


def _records(text: str, dialect: Dialect) -> tuple[list[Record], Record | None]:
    """Every record with the line where it begins, and the first whose quotes make no sense."""
    records: list[Record] = []
    # The csv module does the parsing; strict, so that an unclosed quote is an error.
    reader = csv.reader(
        _lines(text, dialect),
        delimiter=dialect.delimiter or "\0",
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape or None,
        skipinitialspace=dialect.runs or dialect.delimiter != " ",
        strict=True,
    )
    # A quoted cell may span lines, so a record's line is the one after the previous record's end.
    line = 1
    with _long_cells(len(text)):
        try:
            for cells in reader:
                records.append((line, _stripped(cells)))
                line = reader.line_num + 1
        except csv.Error as error:
            return records, (line, [str(error)])
    return records, None


def _stripped(cells: Sequence[str]) -> list[str]:
    """Cells without blanks around; a line of nothing but blanks has none."""
    if len(cells) == 1 and cells[0].isspace():
        return []
    return [cell.strip() for cell in cells]


def _lines(text: str, dialect: Dialect) -> Iterator[str]:
    # In aligned tables tabs are blanks too.
    if dialect.runs:
        return (line.replace("\t", " ").strip() for line in textfile.lines(text))
    body = SEP.sub(r"\2", text)
    return iter(io.StringIO(body, newline=""))


@contextmanager
def _long_cells(size: int) -> Iterator[None]:
    """Cells as long as the text, while it lasts: the csv module's own limit is 131,072 characters."""
    before = csv.field_size_limit(max(size, 1) + 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)
