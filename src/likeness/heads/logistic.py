"""Ordinal entries of many levels: a mixture of logistic laws, each integrated over its level.

Salimans et al. 2017, PixelCNN++, arXiv:1701.05517, section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.heads.base import EntryLaw, Head
from likeness.heads.numeric import bisect, choose, log1mexp, moments, open_unit, soft_choice, spread, straight_through

T = TypeVar("T")
_LEVELS = 64  # levels that are looked at together where all have to be
_BOUND = 12.0  # |log scale|: only to keep exp finite, an edge that no fit comes near


@dataclass(frozen=True, eq=False)
class DiscretisedLogisticLaw(EntryLaw):
    """P(k) = sum_m w_m [sigmoid((k + 1/2 - mu_m) / s_m) - sigmoid((k - 1/2 - mu_m) / s_m)], edges absorb the tails."""

    head: DiscretisedLogistic

    @cached_property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means (levels) and scales (levels) of the components, each (..., n, M)."""
        logits, mean, log_scale = self.params.unflatten(-1, (3, -1)).unbind(-2)
        location, scale = (b.to(self.params.dtype).unsqueeze(-1) for b in (self.head.location, self.head.scale))
        return logits.log_softmax(-1), location + scale * mean, scale * log_scale.clamp(-_BOUND, _BOUND).exp()

    def log_prob(self, x: Tensor) -> Tensor:
        """Sum by sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a)), stable in either tail."""
        log_w, mean, scale = self.parts
        value = x.unsqueeze(-1)
        bottom, top = value <= 0, value >= self._top.unsqueeze(-1)
        rate = 1 / scale
        middle = (value - mean) * rate
        upper = F.softplus(-middle - 0.5 * rate).masked_fill(top, 0.0)
        lower = F.softplus(middle - 0.5 * rate).masked_fill(bottom, 0.0)
        width = log1mexp(rate).expand_as(middle).masked_fill(top | bottom, 0.0)
        return torch.logsumexp(log_w + width - upper - lower, -1)

    def draw(self, u: Tensor) -> Tensor:
        """A component by the first uniform number, its inverse CDF at the second, rounded to a level."""
        log_w, mean, scale = self.parts
        chosen = choose(log_w, u[..., 0]).unsqueeze(-1)
        shape = (*chosen.shape[:-1], mean.shape[-1])
        mean, scale = (t.expand(shape).gather(-1, chosen).squeeze(-1) for t in (mean, scale))
        return self._level(mean + scale * torch.logit(open_unit(u[..., 1])))

    def cdf(self, x: Tensor) -> Tensor:
        """The mixture's CDF half a level above x; 1 from the last level on."""
        inside = self._below(x.floor() + 0.5)
        return torch.where(x >= self._top, 1.0, torch.where(x < 0, 0.0, inside))

    def quantile(self, p: Tensor) -> Tensor:
        """By bisection between the components' own quantiles, which enclose the mixture's."""
        _, mean, scale = self.parts
        p = open_unit(p)
        ends = mean + scale * torch.logit(p).unsqueeze(-1)
        return self._level(bisect(self._below, p, ends.amin(-1), ends.amax(-1)))

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """A soft choice of component; rounding to a level passes gradients through."""
        log_w, mean, scale = self.parts
        soft = soft_choice(log_w, u[..., 0], temperature)
        value = (soft * (mean + scale * torch.logit(open_unit(u[..., 1])).unsqueeze(-1))).sum(-1)
        return self.head.embed(straight_through(self._level(value), value))

    @property
    def mode(self) -> Tensor:
        """The best of all levels."""

        def better(best: tuple[Tensor, Tensor], level: Tensor, log_p: Tensor) -> tuple[Tensor, Tensor]:
            value, at = log_p.max(-1)
            return torch.maximum(best[0], value), torch.where(value > best[0], level[at], best[1])

        nothing = self.params[..., 0]
        return self._over_levels(better, (torch.full_like(nothing, -torch.inf), torch.zeros_like(nothing)))[1]

    @property
    def mean(self) -> Tensor:
        """The sum of k P(k) over all levels."""
        return self._over_levels(lambda total, k, log_p: total + log_p.exp() @ k, torch.zeros_like(self.params[..., 0]))

    @property
    def probabilities(self) -> Tensor:
        """The probability of every level, (..., n, levels)."""
        return torch.cat(self._over_levels(lambda parts, _, log_p: [*parts, log_p.exp()], list[Tensor]()), -1)

    @property
    def _top(self) -> Tensor:
        return (self.head.levels - 1).to(self.params.dtype)

    def _below(self, v: Tensor) -> Tensor:
        """The mixture's CDF before rounding."""
        log_w, mean, scale = self.parts
        return (log_w.exp() * torch.sigmoid((v.unsqueeze(-1) - mean) / scale)).sum(-1)

    def _level(self, v: Tensor) -> Tensor:
        return torch.minimum(v.round().clamp(min=0), self._top)

    def _over_levels(self, step: Callable[[T, Tensor, Tensor], T], state: T) -> T:
        """Fold over blocks of levels: step(state, levels (k,), log p (..., n, k)); -inf where there is none."""
        levels = torch.arange(int(self.head.levels.max()), dtype=self.params.dtype, device=self.params.device)
        leading = [1] * (self.params.dim() - 1)
        for block in levels.split(_LEVELS):
            log_p = self.log_prob(block.reshape(-1, *leading).expand(-1, *leading[1:], self.head.entries))
            log_p = log_p.movedim(0, -1).masked_fill(block > self._top.unsqueeze(-1), -torch.inf)
            state = step(state, block, log_p)
        return state


