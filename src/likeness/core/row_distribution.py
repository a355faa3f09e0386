"""Small distributions with one distribution for each row of a batch: what `encode` and `decode` answer with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from likeness.core.answers import Kind
from likeness.core.draws import Draws
from likeness.core.noise import Noise, fresh_seed
from likeness.core.overview import Overview, Shown
from likeness.core.space import Space
from likeness.core.words import plural
from likeness.numerics.constants import HALF_LOG_2PI
from likeness.numerics.draws import inverse_cdf
from likeness.numerics.tree import stacked, take


@dataclass(frozen=True, eq=False, repr=False)
class RowDistribution(Shown):
    """p(z | row) for each of B rows over `space`; `index` says which item each row is.

    Args:
        space: What is distributed.
        index: int64 (B,).
        kind: EXACT where this is the model's own distribution, ESTIMATE where it approximates it (a VAE's
            posterior).
        how: A few words on the method.
    """

    space: Space
    index: Tensor
    kind: Kind
    how: str

    def overview(self) -> Overview:
        """What is distributed, for how many rows, and how exactly."""
        kind = type(self).__name__
        title = f"{kind} distribution of {plural(len(self.index), 'row')}: {self.kind} ({self.how})"
        return Overview(title, {"over": self.space.item})

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The mean of each row's distribution (codes: the class probabilities), (B, ...)."""

    @property
    @abstractmethod
    def mode(self) -> Tensor:
        """The most probable value of each row, (B, *E)."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z | row) in nats, (B,)."""

    @abstractmethod
    def draw(self, noise: Noise) -> Tensor:
        """One draw for each row of `noise`, whose rows are ours repeated draw-major, (n*B, *E)."""

    def sample(self, n: int = 1, *, seed: int | None = None, first: int = 0) -> Draws:
        """n draws for each row, x (n, B, *E)."""
        chosen = fresh_seed() if seed is None else seed
        noise = Noise(chosen, self.index, scope="rowlaw", dtype=self.mean.dtype).draws(n, first)
        x = self.draw(noise)
        return Draws(
            x.reshape(n, -1, *x.shape[1:]), self.space, self.how, chosen, first, kind=self.kind
        )

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """The rows of several, one after the other."""
        return stacked(parts)

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """Some of the rows."""
        return take(self, rows)


@dataclass(frozen=True, eq=False, repr=False)
class Delta(RowDistribution):
    """All mass on one point."""

    point: Tensor

    @property
    def mean(self) -> Tensor:
        """The point."""
        return self.point

    @property
    def mode(self) -> Tensor:
        """The point."""
        return self.point

    def log_prob(self, z: Tensor) -> Tensor:
        """0 at the point, -inf elsewhere (counting measure)."""
        same = (z == self.point).flatten(1).all(-1)
        return torch.where(same, 0.0, -torch.inf).to(self.point.dtype)

    def draw(self, noise: Noise) -> Tensor:
        """The point again."""
        return self.point.repeat(noise.rows // len(self.point), *[1] * (self.point.dim() - 1))


@dataclass(frozen=True, eq=False, repr=False)
class Normal(RowDistribution):
    """A diagonal Gaussian N(loc, std^2) for each row."""

    loc: Tensor
    std: Tensor

    @property
    def mean(self) -> Tensor:
        """Loc."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """Loc."""
        return self.loc

    def log_prob(self, z: Tensor) -> Tensor:
        """Sum of the entries' normal log-densities, (B,)."""
        u = (z - self.loc) / self.std
        return (-0.5 * u.square() - self.std.log() - HALF_LOG_2PI).flatten(1).sum(-1)

    def draw(self, noise: Noise) -> Tensor:
        """Loc + std * eps."""
        n = noise.rows // len(self.loc)
        tile = (n, *[1] * (self.loc.dim() - 1))
        return self.loc.repeat(tile) + self.std.repeat(tile) * noise.normal(
            "z", *self.loc.shape[1:]
        )


@dataclass(frozen=True, eq=False, repr=False)
class Correlated(RowDistribution):
    """A Gaussian N(loc, factor factor') for each row, loc (B, Q), factor lower triangular (B, Q, Q)."""

    loc: Tensor
    factor: Tensor

    @property
    def mean(self) -> Tensor:
        """Loc."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """Loc."""
        return self.loc

    def log_prob(self, z: Tensor) -> Tensor:
        """The log-density, (B,)."""
        u = torch.linalg.solve_triangular(
            self.factor, (z - self.loc)[..., None], upper=False
        ).squeeze(-1)
        log_det = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return (-0.5 * u.square() - HALF_LOG_2PI).sum(-1) - log_det

    def draw(self, noise: Noise) -> Tensor:
        """Loc + factor eps."""
        n = noise.rows // len(self.loc)
        eps = noise.normal("z", self.loc.shape[-1])
        return self.loc.repeat(n, 1) + (self.factor.repeat(n, 1, 1) * eps[:, None]).sum(-1)


@dataclass(frozen=True, eq=False, repr=False)
class Categorical(RowDistribution):
    """One of K codes for each row, given normalised log-probabilities (B, K)."""

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The probabilities, (B, K)."""
        return self.logits.exp()

    @property
    def mode(self) -> Tensor:
        """The most probable code, (B, 1)."""
        return self.logits.argmax(-1, keepdim=True).to(self.logits.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        """The log-probability of code z (B, 1)."""
        return self.logits.gather(-1, z.long()).squeeze(-1)

    def draw(self, noise: Noise) -> Tensor:
        """A code by inverse CDF."""
        n = noise.rows // len(self.logits)
        cdf = self.logits.exp().cumsum(-1).repeat(n, 1)
        return inverse_cdf(cdf, noise.uniform("z", 1)[:, 0])[:, None].to(self.logits.dtype)
