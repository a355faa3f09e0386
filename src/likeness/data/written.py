"""How columns are written, and values as they write them.

A form is kept with the Space, so that later rows are read as the first ones were and answers look
like them: a pattern of `numerals` for numbers, a format of `datetimes` for dates and times, "flag"
for truth values, with their words where these are no True and False.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from likeness.data import datetimes
from likeness.data.numerals import Array, NumberForm

if TYPE_CHECKING:
    import pandas as pd

FLAG, DAY = "flag", "%Y-%m-%d"
DIGITS_MOST = 6
ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)? ?(Z|[+-]\d{2}:?\d{2})?", re.ASCII
)


# ---- truth values --------------------------------------------------------------------------------


def flag(words: Sequence[str]) -> str:
    """The form of truth values that are written in these words."""
    yes = next((word for word in words if word.lower() == "true"), "True")
    no = next((word for word in words if word.lower() == "false"), "False")
    if yes.isupper() or no.isupper():
        yes, no = "TRUE", "FALSE"
    elif yes.islower() or no.islower():
        yes, no = "true", "false"
    return FLAG if yes == "True" else f"{FLAG}:{no}|{yes}"


def flag_words(form: str | None) -> tuple[str, str] | None:
    """The words for false and true, or None where the form is not that of truth values."""
    name, _, words = (form or "").partition(":")
    if name != FLAG:
        return None
    no, _, yes = (words or "False|True").partition("|")
    return no, yes


# ---- dates ---------------------------------------------------------------------------------------


def iso_days(texts: Sequence[str]) -> Array | None:
    """Days since 1970, UTC, of dates of ISO 8601, NaN where there is no such day; None for other texts."""
    import pandas as pd

    if not all(map(ISO.fullmatch, texts)):
        return None
    moments = pd.to_datetime(
        pd.Series(texts, dtype=object), format="ISO8601", utc=True, errors="coerce"
    )
    return days_of(moments)


def offsets(texts: Array, form: str | None) -> Array | None:
    """Microseconds that clocks are ahead of UTC, as dates say that end so, (N,); None where none does."""
    iso = [ISO.fullmatch(text) for text in texts]
    if all(iso):
        ends = [found[4] if found is not None else None for found in iso]
    else:
        shape = datetimes.pattern(form or "")
        end = datetimes.OFFSET.search(form or "")
        matches = [shape.fullmatch(text) for text in texts]
        named = "z" in shape.groupindex and all(matches)
        fixed = None if end is None else end[1]
        ends = [m["z"] if named and m is not None else fixed for m in matches]
    if not any(ends):
        return None
    return np.array([0 if text is None else datetimes.offset(text) for text in ends])


def days_of(moments: Any) -> Array:
    """Days since 1970-01-01, UTC, as float64, of moments of pandas."""
    import pandas as pd

    days = (moments - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta(days=1)
    return np.asarray(days.to_numpy(dtype=np.float64, na_value=np.nan))


def day_form(days: Array) -> str | None:
    """The form of dates without a time, where all are whole days."""
    return DAY if len(days) and bool((days == np.round(days)).all()) else None


# ---- numbers -------------------------------------------------------------------------------------


def decimals(values: Array) -> int | None:
    """How many decimals all values have at most, None where they have more than six."""
    return next((d for d in range(DIGITS_MOST + 1) if (np.round(values, d) == values).all()), None)


def digits(form: str | None) -> int | None:
    """The decimals that a form of numbers states."""
    parsed = NumberForm.parse(form)
    return None if parsed is None or parsed.power else parsed.most


# ---- cells ---------------------------------------------------------------------------------------


def as_written(frame: pd.DataFrame, forms: Mapping[str, str | None]) -> pd.DataFrame:
    """A frame with its columns as text, where these forms say how they are written."""
    return frame.assign(
        **{
            name: texts
            for name, form in forms.items()
            if name in frame and (texts := as_texts(frame[name], form)) is not None
        }
    )


def as_texts(column: pd.Series[Any], form: str | None) -> Array | None:
    """Numbers, moments or truth values as a column writes them, objects (N,), None where missing.

    None where the form does not go with the column.
    """
    known = column.notna().to_numpy()
    texts = _texts(column[known], form)
    if texts is None:
        return None
    cells = np.full(len(column), None, dtype=object)
    cells[known] = texts
    return cells


def _texts(column: pd.Series[Any], form: str | None) -> list[str] | None:
    words, kind = flag_words(form), column.dtype.kind
    if words is not None and kind == "b":
        return [words[bool(value)] for value in column]
    if datetimes.is_clock(form) and kind in "fiu":
        return datetimes.write_clock(column.to_numpy(dtype=np.float64), form or "")
    if datetimes.is_format(form) and kind == "M":
        return _dates(column.to_numpy().astype("datetime64[us]"), form or "")
    number = NumberForm.parse(form)
    if number is not None and kind in "fiu":
        return _numbers(column.to_numpy(dtype=getattr(column.dtype, "numpy_dtype", None)), number)
    return None


def _numbers(values: Array, form: NumberForm) -> list[str]:
    """Numbers in this form; those that it would round have all of their decimals."""
    if form.most is None or form.power:
        return [form.write(value) for value in values]
    free = replace(form, most=None)
    off = np.abs(np.round(values, form.most) - values)
    finer = off > np.maximum(10.0 ** -(form.most + 3), 2e-7 * np.abs(values))
    return [(free if more else form).write(v) for v, more in zip(values, finer, strict=True)]


def _dates(moments: Array, form: str) -> list[str]:
    """Moments in this format; those that it cannot tell are written in full."""
    finer = datetimes.snap(moments, form) != moments
    full = datetimes.write(moments, "%Y-%m-%d %H:%M:%S.%f")
    texts = datetimes.write(moments, form)
    return [long if more else text for text, long, more in zip(texts, full, finer, strict=True)]
