"""Counts with more zeros than a Poisson distribution has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from likeness.heads.base import keep_known
from likeness.heads.poisson import (
    LOG_DISPERSION,
    CountDistribution,
    CountHead,
    PoissonDistribution,
    top_of,
)
from likeness.numerics.weighted import sums


@dataclass(frozen=True, eq=False)
class ZeroInflatedPoissonDistribution(CountDistribution):
    """P(k) = pi [k = 0] + (1 - pi) Poisson(k; lambda) (Lambert 1992, Technometrics 34).

    With mean mu and dispersion alpha, variance mu + alpha mu^2: pi = alpha / (1 + alpha) and
    lambda = mu (1 + alpha).
    """

    @cached_property
    def dispersion(self) -> Tensor:
        """The odds alpha = pi / (1 - pi) of a zero that is no Poisson count."""
        return self.params[..., 1].clamp(*LOG_DISPERSION).exp()

    @cached_property
    def counts(self) -> PoissonDistribution:
        """The Poisson part, of mean lambda."""
        return PoissonDistribution(
            (self.params[..., 0] + self.dispersion.log1p())[..., None], self.head
        )

    @property
    def mode(self) -> Tensor:
        """0 or the Poisson part's own."""
        other = self.counts.mode
        zero = self.log_prob(torch.zeros_like(other)) >= self.log_prob(other)
        return torch.where(zero, 0.0, other)

    def log_prob(self, x: Tensor) -> Tensor:
        """At 0 log(alpha + e^-lambda), elsewhere the Poisson part's, less log(1 + alpha)."""
        # P(0) = pi + (1 - pi) e^-lambda = (alpha + e^-lambda) / (1 + alpha).
        zero = torch.logaddexp(self.dispersion.log(), -self.counts.mean)
        return torch.where(x == 0, zero, self.counts.log_prob(x)) - self.dispersion.log1p()

    def draw(self, u: Tensor) -> Tensor:
        """0 where u < pi, else the Poisson quantile of (u - pi) / (1 - pi)."""
        alpha = self.dispersion.unsqueeze(-1)
        return self.counts.draw(((1 + alpha) * u - alpha).clamp(min=0.0))

    def cdf(self, x: Tensor) -> Tensor:
        """pi + (1 - pi) times the Poisson part's from 0 on."""
        inflated = (self.dispersion + self.counts.cdf(x)) / (1 + self.dispersion)
        return torch.where(x < 0, 0.0, inflated.detach())


class ZeroInflatedPoisson(CountHead):
    """Counts under zero-inflated Poisson distributions; two parameters, log(mu / location) and log alpha.

    Args:
        entries: The number of entries.
        presence: Whether `embed` adds a bit of presence.
    """

    log_dispersion: Tensor
    positive: Tensor

    def __init__(self, entries: int, *, presence: bool = True) -> None:
        super().__init__(entries, size=2, presence=presence)
        self.register_buffer("log_dispersion", torch.full((entries,), -2.0, dtype=torch.float64))
        self.register_buffer("positive", torch.full((entries,), 0.5, dtype=torch.float64))

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """Also the share of counts above 0, and the likeliest dispersion."""
        super().fit(x, present, weight)
        one = weight.double().unsqueeze(-1)
        total = sums(one, present)[0]
        self.positive = sums(one, (x > 0) & present)[0] / total.clamp(min=1e-30)
        self.log_dispersion = _log_odds(self.location, self.positive)

    def distribution(self, params: Tensor) -> ZeroInflatedPoissonDistribution:
        """The distribution with these relative log means and log odds of a zero (..., n, 2)."""
        return ZeroInflatedPoissonDistribution(params, self)

    def start(self) -> Tensor:
        """The data's mean and share of zeros."""
        return torch.stack([torch.zeros_like(self.location), self.log_dispersion], -1)

    def estimate(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        *,
        smoothing: float = 0.0,
        previous: Tensor | None = None,
    ) -> Tensor:
        """The weighted mean, and the odds under which the weighted share of zeros is the expected one."""
        total, ratio = self._mean(x, present, weight, smoothing)
        positive = sums(weight, (x > 0) & present) + smoothing * self.positive
        share = positive / total.clamp(min=1e-30)
        log_odds = _log_odds(ratio * self.location, share).to(ratio.dtype)
        return keep_known(torch.stack([ratio.log(), log_odds], -1), total, self.start())


def _log_odds(mean: Tensor, positive: Tensor) -> Tensor:
    """log alpha where lambda / (1 - e^-lambda), the mean of what is above 0, is mean / positive.

    Both likelihood equations together; lambda = mean (1 + alpha) rises with alpha. With fewer zeros
    than a Poisson distribution has, alpha is the least there is.
    """
    above = (mean / positive.clamp(min=1e-12)).double()

    # Falls with alpha: its sign says on which side the solution lies.
    def slope(log_alpha: Tensor) -> Tensor:
        rate = mean.double() * (1 + log_alpha.exp())
        return above - rate / -torch.expm1(-rate)

    return top_of(slope, torch.zeros_like(above))
