"""Columns of text: what stands in their cells, each distinct text looked at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from likeness.core.errors import BadData
from likeness.data import dateforms, datetimes, missing, numerals, written
from likeness.data.arrays import Array
from likeness.data.numerals import NumberForm
from likeness.data.source import Loud

FEW = 1000  # cells that a dictionary sorts sooner than pandas does
LOOK = 1000  # distinct texts that tell whether a column is mostly numbers
CODES = Loud("holds codes (zeros in front, or digits beyond 2^53): kept as text, not as numbers")
DATES = "holds whole numbers that could be dates: 'date' in columns reads them so"
LOST = Loud(
    "holds whole numbers beyond 2^53 as floats, whose last digits may be lost: give ids as text or Int64"
)
SEVERAL = Loud("holds numbers or dates written in several ways: read as text")


@dataclass(frozen=True, eq=False)
class Texts:
    """A column's cells as text without blanks around.

    Args:
        distinct: Each text once, in order of appearance.
        codes: The place of each cell's text, -1 where a frame has no value, int64 (N,).
    """

    distinct: list[str]
    codes: Array

    @classmethod
    def of(cls, column: Iterable[Any]) -> Texts:
        """The texts of a column; whole numbers are without a point."""
        import pandas as pd

        try:
            cells = pd.Series(column)
        except UnicodeEncodeError as error:
            raise BadData(
                f"{error.object[error.start : error.end]!r} is no character",
                do="give texts of whole characters",
            ) from error
        # A short column: a dictionary costs less than pandas' hash table.
        if len(cells) <= FEW:
            return cls._few(cells.tolist())
        # Factorised first: each distinct value becomes text once; -1 (missing) is the last place.
        codes, values = pd.factorize(cells)
        places: dict[str, int] = {}
        place = [places.setdefault(as_text(value), len(places)) for value in values]
        return cls([*places], np.array([*place, -1], dtype=np.int64)[codes])

    @classmethod
    def _few(cls, values: Sequence[Any]) -> Texts:
        places: dict[str, int] = {}
        codes = [
            -1 if _absent(value) else places.setdefault(as_text(value), len(places))
            for value in values
        ]
        return cls([*places], np.array(codes, dtype=np.int64))

    @cached_property
    def counts(self) -> Array:
        """How many cells hold each text."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.distinct))

    def cells(self) -> Array:
        """The text of each cell, objects (N,); "" where a frame has no value."""
        return np.array([*self.distinct, ""], dtype=object)[self.codes]

    def known(self, gone: Iterable[str]) -> Array:
        """Which cells hold another text than those, bool (N,)."""
        words = set(gone)
        return np.array([*(text not in words for text in self.distinct), False])[self.codes]

    def spread(self, texts: Sequence[str], values: Array) -> Array:
        """A number for each cell from those of some texts, NaN elsewhere, (N,)."""
        # NaN for texts without a value, and in the last place for cells without a text.
        value = dict(zip(texts, values.tolist(), strict=True))
        each = [value.get(text, math.nan) for text in self.distinct]
        return np.array([*each, math.nan])[self.codes]


@dataclass(frozen=True, eq=False)
class Values:
    """What the texts of a column say, where they are no words.

    Args:
        kind: "number", "flag", "date", or "code" for digits that are kept as text.
        values: float64, one for each text.
        form: How they are written.
        notes: What was seen while reading them.
        unit: Of numbers, where they have one.
        either: Whether their marks could be those of decimals or of thousands.
    """

    kind: str
    values: Array
    form: str | None
    notes: tuple[str, ...] = ()
    unit: str | None = None
    either: bool = False


def as_text(value: Any) -> str:
    """A cell as stripped text; whole numbers without a point."""
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace").strip()
    return str(value).strip()


def _absent(value: Any) -> bool:
    import pandas as pd

    return not isinstance(value, str) and bool(np.ndim(value) == 0 and pd.isna(value))


# ---- values --------------------------------------------------------------------------------------


def values_of(
    texts: Sequence[str], form: str | None, goal: str | None, comma: bool | None
) -> Values | None:
    """Texts as truth values, dates, times or numbers; None where they are words.

    Args:
        texts: Each once, none of them a word for nothing.
        form: How they are known to be written; "" for plain numbers and dates of ISO 8601.
        goal: "number", "date" or "flag" where it is known what they are to be.
        comma: Whether the table's other columns have decimal commas, where that is known.
    """
    # From the narrowest kind to the widest: first truth values.
    flags = _flags(texts, as_numbers=goal == "flag")
    if flags is not None:
        return flags
    # Dates in bare digits, before they pass as numbers.
    if form is None and goal != "number":
        dates = dateforms.find_bare(texts, wanted=goal == "date")
        if dates is not None:
            return _of_dates(dates)
        # Codes with leading zeros or too many digits.
        if goal is None and numerals.code_among(texts) is not None:
            return Values("code", np.zeros(len(texts)), None, (CODES,))
    # Numbers, and dates with separators.
    return _numbers(texts, form, comma) or _dates(texts, form, goal)


