"""Markov chains of steps, be they tables of codes or regressions of numbers."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.errors import Unsupported
from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.inference.component import Density


class Chain(Density[Batch]):
    """p(x) = prod_t p(x_t | the last few steps); batches are in model units."""

    @abstractmethod
    def sample(self, noise: Noise, steps: int, params: Parameters) -> Tensor:
        """Whole rows of `steps` steps, (B, *E)."""

    def ended(self, noise: Noise, params: Parameters) -> tuple[Tensor, Tensor]:
        """Rows up to an end that the chain draws itself, and their lengths.

        Raises:
            Unsupported: If the chain models no end.
        """
        raise Unsupported("this chain models no end of its own", do="give lengths")

    @abstractmethod
    def too_wide(self, batch: Batch | None) -> str | None:
        """Why missing entries cannot be summed over (in these rows, or in any), or None."""
