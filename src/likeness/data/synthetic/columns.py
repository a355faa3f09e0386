"""Tables of mixed columns: independent blocks, each a small mixture of products of one-column distributions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import final

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import Space
from likeness.data.synthetic.base import Condition, SyntheticClasses, pick
from likeness.numerics.constants import HALF_LOG_2PI

REACH = 8.5  # sigmas that a grid spans beyond the outermost mean
STEPS = 3  # grid points a sigma


class Column(ABC):
    """One column's distribution given class y and component h."""

    @abstractmethod
    def log_prob(self, x: Tensor, y: Tensor) -> Tensor:
        """log p(x | y, h) for every h, x and y (B,), (B, H)."""

    @abstractmethod
    def draw(self, u: Tensor, y: Tensor, h: Tensor) -> Tensor:
        """A value by inverse CDF, all (B,)."""

    @abstractmethod
    def grid(self, y: int) -> tuple[Tensor, float]:
        """Points and the measure of each, over which sums stand for integrals."""


@final
@dataclass(frozen=True, eq=False)
class NormalColumn(Column):
    """N(mean, std^2), both (C, H); with `width` the probability of the bin of that width around x."""

    mean: Tensor
    std: Tensor
    width: float | None = None

    def log_prob(self, x: Tensor, y: Tensor) -> Tensor:
        """The density, or the bin's probability by the difference of two tails."""
        z = (x[:, None] - self.mean[y]) / self.std[y]
        if self.width is None:
            return -0.5 * z.square() - self.std[y].log() - HALF_LOG_2PI
        # P(bin) = Phi(upper) - Phi(lower), by log-cdfs of the lower tail:
        # log(e^u - e^l) = u + log(1 - e^(l - u))
        half = self.width / (2 * self.std[y])  # the lower tail keeps its digits
        z = -z.abs()
        upper = torch.special.log_ndtr(z + half)
        lower = torch.special.log_ndtr(z - half)
        return upper + torch.log(-torch.expm1(lower - upper))

    def draw(self, u: Tensor, y: Tensor, h: Tensor) -> Tensor:
        """Mean + std Phi^-1(u), rounded to its bin."""
        # u = 0 would be minus infinity.
        x = self.mean[y, h] + self.std[y, h] * torch.special.ndtri(u.clamp_min(2.0**-54))
        if self.width is None:
            return x
        return (x / self.width).round() * self.width

    def grid(self, y: int) -> tuple[Tensor, float]:
        """All bins within reach, or points a third of a sigma apart."""
        # The range of all components of the class.
        low = (self.mean - REACH * self.std)[y].min()
        high = (self.mean + REACH * self.std)[y].max()
        if self.width is None:
            step = float(self.std[y].min()) / STEPS
        else:
            step = self.width
        codes = torch.arange(int(low / step) - 1, int(high / step) + 2, dtype=torch.float64)
        return codes * step, step if self.width is None else 1.0


@final
@dataclass(frozen=True, eq=False)
class TableColumn(Column):
    """Probabilities of codes 0..K-1: log_p (C, H, K), made to sum to 1; other values have probability 0."""

    log_p: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_p", self.log_p.double().log_softmax(-1))

    def log_prob(self, x: Tensor, y: Tensor) -> Tensor:
        """A look-up."""
        # Codes beyond the table are looked up at its end and given probability 0.
        top = self.log_p.shape[-1] - 1
        log_p = self.log_p[y, :, x.long().clamp(0, top)]
        return log_p.where((x <= top)[:, None], -torch.inf)

    def draw(self, u: Tensor, y: Tensor, h: Tensor) -> Tensor:
        """A code by inverse CDF."""
        return pick(self.log_p[y, h], u).to(u)

    def grid(self, y: int) -> tuple[Tensor, float]:
        """The codes that this class can show."""
        likely = self.log_p[y].amax(0) > -80.0
        return torch.nonzero(likely).flatten().double(), 1.0


