"""What a Markov chain asks of its steps, be they tables of codes or regressions of numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.noise import Noise

Parameters = dict[str, Tensor]


class Chain(ABC):
    """p(x) = prod_t p(x_t | the last few); parameters are a dictionary of tensors, batches are in model units."""

    @abstractmethod
    def blank(self) -> Parameters:
        """Parameters before any data."""

    @abstractmethod
    def expect(self, batch: Batch, now: Parameters) -> Parameters:
        """Additive statistics of rows, expected where they have holes, "objective" and "weight" among them."""

    @abstractmethod
    def maximise(self, sums: Parameters, before: Parameters) -> Parameters:
        """The parameters that are best for the statistics."""

    @abstractmethod
    def log_prob(self, batch: Batch, now: Parameters) -> Tensor:
        """log p of what is known, nats, (B,)."""

    @abstractmethod
    def draw(self, batch: Batch, noise: Noise, n: int, now: Parameters) -> Tensor:
        """n times what is hidden given the rest, (n, B, *E); `noise` has n * B rows."""

    @abstractmethod
    def sample(self, noise: Noise, steps: int, now: Parameters) -> Tensor:
        """Whole rows, (B, *E) of so many steps."""

    @abstractmethod
    def mode(self, batch: Batch, now: Parameters) -> Tensor:
        """The most probable values of what is hidden, (B, *E)."""

    @abstractmethod
    def too_wide(self, batch: Batch | None) -> str | None:
        """Why holes cannot be summed over (in these rows, or in any), or None."""

    @abstractmethod
    def count(self) -> int:
        """Free numbers."""
