"""What a safetensors file says it holds, checked against what it has room for, before a number is read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from likeness.core.errors import BadStore
from likeness.registry import foreign

MOST_HEADER = 1 << 24  # bytes
MOST_NUMBERS = (1 << 63) - 1
DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Entry:
    """One tensor of a file.

    Args:
        dtype: Its type.
        shape: Its sizes.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a file holds.

    Args:
        entries: Its tensors by name.
        metadata: Texts by name.
    """

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]

    @property
    def numbers(self) -> int:
        """How many numbers it holds in all."""
        return sum(entry.numbers for entry in self.entries.values())

    def facts(self, path: Path) -> dict[str, Any]:
        """The JSON facts beside the tensors.

        Raises:
            BadStore: If there are none.
        """
        try:
            facts = json.loads(self.metadata["facts"])
        except (KeyError, ValueError, RecursionError) as error:
            raise _wrong(path) from error
        if not isinstance(facts, dict):
            raise _wrong(path)
        return facts


def read(path: Path) -> Header:
    """The head of a safetensors file: its length in 8 bytes, then JSON: name -> dtype, shape, data_offsets.

    Raises:
        BadStore: If the file is missing, truncated, or holds other than its head says: gaps,
            overlaps, wrong sizes.
    """
    # The head is read only if its length fits into the file and into the bound.
    with foreign.opened(path) as file:
        room = os.fstat(file.fileno()).st_size - 8
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(room, MOST_HEADER):
            raise _wrong(path)
        text = file.read(length)
    # JSON of one entry a tensor, with free texts under __metadata__.
    entries = foreign.parsed(text, path)
    if not isinstance(entries, dict):
        raise _wrong(path)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise _wrong(path)
    return Header(_entries(entries, room - length, path), metadata)


def _entries(found: dict[str, Any], room: int, path: Path) -> dict[str, Entry]:
    """The tensors, which must lie side by side and fill the room behind the head."""
    spans = list[tuple[int, int]]()
    entries = dict[str, Entry]()
    for name, said in found.items():
        # Types, shapes and places must be those of a tensor.
        try:
            entry = Entry(DTYPES[said["dtype"]], _whole(said["shape"]))
            begin, end = _whole(said["data_offsets"])
        except (KeyError, TypeError, ValueError) as error:
            raise _wrong(path) from error
        if end - begin != entry.numbers * entry.dtype.itemsize:
            raise _wrong(path)
        spans.append((begin, end))
        entries[name] = entry
    # Side by side from 0 to the end: neither gaps nor overlaps, where bytes could hide.
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise _wrong(path)
        at = end
    if at != room:
        raise _wrong(path)
    return entries


def _whole(said: Any) -> tuple[int, ...]:
    """Whole numbers from 0 on, whose product 64 bits can hold even where one of them is 0.

    Raises:
        ValueError: If these are others.
    """
    if not isinstance(said, list) or not all(
        type(number) is int and number >= 0 for number in said
    ):
        raise ValueError(said)
    if math.prod(max(number, 1) for number in said) > MOST_NUMBERS:
        raise ValueError(said)
    return tuple(said)


def _wrong(path: Path) -> BadStore:
    return BadStore(
        "the file is truncated or not a saved model", where=str(path), do="save or train it again"
    )
