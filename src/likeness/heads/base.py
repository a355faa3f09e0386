"""A Head turns numbers into a distribution over entries of one variable type, an EntryDistribution.

Shapes: n entries, `size` parameters, `features` numbers and `uniforms` uniform numbers an entry;
`...` are any axes. All values are in data units: a head keeps location and scale as buffers, so
that nets see and say standardised numbers while log p stays a density (or probability) of the data
as they are.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likeness.core.errors import Unsupported


@dataclass(frozen=True, eq=False)
class EntryDistribution(ABC):
    """One distribution for each entry, independent given the parameters (..., n, size).

    Leading axes of x and of the parameters broadcast, so that K distributions score B rows as (B, 1, n)
    against (K, n, size).
    """

    params: Tensor

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """The log p of each entry in nats, EXACT, (..., n)."""

    @abstractmethod
    def draw(self, u: Tensor) -> Tensor:
        """A draw of each entry by inverse CDF from uniform numbers (..., n, uniforms), (..., n)."""

    @abstractmethod
    def cdf(self, x: Tensor) -> Tensor:
        """P(entry <= x), (..., n); with a resolution, up to the end of x's bin."""

    @abstractmethod
    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """A draw with a gradient in the parameters, as `embed` lays it out, (..., n, features).

        As the temperature goes to 0 it is the embedding of `draw(u)`.
        """

    @property
    @abstractmethod
    def mode(self) -> Tensor:
        """The most probable value of each entry, (..., n)."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The expected value of each entry (nominal entries: the most probable code), (..., n)."""

    @property
    def probabilities(self) -> Tensor:
        """The probability of each code of each entry, (..., n, K).

        Raises:
            Unsupported: Where the entries take infinitely many values.
        """
        raise Unsupported(
            "no table of probabilities for a variable of infinitely many values", do="ask log_prob"
        )

    @property
    def linear(self) -> Tensor | None:
        """Weights (..., n, T) with log p = sum of weights * `Head.statistics`, or None where there are none."""
        return None

    def quantile(self, p: Tensor) -> Tensor:
        """The smallest value with cdf above p, (..., n) for p (..., n)."""
        return self.draw(p.unsqueeze(-1))


class Head(nn.Module, ABC):
    """Makes distributions over n entries of one variable type from `size` numbers an entry.

    Every buffer has the entries as its first axis.

    Args:
        entries: The number of entries n.
        size: Parameters an entry.
        features: Numbers an entry that `embed` returns.
        uniforms: Uniform numbers an entry that a draw consumes.
        presence: Whether `embed` says by a bit of its own what is present (one-hot codes say so
            anyway).
    """

    def __init__(
        self, *, entries: int, size: int, features: int, uniforms: int = 1, presence: bool = True
    ) -> None:
        super().__init__()
        self.entries = entries
        self.size = size
        self.features = features
        self.uniforms = uniforms
        self.presence = presence

    @property
    def free(self) -> int:
        """Numbers of all entries together that are free; of probabilities that add up to 1 one is not."""
        return self.entries * self.size

    @abstractmethod
    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """Set location, scale and marginal from training rows x, present (N, n), weight (N,)."""

    @abstractmethod
    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """What nets see of x (..., n): standardised or one-hot, 0 where not present, (..., n, features)."""

    @abstractmethod
    def distribution(self, params: Tensor) -> EntryDistribution:
        """The distribution with parameters (..., n, size)."""

    @abstractmethod
    def start(self) -> Tensor:
        """The parameters of the marginal distribution, as a first bias of a net's last layer, (n, size)."""

    def estimate(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        *,
        smoothing: float = 0.0,
        previous: Tensor | None = None,
    ) -> Tensor:
        """The weighted maximum-likelihood parameters of K components, (K, ..., n, size).

        Entries that no weight falls on keep the marginal distribution.

        Args:
            x: Rows (N, ..., n).
            present: Which entries are known, bool (N, ..., n).
            weight: The weight of each row for each component (N, K).
            smoothing: Weight added to every category (codes) or spread as the marginal (others).
            previous: The parameters before, where the maximisation is itself iterative.

        Raises:
            Unsupported: Where there is no such estimate.
        """
        raise Unsupported(
            f"{type(self).__name__} has no closed-form estimate", do='use Columns(kind="closed")'
        )

    def statistics(self, x: Tensor, present: Tensor) -> Tensor | None:
        """Sufficient statistics (..., n, T) that `EntryDistribution.linear` weighs, or None where there are none."""
        return None

    def take(self, entries: Sequence[int]) -> Head:
        """The same head for some of the entries, in the order given."""
        index = torch.as_tensor(list(entries))
        # Buffers have entries on their first axis: pick or repeat along it.
        return self._with_buffers(
            {k: b.index_select(0, index.to(b.device)) for k, b in self.named_buffers()}, len(index)
        )

    def spread(self, n: int) -> Head:
        """This head of one entry, repeated for n entries alike."""
        return self._with_buffers(
            {k: b.expand(n, *b.shape[1:]).clone() for k, b in self.named_buffers()}, n
        )

    def _with_buffers(self, buffers: dict[str, Tensor], n: int) -> Head:
        other = copy.copy(self)
        other.__dict__["_buffers"] = dict(buffers)  # a shallow copy would share the dictionary
        other.entries = n
        return other

    def _marked(self, value: Tensor, present: Tensor | None) -> Tensor:
        """A value (..., n, f), 0 where not present, with the bit of presence behind it."""
        if present is not None:
            value = torch.where(
                present.unsqueeze(-1),
                value,
                torch.zeros((), dtype=value.dtype, device=value.device),
            )
        if not self.presence:
            return value
        if present is None:
            bit = torch.ones_like(value[..., :1])
        else:
            bit = present.unsqueeze(-1).to(value.dtype)
        return torch.cat([value, bit], -1)


def keep_known(estimate: Tensor, total: Tensor, start: Tensor) -> Tensor:
    """The estimate (K, ..., n, size) where weight (K, ..., n) fell, the marginal parameters (n, size) elsewhere."""
    return torch.where((total > 0).unsqueeze(-1), estimate, start.to(estimate))
