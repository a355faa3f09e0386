"""Spaces from arrays of numbers.

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

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likeness.core.batch import Batch, as_batch
from likeness.core.errors import BadData
from likeness.core.space import (
    Count,
    Nominal,
    Ordinal,
    Real,
    Space,
    Variable,
    label,
    sequence,
    series,
)
from likeness.data.limits import array_memory, check_memory
from likeness.data.source import Loud, Reading, Table

Rounding = Literal["bins", "note"]
Array = NDArray[Any]
Wanted = Variable | str

ORDINAL_MOST = 32
COUNT_MOST = 255
COARSE = 1 / 20
LABELS_MOST = 256
CHANNELS = (1, 3, 4)
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


def plain(x: Any) -> Array:
    """A tensor, an array or a list of numbers as an array on the CPU.

    Raises:
        BadData: If it is no array at all.
    """
    if isinstance(x, Tensor):
        return x.detach().cpu().numpy()
    try:
        return np.asarray(x)
    except ValueError as error:
        raise BadData(
            "the items have unlike shapes", do="give an array, or a list of arrays of one width"
        ) from error


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
    width = float(np.diff(distinct).min())
    places = (distinct - distinct[0]) / width
    if places[-1] < 1e6 and (np.abs(places - np.round(places)) < 1e-3).all():
        return width
    return None


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
    kinds: dict[str, Variable] = {
        "ordinal": Ordinal(levels=hi - int(values.min()) + 1, start=int(values.min())),
        "nominal": Nominal(categories=max(hi, 0) + 1),
        "count": Count(),
        "binary": Ordinal(levels=2),
    }
    return kinds[word]


# ---- spaces --------------------------------------------------------------------------------------


def infer(
    x: Array, *, columns: Wanted | Mapping[Any, Wanted] | None = None, rounding: Rounding = "note"
) -> tuple[Space, Array, tuple[str, ...]]:
    """The Space of the items along the first axis, the array laid out for it, and what was seen.

    One variable for all entries of an array of codes; reals stay reals, and roundings are noted
    only, unless asked for "bins". Whole-number arrays of 3 axes are grey images, of 4 axes images
    with channels first or last; reals of 3 axes are series (time, channel).

    Raises:
        BadData: If the array is empty, holds no numbers, or holds a column of nothing but gaps.
    """
    if x.dtype.kind not in "buif":
        raise BadData(
            f"an array of {x.dtype} holds no numbers", do="give a frame: pd.DataFrame(array)"
        )
    if x.ndim == 0 or not x.size:
        raise BadData("the array is empty", do="give rows of numbers")
    if x.ndim == 1:
        x = x[:, None]
    x, axes = _axes(x)
    _not_all_missing(x)
    _not_infinite(x)
    variable, notes = _variables(x, axes, columns, rounding)
    notes += (
        ("read as series (time, channel): give images with 4 axes",)
        if axes == ("time", "channel")
        else ()
    )
    source = "image" if axes[0] == "channel" else None
    return Space(axes=axes, shape=x.shape[1:], variables=variable, source=source), x, notes


def _axes(x: Array) -> tuple[Array, tuple[str, ...]]:
    if x.ndim == 2:
        return x, ("column",)
    if x.ndim == 3 and x.dtype.kind == "f":
        return x, ("time", "channel")
    if x.ndim == 3:
        return x[:, None], ("channel", "height", "width")
    if x.ndim == 4:
        last = x.shape[-1] in CHANNELS and x.shape[1] not in CHANNELS
        return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if last else x, (
            "channel",
            "height",
            "width",
        )
    return x, tuple(f"axis{i}" for i in range(1, x.ndim))


def _not_all_missing(x: Array) -> None:
    if x.dtype.kind != "f":
        return
    gone = np.isnan(x).all(0)
    if gone.any():
        entry = tuple(int(i) for i in np.argwhere(gone)[0])
        if len(entry) == 1:
            where = f"column {entry[0]}"
        else:
            where = f"entry {entry}"
        raise BadData("nothing but missing values", where=where, do="leave it out")


def _not_infinite(x: Array) -> None:
    if x.dtype.kind == "f":
        found = np.argwhere(np.isinf(x))
    else:
        found = np.empty((0, 1), dtype=np.int64)
    if len(found):
        row, *entry = (int(i) for i in found[0])
        raise BadData(
            "inf is not a finite number",
            where=f"row {row}, entry {tuple(entry)}",
            do="mend it, or put NaN there",
        )


def _variables(
    x: Array,
    axes: tuple[str, ...],
    columns: Wanted | Mapping[Any, Wanted] | None,
    rounding: Rounding,
) -> tuple[tuple[Variable, ...], tuple[str, ...]]:
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
    if isinstance(wanted, str):
        variable = named(wanted, values, name=name)
    else:
        variable = wanted
    # An array holds codes: its levels count from 0, whatever the smallest one that occurs.
    low = isinstance(wanted, str) and variable.type == "ordinal"
    if low and values.min() >= 0:
        return Ordinal(levels=int(values.max()) + 1)
    return variable


def _pixel_levels(x: Array) -> int:
    """The levels of pixels: 2 of masks, 256 of bytes, else as many as occur."""
    top = int(x.max())
    if top < 2:
        return 2
    if x.dtype.itemsize == 1:
        return 256
    return top + 1


def _common(
    x: Array, axes: tuple[str, ...], rounding: Rounding
) -> tuple[tuple[Variable, ...], tuple[str, ...]]:
    if axes[0] == "channel" and x.dtype.kind in "bu":
        return (Ordinal(levels=_pixel_levels(x)),), ()
    known = _known(x)
    if known.size and np.isin(known, (0, 1)).all():
        return (Ordinal(levels=2),), ("every entry is 0 or 1: read as binary",)
    if x.dtype.kind == "f":
        return _reals(x, rounding)
    if known.min() == -1 < known.max() <= 1:
        return (Ordinal(levels=3, start=-1),), ()  # spins, votes, differences
    gaps = (Loud("-1 is read as missing"),) if (x == -1).any() and known.min() >= 0 else ()
    found = whole(known, rounding="bins", start=0)  # an array holds codes, which count from 0
    return (found.variable,), gaps + tuple(
        Loud.as_is(note, f"the array {note}") for note in found.notes
    )


def _known(x: Array) -> Array:
    """The values that are there: no NaN, and no -1 in codes, where it is a value beside 0 and 1 alone."""
    values = x.astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    codes = x.dtype.kind == "i" and values.size and values.min() == -1 and values.max() > 1
    if codes:
        return values[values >= 0]
    return values


def _reals(x: Array, rounding: Rounding) -> tuple[tuple[Variable, ...], tuple[str, ...]]:
    if x.ndim > 2:
        return (Real(),), ()
    found = [real(_known(x[:, i]), rounding=rounding) for i in range(x.shape[1])]
    same = len({f.variable for f in found}) == 1
    variables = (found[0].variable,) if same else tuple(f.variable for f in found)
    return variables, sentences((str(i), note) for i, f in enumerate(found) for note in f.notes)


def ragged(items: Sequence[Any]) -> tuple[Space, Batch]:
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
    if all(a.dtype.kind in "bui" for a in arrays) and arrays[0].ndim == 1:
        space = sequence(1 + max((int(a.max()) for a in arrays if a.size), default=0), longest)
        return space, as_batch(space, arrays)
    arrays = [a[:, None] if a.ndim == 1 else a for a in arrays]
    space = series(arrays[0].shape[1], longest)
    return space, as_batch(space, arrays)


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
    if array.dtype.kind != "O":
        held = array[known]
    else:
        held = np.array(array[known].tolist())
    numbers = held.dtype.kind in "buif"
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
    """Which entries (N,) are neither None nor NaN."""
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
    space, array, _ = infer(np.array(array))
    return space, as_batch(space, array)


def _classes(array: Array) -> bool:
    """Whether floats are 0 and 1, or whole numbers with gaps, or objects are words or whole numbers."""
    if array.dtype.kind in "fO":
        stated = _stated(array)
    else:
        stated = np.zeros(len(array), dtype=bool)
    held = array[stated]
    if not len(held):
        return False
    if array.dtype.kind == "O":
        return not any(isinstance(v, float) and not v.is_integer() for v in held)
    few = not stated.all() and len(np.unique(held)) <= LABELS_MOST
    return bool(np.isin(held, (0.0, 1.0)).all()) or (few and is_whole(held))


def read(
    x: Any, *, name: str, columns: Wanted | Mapping[Any, Wanted] | None, rounding: Rounding
) -> Reading:
    """An array, a tensor, or a list of arrays of unlike lengths."""
    if isinstance(x, list) and _unlike(x):
        space, batch = ragged(x)
        return Reading({"all": Table(space, batch, name=name)})
    space, array, notes = infer(plain(x), columns=columns, rounding=rounding)
    return Reading({"all": Table(space, as_batch(space, array), name=name)}, notes)


def _unlike(items: Sequence[Any]) -> bool:
    """Whether items differ in length, or there is one series (T, C) alone."""
    shapes = [plain(item).shape for item in items]
    return len({shape[:1] for shape in shapes}) > 1 or [len(shape) for shape in shapes] == [2]


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
