"""Ordinal entries of many levels: a mixture of logistic distributions, each integrated over its level.

Salimans et al. 2017, PixelCNN++, arXiv:1701.05517, section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.heads.base import EntryDistribution, Head
from likeness.numerics.draws import choose, open_unit, soft_choice, straight_through
from likeness.numerics.search import bisect
from likeness.numerics.stable import log1mexp
from likeness.numerics.weighted import moments, spread

_BOUND = 12.0  # |log scale|: only to keep exp finite, an edge that no fit comes near


@dataclass(frozen=True, eq=False)
class DiscretisedLogisticDistribution(EntryDistribution):
    """P(k) = sum_m w_m [sigmoid((k + 1/2 - mu_m) / s_m) - sigmoid((k - 1/2 - mu_m) / s_m)], edges absorb the tails."""

    head: DiscretisedLogistic

    @cached_property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means (levels) and log-scales (levels) of the components, each (M, ..., n)."""
        logits, mean, log_scale = leading(self.params, self.head.components)
        location = self.head.location.to(self.params.dtype)
        scale = self.head.scale.to(self.params.dtype)
        return (
            logits.log_softmax(0),
            location + scale * mean,
            scale.log() + log_scale.clamp(-_BOUND, _BOUND),
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Sum by sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a)), stable in either tail."""
        log_w, mean, log_scale = (room(t, x) for t in self.parts)
        # The edge levels take the whole tail beyond them: their outer sigmoid is 1.
        bottom = x <= 0
        top = x >= self._top
        rate = (-log_scale).exp()
        middle = (x - mean) * rate
        upper = F.softplus(-middle - 0.5 * rate, threshold=40).masked_fill(top, 0.0)
        lower = F.softplus(middle - 0.5 * rate, threshold=40).masked_fill(bottom, 0.0)
        # log of sigmoid(a) - sigmoid(b) with a - b = rate.
        inside = torch.where(top | bottom, log_w, log_w + log1mexp(rate))
        return torch.logsumexp(inside - upper - lower, 0)

    def draw(self, u: Tensor) -> Tensor:
        """A component by the first uniform number, its inverse CDF at the second, rounded to a level."""
        log_w, mean, log_scale = self.parts
        index = choose(log_w.movedim(0, -1), u[..., 0])
        return self._level(
            pick(mean, index) + pick(log_scale, index).exp() * torch.logit(open_unit(u[..., 1]))
        )

    def cdf(self, x: Tensor) -> Tensor:
        """The mixture's CDF half a level above x; 1 from the last level on."""
        inside = self._below(x.floor() + 0.5)
        return torch.where(x >= self._top, 1.0, torch.where(x < 0, 0.0, inside))

    def quantile(self, p: Tensor) -> Tensor:
        """By bisection between the components' own quantiles, which enclose the mixture's."""
        p = open_unit(p)
        _, mean, log_scale = (room(t, p) for t in self.parts)
        ends = mean + log_scale.exp() * torch.logit(p)
        return self._level(bisect(self._below, p, ends.amin(0), ends.amax(0)))

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """A soft choice of component; rounding to a level passes gradients through."""
        log_w, mean, log_scale = self.parts
        soft = soft_choice(log_w.movedim(0, -1), u[..., 0], temperature).movedim(-1, 0)
        value = (soft * (mean + log_scale.exp() * torch.logit(open_unit(u[..., 1])))).sum(0)
        return self.head.embed(straight_through(self._level(value), value))

    @property
    def mode(self) -> Tensor:
        """The best of all levels."""
        # One pass over the levels: the mass of level k is cdf(k) - cdf(k - 1).
        best = torch.zeros_like(self.params[..., 0])
        at = torch.zeros_like(self.params[..., 0])
        below = torch.zeros_like(best)
        for k in range(int(self.head.levels.max())):
            upto = self.cdf(torch.full_like(best, k))
            better = upto - below > best
            best = torch.where(better, upto - below, best)
            at = torch.where(better, float(k), at)
            below = upto
        return at

    @property
    def mean(self) -> Tensor:
        """The sum over levels k of P(level > k)."""
        # E k = sum_k P(k' > k) for a variable on 0, 1, ..., L - 1.
        total = torch.zeros_like(self.params[..., 0])
        for k in range(int(self.head.levels.max()) - 1):
            total = total + 1 - self.cdf(torch.full_like(total, k))
        return total

    @property
    def probabilities(self) -> Tensor:
        """The probability of every level, (..., n, levels), 0 for levels that an entry lacks."""
        none = torch.zeros_like(self.params[..., 0])
        levels = range(int(self.head.levels.max()))
        log_p = [self.log_prob(none + k).masked_fill(k > self._top, -torch.inf) for k in levels]
        return torch.stack(log_p, -1).exp()

    @property
    def _top(self) -> Tensor:
        return (self.head.levels - 1).to(self.params.dtype)

    def _below(self, v: Tensor) -> Tensor:
        """The mixture's CDF before rounding."""
        log_w, mean, log_scale = (room(t, v) for t in self.parts)
        return (log_w.exp() * torch.sigmoid((v - mean) * (-log_scale).exp())).sum(0)

    def _level(self, v: Tensor) -> Tensor:
        return torch.minimum(v.round().clamp(min=0), self._top)


