"""Spaces from frames, CSV and Parquet: a type for each column, missing values, dates, identifiers, roundings.

A column is, in this order: what the user says; truth values -> binary; dates -> Real in days; whole numbers and other
numbers by the rules of `arrays`, a coarse rounding becoming a resolution; text -> Nominal with its labels.
Text that holds amounts or dates as people write them is read as such. Columns that only tell rows apart (distinct text
in 95 % of at least 20 rows; row numbers or distinct numbers under a name that says so) are left out, with a note.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import Nominal, Ordinal, Real, Space, Variable
from likeness.data import written
from likeness.data.arrays import Array, Inferred, Rounding, Wanted, is_whole, named, real, sentences, whole
from likeness.data.source import Loud, Reading, Table

if TYPE_CHECKING:
    import pandas as pd

DAYS = "days since 1970-01-01"
MISSING = frozenset({"", "?", "n/a", "nan", "null", "<na>", "nat", "#n/a"})
NONE = frozenset({"na", "none"})  # categories among words, gaps among numbers and dates
WORDS_FOR_NOTHING = sorted({"NaN", "NaT", *MISSING, *map(str.upper, MISSING), *map(str.title, MISSING)})
DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)? ?(Z|[+-]\d{2}:?\d{2})?")
ID_NAME = re.compile(r"(^|[^a-z])(id|uuid|guid)$|[a-z](Id|ID)$|^ID$")
ROW_NAME = re.compile(
    r"unnamed: ?\d+|index|level_\d+|#|n[or]\.?|(row|line|record)([ _.]?(n[or]?|num|number))?", re.IGNORECASE
)
NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)", re.ASCII)
DAYS_MOST = 106_000  # either way of 1970: what timestamps hold
ROWS_TO_TELL = 20
MANY = 50
NUMBERS_MOSTLY = 0.8


# ---- cells ---------------------------------------------------------------------------------------------------------


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
        return Cells("text", _texts(column), known, tuple(_texts(pd.Series(column.cat.categories))))
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
    said = (f"is in the time zone {zone}: kept in UTC",) if zone is not None and str(zone) != "UTC" else ()
    return Cells("date", days, known, written=_day_form(days[known]), said=said)


def _day_form(days: Array) -> str | None:
    return written.DAY if len(days) and (days == np.round(days)).all() else None


def _floats(column: pd.Series[Any]) -> Array:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _days(column: Any) -> Array:
    """Days since 1970-01-01, UTC, as float64."""
    import pandas as pd

    moments = pd.to_datetime(pd.Series(column), utc=True)
    days = (moments - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta(days=1)
    return days.to_numpy(dtype=np.float64, na_value=np.nan)


def _texts(column: Iterable[Any]) -> Array:
    """Cells as stripped text; whole numbers without a point."""
    import pandas as pd

    codes, distinct = pd.factorize(pd.Series(column))
    texts = np.array([*map(_text, distinct), ""], dtype=object)
    return texts[codes]  # a missing cell has the code -1


def _there(column: pd.Series[Any], texts: Array) -> Array:
    """Which cells hold more than a word for nothing; "none" and "na" are such words among numbers and dates only."""
    distinct = set(texts)
    words = [t for t in distinct if t.lower() not in MISSING | NONE]
    none = NONE if words and all(_is_number(t) or DATE.fullmatch(t) for t in words) else frozenset()
    gone = {text for text in distinct if text.lower() in MISSING | none}
    return column.notna().to_numpy() & np.array([text not in gone for text in texts], dtype=bool)


def _text(value: Any) -> str:
    whole_number = isinstance(value, float | np.floating) and value.is_integer()
    return str(int(value)) if whole_number else str(value).strip()


def _from_text(column: pd.Series[Any], name: str, form: str | None) -> Cells:
    if column.dtype == object:
        _refuse_lists(column, name)
    texts = _texts(column)
    known = _there(column, texts)
    if not known.any():
        return Cells("text", texts, known)
    if all(isinstance(v, bool | np.bool_) for v in column[known]):
        flags = np.array([float(bool(v)) if k else np.nan for v, k in zip(column, known, strict=True)])
        return Cells("flag", flags, known, written=written.FLAG)
    return _dated(texts, known, name, form) or _amounts(texts, known, form) or _words(texts, known, name)


def _dated(texts: Array, known: Array, name: str, form: str | None) -> Cells | None:
    """Dates: of a known format, in ISO's order, or, where nothing is known of them, in the order that they share."""
    given = form if written.is_format(form) and form != written.DAY else None
    if all(DATE.fullmatch(t) for t in texts[known]):
        days = _dates(texts, known, name)
        zoned = any(t.endswith("Z") or re.search(r"[+-]\d{2}:?\d{2}$", t[10:]) for t in texts[known])
        said = ("holds time zones: kept in UTC",) if zoned else ()
        return Cells("date", days, known, written=_day_form(days[known]), said=said)
    found = written.dates(texts[known], given) if given is not None or form is None else None
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
    plain = pd.to_numeric(pd.Series(np.where(known, texts, "nan")), errors="coerce").to_numpy(dtype=np.float64)
    if mode != "comma" and not (np.isnan(plain) & known).any():
        return Cells("number", plain, known)
    found = written.numbers(texts[known], mode) if form is None or mode is not None else None
    if found is None:
        return None
    numbers = np.full(len(texts), np.nan)
    numbers[known] = found[0]
    return Cells("number", numbers, known, written=found[1], said=(written.SAID[found[1]],))


