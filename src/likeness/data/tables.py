"""Rows of tables: frames in the terms of a known Space, what is given, and which rows belong together."""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import Nominal, Ordinal, Space, Variable
from likeness.data import written
from likeness.data.arrays import Array, Rounding, Wanted
from likeness.data.cells import DAYS, cells, cells_for, no_value
from likeness.data.columns import (
    differ,
    find,
    names_of,
    nominal,
    space_of,
    table_space,
    types_by_name,
)
from likeness.data.missing import nothing, nothing_among_numbers
from likeness.data.numerals import code_among, is_number
from likeness.data.source import Reading, Table
from likeness.data.textcells import Texts, as_text

if TYPE_CHECKING:
    import pandas as pd


def encode(space: Space, frame: pd.DataFrame) -> Batch:
    """The rows of a frame as a Batch of `space`: labels become codes, dates days, levels codes from 0.

    Raises:
        BadData: Naming the missing column, or the row and column of a value that the Space does not
            hold.
    """
    # One series of several columns: its steps are the rows.
    if space.ragged and len(space.shape) == 2 and space.names is not None:
        return _one_series(
            encode(space.model_copy(update={"axes": ("column",), "shape": space.shape[1:]}), frame)
        )
    if len(space.shape) != 1 or space.ragged:
        raise BadData("a frame where items are no rows of columns", do="give an array")
    # Columns are found by name, in the Space's order, whatever the frame's.
    names = [str(c) for c in frame.columns]
    own = space.names or _unnamed(names, space.width)
    if len(own) != space.width:
        raise BadData(
            f"{len(names)} columns where {space.width} are expected",
            do="give one column for each entry",
        )
    differ(names, frozenset(own))
    # A frame's own columns may be more than the Space's, and in another order.
    place = {name: i for i, name in enumerate(names)}
    forms = space.written or ("",) * space.width
    told = zip(own, space.columns, forms, strict=True)
    columns = [
        _codes(frame.iloc[:, place[n] if n in place else find(n, names)], n, v, form or "")
        for n, v, form in told
    ]
    # (rows, columns); NaN marks what is missing.
    x = torch.from_numpy(np.stack(columns, -1))
    hidden = torch.isnan(x)
    return Batch(x.masked_fill(hidden, 0.0), observed=~hidden if bool(hidden.any()) else None)


def _unnamed(names: list[str], width: int) -> tuple[str, ...]:
    """The columns that an array's are: x0, x1, ... where they are called so, else all of them in their order."""
    usual = tuple(f"x{i}" for i in range(width))
    return usual if set(usual) <= set(names) else tuple(names)


def _one_series(rows: Batch) -> Batch:
    """Rows that are the steps of one item."""
    if rows.observed is None:
        observed = None
    else:
        observed = rows.observed[None]
    return Batch(rows.x[None], observed=observed, length=torch.tensor([len(rows)]))


def _codes(column: pd.Series[Any], name: str, variable: Variable, form: str) -> Array:
    """A column in data units, float64 with NaN where it is missing."""
    # Labels by name
    if variable.type == "nominal" and variable.labels is not None:
        return _label_codes(column, name, variable.labels)
    goal = _goal(column, variable)
    # Everything else as the type that training read, in the form it was written.
    held = cells(column, name, form, goal=goal)
    if held.kind == "text":
        if held.known.any():
            raise no_value(column, name, form, goal)
        return np.full(len(column), np.nan)
    values = np.where(held.known, held.values, np.nan)
    # Ordinal levels as codes from 0; reals finite; counts whole and not negative.
    if variable.type == "ordinal":
        return _levels(values, name, variable)
    _known_or_refuse(np.isinf(values), values, name, "a finite number")
    if variable.type == "count":
        _known_or_refuse(
            (values < 0) | (values != np.round(values)) & ~np.isnan(values),
            values,
            name,
            "a count 0, 1, 2, ...",
        )
    return values


def _goal(column: pd.Series[Any], variable: Variable) -> str:
    """What a column's text is to be; true and false are 1 and 0 where there are two levels."""
    if variable.type == "real" and variable.unit == DAYS:
        return "date"
    if variable.type == "ordinal" and variable.states == 2 and column.dtype.kind not in "biuf":
        return "flag"
    return "number"


