"""Ragged sequences of codes, laid out side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likeness.core.batch import Batch
from likeness.data.limits import array_memory, check_memory


def empty_items(length: NDArray[Any]) -> tuple[str, ...]:
    """A note where items are empty."""
    empty = int((length == 0).sum())
    if not empty:
        return ()
    return (f"{empty:,} of {len(length):,} items are empty: their length is 0",)


def position(length: NDArray[Any], place: int) -> tuple[int, int]:
    """The item, and the place in it, of a place in all items one after the other."""
    row = int(np.searchsorted(length.cumsum(), place, side="right"))
    return row, place - int(length[:row].sum())


def sequences(codes: NDArray[Any], length: NDArray[Any], longest: int) -> Batch:
    """Codes of all items, one item after the other (N,), as a Batch (B, L) with 0 behind each item's end.

    Args:
        codes: The codes, (N,).
        length: How many belong to each item, (B,).
        longest: The least length L of the layout: an item that is longer widens it.
    """
    size = max(longest, int(length.max(initial=0)))
    check_memory(array_memory(len(length) * size, 4))
    x = np.zeros((len(length), size), dtype=np.float32)
    x[np.arange(size) < length[:, None]] = codes
    return Batch(torch.from_numpy(x), length=torch.from_numpy(length.astype(np.int64)))
