"""The Space of a frame's rows: a type for each column, dates, identifiers, roundings.

A column is, in this order: what the user says; truth values -> binary; dates -> Real in days; whole
numbers and other numbers by the rules of `arrays`, a coarse rounding becoming a resolution; text ->
Nominal with its labels. Text that holds amounts or dates as people write them is read as such.
Columns that only tell rows apart (distinct text in 95 % of at least 20 rows; row numbers or
distinct numbers under a name that says so) are left out, with a note.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from likeness.core.errors import BadData
from likeness.core.space import Nominal, Ordinal, Real, Space, Variable
from likeness.data import written
from likeness.data.arrays import (
    Array,
    Inferred,
    Rounding,
    Wanted,
    is_whole,
    named,
    real,
    sentences,
    whole,
)
from likeness.data.cells import DAYS, Cells, cells_for
from likeness.data.numerals import NumberForm
from likeness.data.source import COMMA, Loud

if TYPE_CHECKING:
    import pandas as pd

ID_NAME = re.compile(r"(^|[^a-z])(id|uuid|guid)$|[a-z](Id|ID)$|^ID$")
ROW_NAME = re.compile(
    r"unnamed: ?\d+|index|level_\d+|#|n[or]\.?|(row|line|record)([ _.]?(n[or]?|num|number))?",
    re.IGNORECASE,
)
NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)", re.ASCII)
DAYS_MOST = 106_000  # either way of 1970: what timestamps hold
ROWS_TO_TELL = 20
MANY = 50


def space_of(
    frame: pd.DataFrame,
    *,
    columns: Mapping[Any, Wanted] | Wanted | None = None,
    rounding: Rounding = "bins",
    keep: Sequence[str] = (),
) -> tuple[Space, tuple[str, ...]]:
    """The Space of a frame's rows, and what was seen; `keep` names columns that are no identifiers.

    Raises:
        BadData: If there are no rows or columns, names repeat, or a column holds nothing.
    """
    names = names_of(frame)
    wanted = types_by_name(columns, names)
    # A name in `columns` that the table lacks is an error before anything is read.
    for name in wanted:
        find(name, names)
    inferred: dict[str, Inferred] = {}
    notes: list[tuple[str, str]] = []
    # Each column: an identifier is left out, any other gets a variable.
    for name, held in _read(frame, names, wanted).items():
        alone = name in wanted or name in keep or len(names) == 1
        reason = None if alone else _identifier(held, name)
        if reason:
            said = f"looks like an identifier ({reason}): left out; name it in columns to keep it"
            notes.append((repr(name), Loud(said)))
            continue
        inferred[name] = _infer(held, name, wanted.get(name), rounding)
        notes += [(repr(name), note) for note in (*inferred[name].notes, *_gaps(held))]
        notes += [] if name in wanted else [(repr(name), note) for note in _counting(held, name)]
    if not inferred:
        raise BadData(
            "no column is left", do="name the columns to keep, as in columns={'name': 'nominal'}"
        )
    # The variables with their written forms make up the Space.
    forms = {name: f.written for name, f in inferred.items()}
    return table_space({name: f.variable for name, f in inferred.items()}, forms), sentences(notes)


def _read(
    frame: pd.DataFrame, names: Sequence[str], wanted: Mapping[str, Wanted]
) -> dict[str, Cells]:
    """The cells of all columns but those to skip; where 1,234 has a comma, as in the other columns."""
    columns = {name: frame.iloc[:, i] for i, name in enumerate(names) if wanted.get(name) != "skip"}
    cells = {name: cells_for(column, name, wanted.get(name)) for name, column in columns.items()}
    # "1,234" alone could be 1234 or 1.234: the other columns decide.
    doubtful = [name for name, held in cells.items() if held.either]
    comma = _decimal_commas(cells.values()) if doubtful else None
    # Else the file's delimiter, as semicolons come with decimal commas.
    for name in doubtful:
        form = NumberForm.parse(cells[name].written)
        if comma is None and form is not None and form.thousands:
            comma = frame.attrs.get(COMMA)  # 1.234 is left as programs write it
        cells[name] = _decided(cells[name], columns[name], name, wanted.get(name), comma)
    return {name: _present(held, name) for name, held in cells.items()}


def _decided(
    held: Cells, column: pd.Series[Any], name: str, wanted: Wanted | None, comma: bool | None
) -> Cells:
    """Numbers whose marks could be either, as the other columns have it, with the doubt that is left."""
    again = cells_for(column, name, wanted, comma) if comma else held
    form = NumberForm.parse(again.written)
    # The doubt that remains is said aloud.
    if form is None or form.noted is None:
        return again  # 1.234 alone is no doubt: programs write numbers so
    value = "1.234" if form.decimal == "," else "1234"
    said = f"may hold decimal commas or marks of thousands: 1,234 is read as {value}"
    return replace(again, said=(*again.said, Loud(said)))


def _decimal_commas(cells: Iterable[Cells]) -> bool | None:
    """Whether numbers have decimal commas, where those that leave no doubt agree."""
    forms = [NumberForm.parse(held.written) for held in cells if not held.either]
    marks = {
        # A form without decimals and thousands votes for nothing.
        f.decimal
        for f in forms
        if f is not None and (f.most != 0 or f.thousands in {".", ","})
    }
    return marks == {","} if len(marks) == 1 else None


def table_space(
    variables: Mapping[str, Variable], forms: Mapping[str, str | None] | None = None
) -> Space:
    """The Space of a row with these columns, which are written in these forms."""
    said = tuple((forms or {}).get(name) for name in variables)
    return Space(
        axes=("column",),
        shape=(len(variables),),
        variables=tuple(variables.values()),
        names=tuple(variables),
        source="table",
        written=said if any(said) else None,
    )


def types_by_name(
    columns: Mapping[Any, Wanted] | Wanted | None, names: Sequence[str]
) -> dict[str, Wanted]:
    """The types that the user names, by the columns' names as text; one type alone is that of all."""
    if columns is None or isinstance(columns, Mapping):
        return {str(name): wanted for name, wanted in (columns or {}).items()}
    return dict.fromkeys(names, columns)


