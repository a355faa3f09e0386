"""Events seen as steps in time: which axis that is, what one step is, and noise for every step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from likeness.core.batch import Batch, missing
from likeness.core.noise import Noise
from likeness.core.space import Space

BLOCK = 16  # steps whose noise is drawn together


def timed(space: Space) -> bool:
    """Whether events go through time, each step over the same variables."""
    if "time" not in space.axes:
        return False
    return space.axes[-1] != "time" or len(space.variables) == 1


class Steps:
    """Events (B, *E) as steps (B, L, C), each an event of `space`.

    Args:
        events: A Space with a time axis.
    """

    def __init__(self, events: Space) -> None:
        self.axis = events.axes.index("time")
        self.shape = tuple(s for i, s in enumerate(events.layout) if i != self.axis)
        self.longest = events.layout[self.axis]
        # The variables of one step: all columns where time
        # comes last, else as often as entries share them.
        width = events.dims // self.longest
        last = self.axis == len(events.axes) - 1
        if last or len(events.variables) == 1:
            columns = events.variables
        else:
            columns = events.columns * (width // events.width)
        names = None if last or len(self.shape) > 1 else events.names
        self.space = Space(axes=("column",), shape=(width,), variables=columns, names=names)

    def split(self, x: Tensor) -> Tensor:
        """Entries (B, *E) by step, (B, L, C)."""
        # (rows, *event) -> (rows, steps, entries a step)
        return x.movedim(1 + self.axis, 1).reshape(len(x), x.shape[1 + self.axis], self.space.dims)

    def join(self, x: Tensor) -> Tensor:
        """Steps (B, L, C) as entries (B, *E)."""
        return x.reshape(*x.shape[:2], *self.shape).movedim(1, 1 + self.axis)

    def packed(self, batch: Batch) -> Packed:
        """Steps within their items, one item after the other, in double precision."""
        there = self.there(batch)
        length = self.lengths(batch)
        v = self.split(batch.x).double()
        known = self.split(batch.present)
        # (rows, steps, C) -> (steps of all items, C)
        if there is None:
            v = v.flatten(0, 1)
            known = known.flatten(0, 1)
        else:
            v = v[there]
            known = known[there]
        weight = batch.weights.double()
        return Packed(
            v,
            known,
            length,
            weight,
            None if batch.weight is None else weight.repeat_interleave(length),
        )

    def lengths(self, batch: Batch) -> Tensor:
        """Steps of each item, int64 (B,)."""
        if batch.length is not None:
            return batch.length
        return torch.full_like(batch.ids, batch.x.shape[1 + self.axis])

    def there(self, batch: Batch) -> Tensor | None:
        """Which steps lie within their item, bool (B, L), or None where all do."""
        if batch.length is None:
            return None
        return (
            torch.arange(batch.x.shape[1 + self.axis], device=batch.x.device)
            < batch.length[:, None]
        )


@dataclass(frozen=True, eq=False)
class Packed:
    """Steps of B items, one item after the other.

    Args:
        v: Values (N, C).
        known: Which of them are known, bool (N, C).
        length: Steps of each item, int64 (B,).
        weight: Of each item, (B,).
        each: Of each step, (N,), or None where all items weigh 1.
    """

    v: Tensor
    known: Tensor
    length: Tensor
    weight: Tensor
    each: Tensor | None


def unseen(space: Space, noise: Noise, length: Tensor | None, like: Tensor) -> Batch:
    """One fully missing item per row of the noise, of the lengths asked for, laid out to the longest known."""
    # The layout holds the longest training item; longer requests get more steps.
    batch = replace(missing(space, noise.rows, like), length=length, index=noise.index)
    if length is None or not len(length):
        more = 0
    else:
        more = int(length.max()) - batch.x.shape[1]
    if more <= 0:
        return batch
    x = torch.cat([batch.x, batch.x.new_zeros(len(batch), more, *batch.x.shape[2:])], 1)
    return replace(batch, x=x, observed=torch.zeros_like(x, dtype=torch.bool))


@dataclass(frozen=True, eq=False)
class StepNoise(Noise):
    """The noise of every step of every row: numbers are (B * L, *shape), those of a step do not depend on L.

    Args:
        steps: L.
        since: The step from which on numbers are wanted: those of the steps from there, (B * (L -
            since), *shape).
    """

    steps: int = 1
    since: int = 0

    @classmethod
    def of(cls, noise: Noise, steps: int, since: int = 0) -> StepNoise:
        """The noise of `steps` steps for each row of another noise."""
        return cls(
            noise.seed, noise.index, noise.draw, noise.step, noise.scope, noise.dtype, steps, since
        )

    def normal(self, use: str, *shape: int) -> Tensor:
        """Standard normal numbers (B * L, *shape)."""
        return self._laid(
            [super(StepNoise, self).normal(name, BLOCK, *shape) for name in self._blocks(use)]
        )

    def uniform(self, use: str, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (B * L, *shape)."""
        return self._laid(
            [super(StepNoise, self).uniform(name, BLOCK, *shape) for name in self._blocks(use)]
        )

    def _blocks(self, use: str) -> list[str]:
        return [f"{use} from {t}" for t in range(self.since // BLOCK * BLOCK, self.steps, BLOCK)]

    def _laid(self, blocks: list[Tensor]) -> Tensor:
        # Blocks begin at multiples of BLOCK, so that a step's
        # numbers do not depend on where the request begins.
        skipped = self.since % BLOCK
        return torch.cat(blocks, 1)[:, skipped : self.steps - self.since + skipped].flatten(0, 1)
