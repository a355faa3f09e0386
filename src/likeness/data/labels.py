"""Labels and other conditions from arrays: a code for each row, the classes' names sorted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from likeness.core.batch import Batch, as_batch
from likeness.core.errors import BadData
from likeness.core.numbers import NUMBERS
from likeness.core.space import Space, label
from likeness.data.arrays import Array, is_whole
from likeness.data.containers import plain
from likeness.data.source import Reading, Table
from likeness.data.spaces import infer

LABELS_MOST = 256


def labels(values: Any, name: str = "label") -> tuple[Space, Batch]:
    """A label for each row from whole numbers or strings, (N,): names sorted, 0..K-1 where the numbers are that.

    None and NaN are missing.

    Raises:
        BadData: If there are more than 256 classes, or none.
    """
    array = plain(values).ravel()
    known = _stated(array)
    if not known.any():
        raise BadData("every label is missing", do="give a label for some rows")
    held = np.ma.getdata(array)[known]
    if held.dtype.kind == "O":
        held = np.array(held.tolist())
    numbers = held.dtype.kind in NUMBERS
    if not numbers:
        held = np.array([str(v).strip() for v in held])
    distinct = np.unique(held)
    if numbers and distinct.min() >= 0 and distinct.max() < LABELS_MOST and is_whole(held):
        distinct = np.arange(int(distinct.max()) + 1)
    if len(distinct) > LABELS_MOST:
        raise BadData(
            f"{len(distinct)} classes are too many for a label",
            do="give them as a vector (N, 1) of reals",
        )
    names = tuple(str(int(v)) if numbers and float(v).is_integer() else str(v) for v in distinct)
    codes = np.zeros(len(array), dtype=np.float32)
    codes[known] = np.searchsorted(distinct, held)
    space = label(len(distinct), names).model_copy(update={"names": (name,)})
    if known.all():
        observed = None
    else:
        observed = torch.from_numpy(known)[:, None]
    return space, Batch(torch.from_numpy(codes)[:, None], observed)


def _stated(array: Array) -> Array:
    """Which entries (N,) are neither masked, None nor NaN."""
    if isinstance(array, np.ma.MaskedArray):
        return ~np.ma.getmaskarray(array)
    if array.dtype.kind == "O":
        return np.array([v is not None and bool(v == v) for v in array], dtype=bool)
    if array.dtype.kind == "f":
        return ~np.isnan(array)
    return np.ones(len(array), dtype=bool)


def given(values: Any, name: str = "label") -> tuple[Space, Batch]:
    """What is given as an array: (N,) of whole numbers, words or truth values is a label, anything else an array.

    Among floating numbers 0 and 1 alone are labels.
    """
    array = plain(values)
    if array.dtype.kind == "U" and isinstance(values, list | tuple):
        array = np.array(values, dtype=object)
    if array.ndim == 1 and (array.dtype.kind in "buiU" or _classes(array)):
        return labels(array, name)
    if array.dtype.kind == "O":
        array = array.astype(np.float64)
    space, array, _ = infer(array)
    return space, as_batch(space, array)


def _classes(array: Array) -> bool:
    """Whether floats are 0 and 1, or whole numbers with gaps, or objects are words or whole numbers."""
    if array.dtype.kind in "fO":
        stated = _stated(array)
    else:
        stated = np.zeros(len(array), dtype=bool)
    values = array[stated]
    if not len(values):
        return False
    if array.dtype.kind == "O":
        return not any(isinstance(v, float) and not v.is_integer() for v in values)
    few = not stated.all() and len(np.unique(values)) <= LABELS_MOST
    return bool(np.isin(values, (0.0, 1.0)).all()) or (few and is_whole(values))


def with_label(reading: Reading, values: Array, name: str, *, where: str) -> Reading:
    """The rows with a label kept aside.

    Raises:
        BadData: If the two differ in length.
    """
    table = reading.parts["all"]
    if len(values) != len(table):
        raise BadData(
            f"{len(values)} labels for {len(table)} items",
            where=where,
            do="give one label for each item",
        )
    space, codes = labels(values, name)
    batch = table.batch.given_as(codes)
    labelled = Table(table.space, batch, given_space=space, name=table.name)
    return Reading({"all": labelled}, reading.notes, aside=name)
