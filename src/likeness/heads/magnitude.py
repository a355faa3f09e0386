"""Real entries over many orders of magnitude: normal mixtures on an axis that is logarithmic on both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.errors import Unsupported
from likeness.heads.normal import NormalMixture, NormalMixtureDistribution
from likeness.numerics.search import highest
from likeness.numerics.weighted import moments, quantiles, spread

_LINEAR = 1e-3  # half of what stays linear about the centre: of long tails, of others; in quartiles
_STRAIGHT = 1e3
_LONG = 8.0  # all but 0.2 % of a normal distribution's mass spans 4.6 quartile distances, of an exponential one's 6.3
# Deviations about each component, and points among them, that the mode is searched from
_REACH = 4.0
_POINTS = 25


@dataclass(frozen=True, eq=False)
class MagnitudeDistribution(NormalMixtureDistribution):
    """x = centre + unit sinh(y) with y from a mixture of normal distributions; p(x) = p(y) / (unit cosh y)."""

    head: Magnitude

    def log_prob(self, x: Tensor) -> Tensor:
        """The mixture's log-density at y, less the log of dx/dy."""
        # Change of variables: dx/dy = unit cosh y.
        y = self.head.axis(x)
        return super().log_prob(y) - self.head.log_slope(y)

    def draw(self, u: Tensor) -> Tensor:
        """A draw of y, as a value of x."""
        return self.head.value(super().draw(u))

    def cdf(self, x: Tensor) -> Tensor:
        """The mixture's, at y."""
        return super().cdf(self.head.axis(x))

    def quantile(self, p: Tensor) -> Tensor:
        """The mixture's quantile of y, as a value of x."""
        return self.head.value(super().quantile(p))

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """A soft choice of component."""
        return self.head.embed(self.head.value(self.soft(u, temperature)))

    @property
    def mode(self) -> Tensor:
        """The highest of points about every component, moved to the top nearby."""
        _, mean, log_std = self.parts
        step = torch.linspace(-_REACH, _REACH, _POINTS, dtype=mean.dtype, device=mean.device)
        # Near a mean the density of x peaks where e^-|y|
        # has moved the peak of p(y): by one variance.
        variance = (2 * log_std).exp()
        shrunk = torch.stack(
            [mean - variance, mean + variance, torch.zeros_like(mean)], -1
        )  # of e^-|y| p(y), and 0
        around = torch.cat([mean.unsqueeze(-1) + log_std.exp().unsqueeze(-1) * step, shrunk], -1)
        grid = around.movedim(0, -2).flatten(-2)
        return self.head.value(
            highest(
                lambda y: NormalMixtureDistribution.log_prob(self, y) - self.head.log_slope(y), grid
            )
        )

    @property
    def mean(self) -> Tensor:
        """Centre + unit sum_m w_m exp(s_m^2 / 2) sinh(mu_m), each term as large as a number can be at most."""
        log_w, mean, log_std = self.parts
        # E sinh(y) of a normal: exp(s^2 / 2) sinh(mu), as a difference of two exponentials.
        most = _largest(mean.dtype)
        up, down = (((0.5 * (2 * log_std).exp() + m).clamp(max=most)).exp() for m in (mean, -mean))
        each = 0.5 * (up - down)
        if log_w is None:
            inner = each.squeeze(0)
        else:
            inner = (log_w.exp() * each).sum(0)
        return self.head.centre.to(inner.dtype) + self.head.unit.to(inner.dtype) * inner


class Magnitude(NormalMixture):
    """Real entries as y = arcsinh((x - centre) / unit), linear within a thousandth of the quartile distance.

    Nets see y and |y|, both standardised, and say a mixture of normal distributions of y: scales that differ
    by factors lie side by side, and what follows from sizes alone (a scale that entries share) need
    not be learned on each side of 0. Entries without long tails stay linear.

    Args:
        entries: The number of entries.
        components: The number of normal distributions.
        presence: Whether `embed` adds a bit of presence.
    """

    centre: Tensor
    unit: Tensor
    size_location: Tensor
    size_scale: Tensor

    def __init__(self, entries: int, *, components: int = 5, presence: bool = True) -> None:
        super().__init__(entries, components=components, presence=presence)
        self.features += 1
        self.register_buffer("size_location", torch.zeros(entries, dtype=torch.float64))
        self.register_buffer("size_scale", torch.ones(entries, dtype=torch.float64))
        self.register_buffer("centre", torch.zeros(entries, dtype=torch.float64))
        self.register_buffer("unit", torch.ones(entries, dtype=torch.float64))

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """The centre at the median, the unit by quartiles and tails, then location and scale of y."""
        _, mean, std = moments(x, present, weight)
        mask = present & (weight > 0).unsqueeze(-1)
        levels = torch.tensor([0.001, 0.25, 0.5, 0.75, 0.999], dtype=torch.float64, device=x.device)
        zero = levels.new_zeros(5)
        columns = [
            quantiles(x[own, i].double(), weight[own].double(), levels) if bool(own.any()) else zero
            for i, own in enumerate(mask.T)
        ]
        # Long tails get an axis that is logarithmic beyond a thousandth of the quartile distance.
        least, low, middle, high, most = torch.stack(columns, 1)
        wide = torch.where(high > low, high - low, spread(std, mean, x.dtype))
        linear = torch.where(most - least > _LONG * wide, _LINEAR, _STRAIGHT)
        self.centre = middle
        self.unit = linear * wide
        # Location and scale of y, and of |y| for nets.
        y = self.axis(x.double())
        super().fit(y, present, weight)
        _, self.size_location, std = moments(y.abs(), present, weight)
        self.size_scale = spread(std, self.size_location, x.dtype)

    def axis(self, x: Tensor) -> Tensor:
        """y for x, (..., n)."""
        return torch.asinh((x - self.centre.to(x.dtype)) / self.unit.to(x.dtype))

    def value(self, y: Tensor) -> Tensor:
        """x for y, (..., n)."""
        most = _largest(y.dtype)
        return self.centre.to(y.dtype) + self.unit.to(y.dtype) * y.clamp(-most, most).sinh()

    def log_slope(self, y: Tensor) -> Tensor:
        """log dx/dy, (..., n)."""
        # log(unit cosh y) without overflow.
        size = y.abs()
        return self.unit.to(y.dtype).log() + size + torch.log1p((-2 * size).exp()) - math.log(2)

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """(y - location) / scale, and the same of |y|."""
        y = self.axis(x)
        value = (y - self.location.to(x.dtype)) / self.scale.to(x.dtype)
        size = (y.abs() - self.size_location.to(x.dtype)) / self.size_scale.to(x.dtype)
        return self._marked(torch.stack([value, size], -1), present)

    def distribution(self, params: Tensor) -> MagnitudeDistribution:
        """The distribution with logits, standardised means and log deviations of y (..., n, size)."""
        return MagnitudeDistribution(params, self)

    def estimate(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        *,
        smoothing: float = 0.0,
        previous: Tensor | None = None,
    ) -> Tensor:
        """None: only nets put its parameters out.

        Raises:
            Unsupported: Always.
        """
        raise Unsupported("Magnitude has no closed-form estimate", do='use Columns(kind="closed")')


def _largest(dtype: torch.dtype) -> float:
    """The largest y whose exponential leaves room for factors and sums."""
    return math.log(torch.finfo(dtype).max) - 10
