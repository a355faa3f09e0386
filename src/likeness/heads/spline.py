"""Real entries by monotone rational-quadratic splines: densities with edges, gaps and bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from likeness.heads.base import EntryLaw, Head
from likeness.heads.numeric import moments, open_unit, piece, solve, spread

_LEAST_WIDTH = 1e-3  # smallest part of a bin in the line, relative to the bins' mean
_LEAST_MASS = 1e-4  # smallest mass of a bin, relative to the bins' mean, and smallest slope at a knot
_FINEST = 0.05  # narrowest bin that the start has, relative to the mean: from there nets make what they need
_SEARCHED = 8  # points a bin from which the mode is searched
_NODES = 8  # of the quadrature of the mean, a bin
_SOFTPLUS_ONE = math.log(math.e - 1)


@dataclass(frozen=True, eq=False)
class SplineLaw(EntryLaw):
    """CDF F(x) = m_- + (1 - m_- - m_+) S((x - low) / (high - low)), S a spline from [0, 1] to [0, 1] of K pieces.

    Beyond an end that is no bound the law is exponential, of mass 1 / (N + 1): that of a row outside of N others.
    Durkan et al. 2019, arXiv:1906.04032, eqs. 4 and 5.
    """

    head: Spline

    @cached_property
    def knots(self) -> tuple[Tensor, Tensor, Tensor]:
        """Places and masses below the knots, both from 0 to 1, and slopes there, each (..., n, K + 1)."""
        widths, heights, raw = self.params.split([self.head.bins, self.head.bins, self.head.bins + 1], -1)
        slopes = _LEAST_MASS + torch.nn.functional.softplus(raw + _SOFTPLUS_ONE)
        return _ladder(widths, _LEAST_WIDTH), _ladder(heights, _LEAST_MASS), slopes

    def log_prob(self, x: Tensor) -> Tensor:
        """The log of the spline's slope, or the exponential law's terms."""
        low, high, reach = self._ends(x.dtype)
        beyond = torch.maximum(low - x, x - high).clamp(min=0)
        z = ((x - low) / (high - low)).clamp(0, 1)
        inside = self._inner_log_mass(x.dtype) + self._spline(z)[1] - (high - low).log()
        below, above = (tail.to(x.dtype).log() for tail in (self.head.below, self.head.above))
        outside = torch.where(x < low, below, above) - reach.log() - beyond / reach
        return torch.where((x < low) | (x > high), outside, inside)

    def cdf(self, x: Tensor) -> Tensor:
        """The spline, scaled to what the tails leave."""
        low, high, reach = self._ends(x.dtype)
        below, above = self.head.below.to(x.dtype), self.head.above.to(x.dtype)
        inside = below + (1 - below - above) * self._spline(((x - low) / (high - low)).clamp(0, 1))[0]
        left = below * (-(low - x).clamp(min=0) / reach).exp()
        right = 1 - above * (-(x - high).clamp(min=0) / reach).exp()
        return torch.where(x < low, left, torch.where(x > high, right, inside))

    def draw(self, u: Tensor) -> Tensor:
        """Inverse CDF: a root of a quadratic within the spline, logarithms in the tails."""
        u = open_unit(u.squeeze(-1))
        low, high, reach = self._ends(u.dtype)
        below, above = self.head.below.to(u.dtype), self.head.above.to(u.dtype)
        part = ((u - below) / (1 - below - above)).clamp(0, 1)
        inside = low + (high - low) * self._inverse(part)
        left = low + reach * (u / below.clamp(min=1e-30)).clamp(max=1).log()
        right = high - reach * ((1 - u) / above.clamp(min=1e-30)).clamp(max=1).log()
        return torch.where(u < below, left, torch.where(u > 1 - above, right, inside))

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """The draw, which has a gradient in the parameters."""
        return self.head.embed(self.draw(u))

    @property
    def mode(self) -> Tensor:
        """The highest of a fine grid of points in every bin, moved to the top nearby by a search of thirds."""
        place = self.knots[0]
        step = torch.linspace(0, 1, _SEARCHED + 1, dtype=place.dtype, device=place.device)
        grid = (place[..., :-1, None] + place.diff(dim=-1)[..., None] * step).flatten(-2)
        best = self._spline(grid.movedim(-1, 0))[1].argmax(0).unsqueeze(-1)
        left, right = (grid.gather(-1, (best + d).clamp(0, grid.shape[-1] - 1)).squeeze(-1) for d in (-1, 1))
        for _ in range(40):
            third = (right - left) / 3
            a, b = left + third, right - third
            rises = self._spline(a)[1] < self._spline(b)[1]
            left, right = torch.where(rises, a, left), torch.where(rises, right, b)
        ends = torch.stack([grid.gather(-1, best).squeeze(-1), 0.5 * (left + right)])
        low, high, _ = self._ends(ends.dtype)
        top = ends.gather(0, self._spline(ends)[1].argmax(0, keepdim=True)).squeeze(0)
        return low + (high - low) * top

    @property
    def mean(self) -> Tensor:
        """High less the integral of the spline, by Gauss and Legendre in every bin; the tails' means beside it."""
        place = self.knots[0]
        nodes, weights = _gauss(_NODES, place)
        grid = place[..., :-1, None] + place.diff(dim=-1)[..., None] * nodes
        below = self._spline(grid.flatten(-2).movedim(-1, 0))[0].movedim(0, -1).unflatten(-1, grid.shape[-2:])
        area = ((below * weights).sum(-1) * place.diff(dim=-1)).sum(-1)
        low, high, reach = self._ends(place.dtype)
        left, right = self.head.below.to(place.dtype), self.head.above.to(place.dtype)
        inside = (1 - left - right) * (high - (high - low) * area)
        return inside + left * (low - reach) + right * (high + reach)

    def _ends(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        return self.head.low.to(dtype), self.head.high.to(dtype), self.head.scale.to(dtype)

    def _inner_log_mass(self, dtype: torch.dtype) -> Tensor:
        return torch.log1p(-(self.head.below + self.head.above)).to(dtype)

    def _spline(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """S and log S' at z in [0, 1], each (..., n)."""
        place, mass, slope = self.knots
        x0, w, y0, h, d0, d1 = _bin(z, place, mass, slope)
        s = h / w
        rise, log_slope = piece((z - x0) / w, s, d0, d1, (d0 - s) + (d1 - s))
        return y0 + h * rise, log_slope

    def _inverse(self, v: Tensor) -> Tensor:
        """Where S is v."""
        place, mass, slope = self.knots
        y0, h, x0, w, d0, d1 = _bin(v, mass, place, slope)
        s = h / w
        return x0 + w * solve((v - y0) / h, s, d0, (d0 - s) + (d1 - s)).clamp(0, 1)


class Spline(Head):
    """Real entries by a spline of `bins` pieces between the ends of the data, or between their bounds.

    Parameters are K logits of widths, K of masses and K + 1 raw slopes. A bound is kept exactly: no mass beyond it.

    Args:
        entries: The number of entries.
        bins: Pieces K.
        bounds: The lower and upper bound of each entry, None where there is none.
        presence: Whether `embed` adds a bit of presence.
    """

    location: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    below: Tensor
    above: Tensor
    marginal: Tensor

    def __init__(
        self,
        entries: int,
        *,
        bins: int = 16,
        bounds: Sequence[tuple[float | None, float | None]] | None = None,
        presence: bool = True,
    ) -> None:
        super().__init__(entries=entries, size=3 * bins + 1, features=1 + presence, presence=presence)
        self.bins = bins
        ends = bounds or [(None, None)] * entries
        lower, upper = ([math.nan if b[i] is None else b[i] for b in ends] for i in (0, 1))
        self.register_buffer("lower", torch.tensor(lower, dtype=torch.float64))
        self.register_buffer("upper", torch.tensor(upper, dtype=torch.float64))
        for name, value in (("location", 0.0), ("scale", 1.0), ("low", -2.0), ("high", 2.0)):
            self.register_buffer(name, torch.full((entries,), value, dtype=torch.float64))
        for name in ("below", "above"):
            self.register_buffer(name, torch.full((entries,), 0.01, dtype=torch.float64))
        self.register_buffer("marginal", torch.zeros(entries, self.size, dtype=torch.float64))

    lower: Tensor
    upper: Tensor

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """Ends at the bounds or else at the least and largest value, and bins of equal mass to start from."""
        x, seen = x.double(), present & (weight > 0).unsqueeze(-1)
        total, self.location, std = moments(x, present, weight)
        self.scale = spread(std, self.location, x.dtype)
        least = x.masked_fill(~seen, torch.inf).amin(0)
        most = x.masked_fill(~seen, -torch.inf).amax(0)
        alone = ~(most - least > 1e-6 * self.scale)  # one value, or none: an interval about it
        least, most = (
            torch.where(alone, self.location - self.scale, least),
            torch.where(alone, self.location + self.scale, most),
        )
        self.low = torch.where(self.lower.isnan(), least, self.lower)
        self.high = torch.where(self.upper.isnan(), most, self.upper)
        self.below, self.above = (end.isnan() / (1 + total.clamp(min=1)) for end in (self.lower, self.upper))
        self.marginal = self._marginal(x, seen)

    def _marginal(self, x: Tensor, seen: Tensor) -> Tensor:
        """Bins of equal mass between quantiles, none much narrower than the others, slopes in between."""
        columns = []
        part = torch.arange(1, self.bins, dtype=torch.float64, device=x.device) / self.bins
        for i in range(self.entries):
            z = ((x[seen[:, i], i] - self.low[i]) / (self.high[i] - self.low[i])).clamp(0, 1).sort().values
            inner = z[(part * len(z)).long().clamp(max=len(z) - 1)] if len(z) else part
            widths = torch.cat([inner.new_zeros(1), inner, inner.new_ones(1)]).diff().clamp(min=_FINEST / self.bins)
            widths = widths / widths.sum()
            density = 1 / (self.bins * widths)
            ends = torch.cat([density[:1], (density[:-1] * density[1:]).sqrt(), density[-1:]])
            raw = (ends.clamp(min=1e-3)).expm1().log() - _SOFTPLUS_ONE
            raw = torch.where(ends > 30, ends - _SOFTPLUS_ONE, raw)
            columns.append(torch.cat([widths.log() + math.log(self.bins), torch.zeros_like(widths), raw]))
        return torch.stack(columns)

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """(x - location) / scale."""
        value = (x - self.location.to(x.dtype)) / self.scale.to(x.dtype)
        return self._marked(value.unsqueeze(-1), present)

    def law(self, params: Tensor) -> SplineLaw:
        """The law with these logits and slopes (..., n, 3 bins + 1)."""
        return SplineLaw(params, self)

    def start(self) -> Tensor:
        """Bins of equal mass."""
        return self.marginal


def _ladder(logits: Tensor, least: float) -> Tensor:
    """Knots from 0 to 1 whose steps are softmax(logits), none below `least` of their mean, (..., K + 1)."""
    k = logits.shape[-1]
    steps = least / k + (1 - least) * logits.softmax(-1)
    inner = steps.cumsum(-1)[..., :-1]
    return torch.cat([torch.zeros_like(inner[..., :1]), inner, torch.ones_like(inner[..., :1])], -1)


def _bin(v: Tensor, own: Tensor, other: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
    """Where v's bin begins along its own ladder, its size there, the same along the other, slopes at its ends."""
    v, own, other, slope = v.unsqueeze(-1), *(t.expand(*_shape(v, t), t.shape[-1]) for t in (own, other, slope))
    at = (own[..., 1:-1] <= v).sum(-1, keepdim=True)
    (a0, a1), (b0, b1), (d0, d1) = (
        (t.gather(-1, at).squeeze(-1), t.gather(-1, at + 1).squeeze(-1)) for t in (own, other, slope)
    )
    return a0, a1 - a0, b0, b1 - b0, d0, d1


def _shape(v: Tensor, table: Tensor) -> torch.Size:
    return torch.broadcast_shapes(v.shape, table.shape[:-1])


def _gauss(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss and Legendre on [0, 1]: eigenvalues of the Jacobi matrix (Golub & Welsch 1969)."""
    k = torch.arange(1, count, dtype=torch.float64)
    off = k / (4 * k.square() - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return (0.5 + 0.5 * values).to(like), vectors[0].square().to(like)
