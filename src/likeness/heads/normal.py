"""Real entries: mixtures of normal distributions, over points or, where the data are rounded, over bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from likeness.core.errors import Unsupported
from likeness.heads.base import EntryDistribution, Head, keep_known
from likeness.heads.logistic import leading, pick, room, start_components
from likeness.numerics.constants import HALF_LOG_2PI
from likeness.numerics.draws import choose, open_unit, soft_choice, straight_through
from likeness.numerics.search import bisect
from likeness.numerics.stable import log_interval
from likeness.numerics.weighted import moments, spread, sums, tabulate

_TOP = 9.0  # log of the largest deviation, in standardised units: only to keep exp finite
_ASCENT = 60  # fixed-point steps towards a mode
_GROUPED = 40  # steps of EM for grouped data from the moments; 4 from the parameters before


@dataclass(frozen=True, eq=False)
class NormalMixtureDistribution(EntryDistribution):
    """p(x) = sum_m w_m N(x; mu_m, s_m^2), or its integral over the bin of width `resolution` around x."""

    head: NormalMixture

    @cached_property
    def parts(self) -> tuple[Tensor | None, Tensor, Tensor]:
        """Log-weights (None for one component), means and log-deviations in data units, each (M, ..., n).

        Components come first so that entries, not the few components, are the fast axis.
        """
        location = self.head.location.to(self.params.dtype)
        scale = self.head.scale.to(self.params.dtype)
        # (..., n, P M) -> tensors (M, ..., n)
        mean, log_std = leading(self.params, self.head.components)[-2:]
        log_std = scale.log() + log_std.clamp(math.log(self.head.floor), _TOP)
        if self.head.components == 1:
            return None, location + scale * mean, log_std
        return (
            leading(self.params, self.head.components)[0].log_softmax(0),
            location + scale * mean,
            log_std,
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-sum-exp over the components of log-densities, or of stable log-masses of bins."""
        # Of a bin the integral of the density over it, in a form that is stable in the tails.
        log_w, mean, log_std = _against(x, *self.parts)
        rate = (-log_std).exp()
        z = (x - mean) * rate
        if self.head.binned:
            log_p = log_interval(z, 0.5 * self._width * rate)
        else:
            log_p = -0.5 * z.square() - (log_std + HALF_LOG_2PI)
        if log_w is None:
            return log_p.squeeze(0)
        return torch.logsumexp(log_w + log_p, 0)

    def draw(self, u: Tensor) -> Tensor:
        """A component by the first uniform number where there are several, its inverse CDF at the last."""
        log_w, mean, log_std = self.parts
        # One uniform picks the component, the last one the value within it.
        z = torch.special.ndtri(open_unit(u[..., -1]))
        if log_w is None:
            return self.head.snap(mean.squeeze(0) + log_std.exp().squeeze(0) * z)
        index = choose(log_w.movedim(0, -1), u[..., 0])
        return self.head.snap(pick(mean, index) + pick(log_std, index).exp() * z)

    def cdf(self, x: Tensor) -> Tensor:
        """The weighted sum of normal CDFs; with a resolution, at the upper end of x's bin."""
        return self._below(x + 0.5 * self._width if self.head.binned else x)

    def quantile(self, p: Tensor) -> Tensor:
        """By bisection between the components' own quantiles, which enclose the mixture's."""
        p = open_unit(p)
        _, mean, log_std = _against(p, *self.parts)
        ends = mean + log_std.exp() * torch.special.ndtri(p)
        return self.head.snap(bisect(self._below, p, ends.amin(0), ends.amax(0)))

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """A soft choice of component; rounding to a bin passes gradients through."""
        smooth = self.soft(u, temperature)
        return self.head.embed(straight_through(self.head.snap(smooth), smooth))

    def soft(self, u: Tensor, temperature: float) -> Tensor:
        """A draw before rounding, of components mixed softly, (..., n)."""
        # Components weighted by a relaxed one-hot choice instead of picked.
        log_w, mean, log_std = self.parts
        value = mean + log_std.exp() * torch.special.ndtri(open_unit(u[..., -1]))
        if log_w is not None:
            value = value * soft_choice(log_w.movedim(0, -1), u[..., 0], temperature).movedim(-1, 0)
        return value.sum(0)

    @property
    def mode(self) -> Tensor:
        """The mean of one component; of several, the best point that fixed-point ascents from each mean reach."""
        log_w, mean, log_std = self.parts
        # One ascent from every component's mean (Carreira-Perpinan 2000); the best end is the mode.
        if log_w is None:
            return self.head.snap(mean.squeeze(0))
        x = self.head.snap(
            torch.stack([self._ascend(start, log_w, mean, log_std) for start in mean])
        )
        return pick(x, self.log_prob(x).argmax(0))

    @property
    def mean(self) -> Tensor:
        """The weighted sum of the components' means; with a resolution, of values before they are rounded."""
        log_w, mean, _ = self.parts
        if log_w is None:
            return mean.squeeze(0)
        return (log_w.exp() * mean).sum(0)

    @property
    def _width(self) -> Tensor:
        return self.head.resolution.to(self.params.dtype)

    def _below(self, v: Tensor) -> Tensor:
        """The mixture's CDF before rounding."""
        log_w, mean, log_std = _against(v, *self.parts)
        below = torch.special.ndtr((v - mean) * (-log_std).exp())
        if log_w is None:
            return below.squeeze(0)
        return (log_w.exp() * below).sum(0)

    @staticmethod
    def _ascend(x: Tensor, log_w: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        """Steps x <- sum_m r_m(x) mu_m / s_m^2 / sum_m r_m(x) / s_m^2, each (..., n) among components (M, ..., n)."""
        # The fixed point of grad log p = 0.
        precision = (-2 * log_std).exp()
        for _ in range(_ASCENT):
            pull = (log_w - log_std - 0.5 * (x - mean).square() * precision).softmax(0) * precision
            x = (pull * mean).sum(0) / pull.sum(0)
        return x


def _against(
    x: Tensor, log_w: Tensor | None, mean: Tensor, log_std: Tensor
) -> tuple[Tensor | None, Tensor, Tensor]:
    """The components with room for all axes of x between them and the entries."""
    return (None if log_w is None else room(log_w, x)), room(mean, x), room(log_std, x)


class NormalMixture(Head):
    """Real entries under M normal distributions; parameters (logits,) means, log deviations in standardised units.

    One component has no logits: 2 parameters, else 3M. With a resolution the bins lie around offset
    + k * resolution, the offset being where the training data lie.

    Args:
        entries: The number of entries.
        components: The number of normal distributions M.
        resolution: The bin width of each entry, or None where values are points.
        floor: The smallest deviation, relative to the data's.
        presence: Whether `embed` adds a bit of presence.
    """

    location: Tensor
    scale: Tensor
    resolution: Tensor
    offset: Tensor

    def __init__(
        self,
        entries: int,
        *,
        components: int = 5,
        resolution: Sequence[float] | None = None,
        floor: float = 1e-4,
        presence: bool = True,
    ) -> None:
        size, uniforms = (2, 1) if components == 1 else (3 * components, 2)
        super().__init__(
            entries=entries, size=size, features=1 + presence, uniforms=uniforms, presence=presence
        )
        self.components = components
        self.floor = floor
        self.binned = resolution is not None
        if resolution is None:
            widths = torch.ones(entries)
        else:
            widths = torch.tensor(list(resolution), dtype=torch.float64)
        self.register_buffer("location", torch.zeros(entries, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(entries, dtype=torch.float64))
        self.register_buffer("resolution", widths.double())
        self.register_buffer("offset", torch.zeros(entries, dtype=torch.float64))

    @property
    def free(self) -> int:
        """Means, deviations, and one less than the weights."""
        return self.entries * (3 * self.components - 1)

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """Mean and deviation (at least half a bin), and where the bins lie."""
        _, self.location, std = moments(x, present, weight)
        self.scale = spread(std, self.location, x.dtype)
        if self.binned:
            self.scale = self.scale.maximum(0.5 * self.resolution)
            self.offset = bin_offset(x, present, weight, self.resolution)

    def snap(self, v: Tensor) -> Tensor:
        """The middle of the bin that v lies in; v itself where values are points."""
        if self.binned:
            return snap(v, self.resolution, self.offset)
        return v

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """(x - location) / scale."""
        value = (x - self.location.to(x.dtype)) / self.scale.to(x.dtype)
        return self._marked(value.unsqueeze(-1), present)

    def distribution(self, params: Tensor) -> NormalMixtureDistribution:
        """The distribution with logits, standardised means and log deviations (..., n, size)."""
        return NormalMixtureDistribution(params, self)

    def start(self) -> Tensor:
        """One normal of the data's mean and deviation, or M equal ones with those in total."""
        if self.components == 1:
            return torch.zeros(self.entries, 2, dtype=torch.float64)
        mean, std = start_components(self.components)
        first = torch.cat([torch.zeros_like(mean), mean, torch.full_like(mean, math.log(std))])
        return first.expand(self.entries, -1)

    def estimate(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        *,
        smoothing: float = 0.0,
        previous: Tensor | None = None,
    ) -> Tensor:
        """Weighted mean and deviation; with a resolution, EM for grouped data, which ends at the exact maximum.

        `smoothing` adds that much weight with the data's own mean and variance.

        Raises:
            Unsupported: For more than one component.
        """
        if self.components > 1:
            raise Unsupported(
                "no closed-form estimate of a mixture's parameters", do="use components=1"
            )
        # Standardised values, 0 where missing: weighted sums count the observed ones.
        z = ((x.double() - self.location) / self.scale) * present
        w = weight.double()
        total = sums(w, present) + smoothing
        safe = total.clamp(min=1e-30)
        mean = sums(w, z) / safe
        variance = (sums(w, z.square()) + smoothing) / safe - mean.square()
        if self.binned:
            mean, variance = self._grouped(x, present, w, mean, variance, previous)
        log_std = 0.5 * variance.clamp(min=self.floor**2).log()
        return keep_known(torch.stack([mean, log_std], -1).to(x.dtype), total, self.start())

    def _grouped(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        mean: Tensor,
        variance: Tensor,
        previous: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """EM on bins, all in standardised units (K, ..., n); E-step by the moments of truncated normals."""
        # Rows of the same bin count together: weights of each bin, (K, ..., n, bins).
        half = 0.5 * self.resolution / self.scale
        cells = ((x.double() - self.offset) / self.resolution).round().flatten(1)
        values, table = tabulate(cells, present.flatten(1), weight)
        table = table.reshape(*mean.shape, -1)
        middle = (
            values * self.resolution.unsqueeze(-1) + (self.offset - self.location).unsqueeze(-1)
        ) / self.scale.unsqueeze(-1)
        share = table / table.sum(-1, keepdim=True).clamp(min=1e-30)
        # Sheppard's correction of the moments is the start;
        # then EM over the values within their bins.
        variance = (variance - half.square() / 3).clamp(
            min=0.1 * half.square()
        )  # Sheppard's correction
        if previous is not None:
            mean = previous[..., 0].double()
            variance = (2 * previous[..., 1].double()).exp()
        for _ in range(_GROUPED if previous is None else 4):
            std = variance.clamp(min=self.floor**2).sqrt()
            # E-step: moments of the normal within each bin. M-step: their weighted means.
            first, second = truncated_moments(
                (middle - mean.unsqueeze(-1)) / std.unsqueeze(-1), (half / std).unsqueeze(-1)
            )
            shift = (share * first).sum(-1)
            mean = mean + std * shift
            variance = std.square() * ((share * second).sum(-1) - shift.square())
        return mean, variance


def truncated_moments(centre: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """E v and E v^2 of a standard normal v given |v - centre| < half, stable in the tails.

    From log Z(c, h) = log [Phi(c + h) - Phi(c - h)]: E v = -d/dc log Z and E v^2 = 1 + c E v - h
    d/dh log Z.
    """
    with torch.enable_grad():
        c = centre.detach().requires_grad_()
        h = half.detach().expand_as(c).clone().requires_grad_()
        by_centre, by_half = torch.autograd.grad(log_interval(c, h).sum(), (c, h))
    # Rounding may put the mean outside of its bin.
    first = torch.maximum(torch.minimum(-by_centre, centre + half), centre - half)
    return first, (1 + centre * first - half * by_half).clamp(min=0)


def snap(v: Tensor, resolution: Tensor, offset: Tensor) -> Tensor:
    """The nearest of offset + k * resolution."""
    width = resolution.to(v.dtype)
    zero = offset.to(v.dtype)
    return ((v - zero) / width).round() * width + zero


def bin_offset(x: Tensor, present: Tensor, weight: Tensor, resolution: Tensor) -> Tensor:
    """Where in [-1/2, 1/2) bins the values lie, by the mean on the circle; 0 where they lie at multiples, (n,)."""
    # The circular mean of values modulo the bin width.
    angle = 2 * math.pi * (x.double() / resolution)
    w = weight.double().unsqueeze(-1) * present
    turn = torch.atan2((w * angle.sin()).sum(0), (w * angle.cos()).sum(0)) / (2 * math.pi)
    return torch.where(turn.abs() < 1e-3, 0.0, turn * resolution)
