"""The interface of densities that EM fits: components of a mixture, chains of steps, graphs of variables.

Parameters are kept outside of a density, in a dictionary of tensors, and so are the sufficient
statistics that an E-step sums. A new density is its equations.

Legend: B rows, K components, D entries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from torch import Tensor

from likeness.core.learner import Parameters
from likeness.core.noise import Noise

Rows = TypeVar("Rows")


class Component(ABC, Generic[Rows]):
    """A density p(row; params), or K of them side by side, that EM can fit to rows with missing entries."""

    @abstractmethod
    def init(self, variance: Tensor) -> Parameters:
        """Initial parameters, given the variance of each entry, (D,)."""

    @abstractmethod
    def e_step(self, rows: Rows, weight: Tensor, params: Parameters) -> Parameters:
        """Expected sufficient statistics, summed over rows of these weights (B,) or responsibilities (K, B)."""

    @abstractmethod
    def m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """The parameters that maximise the expected log-likelihood of these statistics."""

    @abstractmethod
    def log_prob(self, rows: Rows, params: Parameters) -> Tensor:
        """log p of the observed entries of each row, nats, (B,) or (K, B)."""

    @abstractmethod
    def free_parameters(self, params: Parameters) -> int:
        """The number of free parameters."""


class Density(Component[Rows]):
    """One density of whole rows; its statistics hold "objective", the log-likelihood, and "weight"."""

    @abstractmethod
    def init(self, variance: Tensor | None = None) -> Parameters:
        """Initial parameters."""

    @abstractmethod
    def draw(self, rows: Rows, params: Parameters, noise: Noise) -> Tensor:
        """Missing entries drawn given the observed ones; noise has n B rows, draw-major."""

    @abstractmethod
    def mode(self, rows: Rows, params: Parameters) -> tuple[Tensor, bool]:
        """The most probable values of the missing entries, and whether these surely are."""
