"""Arrays and tensors of any type of number, in a type that keeps their digits.

Whole numbers of up to 16 bits are exact in single precision, others in double precision up to 2^53.
A mask of numpy's becomes NaN. Complex numbers are refused: no part of them may be lost.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likeness.core.errors import BadData

Array = NDArray[Any]
SMALL = 2  # bytes of a whole number that single precision holds
WHOLE_MOST = 2**53  # up to which double precision holds every whole number
NUMBERS = "buif"  # numpy's kinds of real numbers


def as_tensor(data: Any) -> Tensor:
    """The numbers as a floating tensor of their shape, NaN where they are masked.

    Raises:
        BadData: If they are no real numbers.
    """
    if isinstance(data, Tensor):
        return _floating(data)
    array = as_array(data)
    if array.dtype.kind not in NUMBERS:
        raise BadData(
            "the data are not an array of numbers", do="give a tensor, an array or a frame"
        )
    # The dtype is chosen before masks are filled, since whole numbers have no NaN.
    target = _kept_by(array.dtype)
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(target), np.nan)
    # Torch takes neither views that run backwards nor arrays that may not be written.
    array = np.ascontiguousarray(array, dtype=target).reshape(array.shape)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def as_array(data: Any) -> Array:
    """The data as an array of numpy: numbers in types of the machine's own, at most double precision.

    Masked numbers become NaN where they are floating; whole ones stay a masked array. What holds no
    numbers (words, dates, objects, records) stays as it is.

    Raises:
        BadData: If items have unlike shapes, or are complex numbers.
    """
    if isinstance(data, Tensor):
        return _dense(data).detach().cpu().numpy()
    array = _numpy(data)
    kind = array.dtype.kind
    # No part of a complex number may be dropped.
    if kind == "c":
        raise complex_numbers()
    if kind == "V" and array.dtype.names is None and "float" in array.dtype.name:
        return array.astype(np.float32)  # bfloat16 and smaller, as JAX has them
    if kind not in NUMBERS:
        return array
    # Foreign byte orders and long doubles become the machine's own types.
    array = array.astype(_native(array.dtype), copy=False)
    # A mask without a masked entry is dropped; a masked float becomes NaN.
    if not isinstance(array, np.ma.MaskedArray):
        return array
    if not np.ma.is_masked(array):
        return array.data
    return np.ma.filled(array, np.nan) if array.dtype.kind == "f" else array


def _numpy(data: Any) -> Array:
    """Any nest of arrays and numbers as one array, masks kept."""
    try:
        if isinstance(data, np.ndarray):
            return np.ma.asarray(data) if isinstance(data, np.ma.MaskedArray) else np.asarray(data)
        if isinstance(data, list | tuple) and _holds_arrays(data):
            return _stacked([as_array(item) for item in data])
        return np.asarray(data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadData(
            "the items have unlike shapes", do="give an array, or a list of arrays of one width"
        ) from error


def _holds_arrays(data: list[Any] | tuple[Any, ...]) -> bool:
    """Whether tensors or masked arrays lie anywhere within lists: numpy would lose what is theirs."""
    return any(
        isinstance(item, Tensor | np.ma.MaskedArray)
        or (isinstance(item, list | tuple) and _holds_arrays(item))
        for item in data
    )


def _stacked(items: list[Array]) -> Array:
    if any(isinstance(item, np.ma.MaskedArray) for item in items):
        return np.ma.stack(items)
    return np.stack(items)


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The machine's own type of the same numbers; floats of 32 or 64 bits."""
    if dtype.kind != "f":
        return dtype.newbyteorder("=")
    return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)


def _kept_by(dtype: np.dtype[Any]) -> type[Any]:
    """The floating type that holds the numbers of another."""
    small = dtype.kind == "b" or (dtype.kind in "iu" and dtype.itemsize <= SMALL)
    return np.float32 if small or dtype == np.float32 else np.float64


def _floating(x: Tensor) -> Tensor:
    """The tensor in a floating type of 32 or 64 bits, where it is."""
    x = _dense(x)
    if x.is_floating_point():
        return x
    return x.to(torch.float32 if x.element_size() <= SMALL else torch.float64)


def _dense(x: Tensor) -> Tensor:
    """The tensor without what numpy lacks: sparse and quantised layouts, short floats, lazy signs."""
    if x.is_complex():
        raise complex_numbers()
    # Each step removes one thing that numpy has no type for.
    if x.is_quantized:
        x = x.dequantize()
    if x.layout is not torch.strided:
        x = x.to_dense()
    if x.is_floating_point() and x.element_size() < 4:
        x = x.float()
    return x.resolve_neg()


def complex_numbers(where: str | None = None) -> BadData:
    """The refusal of complex numbers."""
    return BadData(
        "complex numbers are no real ones",
        where=where,
        do="give their parts as columns: np.concatenate([z.real, z.imag], axis=1)",
    )


def lossy(whole: Array) -> bool:
    """Whether some of these whole numbers change in double precision."""
    if whole.dtype.kind not in "iu" or whole.dtype.itemsize < 8 or not whole.size:
        return False
    if int(whole.max()) <= WHOLE_MOST and int(whole.min()) >= -WHOLE_MOST:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        back = whole.astype(np.float64).astype(whole.dtype)
    return bool((back != whole).any())
