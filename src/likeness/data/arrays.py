"""Variables from their values.

Rules for whole numbers lo..hi, in this order:
  all 0 or 1                                                        -> binary;
  all -1, 0 or 1 in an array (spins, votes)                         -> Ordinal from -1; other arrays' -1 is missing;
  from 0, at most 255, top value rare (2 %) and above 3 means       -> Count, open above;
  over 16 values, at most 255, variance/mean in [.5, 2], lo <= mean/2 -> Count, open above;
  at most 32 values                                                 -> Ordinal;
  else                                                              -> Real, each number standing for its bin.
Other numbers are Real. A rounding to `step` is coarse from 1/20 of the standard deviation on: below
that a bin's probability and density times width differ by (step/sigma)^2/24 < 1.1e-4 nats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from likeness.core.errors import BadData
from likeness.core.space import (
    Count,
    Nominal,
    Ordinal,
    Real,
    Variable,
)
from likeness.data.source import Loud

Rounding = Literal["bins", "note"]
Array = NDArray[Any]
Wanted = Variable | str

ORDINAL_MOST = 32
COUNT_MOST = 255
COARSE = 1 / 20
UNBOUNDED = "a density is unbounded on repeated values"


@dataclass(frozen=True)
class Inferred:
    """A variable, what was seen while choosing it (predicates, whose subject is the column), and how it is written."""

    variable: Variable
    notes: tuple[str, ...] = ()
    written: str | None = None


def sentences(found: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """A sentence for each predicate, with all its subjects; from six on the rest are counted."""
    subjects: dict[str, list[str]] = {}
    for subject, predicate in found:
        subjects.setdefault(predicate, []).append(subject)
    return tuple(
        Loud.as_is(predicate, f"{_listed(names)} {predicate}")
        for predicate, names in subjects.items()
    )


def _listed(names: list[str]) -> str:
    head = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    if len(names) == 1:
        return f"column {head}"
    return f"columns {head}: each"


# ---- variables -----------------------------------------------------------------------------------


def step(values: Array) -> float | None:
    """The width of the widest grid v0 + k step that holds all values, or None where none shows.

    Looked for only where values repeat: otherwise a rounding does no harm and cannot be told from
        chance.
    """
    distinct = np.unique(values)
    if len(distinct) < 2 or len(distinct) > 0.95 * len(values):
        return None
    return _decimal(distinct) or _even(distinct)


def _decimal(distinct: Array) -> float | None:
    """A multiple of a power of ten; the tolerance is the rounding of float32, which files often went through."""
    for digits in range(7):
        scaled = distinct * 10.0**digits
        slack = np.clip(3e-7 * np.abs(scaled), 1e-9, 1e-2)
        if (np.abs(scaled - np.round(scaled)) <= slack).all() and np.abs(scaled).max() < 2**53:
            whole = np.round(scaled).astype(np.int64)
            return float(np.gcd.reduce(whole - whole[0])) / 10.0**digits
    return None


def _even(distinct: Array) -> float | None:
    """The width of a grid of at most a million steps, from the least and the whole distance of the values."""
    span = float(distinct[-1] - distinct[0])
    steps = span / float(np.diff(distinct).min())
    if steps >= 1e6:
        return None
    width = span / round(steps)
    places = (distinct - distinct[0]) / width
    return width if (np.abs(places - np.round(places)) < 1e-3).all() else None


def real(values: Array, *, rounding: Rounding, unit: str | None = None) -> Inferred:
    """A real variable; a coarse rounding becomes its resolution, or is noted."""
    if len(values) and (values == values[0]).all():
        return Inferred(Real(unit=unit), (Loud(f"is constant: {UNBOUNDED}"),))
    width = step(values)
    if width is None:
        return Inferred(Real(unit=unit), _repeats(values))
    width = float(f"{width:.6g}")
    if rounding == "bins" and width >= COARSE * float(values.std()):
        return Inferred(
            Real(resolution=width, unit=unit),
            (f"is rounded to {width:g}: a value stands for its bin",),
        )
    return Inferred(
        Real(unit=unit),
        (f"is rounded to {width:g}: {UNBOUNDED}; resolution={width:g} scores bins",),
    )


def _repeats(values: Array) -> tuple[str, ...]:
    """A value that one row in a hundred shares, and at least five do."""
    distinct, counts = np.unique(values, return_counts=True)
    if not len(counts) or counts.max() < max(5, 0.01 * len(values)):
        return ()
    share = counts.max() / len(values)
    value = distinct[counts.argmax()]
    return (f"is {value:g} in {share:.0%} of the rows: {UNBOUNDED}",)


def whole(values: Array, *, rounding: Rounding, start: int | None = None) -> Inferred:
    """A variable for whole numbers by the rules above; `start` fixes the Ordinal's first level."""
    lo = int(values.min())
    hi = int(values.max())
    said = (Loud(f"is constant ({lo})"),) if lo == hi else ()
    if lo >= 0 and hi <= 1 and (start == 0 or lo < hi):
        return Inferred(Ordinal(levels=2), said)
    if _counted(values, lo, hi):
        return Inferred(Count(), said)
    first = lo if start is None else start
    if first <= lo and hi - first < ORDINAL_MOST:
        return Inferred(Ordinal(levels=hi - first + 1, start=first), said)
    if rounding == "note":
        return real(values, rounding="note")
    return Inferred(Real(resolution=_stride(values)), said)


def _stride(values: Array) -> float:
    """The greatest common divisor of the differences; 1 below 20 rows, which chance may space evenly."""
    if len(values) >= 20:
        return float(np.gcd.reduce((values - values[0]).astype(np.int64))) or 1.0
    return 1.0


def _counted(values: Array, lo: int, hi: int) -> bool:
    mean = float(values.mean())
    rare = float((values == hi).mean()) <= 0.02
    if lo < 0 or hi > COUNT_MOST or lo == hi:
        return False
    tail = lo == 0 and rare and mean * 3 <= hi
    return tail or (hi - lo >= 16 and 0.5 <= float(values.var()) / mean <= 2 and lo <= mean / 2)


def is_whole(values: Array) -> bool:
    """Whether every value is a whole number that float64 holds."""
    return (
        bool(len(values))
        and bool((values == np.round(values)).all())
        and float(np.abs(values).max()) < 2**53
    )


def named(word: str, values: Array, *, name: str) -> Variable:
    """The variable that a user names by a word: real, ordinal, nominal, count or binary.

    Raises:
        BadData: If there is no such word, or the values do not go with it.
    """
    if word == "real":
        return real(values, rounding="note").variable
    if word not in {"ordinal", "nominal", "count", "binary"}:
        raise BadData(
            f"{word!r} is no type of a variable",
            where=name,
            do="use real, ordinal, nominal, count, binary",
        )
    if not is_whole(values):
        raise BadData(
            f"values that are not whole numbers cannot be {word}", where=name, do="choose real"
        )
    if word == "binary" and -1 in values and 0 not in values:
        raise BadData(
            "-1 and 1 are not 0 and 1", where=name, do="choose ordinal, or give (x + 1) / 2"
        )
    hi = int(values.max())
    lo = int(values.min())
    kinds: dict[str, Callable[[], Variable]] = {
        "ordinal": lambda: Ordinal(levels=hi - lo + 1, start=lo),
        "nominal": lambda: Nominal(categories=max(hi, 0) + 1),
        "count": Count,
        "binary": lambda: Ordinal(levels=2),
    }
    return kinds[word]()