class DiscretisedLogistic(Head):
    """Entries with levels 0..L_i - 1 under a mixture of M logistic laws; 3M parameters: logits, means, log scales.

    Args:
        levels: The number of levels of each entry.
        components: The number of logistic laws M.
        presence: Whether `embed` adds a bit of presence.
    """

    levels: Tensor
    location: Tensor
    scale: Tensor

    def __init__(self, levels: Sequence[int], *, components: int = 5, presence: bool = True) -> None:
        features = 1 + presence
        super().__init__(entries=len(levels), size=3 * components, features=features, uniforms=2, presence=presence)
        self.components = components
        self.register_buffer("levels", torch.tensor(list(levels)))
        self.register_buffer("location", (self.levels.double() - 1) / 2)
        self.register_buffer("scale", (self.levels.double() / math.sqrt(12)).clamp(min=0.5))

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """Mean and standard deviation, the latter at least half a level."""
        total, mean, std = moments(x, present, weight)
        seen = total > 0
        self.location = torch.where(seen, mean, self.location)
        self.scale = torch.where(seen, spread(std, mean, x.dtype).clamp(min=0.5), self.scale)

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """(x - location) / scale."""
        value = (x - self.location.to(x.dtype)) / self.scale.to(x.dtype)
        return self._marked(value.unsqueeze(-1), present)

    def law(self, params: Tensor) -> DiscretisedLogisticLaw:
        """The law with logits, standardised means and log scales (..., n, 3M)."""
        return DiscretisedLogisticLaw(params, self)

    def start(self) -> Tensor:
        """Equal components along the normal quantiles, with total mean 0 and variance 1 in standardised units."""
        mean, std = start_components(self.components)
        log_scale = torch.full_like(mean, math.log(std * math.sqrt(3) / math.pi))
        return torch.cat([torch.zeros_like(mean), mean, log_scale]).expand(self.entries, -1)


def start_components(m: int) -> tuple[Tensor, float]:
    """Means (m,) at normal quantiles, and the common deviation that makes the mixture's variance 1."""
    levels = (torch.arange(m, dtype=torch.float64) + 0.5) / m
    mean = torch.special.ndtri(levels)
    return mean, math.sqrt(max(1 - float(mean.square().mean()), 0.01))
