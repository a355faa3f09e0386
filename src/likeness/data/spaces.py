"""Spaces from arrays of numbers: the sizes of an item, which axis is which, and the type of its variables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from likeness.core.batch import Batch, as_batch
from likeness.core.errors import BadData
from likeness.core.numbers import NUMBERS, lossy
from likeness.core.space import Nominal, Ordinal, Real, Space, Variable, sequence, series
from likeness.data.arrays import (
    ORDINAL_MOST,
    UNBOUNDED,
    Array,
    Rounding,
    Wanted,
    named,
    real,
    sentences,
    step,
    whole,
)
from likeness.data.containers import plain
from likeness.data.limits import array_memory, check_memory
from likeness.data.source import Loud, Reading, Table

CHANNELS = (1, 3, 4)  # of pictures
IMAGE = ("channel", "height", "width")
SERIES = ("time", "channel")
BYTE = 255  # the top level of a pixel
LEVELS_MOST = 2**16  # of a pixel
ROUNDED_IDS = (
    "whole numbers above 2^53 lose their last digits: "
    "ids and labels belong in a frame, with columns={'name': 'nominal'}"
)
Chosen = Wanted | Mapping[Any, Wanted] | None
Notes = tuple[str, ...]


# ---- items of one shape --------------------------------------------------------------------------


def infer(
    x: Array, *, columns: Chosen = None, rounding: Rounding = "note"
) -> tuple[Space, Array, Notes]:
    """The Space of the items along the first axis, the array laid out for it, and what was seen.

    One variable for all entries of an array of codes; reals stay reals, and roundings are noted
    only, unless asked for "bins" or found in images. Whole-number arrays of 3 axes are grey images,
    of 4 axes images with channels first or last; reals of 3 axes are series (time, channel).

    Raises:
        BadData: If the array is empty, holds no numbers, or holds a column of nothing but gaps.
    """
    if x.dtype.kind not in NUMBERS:
        raise BadData(
            f"an array of {x.dtype} holds no numbers", do="give a frame: pd.DataFrame(array)"
        )
    if x.ndim == 0:
        raise BadData("a number alone is no array of rows", do="give rows of numbers")
    if not x.size:
        raise BadData("the array is empty", do="give rows of numbers")
    x, axes, notes = _axes(x)
    gone = _all_missing(x)
    _refuse_missing(gone, axes)
    _not_infinite(x)
    variables, seen = _variables(x, axes, columns, rounding)
    source = "image" if axes == IMAGE else None
    space = Space(axes=axes, shape=x.shape[1:], variables=variables, source=source)
    if gone.any():
        space = space.model_copy(update={"shape": (None, *x.shape[2:]), "longest": x.shape[1]})
        notes = (*notes, "steps are missing in all series: read as series of any length")
    return space, x, (*seen, *notes)


def _axes(x: Array) -> tuple[Array, tuple[str, ...], Notes]:
    """The array with an axis of items and the axes of an item, what these are called, and how that was read."""
    if x.ndim == 1:
        return x[:, None], ("column",), ()
    if x.ndim == 2:
        return x, ("column",), ()
    if x.ndim == 3 and x.dtype.kind == "f":
        return x, SERIES, ("read as series (time, channel): give images with 4 axes",)
    if x.ndim == 3:
        return x[:, None], IMAGE, _grey(x)
    if x.ndim == 4:
        return _channels(x)
    return x, tuple(f"axis{i}" for i in range(1, x.ndim)), ()


def _grey(x: Array) -> Notes:
    """A note where what is read as grey images could be one image with its channels last."""
    if x.shape[-1] not in CHANNELS[1:]:
        return ()
    said = f"read as {len(x)} grey images of {x.shape[1]} x {x.shape[2]}"
    return (Loud(f"{said}: one image with its channels last is x[None]"),)


def _channels(x: Array) -> tuple[Array, tuple[str, ...], Notes]:
    """Images with their channels first: the axis of a usual number of channels, else the shorter of first and last."""
    (first, last) = (x.shape[1], x.shape[-1])
    usual = first in CHANNELS or last in CHANNELS
    if first in CHANNELS or (not usual and first <= last):
        place, laid = "first", x
    else:
        place, laid = "last", np.moveaxis(x, -1, 1)
    (channels, rows, columns) = laid.shape[1:]
    said = f"read as images of {rows} x {columns} with {channels} channels, which come {place}"
    if not usual:
        return laid, IMAGE, (Loud(f"{said}: move the axis of channels if it is another"),)
    both = first in CHANNELS and last in CHANNELS
    return laid, IMAGE, (said,) if place == "last" or both else ()


def _all_missing(x: Array) -> Array:
    """Which entries of an item are missing in all items, bool (*E)."""
    if isinstance(x, np.ma.MaskedArray):
        return np.asarray(np.ma.getmaskarray(x).all(0))
    if x.dtype.kind == "f":
        return np.asarray(np.isnan(x).all(0))
    return np.zeros(x.shape[1:], dtype=bool)


def _refuse_missing(gone: Array, axes: tuple[str, ...]) -> None:
    """Refuse entries of which nothing is known; of series whole channels, whose steps are alike."""
    if axes == SERIES:
        gone = np.asarray(gone.all(0))
    if not gone.any():
        return
    entry = tuple(int(i) for i in np.argwhere(gone)[0])
    name = "channel" if axes == SERIES else "column"
    where = f"{name} {entry[0]}" if len(entry) == 1 else f"entry {entry}"
    raise BadData("nothing but missing values", where=where, do="leave it out")


def _not_infinite(x: Array) -> None:
    if x.dtype.kind != "f" or not np.isinf(x).any():
        return
    row, *entry = (int(i) for i in np.argwhere(np.isinf(x))[0])
    raise BadData(
        "inf is not a finite number",
        where=f"row {row}, entry {tuple(entry)}",
        do="mend it, or put NaN there",
    )


# ---- variables -----------------------------------------------------------------------------------


def _variables(
    x: Array, axes: tuple[str, ...], columns: Chosen, rounding: Rounding
) -> tuple[tuple[Variable, ...], Notes]:
    if isinstance(columns, Mapping):
        base, notes = _common(x, axes, rounding)
        return _changed(x, base * (x.shape[-1] if len(base) == 1 else 1), columns), notes
    if columns is not None:
        return (_chosen(columns, _known(x), "the array"),), ()
    return _common(x, axes, rounding)


def _changed(
    x: Array, base: tuple[Variable, ...], columns: Mapping[Any, Wanted]
) -> tuple[Variable, ...]:
    """Some columns as the user wants them, by position."""
    chosen = list(base)
    for key, wanted in columns.items():
        if not str(key).isdigit() or int(key) >= len(chosen):
            raise BadData(
                f"no column {key!r}", do=f"name columns 0..{len(chosen) - 1} by their number"
            )
        chosen[int(key)] = _chosen(wanted, _known(x[..., int(key)]), f"column {key}")
    return tuple(chosen)


def _chosen(wanted: Wanted, values: Array, name: str) -> Variable:
    """The variable that the user declares; the levels of an array's codes count from 0, and there are two at least."""
    if not isinstance(wanted, str):
        return wanted
    variable = named(wanted, values, name=name)
    if wanted == "ordinal" and values.min() >= 0:
        return Ordinal(levels=max(int(values.max()), 1) + 1)
    if wanted == "nominal":
        return Nominal(categories=max(int(values.max()), 1) + 1)
    return variable


