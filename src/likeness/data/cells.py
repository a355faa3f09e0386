"""What the cells of a table's column hold: numbers, truth values, dates or words, and which of them are there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from likeness.core.errors import BadData
from likeness.data import written
from likeness.data.arrays import Array, Wanted

if TYPE_CHECKING:
    import pandas as pd

MISSING = frozenset({"", "?", "n/a", "nan", "null", "<na>", "nat", "#n/a"})
NONE = frozenset({"na", "none"})  # categories among words, gaps among numbers and dates
DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)? ?(Z|[+-]\d{2}:?\d{2})?")
NUMBERS_MOSTLY = 0.8


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
    """

    kind: str
    values: Array
    known: Array
    labels: tuple[str, ...] | None = None
    written: str | None = None
    said: tuple[str, ...] = ()


def cells(column: pd.Series[Any], name: str, form: str | None = None) -> Cells:
    """What a column of a frame holds; `form` is how it is known to be written, "" as plain numbers and ISO dates.

    Raises:
        BadData: If most cells are numbers and one is text, or a cell is a list.
    """
    import pandas as pd

    known = column.notna().to_numpy()
    if isinstance(column.dtype, pd.CategoricalDtype):
        return Cells(
            "text", as_texts(column), known, tuple(as_texts(pd.Series(column.cat.categories)))
        )
    if pd.api.types.is_bool_dtype(column.dtype):
        return Cells("flag", _floats(column), known, written=written.FLAG)
    if isinstance(column.dtype, pd.PeriodDtype):
        return _moments(column.dt.to_timestamp(), known)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _moments(column, known)
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        days = (column / pd.Timedelta(days=1)).to_numpy(dtype=np.float64, na_value=np.nan)
        return Cells("number", days, known, said=("holds durations: read as numbers of days",))
    if pd.api.types.is_numeric_dtype(column.dtype):
        return Cells("number", _floats(column), known)
    return _from_text(column, name, form)


def _moments(column: pd.Series[Any], known: Array) -> Cells:
    """Moments as days; whether they are whole days, and whether a time zone is lost."""
    days = _days(column)
    zone = getattr(column.dtype, "tz", None)
    said = (
        (f"is in the time zone {zone}: kept in UTC",)
        if zone is not None and str(zone) != "UTC"
        else ()
    )
    return Cells("date", days, known, written=_day_form(days[known]), said=said)


def _day_form(days: Array) -> str | None:
    if len(days) and (days == np.round(days)).all():
        return written.DAY
    return None