@final
@dataclass(frozen=True)
class Block:
    """Columns that depend on each other through a component h: sum_h w_h prod_j p_j(x_j | y, h).

    Args:
        place: Which columns of the table these are.
        log_weights: Log w, (C, H), made to sum to 1.
        columns: Their distributions.
    """

    place: tuple[int, ...]
    log_weights: Tensor
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_weights", self.log_weights.double().log_softmax(-1))

    def components(self, x: Tensor, known: Tensor, y: Tensor) -> Tensor:
        """log w_h p(what is known | y, h), x and known (B, columns of the block), (B, H)."""
        # Hidden columns are factors of 1.
        total = self.log_weights[y]
        for j, column in enumerate(self.columns):
            total = total + column.log_prob(x[:, j], y).where(known[:, j, None], 0.0)
        return total

    def entropy(self, y: int, shown: tuple[bool, ...]) -> float:
        """The entropy of the columns that are shown, by a sum over their grids."""
        if not any(shown):
            return 0.0
        # The grid of every shown column; a hidden one is a single point of measure 1.
        grids = [
            c.grid(y) if s else (torch.zeros(1, dtype=torch.float64), 1.0)
            for c, s in zip(self.columns, shown, strict=True)
        ]
        # A sum over the product of the grids, piece by piece.
        x = torch.cartesian_prod(*[points for points, _ in grids]).reshape(-1, len(grids))
        total = 0.0
        measure = float(torch.tensor([m for _, m in grids], dtype=torch.float64).prod())
        for part in x.split(100_000):
            known = torch.tensor(shown).expand(part.shape)
            p = self.components(part, known, torch.full((len(part),), y)).logsumexp(-1).exp()
            total -= float(torch.special.xlogy(p, p).sum()) * measure
        return total


@final
class Blocks(SyntheticClasses):
    """p(x | y) = product of independent blocks; any hole is summed out exactly.

    Args:
        name: What reports call it.
        space: A vector of columns.
        blocks: Blocks that together hold every column once.
        condition: What is given, or None.
        hidden: The rate at which `source` hides entries; the entropy is then that of what is
            observed.
    """

    def __init__(
        self,
        name: str,
        space: Space,
        blocks: tuple[Block, ...],
        *,
        condition: Condition | None = None,
        hidden: float = 0.0,
    ) -> None:
        super().__init__(name, space, condition=condition, hidden=hidden)
        self.blocks = blocks

    def _score_class(self, batch: Batch, y: Tensor) -> Tensor:
        return torch.stack(
            [self._of_block(block, batch, y).logsumexp(-1) for block in self.blocks]
        ).sum(0)

    @staticmethod
    def _of_block(block: Block, batch: Batch, y: Tensor) -> Tensor:
        return block.components(
            batch.x[:, list(block.place)], batch.present[:, list(block.place)], y
        )

    def _fill(self, batch: Batch, y: Tensor, noise: Noise) -> Tensor:
        u = noise.uniform("x", self.space.dims)
        v = noise.uniform("component", len(self.blocks))
        values = torch.empty_like(u)
        # For each block: its component from p(h | y, x_o), then its columns given h.
        for i, block in enumerate(self.blocks):
            h = pick(self._of_block(block, batch, y), v[:, i])
            for place, column in zip(block.place, block.columns, strict=True):
                values[:, place] = column.draw(u[:, place], y, h)
        return torch.where(batch.present, batch.x, values)

    @cached_property
    def _entropies(self) -> tuple[float, ...]:
        return tuple(
            sum(self._shown_entropy(block, y) for block in self.blocks) for y in range(self.classes)
        )

    def _shown_entropy(self, block: Block, y: int) -> float:
        """The mean over patterns of holes of the entropy of what a block shows."""
        # Each pattern of shown columns by its chance.
        if not self.hidden:
            return block.entropy(y, (True,) * len(block.place))
        total = 0.0
        for shown in product((False, True), repeat=len(block.place)):
            chance = (1 - self.hidden) ** sum(shown) * self.hidden ** (len(shown) - sum(shown))
            total += chance * block.entropy(y, shown)
        return total

    def _class_entropy(self, y: int) -> float:
        return self._entropies[y]