def _flags(texts: Sequence[str], as_numbers: bool) -> Values | None:
    """Truth values: the words true and false however they are written, 1 and 0 where `as_numbers`."""
    truth = {"true": 1.0, "false": 0.0}
    if as_numbers:
        truth |= {"1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
    if not all(text.lower() in truth for text in texts):
        return None
    values = np.array([truth[text.lower()] for text in texts])
    words = [text for text in texts if text.lower() in {"true", "false"}]
    return Values("flag", values, written.flag(words))


def _numbers(texts: Sequence[str], form: str | None, comma: bool | None) -> Values | None:
    """Numbers, some of which may be infinite: whoever asks refuses those."""
    # A column known to hold dates is not retried as numbers.
    if datetimes.is_format(form):
        return None
    known = NumberForm() if form == "" else NumberForm.parse(form)
    # "inf" and "nan" have no form, so they do not take part in finding one.
    finite = [text for text in texts if not numerals.INFINITE.fullmatch(text)]
    if not finite or (form == "" and not all(map(numerals.is_number, finite))):
        return None
    numbers = numerals.read(finite, known, comma=comma)
    if numbers is None:
        return None
    # Back to all texts, the infinite ones by Python's own reading.
    value = dict(zip(finite, numbers.values.tolist(), strict=True))
    each = np.array([value[text] if text in value else float(text) for text in texts])
    said = [numbers.form.noted, DATES if dateforms.could_be_dates(texts) and form is None else None]
    notes = tuple(Loud(note) for note in said if note)
    return Values("number", each, str(numbers.form), notes, either=numbers.either)


def _dates(texts: Sequence[str], form: str | None, goal: str | None) -> Values | None:
    """Dates of a known format or of ISO 8601, or, where nothing is known, of the format they share."""
    # ISO 8601 needs no guessing.
    iso = written.iso_days(texts)
    if iso is not None:
        zoned = any(datetimes.OFFSET.search(text[10:]) for text in texts)
        notes = ("holds time zones: kept in UTC",) if zoned else ()
        return Values("date", iso, dateforms.signature(texts, iso) or written.day_form(iso), notes)
    # The form that training settled.
    if datetimes.is_format(form):
        return _of_format(texts, form or "")
    if form is not None:
        return None
    # Else whatever format all texts share.
    dates = dateforms.find(texts, wanted=goal == "date")
    return None if dates is None else _of_dates(dates)


def _of_format(texts: Sequence[str], form: str) -> Values | None:
    """Dates of this format, or with a time of day where those before had midnight."""
    # Draws may have a time of day where all training dates were midnight.
    for known in (form, form.replace("00:00:00", "%H:%M:%S").replace("00:00", "%H:%M")):
        values = datetimes.read(texts, known)
        if values is not None:
            return _of_dates(dateforms.Dates(values, form, ()))
    return None


def _of_dates(found: dateforms.Dates) -> Values:
    if datetimes.is_clock(found.form):
        return Values("number", found.values, found.form, found.notes, unit="hours")
    return Values("date", found.values, found.form, found.notes)


# ---- columns -------------------------------------------------------------------------------------


def sort_out(
    texts: Texts, form: str | None, goal: str | None, comma: bool | None
) -> tuple[Values | None, list[str], list[str]]:
    """What a column's texts say, the texts that say it, and those that stand for nothing.

    Words such as - or missing stand for nothing where all else are numbers, dates or truth values,
    or is to be.
    """
    # "-", "?" and the like are missing if the rest are values.
    there = [text for text in texts.distinct if not missing.nothing_among_numbers(text)]
    values = values_of(there, form, goal, comma) if there else None
    # Among words fewer texts count as missing: "none" may be a category.
    if values is None and (there or goal is None):
        there = [text for text in texts.distinct if not missing.nothing(text)]
    said = set(there)
    return values, there, [text for text in texts.distinct if text not in said]


def noted_gaps(texts: Texts, gone: Sequence[str]) -> tuple[str, ...]:
    """Which words were read as missing, and in how many cells."""
    counts = Counter(dict(zip(texts.distinct, texts.counts.tolist(), strict=True)))
    # The empty cell needs no note.
    words = [text for text in gone if text]
    if not words:
        return ()
    listed = ", ".join(f"{text!r} in {counts[text]} cells" for text in words[:5])
    more = f" and {len(words) - 5} more words" if len(words) > 5 else ""
    said = f"holds {listed}{more}: read as missing"
    return (Loud(said) if any(map(missing.noteworthy, words)) else said,)


def noted_words(texts: Texts, there: Sequence[str]) -> tuple[str, ...]:
    """What words look like, where they look like values or like gaps."""
    some = there[:LOOK]
    # What could mislead: values in several notations, words among values, and words like "none".
    valued = [text for text in some if looks_like_a_value(text)]
    if len(valued) == len(some):
        return (SEVERAL,)
    notes: list[str] = []
    counts = dict(zip(texts.distinct, texts.counts.tolist(), strict=True))
    if sum(counts[text] for text in valued) > 0.5 * sum(counts[text] for text in some):
        odd = next(text for text in some if not looks_like_a_value(text))
        said = f"holds words such as {odd!r} among numbers or dates: read as categories"
        notes.append(Loud(f"{said}; leave these cells empty to learn the others' values"))
    gaps = [text for text in there if missing.nothing_among_numbers(text)]
    gaps = [text for text in gaps if missing.noteworthy(text)]
    notes += [f"holds {text!r} in {counts[text]} cells: kept as a category" for text in gaps[:3]]
    return tuple(notes)


def looks_like_a_value(text: str) -> bool:
    """Whether a text alone would be read as a number or a date; measures such as 12b may be names."""
    if numerals.is_number(text) or dateforms.looks_dated(text):
        return True
    amount = numerals.AMOUNT.fullmatch(text)
    return amount is not None and not amount["measure"] and numerals.read([text]) is not None