def _floats(column: pd.Series[Any]) -> Array:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _days(column: Any) -> Array:
    """Days since 1970-01-01, UTC, as float64."""
    import pandas as pd

    moments = pd.to_datetime(pd.Series(column), utc=True)
    days = (moments - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta(days=1)
    return days.to_numpy(dtype=np.float64, na_value=np.nan)


def as_texts(column: Iterable[Any]) -> Array:
    """Cells as stripped text; whole numbers without a point."""
    import pandas as pd

    codes, distinct = pd.factorize(pd.Series(column))
    texts = np.array([*map(as_text, distinct), ""], dtype=object)
    return texts[codes]  # a missing cell has the code -1


def stated(column: pd.Series[Any], texts: Array) -> Array:
    """Which cells hold more than a word for nothing; "none" and "na" are such words among numbers and dates only."""
    distinct = set(texts)
    words = [t for t in distinct if t.lower() not in MISSING | NONE]
    if words and all(is_number(t) or DATE.fullmatch(t) for t in words):
        none = NONE
    else:
        none = frozenset()
    gone = {text for text in distinct if text.lower() in MISSING | none}
    return column.notna().to_numpy() & np.array([text not in gone for text in texts], dtype=bool)


def as_text(value: Any) -> str:
    """A cell as stripped text; whole numbers without a point."""
    whole_number = isinstance(value, float | np.floating) and value.is_integer()
    if whole_number:
        return str(int(value))
    return str(value).strip()


def _from_text(column: pd.Series[Any], name: str, form: str | None) -> Cells:
    if column.dtype == object:
        _refuse_lists(column, name)
    texts = as_texts(column)
    known = stated(column, texts)
    if not known.any():
        return Cells("text", texts, known)
    if all(isinstance(v, bool | np.bool_) for v in column[known]):
        flags = np.array(
            [float(bool(v)) if k else np.nan for v, k in zip(column, known, strict=True)]
        )
        return Cells("flag", flags, known, written=written.FLAG)
    return (
        _dated(texts, known, name, form)
        or _amounts(texts, known, form)
        or _words(texts, known, name)
    )


def _dated(texts: Array, known: Array, name: str, form: str | None) -> Cells | None:
    """Dates: of a known format, in ISO's order, or, where nothing is known of them, in the order that they share."""
    if written.is_format(form) and form != written.DAY:
        given = form
    else:
        given = None
    if all(DATE.fullmatch(t) for t in texts[known]):
        days = dates_of(texts, known, name)
        zoned = any(
            t.endswith("Z") or re.search(r"[+-]\d{2}:?\d{2}$", t[10:]) for t in texts[known]
        )
        said = ("holds time zones: kept in UTC",) if zoned else ()
        return Cells("date", days, known, written=_day_form(days[known]), said=said)
    if given is not None or form is None:
        found = written.dates(texts[known], given)
    else:
        found = None
    if found is None:
        return None
    moments, order, sentence = found
    days = np.full(len(texts), np.nan)
    days[known] = _days(moments)
    return Cells("date", days, known, written=order, said=(sentence,) if sentence else ())


def _amounts(texts: Array, known: Array, form: str | None) -> Cells | None:
    """Numbers: plain ones, or amounts as people write them, where the column is not known to hold plain ones."""
    import pandas as pd

    mode = written.kind(form)
    plain = pd.to_numeric(pd.Series(np.where(known, texts, "nan")), errors="coerce").to_numpy(
        dtype=np.float64
    )
    if mode != "comma" and not (np.isnan(plain) & known).any():
        return Cells("number", plain, known)
    if form is None or mode is not None:
        found = written.numbers(texts[known], mode)
    else:
        found = None
    if found is None:
        return None
    numbers = np.full(len(texts), np.nan)
    numbers[known] = found[0]
    return Cells("number", numbers, known, written=found[1], said=(written.SAID[found[1]],))


def _words(texts: Array, known: Array, name: str) -> Cells:
    """Text, unless most of it is numbers."""
    wrong = known & ~numeric(texts)
    if wrong.sum() <= (1 - NUMBERS_MOSTLY) * known.sum():
        raise not_a_number(texts, wrong, name)
    return Cells("text", texts, known)


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


def dates_of(texts: Array, known: Array, name: str) -> Array:
    """Days since 1970 of text in ISO's order.

    Raises:
        BadData: Naming the first cell that is no date.
    """
    import pandas as pd

    stated = [t if k and DATE.fullmatch(t) else None for t, k in zip(texts, known, strict=True)]
    moments = pd.to_datetime(
        pd.Series(stated, dtype=object), format="ISO8601", utc=True, errors="coerce"
    )
    wrong = moments.isna().to_numpy() & known
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise BadData(
            f"{texts[row]!r} is not a date",
            where=f"row {row}, column {name!r}",
            do="write it as YYYY-MM-DD",
        )
    return _days(moments)


def not_a_number(texts: Array, wrong: Array, name: str) -> BadData:
    """The refusal of text among numbers, which names the first that is wrong."""
    row = int(np.flatnonzero(wrong)[0])
    return BadData(
        f"{texts[row]!r} is not a number",
        where=f"row {row}, column {name!r}",
        do=f"mend it, leave it empty if it is missing, or learn the column as text: columns={{{name!r}: 'nominal'}}",
    )


def cells_for(column: pd.Series[Any], name: str, wanted: Wanted | None) -> Cells:
    """The cells as the wanted type reads them: categories never fail for being numbers in part."""
    if isinstance(wanted, str) or wanted is None:
        kind = wanted
    else:
        kind = wanted.type
    if kind != "nominal":
        return cells(column, name)
    texts = as_texts(column)
    known = stated(column, texts)
    return Cells("text", texts, known)


def numeric(texts: Array) -> Array:
    """Which texts are numbers, bool (N,)."""
    import pandas as pd

    return np.asarray(pd.to_numeric(pd.Series(texts), errors="coerce").notna())


def is_number(cell: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False