class DiscretisedLogistic(Head):
    """Entries with levels 0..L_i - 1 under M logistic distributions; 3M parameters: logits, means, log scales.

    Args:
        levels: The number of levels of each entry.
        components: The number of logistic distributions M.
        presence: Whether `embed` adds a bit of presence.
    """

    levels: Tensor
    location: Tensor
    scale: Tensor

    def __init__(
        self, levels: Sequence[int], *, components: int = 5, presence: bool = True
    ) -> None:
        features = 1 + presence
        super().__init__(
            entries=len(levels),
            size=3 * components,
            features=features,
            uniforms=2,
            presence=presence,
        )
        self.components = components
        self.register_buffer("levels", torch.tensor(list(levels)))
        self.register_buffer("location", (self.levels.double() - 1) / 2)
        self.register_buffer("scale", (self.levels.double() / math.sqrt(12)).clamp(min=0.5))

    @property
    def free(self) -> int:
        """Means, scales, and one less than the weights."""
        return self.entries * (self.size - 1)

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """Mean and standard deviation, the latter at least half a level."""
        total, mean, std = moments(x, present, weight)
        occurs = total > 0
        # Entries without a present value keep the location and scale of an even spread.
        self.location = torch.where(occurs, mean, self.location)
        self.scale = torch.where(occurs, spread(std, mean, x.dtype).clamp(min=0.5), self.scale)

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """(x - location) / scale."""
        value = (x - self.location.to(x.dtype)) / self.scale.to(x.dtype)
        return self._marked(value.unsqueeze(-1), present)

    def distribution(self, params: Tensor) -> DiscretisedLogisticDistribution:
        """The distribution with logits, standardised means and log scales (..., n, 3M)."""
        return DiscretisedLogisticDistribution(params, self)

    def start(self) -> Tensor:
        """Equal components along the normal quantiles, with total mean 0 and variance 1 in standardised units."""
        mean, std = start_components(self.components)
        log_scale = torch.full_like(mean, math.log(std * math.sqrt(3) / math.pi))
        return torch.cat([torch.zeros_like(mean), mean, log_scale]).expand(self.entries, -1)


def start_components(m: int) -> tuple[Tensor, float]:
    """Means (m,) at normal quantiles, and the common deviation that makes the mixture's variance 1."""
    # Means at normal quantiles have a variance below 1: each component's own makes up for it.
    levels = (torch.arange(m, dtype=torch.float64) + 0.5) / m
    mean = torch.special.ndtri(levels)
    return mean, math.sqrt(max(1 - float(mean.square().mean()), 0.01))


def leading(params: Tensor, components: int) -> tuple[Tensor, ...]:
    """Parameters (..., n, P * M) as P tensors (M, ..., n): the entries, not the few components, as the fast axis."""
    return params.unflatten(-1, (-1, components)).movedim((-2, -1), (0, 1)).contiguous().unbind(0)


def room(component: Tensor, x: Tensor) -> Tensor:
    """Components (M, ..., n) with axes of size 1 behind the first, so that x of more axes broadcasts against them."""
    missing = x.dim() + 1 - component.dim()
    if missing > 0:
        return component.reshape(component.shape[0], *[1] * missing, *component.shape[1:])
    return component


def pick(component: Tensor, index: Tensor) -> Tensor:
    """The chosen one (..., n) of components (M, ..., n)."""
    values = room(component, index).expand(-1, *index.shape)
    return values.gather(0, index.unsqueeze(0)).squeeze(0)
