"""Preprocessors map data to the reals that continuous families see; fillers stand in for holes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import Space


class Source(Protocol):
    """Rows by index: what a Run learns from."""

    @property
    def space(self) -> Space:
        """What an item is."""

    @property
    def given_space(self) -> Space | None:
        """What is given, if anything."""

    def __len__(self) -> int:
        """The number of items."""

    def rows(self, index: Tensor) -> Batch:
        """Some items; Batch.index says which."""

    def epoch(self, k: int) -> Source:
        """The items as pass k sees them: the same ones, unless the source draws them anew."""

    def chunks(self, size: int) -> Iterator[Batch]:
        """All items in order, at most `size` at a time."""


class Preprocessor(nn.Module, ABC):
    """A map from data units to model units with its share of log p.

    Attributes:
        space: What comes in.
        out: What comes out.
        stochastic: Whether forward draws (dequantisation, argmax): log p is then a lower bound.
        how: A few words for answers.
    """

    space: Space
    out: Space
    stochastic: bool = False
    how: str = ""

    @abstractmethod
    def fit(self, source: Source) -> None:
        """Take what it needs from the training split, in one pass."""

    @abstractmethod
    def forward(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor, Kind]:
        """The batch in model units, the correction (B,) with log p(x) >= log p(y) + correction, and its kind."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """Model units (B, *F) back to data units (B, *E)."""


class Filler(nn.Module, ABC):
    """A simple q(missing | observed) fitted first: with it a density of full rows bounds that of rows with gaps."""

    how: str = ""

    @abstractmethod
    def fit(self, source: Source) -> None:
        """Fit q on the training split, seen through the model's preprocessor."""

    @abstractmethod
    def fill(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        """The batch with its holes drawn from q, and -log q of what was drawn, (B,)."""


def standardised(x: Tensor, present: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of each entry over rows; 0 and 1 where nothing varies."""
    w = present * weight.reshape(-1, *[1] * (x.dim() - 1))
    total = w.sum(0).clamp_min(1e-12)
    mean = (w * x).sum(0) / total
    std = ((w * (x - mean).square()).sum(0) / total).sqrt()
    return mean, torch.where(std > 0, std, torch.ones_like(std))
