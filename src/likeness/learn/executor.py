"""What carries out a learner: one subclass for each kind of Learner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.learn.budget import Budget
from likeness.numerics import memory


@dataclass(frozen=True)
class Event:
    """What one step did.

    Args:
        iteration: Counted from 1.
        phase: Which player moved.
        loss: The mean of the loss over rows.
        terms: The means of its named terms.
        facts: Learning rate, gradient norm, ...
        validation: The criterion on the held-out part, where it was measured.
    """

    iteration: int
    phase: str
    loss: float
    terms: dict[str, float] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    validation: float | None = None


@dataclass(eq=False)
class Task:
    """What an executor works on.

    Args:
        model: Prepared.
        source: The training part, or None for a loss from a density alone.
        budget: How long.
        seed: Of row order and training noise.
        decisions: What a clock decided; filled as decisions are made, obeyed where they stand.
    """

    model: Model
    source: Source | None
    budget: Budget
    seed: int
    decisions: dict[str, Any]

    @property
    def rows(self) -> int:
        """The number of training rows."""
        if self.source is None:
            return 0
        return len(self.source)

    def everything(self, size: int) -> Any:
        """All training rows in model units, chunk by chunk, with noise that never changes."""
        chunks = () if self.source is None else self.source.chunks(size)
        for batch in chunks:
            noise = Noise(self.seed, batch.ids, scope="train", dtype=self.model.dtype)
            yield self.model.inputs(batch.to(device=self.model.device), noise)[0], noise


class Executor(ABC):
    """Carries out one learner, a step at a time."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.iteration = 0
        self.done = False
        memory.keep()

    @abstractmethod
    def step(self, phase: str | None = None) -> Event:
        """One iteration, or one move of one phase."""

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that a later process needs to go on with the same bits."""

    @abstractmethod
    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from `state`."""

    def answering(self, _use: bool) -> None:
        """Put the parameters that answer questions (averages) in place, or take them out again."""
        return

    def finish(self) -> None:
        """Leave the parameters that answer questions in the model."""
        return

    @property
    def total(self) -> int | None:
        """The steps there will be, None while unknown."""
        return None


def terms_of(values: dict[str, Tensor], weight: Tensor | None) -> dict[str, float]:
    """Means of named terms over rows, weighted where rows have weights."""
    table = torch.stack([v.detach() for v in values.values()])
    if weight is None:
        means = table.mean(-1)
    else:
        means = (table * weight).sum(-1) / weight.sum()
    return dict(zip(values, means.tolist(), strict=True))


__all__ = ["Batch", "Event", "Executor", "Task", "terms_of"]