def _common(
    x: Array, axes: tuple[str, ...], rounding: Rounding
) -> tuple[tuple[Variable, ...], Notes]:
    """The variables of all entries, or of each column of reals."""
    known = _known(x)
    if axes == IMAGE:
        levels = _levels(x, known)
        if levels is not None:
            return (Ordinal(levels=levels),), ()
    if known.size and np.isin(known, (0, 1)).all():
        return (Ordinal(levels=2),), ("every entry is 0 or 1: read as binary",)
    if x.dtype.kind == "f" and axes == IMAGE:
        return _float_pixels(known)
    if x.dtype.kind == "f":
        return _reals(x, rounding)
    if lossy(x):
        return (Real(),), (Loud(ROUNDED_IDS),)
    if known.min() == -1 < known.max() <= 1:
        return (Ordinal(levels=3, start=-1),), ()  # spins, votes, differences
    gaps = (Loud("-1 is read as missing"),) if (x == -1).any() and known.min() >= 0 else ()
    found = whole(known, rounding="bins", start=0)  # an array holds codes, which count from 0
    said = tuple(Loud.as_is(note, f"the array {note}") for note in found.notes)
    return (found.variable,), gaps + said


def _levels(x: Array, known: Array) -> int | None:
    """The levels of whole pixels: 2, 256 of bytes, else as many as there are; None where they are no levels."""
    (low, top) = (int(known.min()), int(known.max()))
    if x.dtype.kind in "bu":
        if top < 2:
            return 2
        return BYTE + 1 if x.dtype.itemsize == 1 else top + 1
    whole_bytes = x.dtype.kind == "i" or bool((known == np.round(known)).all())
    if not whole_bytes or known.min() < 0 or (x == -1).any():
        return None
    return BYTE + 1 if low >= 0 and ORDINAL_MOST <= top <= BYTE else None


