"""Building a model whose sizes come from a file: it may make no more than the file makes plausible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from likeness.core.errors import BadStore
from likeness.core.space import Space

NUMBERS = (
    1 << 22
)  # that may be made, and for each number of the file (masks, orders, first weights)
NUMBERS_EACH = 64
STEPS = 2_000  # operations, for each tensor of the file, and one for so many numbers
STEPS_EACH = 64
STEPS_OF = 4
ENTRIES = 1 << 22  # of an event and of its last axis, where the file holds few numbers
WIDTH = 1 << 15


class _Bounded(TorchFunctionMode):
    """Counts operations and the numbers that they make, before they make them."""

    def __init__(self, numbers: int, steps: int, where: str) -> None:
        super().__init__()
        self.numbers = numbers
        self.steps = steps
        self.where = where

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Properties of tensors cost nothing.
        named = kwargs or {}
        if func.__name__ == "__get__":  # a tensor is asked for its shape, say
            return func(*args, **named)
        # Sizes are estimated from the arguments, before the operation runs.
        leaves = list(_leaves((args, named)))
        excessive = _most(func.__name__, leaves) > self.numbers
        # Only an estimate: tensors without memory tell the real size.
        if excessive and func.__name__ not in _MOST:
            excessive = _asked(func, args, named, leaves) > self.numbers
        if excessive:
            raise too_large(self.where)
        made = func(*args, **named)
        # What was made counts against both bounds.
        self.steps = self.steps - 1
        self.numbers = self.numbers - _numbers(made)
        if min(self.steps, self.numbers) < 0:
            raise too_large(self.where)
        return made


@contextmanager
def bounded(tensors: int, numbers: int, where: str) -> Iterator[None]:
    """While entered, tensors can be made as a file of so many tensors and numbers needs them, and no more.

    Raises:
        BadStore: Where more are made.
    """
    steps = STEPS + STEPS_EACH * tensors + numbers // STEPS_OF
    with _Bounded(NUMBERS + NUMBERS_EACH * numbers, steps, where):
        yield


def plausible(space: Space, numbers: int) -> bool:
    """Whether so many numbers may belong to a model over the Space: each column has some, an entry a share of one."""
    entries = math.prod(space.layout)
    return space.width <= max(WIDTH, numbers) and entries <= max(ENTRIES, NUMBERS_EACH * numbers)


def too_large(where: str) -> BadStore:
    """The refusal of a config that speaks of more than the weights hold."""
    return BadStore(
        "config.json describes a model far larger than its weights",
        where=where,
        do="save or train it again",
    )


def _leaves(value: Any) -> Iterator[Any]:
    """What stands in lists, tuples and dicts, at any depth."""
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    else:
        yield value


def _sizes(leaves: Sequence[Any]) -> int:
    """All sizes of tensors and all whole numbers multiplied."""
    sizes = (leaf.numel() if isinstance(leaf, Tensor) else leaf for leaf in leaves)
    return math.prod(abs(size) for size in sizes if isinstance(size, int) and abs(size) > 1)


def _repeated(leaves: Sequence[Any]) -> int:
    """Each row as often as the last tensor says, or a number."""
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    # Floating counts are fractions, not repetitions.
    if not tensors or tensors[-1].is_floating_point():
        return _sizes(leaves)
    times = int(tensors[-1].sum())
    if len(tensors) == 1:
        return times
    return times * (tensors[0].numel() // max(1, len(tensors[-1])))


def _unit(leaves: Sequence[Any]) -> int:
    """A square of a size, or a rectangle of two."""
    sizes = [leaf for leaf in leaves if isinstance(leaf, int) and not isinstance(leaf, bool)]
    return math.prod(sizes) if len(sizes) > 1 else math.prod(sizes) ** 2


def _filled(leaves: Sequence[Any]) -> int:
    """All sizes multiplied, but for the number that stands behind them."""
    numbers = [n for n in leaves if isinstance(n, int | float) and not isinstance(n, bool)]
    return _sizes(numbers[:-1])


def _diagonal(leaves: Sequence[Any]) -> int:
    """Matrices from the vectors along the last axis; a matrix's own diagonal is no more than it."""
    return max((leaf.numel() * leaf.shape[-1] for leaf in leaves if _vectors(leaf)), default=0)


def _vectors(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() > 0


def _counted(leaves: Sequence[Any]) -> int:
    """One number for each code up to the largest."""
    return max(
        (int(leaf.max()) + 1 for leaf in leaves if isinstance(leaf, Tensor) and leaf.numel()),
        default=0,
    )


def _spanned(leaves: Sequence[Any]) -> int:
    """From one number to another."""
    return int(sum(abs(leaf) for leaf in leaves if isinstance(leaf, int | float)))


def _broadcast(leaves: Sequence[Any]) -> int:
    """Entry by entry, tensors laid over each other: of each axis, counted from the last, the longest."""
    shapes = [leaf.shape[::-1] for leaf in leaves if isinstance(leaf, Tensor)]
    return math.prod(max(sizes) for sizes in zip_longest(*shapes, fillvalue=1))


_ENTRYWISE = (
    *("add", "sub", "mul", "div", "floor_divide", "remainder", "where", "clamp", "masked_fill"),
    *(
        "__and__",
        "__or__",
        "__xor__",
        "__floordiv__",
        "__mod__",
        "__eq__",
        "__ne__",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
    ),
)
# Operations whose numbers are known; those of others are their sizes multiplied at most.
_MOST: dict[str, Callable[[Sequence[Any]], int]] = {
    "repeat_interleave": _repeated,
    "bincount": _counted,
    "arange": _spanned,
    "tensor": len,
    "as_tensor": len,
    **dict.fromkeys(_ENTRYWISE, _broadcast),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to", "view"), lambda _leaves: 0),
    **dict.fromkeys(("zeros", "ones", "empty", "rand", "randn", "randperm"), _sizes),
    "full": _filled,
    "eye": _unit,
    "diag_embed": _diagonal,
    "diag": _diagonal,
}


def _most(name: str, leaves: Sequence[Any]) -> int:
    """How many numbers an operation makes at most."""
    return _MOST.get(name, _sizes)(leaves)


def _asked(func: Any, args: Any, kwargs: Any, leaves: Sequence[Any]) -> float:
    """How many numbers an operation will make, by tensors without memory; what these cannot tell counts as too many.

    Rarely needed, since the first question of this kind may take torch seconds.
    """
    if kwargs.get("device") is not None:
        placed = {"device": "meta"}
    else:
        placed = {}
    try:
        with torch.device("meta"):
            return _numbers(func(*_weightless(args), **{**_weightless(kwargs), **placed}))
    except (NotImplementedError, RuntimeError, TypeError, OverflowError):
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if not tensors:
            return math.inf
        return sum(t.numel() * max(1, t.dim()) for t in tensors)


def _numbers(made: Any) -> int:
    return sum(
        math.prod(t.shape) for t in _leaves(made) if isinstance(t, Tensor) and not t._is_view()
    )


def _weightless(value: Any) -> Any:
    """The same with tensors without memory in the place of tensors."""
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, dict):
        return {name: _weightless(inner) for name, inner in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(map(_weightless, value))
    return value
