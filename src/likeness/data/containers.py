"""What holds numbers or cells, in numpy's and pandas' own terms: arrays of numbers, or frames.

Objects that are numbers become numbers (None, NaN and pandas' NA a mask); records, dates and rows
of unlike things become frames; so do tables of Arrow and Polars. What is neither array nor table is
refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from likeness.core.errors import BadData
from likeness.core.numbers import NUMBERS, Array, as_array, complex_numbers
from likeness.data.limits import array_memory, check_memory

if TYPE_CHECKING:
    import pandas as pd

DATES = "mM"  # numpy's kinds of durations and dates


def native(data: Any) -> Any:
    """Arrays of numbers or words, or a frame, from whatever holds them; all else as it is.

    Raises:
        BadData: For complex numbers, and sparse matrices too large to be filled.
    """
    import pandas as pd

    if isinstance(data, pd.DataFrame | pd.Series):
        return data
    if hasattr(data, "to_pandas") and hasattr(data, "columns"):
        return data.to_pandas()
    if isinstance(data, pd.Index | pd.api.extensions.ExtensionArray):
        return pd.Series(data)
    if isinstance(data, np.ndarray):
        return _of_array(data)
    return data


MOST_DIGITS = 60  # of a number that is written out in a sentence


def plain(data: Any) -> Array:
    """An array of numbers from whatever holds them, masked where some are missing from whole ones.

    Raises:
        BadData: For complex numbers, items of unlike shapes, and what is no array.
    """
    import pandas as pd

    if isinstance(data, pd.DataFrame | pd.Series):
        data = data.to_numpy()
    elif hasattr(data, "toarray") and hasattr(data, "nnz"):
        data = _filled(data)
    array = as_array(data)
    if array.dtype.kind != "O":
        return array
    numbers = typed(array)
    if numbers is None and array.ndim == 0:
        raise BadData(
            f"not an array but of type {type(data).__name__}",
            do="give a list, an array, a tensor or a frame",
        )
    return array if numbers is None else numbers


def typed(objects: Array) -> Array | None:
    """Objects that are real numbers, or missing, as an array of such numbers; None where some are none.

    Raises:
        BadData: For complex numbers.
    """
    import pandas as pd

    flat = objects.ravel()
    missing = pd.isna(flat)
    if not missing.all() and any(isinstance(v, complex | np.complexfloating) for v in flat):
        raise complex_numbers()
    present = flat[~missing]
    kinds = {_kind(value) for value in present}
    if not kinds or None in kinds or ("b" in kinds and len(kinds) > 1):
        return None
    kind = "f" if "f" in kinds else kinds.pop()
    if kind == "i":
        dtype = _whole_type(present)
    else:
        dtype = np.dtype(np.bool_ if kind == "b" else np.float64)
    values: Array = np.zeros(len(flat), dtype=dtype)
    values[~missing] = present.astype(dtype)
    if dtype == np.float64:
        values[missing] = np.nan
        return values.reshape(objects.shape)
    if not missing.any():
        return values.reshape(objects.shape)
    return np.ma.masked_array(values, missing).reshape(objects.shape)


def columns_of(frames: Sequence[pd.DataFrame], names: Sequence[str]) -> list[pd.DataFrame]:
    """Frames whose columns stand in the order of their names.

    Raises:
        BadData: If one has other columns.
    """
    ordered = []
    for i, frame in enumerate(frames):
        named = frame.set_axis([str(name) for name in frame.columns], axis=1)
        if sorted(named.columns) != sorted(names):
            raise BadData(
                f"columns {', '.join(named.columns)} where {', '.join(names)} are expected",
                where=f"frame {i}",
                do="give every frame the same columns",
            )
        ordered.append(named[list(names)])
    return ordered


def _kind(value: Any) -> str | None:
    """The kind of number that an object is: b, i or f; None where it is none."""
    if isinstance(value, bool | np.bool_):
        return "b"
    if isinstance(value, Integral):
        return "i"
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        return None
    return "f" if np.ndim(value) == 0 else None


def _whole_type(known: Array) -> np.dtype[Any]:
    """The type of numpy that holds whole numbers; double precision where none does and no digit is lost."""
    low = min(map(int, known))
    high = max(map(int, known))
    if low >= -(2**63) and high < 2**63:
        return np.dtype(np.int64)
    if low >= 0 and high < 2**64:
        return np.dtype(np.uint64)
    odd = next((value for value in known if not _kept(value)), None)
    if odd is not None:
        raise BadData(
            f"{_shown(odd)} has more digits than numbers keep",
            do="give floats if the last ones may go, or words",
        )
    return np.dtype(np.float64)


def _kept(value: Any) -> bool:
    """Whether double precision holds a whole number with all its digits."""
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _shown(number: int) -> str:
    """A whole number for a sentence; Python writes none of thousands of digits."""
    digits = int(abs(int(number)).bit_length() * math.log10(2)) + 1
    return str(number) if digits < MOST_DIGITS else f"a number of about {digits:,} digits"


def _filled(matrix: Any) -> Array:
    """A sparse matrix with its zeros."""
    check_memory(array_memory(math.prod(matrix.shape), matrix.dtype.itemsize))
    return np.asarray(matrix.toarray())


def _of_array(array: Array) -> Any:
    """An array of numbers or words, or a frame of records, of dates, or of rows of unlike things."""
    import pandas as pd

    if array.dtype.names is not None:
        return pd.DataFrame({name: array[name] for name in array.dtype.names})
    array = as_array(array)
    if isinstance(array, np.ma.MaskedArray) and array.dtype.kind not in NUMBERS:
        array = np.ma.filled(array.astype(object), None)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "backslashreplace")
    if array.dtype.kind == "O":
        numbers = typed(array)
        if numbers is not None:
            return numbers
    if array.dtype.kind in DATES and array.ndim <= 2:
        return frame_of(array)
    if array.dtype.kind in "OU" and array.ndim == 2:
        return frame_of(array).infer_objects()
    return array


def frame_of(array: Array) -> pd.DataFrame:
    """The columns of an array (n,) or (n, d) as a frame: x0, x1, ..."""
    import pandas as pd

    columns = array[:, None] if array.ndim == 1 else array
    return pd.DataFrame({f"x{i}": columns[:, i] for i in range(columns.shape[1])})
