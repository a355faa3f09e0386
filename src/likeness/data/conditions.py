"""Items with what they are conditioned on, and with the groups that keep rows together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.errors import BadConfig, BadData
from likeness.core.space import Space
from likeness.data import catalog, labels, paths, tables
from likeness.data.columns import space_of
from likeness.data.containers import plain
from likeness.data.options import Request
from likeness.data.parting import Data
from likeness.data.source import Reading, Source, Table


def column_names(condition: Any, what: Any) -> tuple[str, ...]:
    """Names of columns among what is given: a word, or a list of words where the items have columns."""
    if isinstance(condition, str):
        return (condition,)
    if isinstance(condition, int) and _columned(what):
        return (str(condition),)  # a frame's columns may be numbers
    words = (
        isinstance(condition, list | tuple)
        and condition
        and all(isinstance(c, str) for c in condition)
    )
    if words and _columned(what):
        return tuple(condition)
    return ()


def _columned(what: Any) -> bool:
    if isinstance(what, str) and what in catalog.SETS:
        return catalog.SETS[what].table
    if isinstance(what, str | Path):
        return paths.there(Path(what)) and paths.kind(Path(what)) == "table"
    if isinstance(what, Table):
        return what.space.names is not None
    return isinstance(what, pd.DataFrame | dict) or (
        isinstance(what, list) and bool(what) and isinstance(what[0], dict)
    )


def column_frame(series: pd.Series[Any]) -> pd.DataFrame:
    """A frame of one column."""
    return series.to_frame("x" if series.name is None else str(series.name))


def conditioned(reading: Reading, condition: Any, request: Request) -> Reading:
    """The reading with what was asked as `given`: a label that was offered, columns already taken, or an array."""
    if condition is None:
        return reading
    if request.given and reading.aside is not None:
        if request.given not in {("label",), (reading.aside,)}:
            raise BadData(
                f"nothing called {request.given[0]!r} can be given",
                do=f"the label is called {reading.aside!r}",
            )
        return replace(reading, aside=None)
    first = next(iter(reading.parts.values()))
    if (
        request.given
        and first.given_space is not None
        and set(first.given_space.names or ()) >= set(request.given)
    ):
        return reading
    if request.given:
        return replace(
            reading,
            parts={part: tables.conditioned(t, request.given) for part, t in reading.parts.items()},
        )
    if "all" not in reading.parts:
        raise BadData(
            "a set with an official split takes no array as given", do="name what is given"
        )
    space, batch = _condition(condition)
    if len(batch) != len(first):
        raise BadData(
            f"{len(first)} items but {len(batch)} conditions", do="give one condition for each item"
        )
    table = replace(first, batch=first.batch.given_as(batch), given_space=space)
    return replace(reading, parts={"all": table}, aside=None)


def _condition(given: Any) -> tuple[Space, Batch]:
    """What is given, a row for each item: a column of a frame is what a Series or an array of it is."""
    if isinstance(given, Table):
        return given.space, given.batch
    if isinstance(given, pd.DataFrame) and given.shape[1] == 1:
        given = given.iloc[:, 0]
    one = isinstance(given, pd.Series)
    if isinstance(given, pd.DataFrame) or (
        one and (isinstance(given.dtype, pd.CategoricalDtype) or given.dtype.kind in "Mm")
    ):
        frame = column_frame(given) if one else given.rename(columns=str)
        space, _ = space_of(frame, keep=tuple(frame.columns))
        return space, tables.encode(space, frame)
    if one and given.name is not None:
        name = str(given.name)
    else:
        name = "label"
    if one and given.dtype.kind not in "biuf":
        plain = given.to_numpy(dtype=object, na_value=None)
    else:
        plain = given
    return labels.given(plain, name)


def recondition(data: Data, given: Any) -> Data:
    """What was loaded before, conditioned on its label, on columns of its table, or on an array for its training rows.

    Raises:
        BadData: If nothing of that name is there.
    """
    names = column_names(given, data.train)
    if data.label_space is not None:
        label = (data.label_space.names or ("label",))[0]
    else:
        label = None
    if label is not None and data.label_space is not None and names in {("label",), (label,)}:
        told = {
            part: _labelled(table, data.labels[part], data.label_space)
            for part, table in data.parts.items()
        }
        return replace(_parted(data, told), labels={}, label_space=None)
    if names:
        return _parted(
            data, {p: tables.conditioned(_whole(table), names) for p, table in data.parts.items()}
        )
    nothing = torch.zeros(0, dtype=torch.int64)
    return replace(
        data,
        train=conditioned(Reading({"all": _whole(data.train)}), given, Request(data.name)).parts[
            "all"
        ],
        test=data.test.take(nothing),
        valid=None,
    )


def _parted(data: Data, parts: Mapping[str, Table]) -> Data:
    return replace(data, train=parts["train"], test=parts["test"], valid=parts.get("valid"))


def _labelled(source: Source, codes: Tensor, space: Space) -> Table:
    table = _whole(source)
    known = (codes >= 0)[:, None]
    observed = None if bool(known.all()) else known
    x = codes.clamp_min(0)[:, None].double()
    given = Batch(x, observed, index=table.batch.ids)
    return replace(table, batch=table.batch.given_as(given), given_space=space)


def _whole(source: Source) -> Table:
    if not isinstance(source, Table):
        raise BadConfig(
            "pixels that are drawn anew take no condition afterwards", do="load them with given="
        )
    return source


def grouped(reading: Reading, group: Any) -> Reading:
    """The reading with an array's groups; those of a column were taken with the frame."""
    if group is None or isinstance(group, str):
        return reading
    table = reading.parts.get("all")
    values = plain(group).ravel()
    if table is None or len(values) != len(table):
        raise BadData(
            f"{len(values)} groups do not go with the items", do="give one group for each item"
        )
    return replace(reading, parts={"all": replace(table, groups=tables.groups(values))})