def _words(texts: Array, known: Array, name: str) -> Cells:
    """Text, unless most of it is numbers."""
    wrong = known & ~_numeric(texts)
    if wrong.sum() <= (1 - NUMBERS_MOSTLY) * known.sum():
        raise _not_a_number(texts, wrong, name)
    return Cells("text", texts, known)


def _refuse_lists(column: pd.Series[Any], name: str) -> None:
    row = next((i for i, v in enumerate(column) if isinstance(v, list | tuple | dict | set | np.ndarray)), None)
    if row is not None:
        raise BadData("a cell holds a list", where=f"row {row}, column {name!r}", do="give one number or word a cell")


def _dates(texts: Array, known: Array, name: str) -> Array:
    import pandas as pd

    stated = [t if k and DATE.fullmatch(t) else None for t, k in zip(texts, known, strict=True)]
    moments = pd.to_datetime(pd.Series(stated, dtype=object), format="ISO8601", utc=True, errors="coerce")
    wrong = moments.isna().to_numpy() & known
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise BadData(f"{texts[row]!r} is not a date", where=f"row {row}, column {name!r}", do="write it as YYYY-MM-DD")
    return _days(moments)


def _not_a_number(texts: Array, wrong: Array, name: str) -> BadData:
    row = int(np.flatnonzero(wrong)[0])
    return BadData(
        f"{texts[row]!r} is not a number",
        where=f"row {row}, column {name!r}",
        do=f"mend it, leave it empty if it is missing, or learn the column as text: columns={{{name!r}: 'nominal'}}",
    )


# ---- a frame's Space -----------------------------------------------------------------------------------------------


def space_of(
    frame: pd.DataFrame, *, columns: Mapping[Any, Wanted] | Wanted | None = None, rounding: Rounding = "bins",
    keep: Sequence[str] = (),
) -> tuple[Space, tuple[str, ...]]:  # fmt: skip
    """The Space of a frame's rows, and what was seen; `keep` names columns that are no identifiers.

    Raises:
        BadData: If there are no rows or columns, names repeat, or a column holds nothing.
    """
    names = _names(frame)
    wanted = _by_name(columns, names)
    for name in wanted:
        find(name, names)
    found: dict[str, Inferred] = {}
    notes: list[tuple[str, str]] = []
    for name, column in zip(names, (frame.iloc[:, i] for i in range(len(names))), strict=True):
        if wanted.get(name) == "skip":
            continue
        held = _present(cells_for(column, name, wanted.get(name)), name)
        reason = None if name in wanted or name in keep or len(names) == 1 else _identifier(held, name)
        if reason:
            said = Loud(f"looks like an identifier ({reason}): left out; name it in columns to keep it")
            notes.append((repr(name), said))
            continue
        found[name] = _infer(held, name, wanted.get(name), rounding)
        notes += [(repr(name), note) for note in (*found[name].notes, *_gaps(held))]
        notes += [] if name in wanted else [(repr(name), note) for note in _counting(held, name)]
    if not found:
        raise BadData("no column is left", do="name the columns to keep, as in columns={'name': 'nominal'}")
    forms = {name: f.written for name, f in found.items()}
    return table_space({name: f.variable for name, f in found.items()}, forms), sentences(notes)