def _float_pixels(known: Array) -> tuple[tuple[Variable, ...], Notes]:
    """Pixels that are reals: where they lie on a grid, such as k/255, each stands for its bin."""
    width = step(known)
    if width is None or float(np.ptp(known)) >= LEVELS_MOST * width:
        return (Real(),), ()
    said = f"pixels are rounded to {_fraction(width)}: a value stands for its bin"
    return (Real(resolution=width),), (f"{said} (as reals {UNBOUNDED})",)


def _fraction(width: float) -> str:
    parts = 1 / width
    return f"1/{parts:.0f}" if width < 1 and abs(parts - round(parts)) < 1e-3 else f"{width:g}"


def _known(x: Array) -> Array:
    """The values that are there: no NaN, and no -1 in codes, where it is a value beside 0 and 1 alone."""
    held = x.compressed() if isinstance(x, np.ma.MaskedArray) else x.ravel()
    values = held.astype(np.float64)
    values = values[np.isfinite(values)]
    codes = x.dtype.kind == "i" and values.size and values.min() == -1 and values.max() > 1
    return values[values >= 0] if codes else values


def _reals(x: Array, rounding: Rounding) -> tuple[tuple[Variable, ...], Notes]:
    if x.ndim > 2:
        return (Real(),), ()
    inferred = [real(_known(x[:, i]), rounding=rounding) for i in range(x.shape[1])]
    same = len({f.variable for f in inferred}) == 1
    variables = (inferred[0].variable,) if same else tuple(f.variable for f in inferred)
    return variables, sentences((str(i), note) for i, f in enumerate(inferred) for note in f.notes)


# ---- items of unlike lengths ---------------------------------------------------------------------


def ragged(items: Sequence[Any], columns: Wanted | None = None) -> tuple[Space, Batch]:
    """Items of unlike lengths: whole numbers (T,) are symbols, others (T,) or (T, C) series.

    Raises:
        BadData: If items have unlike widths or there are none.
    """
    arrays = [plain(item) for item in items]
    if not arrays:
        raise BadData("there are no items", do="give at least two")
    if len({a.shape[1:] for a in arrays}) > 1:
        odd = next(i for i, a in enumerate(arrays) if a.shape[1:] != arrays[0].shape[1:])
        raise BadData(
            "items of unlike widths", where=f"item {odd}", do="give arrays (T, C) of one C"
        )
    longest = max(len(a) for a in arrays)
    check_memory(array_memory(len(arrays) * longest * math.prod(arrays[0].shape[1:]), 8))
    symbols = arrays[0].ndim == 1 and all(a.dtype.kind in "bui" for a in arrays)
    values = np.concatenate([_known(a) for a in arrays])
    if not values.size:
        raise BadData("the items hold nothing", do="give items with values")
    variable = None if columns is None else _chosen(columns, values, "the items")
    if variable is None and symbols:
        space = sequence(1 + int(values.max()), longest)
    elif isinstance(variable, Nominal) and arrays[0].ndim == 1:
        space = sequence(variable.categories, longest).model_copy(update={"variables": (variable,)})
    else:
        arrays = [a[:, None] if a.ndim == 1 else a for a in arrays]
        space = series(arrays[0].shape[1], longest, variable)
    return space, as_batch(space, arrays)


# ---- readings ------------------------------------------------------------------------------------


def read(x: Any, *, name: str, columns: Chosen, rounding: Rounding) -> Reading:
    """An array, a tensor, or a list of arrays of unlike lengths."""
    if isinstance(x, list | tuple) and _unlike(x):
        if isinstance(columns, Mapping):
            raise BadData("items of unlike lengths have no columns", do="give one type for all")
        space, batch = ragged(x, columns)
        return Reading({"all": Table(space, batch, name=name)})
    space, array, notes = infer(plain(x), columns=columns, rounding=rounding)
    if isinstance(x, list | tuple) and _one_dimensional(x):
        notes = (*notes, f"each array is a row of {array.shape[1]} numbers: series are (T, 1)")
    return Reading({"all": Table(space, as_batch(space, array), name=name)}, notes)


def _unlike(items: Sequence[Any]) -> bool:
    """Whether items differ in length, or there is one series (T, C) alone."""
    shapes = [plain(item).shape for item in items]
    return len({shape[:1] for shape in shapes}) > 1 or [len(shape) for shape in shapes] == [2]


def _one_dimensional(items: Sequence[Any]) -> bool:
    """Whether items are arrays (T,) of one length, which may have been meant as series."""
    arrays = [item for item in items if isinstance(item, np.ndarray | Tensor)]
    return len(arrays) == len(items) > 1 and arrays[0].ndim == 1 and len(arrays[0]) > 1
