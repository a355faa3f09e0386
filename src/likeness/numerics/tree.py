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
    part: T = _zip([value], lambda ts: ts[0][rows])
    return part


def aligned(place: Tensor, size: int, kind: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
    """Tiles of `size` rows of one kind in which each row stands at slot place % size, others filling empty slots.

    Returns:
        The rows of each tile, int64 (size,), and where in all tiles each row stands, int64 (rows,).
    """
    slot = place % size
    if kind is None:
        kind = torch.zeros_like(slot)
    # Rows of one kind that want the same slot take turns: one tile for each turn.
    turn = _turns(kind * size + slot)
    tiles = torch.zeros(int(kind.max()) + 1, dtype=turn.dtype).scatter_reduce(
        0, kind, turn + 1, "amax"
    )
    tile = tiles.cumsum(0)[kind] - tiles[kind] + turn
    # Empty slots repeat a row of the tile, so that all tiles are full.
    table = torch.full((int(tiles.sum()), size), -1)
    table[tile, slot] = torch.arange(len(place))
    table = torch.where(table < 0, table.amax(1, keepdim=True), table)
    return list(table), tile * size + slot


def _turns(key: Tensor) -> Tensor:
    """How many rows of the same key come before each, int64 (rows,)."""
    order = key.argsort(stable=True)
    # Rank within runs of equal keys, put back in the order of the rows.
    _, count = key[order].unique_consecutive(return_counts=True)
    rank = torch.arange(len(key)) - (count.cumsum(0) - count).repeat_interleave(count)
    return torch.empty_like(rank).scatter(0, order, rank)


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
        return type(head)(
            **{x.name: _zip([getattr(p, x.name) for p in parts], f) for x in fields(head)}
        )
    return head