def names_of(frame: pd.DataFrame) -> list[str]:
    """The names of a frame's columns as text.

    Raises:
        BadData: If two are the same, or there are no rows or columns.
    """
    names = [str(c) for c in frame.columns]
    differ(names)
    if not len(frame) or not names:
        raise BadData("the table is empty", do="give rows and columns")
    return names


def differ(names: Sequence[str], among: Container[str] | None = None) -> None:
    """Refuse two columns of one name, of those `among` them that matter, where not all do.

    Raises:
        BadData: Naming the first that comes twice.
    """
    count = Counter(names)
    for name, times in count.items():
        if times > 1 and (among is None or name in among):
            raise BadData(
                f"two columns are called {name!r}", do="give each column a name of its own"
            )


def numbers_of(frame: pd.DataFrame) -> Array | None:
    """A frame of numbers, or of text that says numbers, as an array (N, columns); None for others."""
    columns = [cells_for(frame.iloc[:, i], str(name), "real") for i, name in enumerate(frame)]
    if any(held.kind not in {"number", "flag"} for held in columns):
        return None
    return np.stack([np.where(held.known, held.values, np.nan) for held in columns], -1)


def find(name: str, names: Sequence[str]) -> int:
    """The place of a column.

    Raises:
        BadData: If there is none of that name; the nearest is named.
    """
    if name in names:
        return list(names).index(name)
    near = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
    raise BadData(
        f"no column {name!r}", do=f"did you mean {near[0]!r}?" if near else f"there are {listed}"
    )


def _present(held: Cells, name: str) -> Cells:
    # A column with nothing in it has no type.
    if not held.known.any():
        raise BadData(
            f"column {name!r} holds nothing but missing values",
            do=f"leave it out: columns={{{name!r}: 'skip'}}",
        )
    # Infinite numbers have no place on the real line.
    if held.kind != "text":
        infinite = np.isinf(held.values)
        if infinite.any():
            row = int(np.flatnonzero(infinite)[0])
            raise BadData(
                "an infinite value",
                where=f"row {row}, column {name!r}",
                do="mend it or leave it empty",
            )
    return held


def _identifier(held: Cells, name: str) -> str | None:
    values = held.values[held.known]
    rows = len(held.values)
    # Few rows are too little evidence; flags and dates repeat by nature.
    if len(values) < ROWS_TO_TELL or held.kind in {"flag", "date"}:
        return None
    distinct = len(set(values.tolist()))
    # Texts: nearly all distinct.
    if held.kind == "text":
        if distinct >= 0.95 * len(values):
            return f"{distinct} distinct texts in {rows} rows"
        return None
    # Numbers: whole, all distinct, and named like an identifier or a row number.
    if distinct < rows or not is_whole(values):
        return None
    if not ID_NAME.search(name) and not (ROW_NAME.fullmatch(name) and _consecutive(values)):
        return None
    if _consecutive(values):
        return "the row's number"
    return f"{distinct} distinct numbers in {rows} rows"


def _consecutive(values: Array) -> bool:
    return bool((np.diff(values) == 1).all())