def table_space(variables: Mapping[str, Variable], forms: Mapping[str, str | None] | None = None) -> Space:
    """The Space of a row with these columns, which are written in these forms."""
    said = tuple((forms or {}).get(name) for name in variables)
    return Space(
        axes=("column",), shape=(len(variables),), variables=tuple(variables.values()), names=tuple(variables),
        source="table", written=said if any(said) else None,
    )  # fmt: skip


def _by_name(columns: Mapping[Any, Wanted] | Wanted | None, names: Sequence[str]) -> dict[str, Wanted]:
    """The types that the user names, by the columns' names as text; one type alone is that of all."""
    if columns is None or isinstance(columns, Mapping):
        return {str(name): wanted for name, wanted in (columns or {}).items()}
    return dict.fromkeys(names, columns)


def _names(frame: pd.DataFrame) -> list[str]:
    names = [str(c) for c in frame.columns]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise BadData(f"two columns are called {twice!r}", do="give each column a name of its own")
    if not len(frame) or not names:
        raise BadData("the table is empty", do="give rows and columns")
    return names


def find(name: str, names: Sequence[str]) -> int:
    """The place of a column.

    Raises:
        BadData: If there is none of that name; the nearest is named.
    """
    if name in names:
        return list(names).index(name)
    near = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
    raise BadData(f"no column {name!r}", do=f"did you mean {near[0]!r}?" if near else f"there are {listed}")


def cells_for(column: pd.Series[Any], name: str, wanted: Wanted | None) -> Cells:
    """The cells as the wanted type reads them: categories never fail for being numbers in part."""
    kind = wanted if isinstance(wanted, str) or wanted is None else wanted.type
    if kind != "nominal":
        return cells(column, name)
    texts = _texts(column)
    known = _there(column, texts)
    return Cells("text", texts, known)


def _present(held: Cells, name: str) -> Cells:
    if not held.known.any():
        raise BadData(
            f"column {name!r} holds nothing but missing values", do=f"leave it out: columns={{{name!r}: 'skip'}}"
        )
    if held.kind != "text":
        infinite = np.isinf(held.values)
        if infinite.any():
            row = int(np.flatnonzero(infinite)[0])
            raise BadData("an infinite value", where=f"row {row}, column {name!r}", do="mend it or leave it empty")
    return held


def _identifier(held: Cells, name: str) -> str | None:
    values, rows = held.values[held.known], len(held.values)
    if len(values) < ROWS_TO_TELL or held.kind in {"flag", "date"}:
        return None
    distinct = len(set(values.tolist()))
    if held.kind == "text":
        return f"{distinct} distinct texts in {rows} rows" if distinct >= 0.95 * len(values) else None
    if distinct < rows or not is_whole(values):
        return None
    if not ID_NAME.search(name) and not (ROW_NAME.fullmatch(name) and _consecutive(values)):
        return None
    return "the row's number" if _consecutive(values) else f"{distinct} distinct numbers in {rows} rows"


def _consecutive(values: Array) -> bool:
    return bool((np.diff(values) == 1).all())


def _counting(held: Cells, name: str) -> tuple[str, ...]:
    """What is kept though it counts the rows: a time or a year may do that."""
    values = held.values[held.known]
    counts = held.kind == "number" and len(values) >= ROWS_TO_TELL and _consecutive(values)
    return (Loud(f"counts the rows one by one: kept; columns={{{name!r}: 'skip'}} leaves it out"),) if counts else ()


