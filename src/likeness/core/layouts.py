"""How items lie in arrays: an axis of rows, one channel or none, channels first or last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from likeness.core.space import Space

CHANNEL, TIME = "channel", "time"


def laid_out(space: Space, x: Tensor) -> Tensor:
    """Items as a Space of fixed sizes lays them out, (B, *E), where their shape tells how they lie.

    One item alone needs no axis of rows, one channel or one column none of its own, and images may
    have their channels last. An array of any other shape comes back as it is.
    """
    for own in (False, True):
        for shape, axis in _forms(space):
            if x.dim() == len(shape) + int(not own) and tuple(x.shape[int(not own) :]) == shape:
                rows = x[None] if own else x
                return _moved(rows, axis, inserted=len(shape) < len(space.shape))
    return x


def _forms(space: Space) -> Iterator[tuple[tuple[int, ...], int | None]]:
    """The shapes that one item may have, and the axis of the array at which its channels are missing or lie."""
    yield space.layout, None
    channel = space.axes.index(CHANNEL) if CHANNEL in space.axes else None
    if channel is None and space.dims == 1 and len(space.shape) == 1:
        yield (), 1
    if channel is None:
        return
    (before, after) = (space.layout[:channel], space.layout[channel + 1 :])
    if space.layout[channel] == 1:
        yield (*before, *after), channel + 1
    if channel == 0 and len(space.shape) > 2:
        yield (*after, space.layout[0]), -1


def _moved(x: Tensor, axis: int | None, *, inserted: bool) -> Tensor:
    if axis is None:
        return x
    return x.unsqueeze(axis) if inserted else x.movedim(axis, 1)


def laid_out_series(space: Space, x: Tensor) -> Tensor:
    """Series of one length as a ragged Space lays them out, (B, T, ...); one alone needs no axis of rows."""
    steps = _step_axis(space, tuple(x.shape))
    if steps is None:
        return x
    if steps == 0:
        x = x[None]
    return x if x.dim() == len(space.shape) + 1 else x.unsqueeze(-1)


def with_channel(space: Space, item: Tensor) -> Tensor:
    """One series (T, C) where one of a single channel may come as (T,)."""
    alone = len(space.shape) == 2 and space.layout[-1] == 1
    return item[:, None] if alone and item.dim() == 1 else item


def steps_of(space: Space, shape: Sequence[int]) -> int | None:
    """How many steps the items of an array go through, None where its shape is not that of such items."""
    axis = _step_axis(space, tuple(shape))
    return None if axis is None else shape[axis]


def _step_axis(space: Space, shape: tuple[int, ...]) -> int | None:
    """The axis of an array along which its items go through time."""
    step = space.layout[1:]
    if len(shape) == len(space.shape) + 1 and shape[2:] == step:
        return 1
    if len(shape) == len(space.shape) and shape[1:] == step:
        return 0
    if step == (1,) and len(shape) in {1, 2}:
        return len(shape) - 1
    return None
