"""Learners through a map: one model's learner fed with what another makes of the data (priors over codes)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, singledispatch
from typing import Any

from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.learner import EM, FullBatch, Gradient, Learner, Loss, Phase, Staged
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.space import Space

Codes = Callable[[Batch, Noise], Batch]
GATHERED = 1 << 24  # numbers of chosen items that are brought together


class Mapped:
    """A source whose items are codes of another's: what a nested model is prepared with.

    Args:
        source: Batches in the outer model's units.
        codes: (batch, noise) -> the same rows as codes.
        space: What the codes are.
        seed: Of the noise that codes are drawn with.
    """

    def __init__(self, source: Any, codes: Codes, space: Space, seed: int = 0) -> None:
        self.source = source
        self.codes = codes
        self.space = space
        self.seed = seed
        self.given_space = source.given_space

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, index: Tensor) -> Batch:
        """Some items, as codes."""
        return self._map(self.source.rows(index))

    def epoch(self, k: int) -> Mapped:
        """The same, as pass k sees it."""
        return Mapped(self.source.epoch(k), self.codes, self.space, self.seed)

    def chunks(self, size: int) -> Iterator[Batch]:
        """All items, as codes."""
        for batch in self.source.chunks(size):
            yield self._map(batch)

    def _map(self, batch: Batch) -> Batch:
        return self.codes(batch, Noise(self.seed, batch.ids, scope="codes", dtype=batch.x.dtype))


class Chosen:
    """Some items of a source, as a source of their own: what the model of one class learns from.

    Args:
        source: Where they come from.
        index: Which ones, int64 (N,).
    """

    def __init__(self, source: Any, index: Tensor) -> None:
        self.source = source
        self.index = index
        self.space = source.space
        self.given_space = source.given_space
        self.small = len(index) * source.space.dims <= GATHERED

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def gathered(self) -> Batch:
        """All items, brought together once."""
        batch: Batch = self.source.rows(self.index)
        return batch

    def rows(self, index: Tensor) -> Batch:
        """Some items."""
        batch: Batch = self.source.rows(self.index[index])
        return batch

    def epoch(self, k: int) -> Chosen:
        """The same, as pass k sees it."""
        return Chosen(self.source.epoch(k), self.index)

    def chunks(self, size: int) -> Iterator[Batch]:
        """All items; few are brought together once, since learners pass over them several times."""
        if self.small:
            yield from self.gathered.chunks(size)
            return
        for part in self.index.split(size):
            yield self.source.rows(part)


def through(model: Model, codes: Codes) -> Learner:
    """A nested model's learner, shown codes of the outer batches and led by the nested Config.

    Args:
        model: The nested model, prepared.
        codes: (batch, noise) -> the batch that the nested model sees, in its own model units.
    """
    return _fed(model.learner(), codes, model.config)


@singledispatch
def _fed(learner: Learner, codes: Codes, config: Any) -> Learner:
    raise TypeError(f"no way to feed a {type(learner).__name__} with codes")


def _loss(loss: Loss, codes: Codes) -> Loss:
    return lambda batch, noise: loss(codes(batch, noise), noise)


@_fed.register
def _(learner: Gradient, codes: Codes, config: Any) -> Learner:
    def phase(p: Phase) -> Phase:
        # Memory per row is measured on the codes, which the nested model sees.
        size = p.row_bytes
        of_codes = None if size is None else lambda batch, noise: size(codes(batch, noise), noise)
        return replace(p, loss=_loss(p.loss, codes), row_bytes=of_codes)

    return Gradient(tuple(phase(p) for p in learner.phases), config=learner.config or config)


@_fed.register
def _(learner: FullBatch, codes: Codes, config: Any) -> Learner:
    return replace(learner, loss=_loss(learner.loss, codes))


@_fed.register
def _(learner: EM, codes: Codes, config: Any) -> Learner:
    class Task:
        """The outer task, its batches as codes."""

        def __init__(self, task: Any) -> None:
            self.__dict__.update(vars(task))
            self.task = task
            self.rows = task.rows

        def everything(self, size: int) -> Iterator[tuple[Batch, Noise]]:
            for batch, noise in self.task.everything(size):
                yield codes(batch, noise), noise

    # Codes of the E-step have the same noise in every pass, so that EM is monotone.
    def expect(batch: Batch, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        noise = Noise(0, batch.ids, scope="codes", dtype=batch.x.dtype)
        return learner.expect(codes(batch, noise), parameters)

    return replace(
        learner, start=lambda task, noise: learner.start(Task(task), noise), expect=expect
    )


@_fed.register
def _(learner: Staged, codes: Codes, config: Any) -> Learner:
    def late(make: Callable[[], Learner]) -> Callable[[], Learner]:
        return lambda: _fed(make(), codes, config)

    return replace(learner, stages=tuple((name, late(make)) for name, make in learner.stages))
