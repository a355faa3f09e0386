"""What the cells of a table's column hold: numbers, truth values, dates or words, and which are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from likeness.core.errors import BadData
from likeness.core.numbers import complex_numbers
from likeness.data import textcells, written
from likeness.data.arrays import Array, Wanted
from likeness.data.datetimes import example, is_format
from likeness.data.missing import nothing_among_numbers
from likeness.data.numerals import EXACT, is_amount
from likeness.data.textcells import Texts, looks_like_a_value

if TYPE_CHECKING:
    import pandas as pd

DAYS = "days since 1970-01-01"
VALUES_MOSTLY = 0.8  # of the cells: then another is a mistake among them, and no category


@dataclass(frozen=True)
class Cells:
    """A column's cells as text or as numbers, and which of them are there.

    Args:
        kind: "number", "flag", "date" or "text".
        values: float64 (N,), or objects (N,) for text.
        known: bool (N,).
        labels: The categories in their own order, where the column states them.
        written: How they are written, as `written` says it.
        said: What was seen while reading them.
        unit: Of numbers, where they have one.
        either: Whether marks in numbers could be those of decimals or of thousands.
    """

    kind: str
    values: Array
    known: Array
    labels: tuple[str, ...] | None = None
    written: str | None = None
    said: tuple[str, ...] = ()
    unit: str | None = None
    either: bool = False


def cells(
    column: pd.Series[Any],
    name: str,
    form: str | None = None,
    *,
    goal: str | None = None,
    comma: bool | None = None,
) -> Cells:
    """What a column of a frame holds.

    Args:
        column: Of a frame.
        name: Of the column.
        form: How it is known to be written, "" as plain numbers and dates of ISO 8601.
        goal: "number", "date", "flag" or "nominal", where it is known what it is to be.
        comma: Whether the table's other columns have decimal commas, where that is known.

    Raises:
        BadData: If most cells are numbers and one is text, a date is none, or a cell is a list.
    """
    _refuse_complex(column, name)
    import pandas as pd

    # What pandas itself calls missing; words such as "NA" are found later, in text.
    known = column.notna().to_numpy()
    # Types that pandas states need no guessing: first categories.
    if isinstance(column.dtype, pd.CategoricalDtype):
        labels = tuple(as_texts(pd.Series(column.cat.categories)))
        return Cells("text", as_texts(column), known, labels)
    # A column that is to be nominal keeps its text as it stands.
    if goal == "nominal":
        return _categories(Texts.of(column))
    # Truth values.
    if pd.api.types.is_bool_dtype(column.dtype):
        return Cells("flag", _floats(column), known, written=written.FLAG)
    # Dates, periods and durations.
    if isinstance(column.dtype, pd.PeriodDtype):
        return _moments(column.dt.to_timestamp(), known)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _moments(column, known)
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        days = (column / pd.Timedelta(days=1)).to_numpy(dtype=np.float64, na_value=np.nan)
        return Cells("number", days, known, said=("holds durations: read as numbers of days",))
    # Numbers.
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _numbers(column, known, goal)
    # Anything else is text, or objects that become text.
    if column.dtype == object:
        _refuse_lists(column, name)
    return _from_text(Texts.of(column), name, form, goal, comma)


def _refuse_complex(column: pd.Series[Any], name: str) -> None:
    """Refuse complex numbers, of their own type or among objects.

    Raises:
        BadData: Naming the column.
    """
    objects = column.dtype == object
    if column.dtype.kind == "c" or (
        objects and any(isinstance(v, complex | np.complexfloating) for v in column)
    ):
        raise complex_numbers(f"column {name!r}")


def cells_for(
    column: pd.Series[Any], name: str, wanted: Wanted | None, comma: bool | None = None
) -> Cells:
    """The cells as the wanted type reads them: categories never fail for being numbers in part."""
    return cells(column, name, goal=_goal(wanted), comma=comma)


def _goal(wanted: Wanted | None) -> str | None:
    if wanted is None or wanted == "skip":
        return None
    kind = wanted if isinstance(wanted, str) else wanted.type
    if kind == "date" or getattr(wanted, "unit", None) == DAYS:
        return "date"
    return "nominal" if kind == "nominal" else "number"


def as_texts(column: Iterable[Any]) -> Array:
    """Cells as stripped text, "" where they are missing; whole numbers without a point."""
    return Texts.of(column).cells()


# ---- columns with a type of their own ------------------------------------------------------------


def _numbers(column: pd.Series[Any], known: Array, goal: str | None) -> Cells:
    """Numbers; whole ones of which float64 would lose digits are codes, unless numbers are asked for."""
    import pandas as pd

    whole = pd.api.types.is_integer_dtype(column.dtype)
    there = column[known]
    # 2^53 is where float64 begins to skip integers: identifiers would collide.
    if goal is None and whole and bool((there > EXACT).any() or (there < -EXACT).any()):
        return Cells("text", as_texts(column), known, said=(textcells.CODES,))
    values = _floats(column)
    return Cells("number", values, known, said=() if whole else _lost(values[known]))


def _lost(values: Array) -> tuple[str, ...]:
    """That floats are whole numbers of 64 bits which float64 may have rounded, as columns of ids with a hole are."""
    ids = bool(len(values)) and bool((values == np.round(values)).all())
    size = float(np.abs(values).max(initial=0.0))
    return (textcells.LOST,) if ids and EXACT < size < 2.0**64 else ()


def _moments(column: pd.Series[Any], known: Array) -> Cells:
    """Moments as days; whether they are whole days, and whether a time zone is lost."""
    import pandas as pd

    # Days since 1970 in UTC, whatever the zone.
    days = written.days_of(pd.to_datetime(column, utc=True))
    zone = getattr(column.dtype, "tz", None)
    said: tuple[str, ...] = ()
    if zone is not None and str(zone) != "UTC":
        said = (f"is in the time zone {zone}: kept in UTC",)
    return Cells("date", days, known, written=written.day_form(days[known]), said=said)


def _floats(column: pd.Series[Any]) -> Array:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


# ---- columns of text -----------------------------------------------------------------------------


def _categories(texts: Texts) -> Cells:
    """Text as it stands, but for words for nothing."""
    _, _, gone = textcells.sort_out(texts, None, None, None)
    said = textcells.noted_gaps(texts, gone)
    return Cells("text", texts.cells(), texts.known(gone), said=said)


def _from_text(
    texts: Texts, name: str, form: str | None, goal: str | None, comma: bool | None
) -> Cells:
    # Which value words are missing, and whether the rest are numbers, dates or flags.
    content, there, gone = textcells.sort_out(texts, form, goal, comma)
    known, gaps = texts.known(gone), textcells.noted_gaps(texts, gone)
    # No common type: categories, unless a few words spoil a column of values.
    if content is None:
        _not_mostly_values(texts, there, name)
        said = (*gaps, *(textcells.noted_words(texts, there) if there else ()))
        return Cells("text", texts.cells(), known, said=said)
    said = (*content.notes, *gaps)
    # Digits with meaning as text: leading zeros, or beyond 2^53.
    if content.kind == "code":
        return Cells("text", texts.cells(), known, said=said)
    # Each distinct text was read once; back to one value a cell.
    values = texts.spread(there, content.values)
    # A date that does not exist is a fault, not a missing value.
    if content.kind == "date":
        _refuse(texts, np.isnan(values) & known, name, "a date", "write it as YYYY-MM-DD")
    return Cells(
        content.kind,
        values,
        known,
        written=content.form,
        said=said,
        unit=content.unit,
        either=content.either,
    )


def _not_mostly_values(texts: Texts, there: Sequence[str], name: str) -> None:
    """Refuse a text among numbers or dates, where most cells are those.

    Raises:
        BadData: Naming the first.
    """
    # A sample of distinct texts decides whether this could be a column of values at all.
    some = there[: textcells.LOOK]
    if 2 * sum(map(looks_like_a_value, some)) < len(some):
        return
    # Then cells are counted, not distinct texts: one odd word in a thousand is a typo.
    stated = [text for text in there if not nothing_among_numbers(text)]
    words = [text for text in stated if not looks_like_a_value(text)]
    count = dict(zip(texts.distinct, texts.counts.tolist(), strict=True))
    odd, every = (sum(count[text] for text in group) for group in (words, stated))
    if words and odd <= (1 - VALUES_MOSTLY) * every:
        numbers = sum(count[text] for text in stated if is_amount(text))
        what = "a number" if 2 * numbers >= every else "a date like the others"
        raise not_of_kind(texts.cells(), texts.codes == texts.distinct.index(words[0]), name, what)


def _refuse(texts: Texts, wrong: Array, name: str, what: str, do: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        cell = texts.distinct[texts.codes[row]]
        raise BadData(f"{cell!r} is not {what}", where=f"row {row}, column {name!r}", do=do)


def _refuse_lists(column: pd.Series[Any], name: str) -> None:
    row = next(
        (i for i, v in enumerate(column) if isinstance(v, list | tuple | dict | set | np.ndarray)),
        None,
    )
    if row is not None:
        raise BadData(
            "a cell holds a list",
            where=f"row {row}, column {name!r}",
            do="give one number or word a cell",
        )


def not_of_kind(cells: Array, wrong: Array, name: str, what: str, do: str | None = None) -> BadData:
    """The refusal of text among numbers or dates, which names the first that is wrong."""
    row = int(np.flatnonzero(wrong)[0])
    text = f"or learn the column as text: columns={{{name!r}: 'nominal'}}"
    mend = do or f"mend it, leave it empty if it is missing, {text}"
    return BadData(f"{cells[row]!r} is not {what}", where=f"row {row}, column {name!r}", do=mend)


def no_value(column: pd.Series[Any], name: str, form: str, goal: str) -> BadData:
    """The refusal of a column that is not what it is to be, naming the first cell that is not."""
    # The first text that alone is not of the kind, else the first of all.
    texts = Texts.of(column)
    there = [text for text in texts.distinct if not nothing_among_numbers(text)]
    alone = (text for text in there if textcells.values_of([text], form, goal, None) is None)
    first = next(alone, there[0])
    what = {"date": "a date"}.get(goal, "a number")
    if is_format(form) and form != written.DAY:
        what += f" such as {example(form)}"
    wrong = texts.codes == texts.distinct.index(first)
    do = "write it as YYYY-MM-DD" if goal == "date" and "such as" not in what else None
    return not_of_kind(texts.cells(), wrong, name, what, do)
