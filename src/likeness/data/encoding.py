"""Arrays, lists and words in the terms of a known Space: as users know their values, which need not be codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from likeness.core.batch import Batch, from_array, refuse_shape
from likeness.core.errors import BadData
from likeness.core.layouts import laid_out
from likeness.core.numbers import NUMBERS, as_tensor
from likeness.core.space import Space, Variable
from likeness.data import corpora, tables, text
from likeness.data.arrays import Array
from likeness.data.containers import columns_of, frame_of, native, plain


def encode_array(space: Space, data: Any) -> Batch:
    """An array or a tensor as a Batch of the Space.

    Raises:
        BadData: If it does not hold what the Space does.
    """
    found = native(data)
    if isinstance(found, pd.DataFrame):
        return encode_frame(space, found)
    words = found.dtype.kind == "U" or (
        found.dtype.kind == "O" and all(isinstance(value, str) for value in found.flat)
    )
    if words and (found.ndim == 1 or space.dims == 1):
        return encode_words(space, found.ravel().tolist())
    return _own_values(space, found)


def encode_list(space: Space, items: Sequence[Any]) -> Batch:
    """Rows of numbers, words or cells; or items of unlike lengths.

    Raises:
        BadData: If they do not hold what the Space does.
    """
    if items and all(isinstance(item, dict) for item in items):
        return tables.encode(space, pd.DataFrame(items))
    words = [item for item in items if isinstance(item, str)]
    if words and all(isinstance(item, str) or item is None for item in items):
        return encode_words(space, items)
    if space.ragged:
        return from_array(space, [_item(space, item) for item in items])
    if space.names is not None and items and all(isinstance(i, pd.DataFrame) for i in items):
        items = columns_of(items, space.names)
    array = plain(items)
    if array.dtype.kind not in NUMBERS:
        array = np.array(items, dtype=object)  # else an array of numbers and words would be words
    return encode_array(space, array)


def _item(space: Space, item: Any) -> Array:
    """One series; the columns of a frame in the order that was learned."""
    if isinstance(item, pd.DataFrame) and space.names is not None:
        batch = tables.encode(space, item)
        values = batch.x[0].masked_fill(~batch.present[0], torch.nan)
        return np.asarray(values)
    return plain(item)


def encode_frame(space: Space, frame: pd.DataFrame) -> Batch:
    """A frame made of an array: by its names where these are the Space's, else column by column."""
    names = space.names
    if names is None or set(names) <= set(map(str, frame.columns)):
        return tables.encode(space, frame)
    if len(frame.columns) != len(names):
        raise BadData(
            f"{len(frame.columns)} columns where {len(names)} are expected",
            do="give one column for each entry",
        )
    return tables.encode(space, frame.set_axis(list(names), axis=1))


def encode_column(space: Space, column: pd.Series[Any]) -> Batch:
    """A column: the values of a Space of one, or one row of named entries."""
    if space.ragged:
        return from_array(space, [plain(column)])
    if space.width == 1:
        return tables.encode(space, column.to_frame((space.names or ("0",))[0]))
    return encode_frame(space, column.to_frame().T)


def encode_words(space: Space, words: Sequence[Any]) -> Batch:
    """Labels, or texts.

    Raises:
        BadData: If the Space holds neither.
    """
    variable = space.variables[0]
    if variable.type == "nominal" and variable.labels and space.label:
        return tables.label_batch(space, words)
    if variable.type == "nominal" and variable.labels and space.ragged:
        if None in words:
            raise BadData(
                "None where a text is expected",
                where=f"row {list(words).index(None)}",
                do="give '' for an empty one",
            )
        if space.source == corpora.WORDS:
            return corpora.encode(space, words)
        return text.encode(space, words)
    raise BadData(
        "words where numbers are expected",
        do="give numbers, or a frame with columns of these words",
    )


def renamed(space: Space) -> bool:
    """Whether users know values by other numbers than their codes: levels from a start, named classes."""
    return any(
        (v.type == "ordinal" and v.start != 0)
        or (
            v.type == "nominal"
            and v.labels is not None
            and v.labels != tuple(map(str, range(v.categories)))
        )
        for v in space.variables
    )


def _own_values(space: Space, array: Array) -> Batch:
    """An array of the user's own values: of columns as a frame of them, of others less where levels start."""
    if array.dtype.kind in NUMBERS and (space.ragged or not renamed(space)):
        return from_array(space, array)
    if len(space.shape) == 1 and not space.ragged:
        return _columns(space, array)
    x = laid_out(space, as_tensor(array)).double()
    start = torch.tensor([v.start if v.type == "ordinal" else 0 for v in space.columns])
    hidden = x.isnan()
    observed = ~hidden if bool(hidden.any()) else None
    return Batch((x - start).masked_fill(hidden, 0.0), observed=observed)


def _columns(space: Space, array: Array) -> Batch:
    """Rows of columns, or one row, or one column, as a frame."""
    if array.shape == space.layout:
        array = array[None]
    if array.ndim < 2 and space.dims == 1:
        array = array.reshape(-1, 1)
    if array.ndim == 0 or array.shape[1:] != space.layout:
        refuse_shape(space, torch.empty(array.shape))
    names = space.names or tuple(f"x{i}" for i in range(space.width))
    frame = frame_of(array)
    cells = {
        name: _flagged(frame.iloc[:, i], variable)
        for i, (name, variable) in enumerate(zip(names, space.columns, strict=True))
    }
    return tables.encode(space, pd.DataFrame(cells))


def _flagged(column: pd.Series[Any], variable: Variable) -> pd.Series[Any]:
    """Truth values as the labels say them: "True", or the number 1."""
    named = variable.type == "nominal" and variable.labels is not None and "True" in variable.labels
    if column.dtype.kind != "b" or named:
        return column
    return column.astype(np.int64)