def _infer(held: Cells, name: str, wanted: Wanted | None, rounding: Rounding) -> Inferred:
    where, values = f"column {name!r}", held.values[held.known]
    if isinstance(wanted, str):
        return _formed(Inferred(_by_word(wanted, held, where)), held, rounding)
    if wanted is not None:
        return _formed(Inferred(wanted), held, rounding)
    if held.kind == "text":
        return _nominal(held)
    if held.kind == "flag":
        return _formed(
            Inferred(Ordinal(levels=2), (Loud("is constant"),) if len(set(values)) == 1 else ()), held, rounding
        )
    if held.kind == "date":
        found = real(values, rounding=rounding, unit=DAYS)
        notes = ("holds dates: read as days since 1970-01-01, UTC", *found.notes)
        return _formed(Inferred(found.variable, notes), held, rounding)
    return _formed((whole if is_whole(values) else real)(values, rounding=rounding), held, rounding)


def _formed(found: Inferred, held: Cells, rounding: Rounding) -> Inferred:
    """With how the column is written, and what was seen of that; draws of rounded numbers have as many decimals."""
    form = held.written
    if held.kind == "number" and found.variable.type == "real" and rounding == "bins":
        values = held.values[held.known]
        digits = written.decimals(values) if len(values) >= ROWS_TO_TELL and not is_whole(values) else None
        form = form if digits is None else f"{form or 'point'}:{digits}"
    return replace(found, notes=(*held.said, *found.notes), written=form)


def _by_word(word: str, held: Cells, where: str) -> Variable:
    if word == "nominal":
        return _nominal(held).variable
    if word == "date" and held.kind == "number" and float(np.abs(held.values[held.known]).max()) > DAYS_MOST:
        raise BadData(
            f"{held.values[held.known].max():.0f} is no number of days since 1970", where=where,
            do="write dates as YYYY-MM-DD, or make them with pd.to_datetime(column, format='%Y%m%d')",
        )  # fmt: skip
    if word == "date" or (word == "real" and held.kind == "date"):
        return Real(unit=DAYS)
    if held.kind == "text":
        raise BadData(f"text cannot be {word}", where=where, do="choose nominal")
    return named(word, held.values[held.known], name=where)


def _nominal(held: Cells) -> Inferred:
    distinct = held.labels or tuple(sorted(set(held.values[held.known].tolist()), key=_natural))
    notes: list[str] = [Loud(f"is constant ({distinct[0]!r})")] if len(distinct) == 1 else []
    if held.labels is not None and len(distinct) > 2:
        notes.append("has categories whose order, if they have one, is not used")
    if len(distinct) > MANY:
        notes.append(f"has {len(distinct)} categories: high cardinality, the rare ones are seen a few times only")
    return Inferred(Nominal(categories=len(distinct), labels=distinct), tuple(notes))


def _natural(text: str) -> tuple[bool, float, str]:
    """Numbers by size, before words by letter."""
    number = bool(NUMBER.fullmatch(text))
    return (not number, float(text) if number else 0.0, text)


def _gaps(held: Cells) -> tuple[str, ...]:
    gaps = int((~held.known).sum())
    return (f"lacks {gaps} of {len(held.known)} values",) if gaps else ()


# ---- rows of a known Space -----------------------------------------------------------------------------------------


def encode(space: Space, frame: pd.DataFrame) -> Batch:
    """The rows of a frame as a Batch of `space`: labels become codes, dates days, levels codes from 0.

    Raises:
        BadData: Naming the missing column, or the row and column of a value that the Space does not hold.
    """
    if len(space.shape) != 1 or space.ragged:
        raise BadData("a frame where items are no rows of columns", do="give an array")
    names = [str(c) for c in frame.columns]
    own = space.names or tuple(names[: space.width])
    if len(own) != space.width:
        raise BadData(f"{len(names)} columns where {space.width} are expected", do="give one column for each entry")
    twice = next((n for n in own if names.count(n) > 1), None)
    if twice is not None:
        raise BadData(f"two columns are called {twice!r}", do="give each column a name of its own")
    forms = space.written or ("",) * space.width
    told = zip(own, space.columns, forms, strict=True)
    columns = [_codes(frame.iloc[:, find(n, names)], n, v, form or "") for n, v, form in told]
    x = torch.from_numpy(np.stack(columns, -1))
    hidden = torch.isnan(x)
    return Batch(x.masked_fill(hidden, 0.0), observed=~hidden if bool(hidden.any()) else None)