def _levels(values: Array, name: str, variable: Ordinal) -> Array:
    codes = values - variable.start
    outside = ((codes < 0) | (codes >= variable.levels) | (codes != np.round(codes))) & ~np.isnan(
        codes
    )
    last = variable.start + variable.levels - 1
    _known_or_refuse(outside, values, name, f"one of the levels {variable.start}..{last}")
    return codes


def _known_or_refuse(wrong: Array, values: Array, name: str, wanted: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise BadData(
            f"{values[row]:g} is not {wanted}",
            where=f"row {row}, column {name!r}",
            do="mend it, or leave it empty",
        )


def _label_codes(column: Iterable[Any], name: str, known: tuple[str, ...]) -> Array:
    """The place of each cell's label, NaN where it is missing; 1.0 is the label 1, but 01 is not."""
    texts = Texts.of(column)
    # By text first: "1.0" is its own label if it was learned.
    place = {text: float(i) for i, text in enumerate(known)}
    numbers = all(map(is_number, known))
    gone = nothing_among_numbers if numbers else nothing
    # Labels that are numbers match by value, so that 1.0 finds "1".
    value = {_value(text): code for text, code in place.items()} if numbers else {}
    codes = []
    # Each distinct text once, (distinct,), then one code a cell.
    for text in texts.distinct:
        code = place.get(text, value.get(_value(text)) if value else None)
        if code is None and not gone(text):
            row = int(np.argmax(texts.codes == texts.distinct.index(text)))
            raise unknown_label(text, known, f"row {row}, column {name!r}")
        codes.append(np.nan if code is None else code)
    return np.array([*codes, np.nan])[texts.codes]


def _value(text: str) -> float | str:
    """The number that a label is, but for codes."""
    if not is_number(text) or code_among([text]) is not None:
        return text
    return float(text)


def unknown_label(text: str, known: tuple[str, ...], where: str) -> BadData:
    """The refusal of a label that was never learned, with the nearest that was."""
    near = difflib.get_close_matches(text, known, n=1) or difflib.get_close_matches(
        text.lower(), known, n=1
    )
    listed = ", ".join(map(repr, known[:8])) + (", ..." if len(known) > 8 else "")
    return BadData(
        f"{text!r} is no category that was learned",
        where=where,
        do=f"did you mean {near[0]!r}?" if near else f"there are {listed}",
    )


def label_batch(space: Space, values: Iterable[Any]) -> Batch:
    """Rows of a label Space from its names."""
    variable = space.variables[0]
    name = (space.names or ("label",))[0]
    assert variable.type == "nominal"
    codes = torch.from_numpy(_label_codes(values, name, variable.labels or ()))[:, None]
    hidden = torch.isnan(codes)
    return Batch(codes.masked_fill(hidden, 0.0), observed=~hidden if bool(hidden.any()) else None)


# ---- readings ------------------------------------------------------------------------------------


def read(
    parts: Mapping[str, pd.DataFrame],
    *,
    name: str,
    given: Sequence[str] = (),
    group: str | None = None,
    columns: Mapping[Any, Wanted] | Wanted | None = None,
    rounding: Rounding = "bins",
) -> Reading:
    """The rows of frames of one kind; the columns `given` become what is given, `group` what splits keep whole."""
    import pandas as pd

    # The parts have the same columns; one Space for all of them.
    names = [names_of(frame) for frame in parts.values()].pop()
    if len(parts) > 1:
        frame = pd.concat(list(parts.values()), ignore_index=True)
    else:
        frame = next(iter(parts.values()))
    frame = frame.rename(columns=str)
    # A name that the table lacks is an error with the nearest that it has.
    for name_ in (*given, *([group] if group else [])):
        find(name_, names)
    # The group column is no variable, unless it is given as well.
    wanted = {
        **types_by_name(columns, names),
        **({group: "skip"} if group and group not in given else {}),
    }
    # The Space of all columns, then parted into those learned and those given.
    space, notes = space_of(frame, columns=wanted, rounding=rounding, keep=given)
    variables = dict(zip(space.names or (), space.columns, strict=True))
    forms = dict(zip(space.names or (), space.written or (None,) * space.width, strict=True))
    inner = table_space(_without(variables, given), forms)
    if given:
        outer = table_space(as_label(frame, {n: variables[n] for n in given}, wanted), forms)
    else:
        outer = None
    tables = {
        part: _table(rows.rename(columns=str), inner, outer, group, name)
        for part, rows in parts.items()
    }
    return Reading(tables, notes)


def _without(variables: Mapping[str, Variable], given: Sequence[str]) -> dict[str, Variable]:
    inner = {n: v for n, v in variables.items() if n not in given}
    if not inner:
        raise BadData("every column is given: none is left to learn", do="give fewer columns")
    return inner


def as_label(
    frame: pd.DataFrame, variables: dict[str, Variable], wanted: Mapping[str, Wanted]
) -> dict[str, Variable]:
    """One binary column given alone is a label of two classes, so that it can be summed over and asked for."""
    # Only a label can be summed over when it is missing.
    (name, variable), *more = variables.items()
    if more or name in wanted or variable.states != 2:
        return variables
    return {name: nominal(cells_for(frame[name], name, "nominal")).variable}


def _table(
    frame: pd.DataFrame, space: Space, outer: Space | None, group: str | None, name: str
) -> Table:
    batch = encode(space, frame)
    if outer is not None:
        batch = batch.given_as(encode(outer, frame))
    return Table(
        space,
        batch,
        given_space=outer,
        name=name,
        groups=None if group is None else groups(frame[group]),
    )


def conditioned(table: Table, given: Sequence[str]) -> Table:
    """A table with some of its columns as what is given.

    Raises:
        BadData: If it has no such column, or no other.
    """
    space = table.space
    names = table.space.names
    if table.given_space is not None and set(given) <= set(table.given_space.names or ()):
        return table
    if names is None or len(space.shape) != 1 or space.ragged:
        raise BadData(
            f"nothing called {given[0]!r} can be given",
            do="give an array with one row for each item",
        )
    if table.given_space is not None:
        raise BadData(
            "the rows have a condition already", do="load the table with all that is given"
        )
    # Columns by place: those given, and the rest.
    at = [find(name, names) for name in given]
    rest = [i for i in range(space.width) if i not in at]
    if not rest:
        raise BadData("every column is given: none is left to learn", do="give fewer columns")
    inner = _columns_of(space, rest)
    outer = _columns_of(space, at)
    # A binary condition becomes a label of two classes, which models sum over when it is missing.
    alone = len(at) == 1 and outer.variables[0].type == "ordinal" and outer.variables[0].states == 2
    if alone:
        outer = outer.model_copy(update={"variables": (_two_classes(outer),)})
    batch = table.batch
    # Values and missingness alike, (rows, given) and (rows, rest).
    observed = table.batch.observed
    condition = Batch(
        batch.x[:, at], None if observed is None else observed[:, at], index=batch.ids
    )
    rows = replace(
        batch,
        x=batch.x[:, rest],
        observed=None if observed is None else observed[:, rest],
        given=condition,
    )
    return replace(table, space=inner, given_space=outer, batch=rows)


def _columns_of(space: Space, at: Sequence[int]) -> Space:
    names = space.names or ()
    forms = space.written or (None,) * space.width
    variables = space.columns
    return table_space(
        {names[i]: variables[i] for i in at}, {names[i]: forms[i] for i in at}
    ).model_copy(update={"source": space.source})


def _two_classes(space: Space) -> Nominal:
    variable = space.variables[0]
    words = written.flag_words((space.written or (None,))[0])
    start = variable.start if variable.type == "ordinal" else 0
    return Nominal(categories=2, labels=words or (str(start), str(start + 1)))


def groups(values: Iterable[Any]) -> Tensor:
    """A number for each row's group, int64 (N,)."""
    numbers: dict[tuple[type, Any], int] = {}
    keys = ((type(value), value) for value in values)
    return torch.tensor(
        [numbers.get(k) or numbers.setdefault(k, _key(k[1])) for k in keys], dtype=torch.int64
    )


def _key(value: Any) -> int:
    """A group's number from its name alone, so that other groups do not move it."""
    text = as_text(value).encode()
    return zlib.crc32(text) << 31 ^ zlib.adler32(text)