def _counting(held: Cells, name: str) -> tuple[str, ...]:
    """What is kept though it counts the rows: a time or a year may do that."""
    values = held.values[held.known]
    counts = held.kind == "number" and len(values) >= ROWS_TO_TELL and _consecutive(values)
    if counts:
        return (
            Loud(f"counts the rows one by one: kept; columns={{{name!r}: 'skip'}} leaves it out"),
        )
    return ()


def _infer(held: Cells, name: str, wanted: Wanted | None, rounding: Rounding) -> Inferred:
    where = f"column {name!r}"
    values = held.values[held.known]
    # The user's word or variable comes first.
    if isinstance(wanted, str):
        return _formed(Inferred(_by_word(wanted, held, where)), held, rounding)
    if wanted is not None:
        return _formed(Inferred(wanted), held, rounding)
    # Then the type that was read: text, flags, dates.
    if held.kind == "text":
        return _formed(nominal(held), held, rounding)
    if held.kind == "flag":
        return _formed(
            Inferred(Ordinal(levels=2), (Loud("is constant"),) if len(set(values)) == 1 else ()),
            held,
            rounding,
        )
    if held.kind == "date":
        found = real(values, rounding=rounding, unit=DAYS)
        notes = ("holds dates: read as days since 1970-01-01, UTC", *found.notes)
        return _formed(Inferred(found.variable, notes), held, rounding)
    # Quantities with a unit are reals, even if whole.
    if held.unit is not None:
        return _formed(real(values, rounding=rounding, unit=held.unit), held, rounding)
    # Plain numbers: levels or counts where whole, else reals.
    return _formed((whole if is_whole(values) else real)(values, rounding=rounding), held, rounding)


def _formed(found: Inferred, held: Cells, rounding: Rounding) -> Inferred:
    """With how the column is written, and what was seen of that."""
    form = held.written
    if held.kind == "number" and found.variable.type != "nominal" and held.unit is None:
        form = _number_form(found.variable, held, rounding)
    return replace(found, notes=(*held.said, *found.notes), written=form)


def _number_form(variable: Variable, held: Cells, rounding: Rounding) -> str | None:
    """How numbers are written; draws of rounded ones have as many decimals."""
    # Draws are written as the data were: as many decimals, the same marks.
    form = NumberForm.parse(held.written)
    if variable.type != "real":
        return str(form) if form is not None and form.noted else None
    if rounding == "note":
        return str(replace(form, least=0, most=None)) if form is not None and form.noted else None
    values = held.values[held.known]
    if form is None and (is_whole(values) or len(values) < ROWS_TO_TELL):
        form = NumberForm(most=0) if is_whole(values) else None
    elif form is None:
        digits = written.decimals(values)
        form = None if digits is None else NumberForm(least=1, most=digits)
    return None if form is None else str(form)


def _by_word(word: str, held: Cells, where: str) -> Variable:
    if word == "nominal":
        return nominal(held).variable
    if (
        word == "date"
        and held.kind == "number"
        and float(np.abs(held.values[held.known]).max()) > DAYS_MOST
    ):
        raise BadData(
            f"{held.values[held.known].max():.0f} is no number of days since 1970",
            where=where,
            do="write dates as YYYY-MM-DD, or make them with pd.to_datetime(column, format='%Y%m%d')",
        )
    if word == "date" or (word == "real" and held.kind == "date"):
        return Real(unit=DAYS)
    if held.kind == "text":
        raise BadData(f"text cannot be {word}", where=where, do="choose nominal")
    return named(word, held.values[held.known], name=where)


def nominal(held: Cells) -> Inferred:
    """Categories, in the order that the column states or their natural one."""
    distinct = held.labels or tuple(sorted(set(held.values[held.known].tolist()), key=_natural))
    notes: list[str] = [Loud(f"is constant ({distinct[0]!r})")] if len(distinct) == 1 else []
    if held.labels is not None and len(distinct) > 2:
        notes.append("has categories whose order, if they have one, is not used")
    if len(distinct) > MANY:
        notes.append(
            f"has {len(distinct)} categories: high cardinality, the rare ones are seen a few times only"
        )
    return Inferred(Nominal(categories=len(distinct), labels=distinct), tuple(notes))


def _natural(text: str) -> tuple[bool, float, str]:
    """Numbers by size, before words by letter."""
    number = bool(NUMBER.fullmatch(text))
    return (not number, float(text) if number else 0.0, text)


def _gaps(held: Cells) -> tuple[str, ...]:
    gaps = int((~held.known).sum())
    if gaps:
        return (f"lacks {gaps} of {len(held.known)} values",)
    return ()