def _codes(column: pd.Series[Any], name: str, variable: Variable, form: str) -> Array:
    """A column in data units, float64 with NaN where it is missing."""
    if variable.type == "nominal" and variable.labels is not None:
        return _label_codes(column, name, variable.labels)
    held = cells(_true_or_false(column, variable), name, form)
    if held.kind == "text" and variable.type == "real" and variable.unit == DAYS:
        return _dates(held.values, held.known, name)
    if held.kind == "text":
        if held.known.any():
            raise _not_a_number(held.values, held.known & ~_numeric(held.values), name)
        return np.full(len(column), np.nan)
    values = np.where(held.known, held.values, np.nan)
    if variable.type == "ordinal":
        return _levels(values, name, variable)
    _known_or_refuse(np.isinf(values), values, name, "a finite number")
    if variable.type == "count":
        _known_or_refuse(
            (values < 0) | (values != np.round(values)) & ~np.isnan(values), values, name, "a count 0, 1, 2, ..."
        )
    return values


def _true_or_false(column: pd.Series[Any], variable: Variable) -> pd.Series[Any]:
    """The words true and false as 1 and 0 where there are two levels."""
    if variable.states != 2 or variable.type != "ordinal" or column.dtype.kind in "biuf":
        return column
    return column.map(lambda cell: {"true": 1, "false": 0}.get(str(cell).strip().lower(), cell))


def _numeric(texts: Array) -> Array:
    import pandas as pd

    return np.asarray(pd.to_numeric(pd.Series(texts), errors="coerce").notna())


def _levels(values: Array, name: str, variable: Ordinal) -> Array:
    codes = values - variable.start
    outside = ((codes < 0) | (codes >= variable.levels) | (codes != np.round(codes))) & ~np.isnan(codes)
    last = variable.start + variable.levels - 1
    _known_or_refuse(outside, values, name, f"one of the levels {variable.start}..{last}")
    return codes


