"""Binary entries: one logit each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.heads.base import EntryDistribution, Head, keep_known
from likeness.numerics.draws import open_unit
from likeness.numerics.weighted import moments, sums


@dataclass(frozen=True, eq=False)
class BernoulliDistribution(EntryDistribution):
    """P(x = 1) = sigmoid(logit)."""

    head: Bernoulli

    @property
    def logit(self) -> Tensor:
        """The log-odds log p(1) - log p(0), (..., n)."""
        return self.params.squeeze(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-sigmoid of the logit, its sign turned for 0."""
        # log sigmoid(+-logit) for x = 1 and 0
        return F.logsigmoid((2 * x - 1) * self.logit)

    def draw(self, u: Tensor) -> Tensor:
        """1 where u >= P(0)."""
        u = u.squeeze(-1)
        return (u >= torch.sigmoid(-self.logit)).to(u.dtype)

    def cdf(self, x: Tensor) -> Tensor:
        """0, P(0) or 1."""
        below = torch.where(x < 0, 0.0, torch.sigmoid(-self.logit))
        return torch.where(x >= 1, 1.0, below)

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """The binary concrete distribution (Maddison et al. 2017, arXiv:1611.00712, eq. 11)."""
        # Noise in log-odds, sharpened by the temperature.
        value = torch.sigmoid((torch.logit(open_unit(u.squeeze(-1))) + self.logit) / temperature)
        return self.head.embed(value)

    @property
    def mode(self) -> Tensor:
        """1 where P(1) > 1/2."""
        return (self.logit > 0).to(self.params.dtype)

    @property
    def mean(self) -> Tensor:
        """P(1)."""
        return torch.sigmoid(self.logit)

    @property
    def probabilities(self) -> Tensor:
        """P(0) and P(1)."""
        return torch.stack([torch.sigmoid(-self.logit), torch.sigmoid(self.logit)], -1)

    @property
    def linear(self) -> Tensor:
        """Logarithms of P(0) and of P(1)."""
        return torch.stack([F.logsigmoid(-self.logit), F.logsigmoid(self.logit)], -1)


class Bernoulli(Head):
    """Entries 0 or 1; embedded as twice their distance from the marginal chance, -1 and 1 before `fit`.

    Args:
        entries: The number of entries.
        presence: Whether `embed` adds a bit of presence.
    """

    marginal: Tensor

    def __init__(self, entries: int, *, presence: bool = True) -> None:
        super().__init__(entries=entries, size=1, features=1 + presence, presence=presence)
        self.register_buffer("marginal", torch.zeros(entries, dtype=torch.float64))

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """The marginal log-odds, with half a row added to each side."""
        total, mean, _ = moments(x, present, weight)
        self.marginal = torch.log((mean * total + 0.5) / ((1 - mean) * total + 0.5))

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Twice the distance from the marginal chance: nets learn slowly from inputs whose mean is far from 0."""
        return self._marked(
            2 * (x - torch.sigmoid(self.marginal).to(x.dtype)).unsqueeze(-1), present
        )

    def distribution(self, params: Tensor) -> BernoulliDistribution:
        """The distribution with these logits (..., n, 1)."""
        return BernoulliDistribution(params, self)

    def start(self) -> Tensor:
        """The marginal log-odds."""
        return self.marginal.unsqueeze(-1)

    def estimate(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        *,
        smoothing: float = 0.0,
        previous: Tensor | None = None,
    ) -> Tensor:
        """The logit log (ones + smoothing) / (zeros + smoothing)."""
        total = sums(weight, present)
        ones = sums(weight, x * present)
        logit = torch.log(ones + smoothing) - torch.log((total - ones).clamp(min=0) + smoothing)
        return keep_known(logit.unsqueeze(-1), total + smoothing, self.start())

    def statistics(self, x: Tensor, present: Tensor) -> Tensor:
        """Whether the entry is 0, and whether it is 1."""
        return torch.stack([(1 - x) * present, x * present], -1)
