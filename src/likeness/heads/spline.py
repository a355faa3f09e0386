"""Real entries by monotone rational-quadratic splines of their rank: densities with edges, gaps, tails and bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from likeness.heads.base import EntryDistribution, Head
from likeness.numerics.draws import open_unit
from likeness.numerics.rational_quadratic import rational_quadratic, rational_quadratic_inverse
from likeness.numerics.search import highest
from likeness.numerics.weighted import moments, quantiles, spread

_LEAST_WIDTH = 1e-3  # smallest part of a bin in the line of ranks, relative to the bins' mean
# Smallest mass of a bin, relative to the bins' mean, and smallest slope at a knot
_LEAST_MASS = 1e-4
_MARGINAL = 64  # pieces of the marginal distribution
_EVEN = 48  # its even ones at most, its halvings towards each end, and rows that each has at least
_TAIL = 7
_ROWS = 8
_NARROW = 2e-5  # its narrowest piece in standard deviations: narrower ones would only chase repeated values
_FAR = 8.0  # deviations that nets see at most; the rank tells the rest
_SEARCHED = 8  # points a bin from which the mode is searched
_NODES = 8  # of the quadrature of the mean, a piece of the marginal distribution
_SOFTPLUS_ONE = math.log(math.e - 1)


@dataclass(frozen=True, eq=False)
class SplineDistribution(EntryDistribution):
    """CDF F(x) = m_- + (1 - m_- - m_+) S(R(x)), R the marginal distribution's rank, S a spline from [0, 1] to [0, 1].

    Beyond an end that is no bound the distribution is exponential, of mass 1 / (N + 1): that of a row
    outside of N others. Durkan et al. 2019, arXiv:1906.04032, eqs. 4 and 5; densities of ranks as
    of a copula (Sklar 1959).
    """

    head: Spline

    @cached_property
    def knots(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ranks and masses below the knots, both from 0 to 1, and slopes there, each (..., n, K + 1)."""
        # (..., n, 3 K + 1): logits of widths, logits of masses, raw slopes at the K + 1 knots.
        widths, heights, raw = self.params.split(
            [self.head.bins, self.head.bins, self.head.bins + 1], -1
        )
        slopes = _LEAST_MASS + torch.nn.functional.softplus(raw + _SOFTPLUS_ONE)
        return _ladder(widths, _LEAST_WIDTH), _ladder(heights, _LEAST_MASS), slopes

    def log_prob(self, x: Tensor) -> Tensor:
        """The log of both splines' slopes, or the exponential distribution's terms; -inf beyond a bound."""
        forbidden = (x < self.head.lower.to(x.dtype)) | (
            x > self.head.upper.to(x.dtype)
        )  # never where there is none
        # Three factors inside: mass between the tails, slope
        # of the own spline, density of the marginal rank.
        x = self.head.apart(x)
        low, high, reach = self._ends(x.dtype)
        below, above = self._tails(x.dtype)
        rank, log_density = self.head.rank(x)
        inside = torch.log1p(-(below + above)) + _rise(rank, *self.knots)[1] + log_density
        # Beyond the ends: mass of the tail times an exponential density of mean excess `reach`.
        beyond = torch.maximum(low - x, x - high).clamp(min=0) / reach
        outside = torch.where(x < low, below, above).clamp(min=1e-30).log() - reach.log() - beyond
        tail = ((x < low) & (below > 0)) | (
            (x > high) & (above > 0)
        )  # at a bound rounding may seem to lie beyond it
        return torch.where(tail, outside, inside).masked_fill(forbidden, -torch.inf)

    def cdf(self, x: Tensor) -> Tensor:
        """The splines, scaled to what the tails leave."""
        x = self.head.apart(x)
        low, high, reach = self._ends(x.dtype)
        below, above = self._tails(x.dtype)
        inside = below + (1 - below - above) * _rise(self.head.rank(x)[0], *self.knots)[0]
        left = below * (-(low - x).clamp(min=0) / reach).exp()
        # Exponential tails, and between them the splines scaled to the mass that these leave.
        right = 1 - above * (-(x - high).clamp(min=0) / reach).exp()
        return torch.where(x < low, left, torch.where(x > high, right, inside))

    def draw(self, u: Tensor) -> Tensor:
        """Inverse CDF: roots of quadratics within the splines, logarithms in the tails."""
        u = open_unit(u.squeeze(-1))
        low, high, reach = self._ends(u.dtype)
        below, above = self._tails(u.dtype)
        # The share of u between the tails, through both splines backwards.
        part = ((u - below) / (1 - below - above)).clamp(0, 1)
        inside = self.head.quantile(_fall(part, *self.knots))
        left = low + reach * (u / below.clamp(min=1e-30)).clamp(max=1).log()
        right = high - reach * ((1 - u) / above.clamp(min=1e-30)).clamp(max=1).log()
        return self.head.back(
            torch.where(u < below, left, torch.where(u > 1 - above, right, inside))
        )

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """The draw, which has a gradient in the parameters."""
        return self.head.embed(self.draw(u))

    @property
    def mode(self) -> Tensor:
        """The highest of fine grids of both splines' pieces, moved to the top nearby by a search of thirds."""
        # Candidates in ranks: fine grids within the pieces of both splines, (..., n, points).
        own, marginal = (
            _grid(k, _SEARCHED) for k in (self.knots[0], self.head.tables(self.params.dtype)[1])
        )
        grid = torch.cat([own, marginal.expand(*own.shape[:-1], -1)], -1)
        return self.head.back(self.head.quantile(highest(self._height, grid)))

    @property
    def mean(self) -> Tensor:
        """The upper end less the integral of the CDF, by Gauss and Legendre in every piece; the tails' means beside."""
        place = self.head.tables(self.params.dtype)[0]
        nodes, weights = _gauss(_NODES, place)
        # E x = high - integral of the CDF between the ends; Gauss-Legendre nodes in every piece.
        x = (place[..., :-1, None] + place.diff(dim=-1)[..., None] * nodes).flatten(
            -2
        )  # (n, pieces * nodes)
        room = x.movedim(-1, 0).reshape(-1, *[1] * (self.params.dim() - 2), x.shape[0])
        below = (
            _rise(self.head.rank(room)[0], *self.knots)[0]
            .movedim(0, -1)
            .unflatten(-1, (-1, _NODES))
        )
        area = ((below * weights).sum(-1) * place.diff(dim=-1)).sum(-1)
        low, high, reach = self._ends(place.dtype)
        left, right = self._tails(place.dtype)
        return self.head.back(
            (1 - left - right) * (high - area) + left * (low - reach) + right * (high + reach)
        )

    def _height(self, rank: Tensor) -> Tensor:
        """Log density at a rank, up to a constant."""
        return _rise(rank, *self.knots)[1] + self.head.rank(self.head.quantile(rank))[1]

    def _ends(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        place = self.head.place.to(dtype)
        return place[..., 0], place[..., -1], self.head.scale.to(dtype)

    def _tails(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return self.head.below.to(dtype), self.head.above.to(dtype)


class Spline(Head):
    """Real entries by a spline of `bins` pieces over their rank in the data, between the data's ends or their bounds.

    Parameters are K logits of widths, K of masses and K + 1 raw slopes; all 0 is the marginal distribution.
    Nets see the value and its rank as a normal score. A bound is kept exactly: no mass beyond it.

    Args:
        entries: The number of entries.
        bins: Pieces K.
        bounds: The lower and upper bound of each entry, None where there is none.
        presence: Whether `embed` adds a bit of presence.
    """

    location: Tensor
    scale: Tensor
    lower: Tensor
    upper: Tensor
    place: Tensor
    mass: Tensor
    slope: Tensor
    below: Tensor
    above: Tensor

    def __init__(
        self,
        entries: int,
        *,
        bins: int = 16,
        bounds: Sequence[tuple[float | None, float | None]] | None = None,
        presence: bool = True,
    ) -> None:
        super().__init__(
            entries=entries, size=3 * bins + 1, features=2 + presence, presence=presence
        )
        self.bins = bins
        ends = bounds or [(None, None)] * entries
        for name, side in (("lower", 0), ("upper", 1)):
            values = [math.nan if b[side] is None else b[side] for b in ends]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))
        for name, value in (("location", 0.0), ("scale", 1.0), ("below", 0.01), ("above", 0.01)):
            self.register_buffer(name, torch.full((entries,), value, dtype=torch.float64))
        even = torch.linspace(0, 1, _MARGINAL + 1, dtype=torch.float64).expand(entries, -1)
        for name, table in (
            ("place", 4 * even - 2),
            ("mass", even),
            ("slope", torch.full_like(even, 0.25)),
        ):
            self.register_buffer(name, table.clone())

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """The marginal: pieces between quantiles, finer towards the ends, from end to end or bound to bound."""
        x = x.double()
        mask = present & (weight > 0).unsqueeze(-1)
        total, self.location, std = moments(x, present, weight)
        self.scale = spread(std, self.location, x.dtype)
        # An entry without a bound may lie outside of N others: tails of mass 1 / (N + 1).
        self.below, self.above = (
            end.isnan() / (1 + total.clamp(min=1)) for end in (self.lower, self.upper)
        )
        weights = [weight.double()[mask[:, i]] for i in range(self.entries)]
        # One marginal table for each entry, from its observed rows.
        tables = [
            self._marginal(x[mask[:, i], i] - self.location[i], weights[i], i)
            for i in range(self.entries)
        ]
        self.place, self.mass, self.slope = (torch.stack(t) for t in zip(*tables, strict=True))

    def _marginal(self, x: Tensor, weight: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """Knots of one entry's marginal (pieces + 1,): values, ranks, and slopes between those of their pieces.

        Values are apart from the location, so that knots close to each other stay so in single
        precision.
        """
        wide = self.scale[i]
        if len(x):
            ends = torch.stack([x.amin(), x.amax()])
        else:
            ends = torch.zeros(2, dtype=torch.float64, device=wide.device)
        if not ends[1] - ends[0] > 1e-6 * wide:  # one value, or none: an interval about it
            ends = ends.mean() + torch.stack([-wide, wide])
        bounds = (self.lower[i] - self.location[i], self.upper[i] - self.location[i])
        low, high = (e if b.isnan() else b for e, b in zip(ends, bounds, strict=True))
        # Ranks at which quantiles are taken; without rows an even spread.
        known = _levels(len(x)).to(x)
        if len(x):
            values = quantiles(x, weight, known)
        else:
            values = low + (high - low) * known
        values[0] = low
        values[-1] = high
        # More knots in the widest gaps, no piece narrower than the tables can resolve.
        levels = _filled(known, _MARGINAL + 1)
        widths = (
            _interpolated(levels, known, values.clamp(low, high)).diff().clamp(min=_NARROW * wide)
        )
        widths = widths / widths.sum() * (high - low)
        place = torch.cat([low[None], low + widths.cumsum(0)[:-1], high[None]])
        # Slopes at inner knots: geometric means of the pieces' secants; at the ends extrapolated.
        secant = levels.diff() / widths
        inner = (secant[:-1] * secant[1:]).sqrt()
        first, last = (
            s * (s / t).clamp(1e-3, 1).sqrt()
            for s, t in ((secant[0], secant[1]), (secant[-1], secant[-2]))
        )
        return place, levels, torch.cat([first[None], inner, last[None]])

    def apart(self, x: Tensor) -> Tensor:
        """How far values lie from the location, (..., n)."""
        return x - self.location.to(x.dtype)

    def back(self, apart: Tensor) -> Tensor:
        """Values that lie so far from the location, and within the bounds to the last bit, (..., n)."""
        value = apart + self.location.to(apart.dtype)
        return torch.fmin(torch.fmax(value, self.lower.to(value.dtype)), self.upper.to(value.dtype))

    def tables(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Values, ranks and slopes at the marginal distribution's knots, (n, pieces + 1)."""
        return self.place.to(dtype), self.mass.to(dtype), self.slope.to(dtype)

    def rank(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The marginal's CDF at x, apart from the location, and its log density there, (..., n)."""
        place = self.place.to(x.dtype)
        return _rise(
            torch.maximum(torch.minimum(x, place[..., -1]), place[..., 0]), *self.tables(x.dtype)
        )

    def quantile(self, rank: Tensor) -> Tensor:
        """The value of that rank in the marginal distribution, apart from the location, (..., n)."""
        return _fall(rank, *self.tables(rank.dtype))

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """(x - location) / scale, at most 8 of it, and the normal score of the rank, Phi^-1(R(x))."""
        apart = self.apart(x)
        score = torch.special.ndtri(self.rank(apart)[0].clamp(1e-5, 1 - 1e-5))
        return self._marked(
            torch.stack([(apart / self.scale.to(x.dtype)).clamp(-_FAR, _FAR), score], -1), present
        )

    def distribution(self, params: Tensor) -> SplineDistribution:
        """The distribution with these logits and slopes (..., n, 3 bins + 1)."""
        return SplineDistribution(params, self)

    def start(self) -> Tensor:
        """The marginal distribution."""
        return torch.zeros(self.entries, self.size, dtype=torch.float64)


def _levels(rows: int) -> Tensor:
    """Ranks at which quantiles of `rows` rows are taken: even ones, then halved towards both ends."""
    even = min(_EVEN, max(2, round(2 * rows ** (1 / 3))))
    halvings = [2.0**-j / even for j in range(_TAIL, 0, -1) if rows * 2.0**-j / even >= _ROWS]
    inner = [k / even for k in range(1, even)]
    return torch.tensor(
        [0.0, *halvings, *inner, *(1 - h for h in reversed(halvings)), 1.0], dtype=torch.float64
    )


def _filled(levels: Tensor, count: int) -> Tensor:
    """The levels and more of them, each in the middle of the widest gap that is left, `count` in all."""
    while len(levels) < count:
        at = int(levels.diff().argmax())
        levels = torch.cat([levels[: at + 1], levels[at : at + 2].mean()[None], levels[at + 1 :]])
    return levels


def _interpolated(at: Tensor, known: Tensor, values: Tensor) -> Tensor:
    # The two known levels around each, and how far between them it lies.
    """Values at levels between known ones, by straight lines."""
    right = torch.searchsorted(known, at.contiguous()).clamp(1, len(known) - 1)
    part = (at - known[right - 1]) / (known[right] - known[right - 1])
    return values[right - 1].lerp(values[right], part)


def _grid(knots: Tensor, points: int) -> Tensor:
    """Knots (..., K + 1) and points between them, (..., K * points + 1)."""
    step = torch.arange(points, dtype=knots.dtype, device=knots.device) / points
    inner = (knots[..., :-1, None] + knots.diff(dim=-1)[..., None] * step).flatten(-2)
    return torch.cat([inner, knots[..., -1:]], -1)


def _ladder(logits: Tensor, least: float) -> Tensor:
    """Knots from 0 to 1 whose steps are softmax(logits), none below `least` of their mean, (..., K + 1)."""
    # A floor for every step, and the rest by softmax.
    k = logits.shape[-1]
    steps = least / k + (1 - least) * logits.softmax(-1)
    inner = steps.cumsum(-1)[..., :-1]
    return torch.cat([torch.zeros_like(inner[..., :1]), inner, torch.ones_like(inner[..., :1])], -1)


def _rise(v: Tensor, place: Tensor, mass: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """A spline through knots (..., n, K + 1) at v (..., n), and the log of its slope."""
    # Forward through the bin of v: the rational quadratic of its place there.
    x0, w, y0, h, d0, d1 = _bin(v, place, mass, slope)
    s = h / w
    rise, log_slope = rational_quadratic((v - x0) / w, s, d0, d1, (d0 - s) + (d1 - s))
    return y0 + h * rise, log_slope


def _fall(v: Tensor, place: Tensor, mass: Tensor, slope: Tensor) -> Tensor:
    """Where that spline is v."""
    # Backward: masses take the place of values.
    y0, h, x0, w, d0, d1 = _bin(v, mass, place, slope)
    s = h / w
    return x0 + w * rational_quadratic_inverse((v - y0) / h, s, d0, (d0 - s) + (d1 - s)).clamp(0, 1)


def _bin(v: Tensor, own: Tensor, other: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
    """Where v's bin begins along its own ladder, its size there, the same along the other, slopes at its ends."""
    shape = np.broadcast_shapes(v.shape, own.shape[:-1])
    v, own, other, slope = (
        v.unsqueeze(-1),
        *(t.expand(*shape, t.shape[-1]) for t in (own, other, slope)),
    )
    # The bin by comparison with the inner knots; its values, masses and slopes by gathers.
    at = (own[..., 1:-1] <= v).sum(-1, keepdim=True)
    (a0, a1), (b0, b1), (d0, d1) = (
        (t.gather(-1, at).squeeze(-1), t.gather(-1, at + 1).squeeze(-1))
        for t in (own, other, slope)
    )
    return a0, a1 - a0, b0, b1 - b0, d0, d1


def _gauss(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss and Legendre on [0, 1]: eigenvalues of the Jacobi matrix (Golub & Welsch 1969)."""
    # Off-diagonal of the Jacobi matrix of Legendre
    # polynomials; eigenvectors' first entries give weights.
    k = torch.arange(1, count, dtype=torch.float64)
    off = k / (4 * k.square() - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return (0.5 + 0.5 * values).to(like), vectors[0].square().to(like)