def _known_or_refuse(wrong: Array, values: Array, name: str, wanted: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise BadData(
            f"{values[row]:g} is not {wanted}", where=f"row {row}, column {name!r}", do="mend it, or leave it empty"
        )


def _label_codes(column: Iterable[Any], name: str, known: tuple[str, ...]) -> Array:
    import pandas as pd

    values = column if isinstance(column, pd.Series) else pd.Series(list(column), dtype=object)
    place = {text: float(i) for i, text in enumerate(known)}
    texts = _texts(values)
    gone = MISSING | NONE if all(map(_is_number, known)) else MISSING
    strange = {text for text in set(texts) if text not in place and text.lower() not in gone}
    if strange:
        row = next(i for i, text in enumerate(texts) if text in strange)
        raise unknown_label(texts[row], known, f"row {row}, column {name!r}")
    return np.array([place.get(text, np.nan) for text in texts], dtype=np.float64)


def unknown_label(text: str, known: tuple[str, ...], where: str) -> BadData:
    """The refusal of a label that was never learned, with the nearest that was."""
    near = difflib.get_close_matches(text, known, n=1) or difflib.get_close_matches(text.lower(), known, n=1)
    listed = ", ".join(map(repr, known[:8])) + (", ..." if len(known) > 8 else "")
    return BadData(
        f"{text!r} is no category that was learned", where=where,
        do=f"did you mean {near[0]!r}?" if near else f"there are {listed}",
    )  # fmt: skip


def label_batch(space: Space, values: Iterable[Any]) -> Batch:
    """Rows of a label Space from its names."""
    variable, name = space.variables[0], (space.names or ("label",))[0]
    assert variable.type == "nominal"
    codes = torch.from_numpy(_label_codes(values, name, variable.labels or ()))[:, None]
    hidden = torch.isnan(codes)
    return Batch(codes.masked_fill(hidden, 0.0), observed=~hidden if bool(hidden.any()) else None)


# ---- readings ------------------------------------------------------------------------------------------------------


def read(
    parts: Mapping[str, pd.DataFrame], *, name: str, given: Sequence[str] = (), group: str | None = None,
    columns: Mapping[Any, Wanted] | Wanted | None = None, rounding: Rounding = "bins",
) -> Reading:  # fmt: skip
    """The rows of frames of one kind; the columns `given` become what is given, `group` what splits keep whole."""
    import pandas as pd

    names = [_names(frame) for frame in parts.values()].pop()
    frame = pd.concat(list(parts.values()), ignore_index=True) if len(parts) > 1 else next(iter(parts.values()))
    frame = frame.rename(columns=str)
    for name_ in (*given, *([group] if group else [])):
        find(name_, names)
    wanted = {**_by_name(columns, names), **({group: "skip"} if group and group not in given else {})}
    space, notes = space_of(frame, columns=wanted, rounding=rounding, keep=given)
    variables = dict(zip(space.names or (), space.columns, strict=True))
    forms = dict(zip(space.names or (), space.written or (None,) * space.width, strict=True))
    inner = table_space(_without(variables, given), forms)
    outer = table_space(_as_label(frame, {n: variables[n] for n in given}, wanted), forms) if given else None
    tables = {part: _table(rows.rename(columns=str), inner, outer, group, name) for part, rows in parts.items()}
    return Reading(tables, notes)


def _without(variables: Mapping[str, Variable], given: Sequence[str]) -> dict[str, Variable]:
    inner = {n: v for n, v in variables.items() if n not in given}
    if not inner:
        raise BadData("every column is given: none is left to learn", do="give fewer columns")
    return inner


def _as_label(frame: pd.DataFrame, variables: dict[str, Variable], wanted: Mapping[str, Wanted]) -> dict[str, Variable]:
    """One binary column given alone is a label of two classes, so that it can be summed over and asked for."""
    (name, variable), *more = variables.items()
    if more or name in wanted or variable.states != 2:
        return variables
    return {name: _nominal(cells_for(frame[name], name, "nominal")).variable}


def _table(frame: pd.DataFrame, space: Space, outer: Space | None, group: str | None, name: str) -> Table:
    batch = encode(space, frame)
    if outer is not None:
        batch = batch.given_as(encode(outer, frame))
    return Table(space, batch, given_space=outer, name=name, groups=None if group is None else groups(frame[group]))


def conditioned(table: Table, given: Sequence[str]) -> Table:
    """A table with some of its columns as what is given.

    Raises:
        BadData: If it has no such column, or no other.
    """
    space, names = table.space, table.space.names
    if table.given_space is not None and set(given) <= set(table.given_space.names or ()):
        return table
    if names is None or len(space.shape) != 1 or space.ragged:
        raise BadData(f"nothing called {given[0]!r} can be given", do="give an array with one row for each item")
    if table.given_space is not None:
        raise BadData("the rows have a condition already", do="load the table with all that is given")
    at = [find(name, names) for name in given]
    rest = [i for i in range(space.width) if i not in at]
    if not rest:
        raise BadData("every column is given: none is left to learn", do="give fewer columns")
    inner, outer = _columns_of(space, rest), _columns_of(space, at)
    alone = len(at) == 1 and outer.variables[0].type == "ordinal" and outer.variables[0].states == 2
    outer = outer.model_copy(update={"variables": (_two_classes(outer),)}) if alone else outer
    batch, seen = table.batch, table.batch.observed
    told = Batch(batch.x[:, at], None if seen is None else seen[:, at], index=batch.ids)
    kept = replace(batch, x=batch.x[:, rest], observed=None if seen is None else seen[:, rest], given=told)
    return replace(table, space=inner, given_space=outer, batch=kept)


def _columns_of(space: Space, at: Sequence[int]) -> Space:
    names, forms, variables = space.names or (), space.written or (None,) * space.width, space.columns
    return table_space({names[i]: variables[i] for i in at}, {names[i]: forms[i] for i in at}).model_copy(
        update={"source": space.source}
    )


def _two_classes(space: Space) -> Nominal:
    variable, flag = space.variables[0], (space.written or (None,))[0] == written.FLAG
    start = variable.start if variable.type == "ordinal" else 0
    return Nominal(categories=2, labels=("False", "True") if flag else (str(start), str(start + 1)))


def groups(values: Iterable[Any]) -> Tensor:
    """A number for each row's group, int64 (N,)."""
    known: dict[tuple[type, Any], int] = {}
    keys = ((type(value), value) for value in values)
    return torch.tensor([known.get(k) or known.setdefault(k, _key(k[1])) for k in keys], dtype=torch.int64)


def _key(value: Any) -> int:
    """A group's number from its name alone, so that other groups do not move it."""
    text = _text(value).encode()
    return zlib.crc32(text) << 31 ^ zlib.adler32(text)


# ---- files ---------------------------------------------------------------------------------------------------------


def read_csv(path: Path, *, verbatim: bool = False) -> pd.DataFrame:
    """A table of text: comma, semicolon, tab or blanks between cells, with or without a line of names.

    The first line is data if one of its cells is a number. With `verbatim` all cells are the text that stands there.

    Raises:
        BadData: If the file is empty, is not UTF-8, has two columns of one name or lines of unlike length.
    """
    import pandas as pd

    text = decode(path)
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    if not lines:
        raise BadData("the file is empty", where=str(path))
    delimiter = _delimiter(lines)
    head = _split(lines[0], delimiter)
    titled = not any(_is_number(c) for c in head)
    if titled and len(set(head)) < len(head):
        twice = next(c for c in head if head.count(c) > 1)
        raise BadData(f"two columns are called {twice!r}", where=str(path), do="give each column a name of its own")
    names = None if titled else [f"column {i}" for i in range(len(head))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(text), sep=delimiter, header=0 if titled else None, names=names, index_col=False,
                skipinitialspace=True, low_memory=False, dtype=str if verbatim else None, keep_default_na=False,
                na_values=None if verbatim else WORDS_FOR_NOTHING,
            )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise BadData(
            _line_fault(str(error)), where=str(path), do="give every line the same number of cells"
        ) from error
    frame.columns = [str(c).strip() for c in frame.columns]
    if not len(frame):
        raise BadData("the file holds a line of names and no rows", where=str(path))
    return frame


def decode(path: Path) -> str:
    """The text in a file, gzipped or not.

    Raises:
        BadData: If it is not UTF-8.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"byte {error.start} is not UTF-8", where=str(path), do="save the file as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise BadData("the file cannot be read, or its gzip is broken", where=str(path)) from error


def _delimiter(lines: list[str]) -> str:
    """The mark that splits the first lines into the most cells, alike in each; blanks where all cells are numbers."""
    most, best = 1, ","
    for mark in (",", ";", "\t"):
        counts = {len(_split(line, mark)) for line in lines}
        if len(counts) == 1 and max(counts) > most:
            most, best = max(counts), mark
    blank = all(len(line.split()) > 1 and all(_is_number(c) for c in line.split()) for line in lines[1:] or lines)
    return r"\s+" if most == 1 and blank else best


def _split(line: str, mark: str) -> list[str]:
    if mark == r"\s+":
        return line.split()
    return [c.strip() for c in next(csv.reader([line], delimiter=mark, skipinitialspace=True))]


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def numbers_only(path: Path) -> bool:
    """Whether the first lines of a text file are numbers and marks between them."""
    lines = [line for line in decode(path).splitlines()[:20] if line.strip()]
    mark = _delimiter(lines) if lines else ","
    return bool(lines) and all(_is_number(c) for line in lines for c in _split(line, mark))


def _line_fault(said: str) -> str:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said)
    return f"line {found[2]} has {found[3]} cells where {found[1]} are expected" if found else "lines of unlike length"


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet table.

    Raises:
        BadData: If the file is empty or no Parquet file.
    """
    import pandas as pd
    from pyarrow import ArrowException

    try:
        return pd.read_parquet(path)
    except (ArrowException, OSError, ValueError) as error:
        raise BadData("the file is empty, broken or no Parquet file", where=str(path), do="write it again") from error
