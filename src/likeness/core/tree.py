"""Rows of answers: the same change to every tensor of a tensor, tuple, dict or frozen dataclass of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def take(value: T, rows: Tensor | slice) -> T:
    """Those rows of every tensor in `value`."""
    taken: T = _zip([value], lambda ts: ts[0][rows])
    return taken


def aligned(place: Tensor, size: int) -> tuple[list[Tensor], Tensor]:
    """Tiles of `size` rows in which each row stands at slot place % size, empty slots filled with another row.

    Returns:
        The rows of each tile, int64 (size,), and where in all tiles each row stands, int64 (rows,).
    """
    slot = place % size
    tile = torch.nn.functional.one_hot(slot, size).cumsum(0).gather(1, slot[:, None]).squeeze(1) - 1
    table = torch.full((int(tile.max()) + 1, size), -1)
    table[tile, slot] = torch.arange(len(place))
    table = torch.where(table < 0, table.amax(1, keepdim=True), table)
    return list(table), tile * size + slot


def join(parts: Sequence[T]) -> T:
    """The rows of several values of one structure, one after the other; a class may say how by a `cat` of its own."""
    if len(parts) == 1:
        return parts[0]
    own = getattr(type(parts[0]), "cat", None)
    joined: T = own(parts) if own is not None else stacked(parts)
    return joined


def stacked(parts: Sequence[T]) -> T:
    """The rows of every tensor in several values of one structure, one after the other."""
    whole: T = _zip(list(parts), torch.cat)
    return whole


def _zip(parts: list[Any], f: Callable[[list[Tensor]], Tensor]) -> Any:
    head = parts[0]
    if torch.is_tensor(head):
        return f(parts)
    if isinstance(head, dict):
        return {k: _zip([p[k] for p in parts], f) for k in head}
    if isinstance(head, tuple):
        return tuple(_zip(list(ps), f) for ps in zip(*parts, strict=True))
    if is_dataclass(head) and not isinstance(head, type):
        return type(head)(**{x.name: _zip([getattr(p, x.name) for p in parts], f) for x in fields(head)})
    return head
