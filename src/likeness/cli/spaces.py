"""Spaces in words: what a row is, and what each column holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from likeness.cli.text import plural

if TYPE_CHECKING:
    from likeness.core.space import Space, Variable

SHOWN = 6
DAYS = "days since"


def kind_of(variable: Variable) -> str:
    """What one variable holds."""
    return _WORDS[variable.type](variable)


def _real(v: Any) -> str:
    words = ["real"]
    if v.unit:
        words = ["date" if v.unit.startswith(DAYS) else f"real ({v.unit})"]
    words += [f"in steps of {v.resolution:g}"] if v.resolution is not None else []
    bounded = v.lower is not None or v.upper is not None
    words += [f"from {_bound(v.lower, '-')} to {_bound(v.upper, '')}"] if bounded else []
    return ", ".join(words)


def _bound(value: float | None, sign: str) -> str:
    if value is None or math.isinf(value):
        return f"{sign}infinity"
    return f"{value:g}"


def _ordinal(v: Any) -> str:
    return f"levels {v.start} to {v.start + v.levels - 1}"


def _nominal(v: Any) -> str:
    shown = list(v.labels or ())[:SHOWN] + (["..."] if v.labels and len(v.labels) > SHOWN else [])
    return f"{v.categories} categories" + (f": {', '.join(shown)}" if shown else "")


_WORDS: Mapping[str, Callable[[Any], str]] = {
    "real": _real,
    "ordinal": _ordinal,
    "nominal": _nominal,
    "count": lambda _v: "counts",
}


def flat(space: Space) -> bool:
    """Whether items are rows of a table, named or not."""
    return len(space.shape) == 1 and not space.ragged


def item(space: Space) -> str:
    """What one item is."""
    if space.ragged and space.source == "table":
        return f"series of {plural(space.width, 'column')}, up to {space.longest or 'any number of'} steps long"
    if space.ragged:
        return f"{space.source or 'sequence'}, up to {space.longest or 'any number of'} steps long"
    if space.source == "table" or space.names is not None:
        return plural(space.width, "column")
    sizes = " x ".join(map(str, space.layout))
    if len(space.shape) == 1:
        return f"vector of {sizes}"
    return f"{space.source or 'array'} of {sizes}"


def columns(space: Space) -> list[tuple[str, str]]:
    """A row for each named column; one for all of an array's entries."""
    if space.names is not None:
        return [(name, kind_of(v)) for name, v in zip(space.names, space.columns, strict=True)]
    kinds = list(dict.fromkeys(map(kind_of, space.columns)))
    return [("each entry" if len(kinds) == 1 else "entries", kind) for kind in kinds]
