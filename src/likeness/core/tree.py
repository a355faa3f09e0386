"""Rows of answers: the same change to every tensor of a tensor, tuple, dict or frozen dataclass of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def cut(value: T, rows: int) -> T:
    """The first `rows` rows of every tensor in `value`."""
    return _zip([value], lambda ts: ts[0][:rows])


def join(parts: Sequence[T]) -> T:
    """The rows of several values of one structure, one after the other."""
    return parts[0] if len(parts) == 1 else _zip(list(parts), lambda ts: torch.cat(ts))


def _zip(parts: list[Any], f: Callable[[list[Tensor]], Tensor]) -> Any:  # noqa: ANN401
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
