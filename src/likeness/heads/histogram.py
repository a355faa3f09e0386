"""Real entries by bins of equal mass with exponential tails: a closed form that assumes no shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from likeness.heads.base import EntryDistribution, Head, keep_known
from likeness.heads.normal import bin_offset, snap
from likeness.numerics.draws import choose, open_unit, straight_through
from likeness.numerics.stable import log1mexp
from likeness.numerics.weighted import moments, spread, tabulate

# The narrowest bin in standard deviations: narrower ones would only chase repeated values
_NARROW = 1e-4
_PRIOR = 1e-3  # rows spread as the marginal, so that the distribution is positive everywhere


@dataclass(frozen=True, eq=False)
class HistogramDistribution(EntryDistribution):
    """p(x) = m_j / width_j in bin j and m e^(-d / tau) / tau at distance d beyond the ends; integrates to 1 exactly.

    With a resolution, the probability of x's bin: edges lie between those, so that the integral
    stays this simple.
    """

    head: Histogram

    @cached_property
    def log_mass(self) -> Tensor:
        """Normalised log-masses (..., n, regions), -inf where an entry has no such region."""
        return self.params.masked_fill(~self.head.exists, -torch.inf).log_softmax(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-mass less log-width, or less the exponential distribution's terms."""
        # Region, and the distance beyond the end in units of the tail.
        z = self.head.standard(x)
        region = self.head.region(z)
        anchor, extent, side = self.head.at(region)
        mass = self._pick(self.log_mass, region)
        scale = self.head.scale.to(z.dtype)
        width = self.head.cell.to(z.dtype)
        gap = side.abs() * (z - anchor).abs() / extent
        # A density at a point: mass over width in data units.
        if not self.head.binned:
            return mass - extent.log() - scale.log() - gap
        # The mass of x's own bin: its share of a region, or the exponential's integral over it.
        beyond = log1mexp(width / extent) + 0.5 * width / extent - gap
        return mass + torch.where(side == 0, (width / extent).log(), beyond)

    def draw(self, u: Tensor) -> Tensor:
        """Inverse CDF: linear within bins, logarithmic in the tails."""
        return self.head.snap(self._inverse(u.squeeze(-1)))

    def cdf(self, x: Tensor) -> Tensor:
        """The mass of the regions below and of the part below x; with a resolution, to the upper end of x's bin."""
        # With a resolution the mass up to the upper end of x's own bin counts.
        z = self.head.standard(x) + (0.5 * self.head.cell.to(x.dtype) if self.head.binned else 0.0)
        region = self.head.region(z)
        anchor, extent, side = self.head.at(region)
        mass = self.log_mass.exp()
        # Mass of the regions below, then the share of the
        # own region: linear in bins, exponential in tails.
        below = self._pick(mass.cumsum(-1) - mass, region)
        reach = (z - anchor) / extent
        tail = torch.where(side < 0, reach.clamp(max=0).exp(), -torch.expm1(-reach.clamp(min=0)))
        return below + self._pick(mass, region) * torch.where(side == 0, reach, tail)

    def relaxed(self, u: Tensor, temperature: float) -> Tensor:
        """The draw, which has a gradient in the masses; rounding to a bin passes it through."""
        value = self._inverse(u.squeeze(-1))
        return self.head.embed(straight_through(self.head.snap(value), value))

    @property
    def mode(self) -> Tensor:
        """The middle of the densest bin; just outside the end where a tail is densest, which it is in the limit."""
        log_p = self.log_mass - self.head.extent.log().to(self.log_mass.dtype)
        anchor, extent, side = self.head.at(log_p.argmax(-1))
        if self.head.binned:
            beyond = 0.5 * self.head.cell.to(extent.dtype)
        else:
            beyond = 1e-3 * extent
        return self.head.snap(
            self.head.unstandard(anchor + torch.where(side == 0, 0.5 * extent, side * beyond))
        )

    @property
    def mean(self) -> Tensor:
        """The masses' sum over the middles of bins and the means of tails."""
        head = self.head
        dtype = self.log_mass.dtype
        extent = head.extent
        cell = head.cell.unsqueeze(-1)
        # Mean excess of an exponential tail; over bins it is the mean of a geometric distribution.
        if head.binned:
            beyond = 0.5 * cell + cell / torch.expm1(cell / extent)
        else:
            beyond = extent
        middle = head.anchor + torch.where(head.side == 0, 0.5 * extent, head.side * beyond)
        return self.head.unstandard((self.log_mass.exp() * middle.to(dtype)).sum(-1))

    def _pick(self, values: Tensor, region: Tensor) -> Tensor:
        """What values (..., n, regions) say at region (..., n)."""
        shape = np.broadcast_shapes(region.shape, values.shape[:-1])
        index = region.expand(shape).unsqueeze(-1)
        return values.expand(*shape, values.shape[-1]).gather(-1, index).squeeze(-1)

    def _inverse(self, u: Tensor) -> Tensor:
        """The value whose CDF is u, before rounding."""
        # The region by its mass, then the place within it by the rest of u.
        region = choose(self.log_mass, u)
        mass = self.log_mass.exp()
        below = self._pick(mass.cumsum(-1) - mass, region)
        own = self._pick(mass, region)
        part = open_unit((u - below) / own)
        anchor, extent, side = self.head.at(region)
        tail = torch.where(side < 0, part.log(), -(-part).log1p())
        return self.head.unstandard(anchor + extent * torch.where(side == 0, part, tail))


class Histogram(Head):
    """Real entries by up to `bins` bins of equal mass and two exponential tails; parameters are log-masses.

    Edges and tails are buffers, set by `fit`: about 2 N^(1/3) bins for N rows; the rest of the room
    stays empty. Where an entry has a bound, a last bin reaches to it in place of the tail.

    Args:
        entries: The number of entries.
        bins: The largest number of bins.
        resolution: The bin width of each entry's own values, or None where they are points.
        bounds: The lower and upper bound of each entry, or None where there are none; for points
            alone.
        presence: Whether `embed` adds a bit of presence.
    """

    bounds: Tensor
    location: Tensor
    scale: Tensor
    resolution: Tensor
    offset: Tensor
    edges: Tensor
    anchor: Tensor
    extent: Tensor
    side: Tensor
    exists: Tensor
    marginal: Tensor

    def __init__(
        self,
        entries: int,
        *,
        bins: int = 64,
        resolution: Sequence[float] | None = None,
        bounds: Sequence[tuple[float | None, float | None]] | None = None,
        presence: bool = True,
    ) -> None:
        super().__init__(entries=entries, size=bins + 2, features=1 + presence, presence=presence)
        self.bins = bins
        self.binned = resolution is not None
        if resolution is None:
            widths = torch.ones(entries)
        else:
            widths = torch.tensor(list(resolution), dtype=torch.float64)
        limits = bounds or [(None, None)] * entries
        ends = [[-torch.inf if a is None else a, torch.inf if b is None else b] for a, b in limits]
        self.register_buffer("bounds", torch.tensor(ends, dtype=torch.float64))
        self.register_buffer("location", torch.zeros(entries, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(entries, dtype=torch.float64))
        self.register_buffer("resolution", widths.double())
        self.register_buffer("offset", torch.zeros(entries, dtype=torch.float64))
        for name in ("edges", "anchor", "extent", "side", "exists", "marginal"):
            self.register_buffer(name, None)
        self._place(
            torch.linspace(-2, 2, bins + 1, dtype=torch.float64).expand(entries, -1),
            torch.ones(2, entries),
        )
        self.marginal = torch.zeros(entries, bins + 2, dtype=torch.float64)

    @property
    def cell(self) -> Tensor:
        """The width of a value's bin in standardised units, (n,)."""
        return self.resolution / self.scale

    @property
    def free(self) -> int:
        """One less than the masses, the edges between them, and the scale of each tail."""
        return int(2 * self.exists.sum() - self.bounds.isfinite().sum())

    def fit(self, x: Tensor, present: Tensor, weight: Tensor) -> None:
        """Edges at quantiles, between the values' own bins; tails by the mean excess beyond the ends."""
        total, self.location, std = moments(x, present, weight)
        self.scale = spread(std, self.location, x.dtype)
        if self.binned:
            self.scale = self.scale.maximum(0.5 * self.resolution)
            self.offset = bin_offset(x, present, weight, self.resolution)
        z = self.standard(x.double())
        # Edges at quantiles, and between them the weight that falls on each region.
        w = weight.double().unsqueeze(-1) * present
        ends = self._apart(_quantile_edges(z, w, self.bins), total)
        self._place(ends, self._tails(z, w, ends))
        one = weight.double().unsqueeze(-1)
        uniform = self.exists / self.exists.sum(-1, keepdim=True)
        self.marginal = (
            (self._table(x, present, one)[0] + uniform).log().masked_fill(~self.exists, 0.0)
        )

    def _apart(self, edges: Tensor, total: Tensor) -> Tensor:
        """Edges between values' bins, no two closer than `_NARROW`; dropped edges become +inf, last."""
        # Rounded values: edges lie between their bins.
        if self.binned:
            start = ((self.offset - self.location) / self.scale + 0.5 * self.cell).unsqueeze(-1)
            edges = start + (
                (edges - start) / self.cell.unsqueeze(-1)
            ).round() * self.cell.unsqueeze(-1)
        lower, upper = self._bounds()
        edges = (
            edges.masked_fill((edges - lower < _NARROW) | (upper - edges < _NARROW), torch.inf)
            .sort(-1)
            .values
        )
        # Edges closer than _NARROW to the one before merge into it.
        close = torch.cat(
            [torch.zeros_like(edges[:, :1], dtype=torch.bool), edges.diff(dim=-1) < _NARROW], -1
        )
        spaced = edges.masked_fill(close | ~torch.isfinite(edges), torch.inf).sort(-1).values
        few = (spaced[:, 1].isinf() | (total == 0)).unsqueeze(-1)
        return torch.where(few, self._alone(edges), spaced)

    def _alone(self, edges: Tensor) -> Tensor:
        """One bin about the mean, for entries of too few values for more."""
        alone = torch.full_like(edges, torch.inf)
        alone[:, :2] = torch.tensor([-1.0, 1.0], dtype=edges.dtype, device=edges.device)
        if self.binned:
            middle = (self.offset - self.location) / self.scale
            reach = ((1 / self.cell).ceil() + 0.5) * self.cell
            alone[:, 0] = middle - reach
            alone[:, 1] = middle + reach
            return alone
        lower, upper = self._bounds()
        alone[:, :2] = (
            alone[:, :2].maximum(lower / 2).minimum(upper / 2)
        )  # the mean, 0, lies between
        return alone

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """The bounds in standardised units, (n, 1) each."""
        lower, upper = ((self.bounds.T - self.location) / self.scale).unsqueeze(-1).unbind(0)
        return lower, upper

    def _tails(self, z: Tensor, w: Tensor, edges: Tensor) -> Tensor:
        """Mean excess below the first and above the last edge, (2, n)."""
        low = edges[:, 0]
        high = edges.masked_fill(edges.isinf(), -torch.inf).amax(-1)
        beyond = torch.stack([low - z, z - high])
        weight = w * (beyond > 0)
        excess = (weight * beyond.clamp(min=0)).sum(1) / weight.sum(1).clamp(min=1e-30)
        return torch.where(excess > 0, excess, 0.1).clamp(min=_NARROW)

    def _place(self, edges: Tensor, tails: Tensor) -> None:
        """Regions 0 (left tail), 1.. (bins), then the right tail: anchor, extent and side of each, (n, bins + 2)."""
        self.edges = edges.contiguous()
        # Each entry has `count` edges; regions behind the last one do not exist.
        count = edges.isfinite().sum(-1, keepdim=True)
        region = torch.arange(self.bins + 2, device=edges.device)
        low = edges.gather(-1, (region - 1).clamp(min=0).minimum(count - 1))
        high = edges.gather(-1, region.clamp(max=self.bins).minimum(count - 1))
        lower, upper = self._bounds()
        # A bounded side has no tail: its outer region is one more bin, up to the bound.
        first = region == 0
        last = region == count
        shut = first & lower.isfinite() | last & upper.isfinite()
        self.side = (last.to(torch.float64) - first.to(torch.float64)).masked_fill(shut, 0.0)
        tail = torch.where(region == 0, tails[0].unsqueeze(-1), tails[1].unsqueeze(-1)).to(edges)
        self.exists = region <= count
        self.anchor = low = torch.where(first & shut, lower, low)
        high = torch.where(last & shut, upper, high)
        width = torch.where(self.exists, (high - low).clamp(min=_NARROW), 1.0)
        self.extent = torch.where(self.side == 0, width, tail)

    def standard(self, x: Tensor) -> Tensor:
        """(x - location) / scale."""
        return (x - self.location.to(x.dtype)) / self.scale.to(x.dtype)

    def unstandard(self, z: Tensor) -> Tensor:
        """The value location + scale z."""
        return self.location.to(z.dtype) + self.scale.to(z.dtype) * z

    def snap(self, v: Tensor) -> Tensor:
        """The middle of the bin of width `resolution` that v lies in; points themselves, within bounds."""
        if self.binned:
            return snap(v, self.resolution, self.offset)
        return v.maximum(self.bounds[:, 0].to(v.dtype)).minimum(self.bounds[:, 1].to(v.dtype))

    def region(self, z: Tensor) -> Tensor:
        """Which region standardised values (..., n) lie in, int64 (..., n)."""
        rows = z.reshape(-1, self.entries).T.contiguous()
        return torch.searchsorted(self.edges.to(z.dtype), rows, right=True).T.reshape(z.shape)

    def at(self, region: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Anchor, extent and side of regions (..., n)."""
        index = region.unsqueeze(-1)

        def pick(buffer: Tensor) -> Tensor:
            return buffer.expand(*region.shape, self.size).gather(-1, index).squeeze(-1)

        return pick(self.anchor), pick(self.extent), pick(self.side)

    def embed(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """(x - location) / scale."""
        return self._marked(self.standard(x).unsqueeze(-1), present)

    def distribution(self, params: Tensor) -> HistogramDistribution:
        """The distribution with these log-masses (..., n, bins + 2)."""
        return HistogramDistribution(params, self)

    def start(self) -> Tensor:
        """The marginal log-masses."""
        return self.marginal

    def estimate(
        self,
        x: Tensor,
        present: Tensor,
        weight: Tensor,
        *,
        smoothing: float = 0.0,
        previous: Tensor | None = None,
    ) -> Tensor:
        """The weighted share of each region, with a thousandth of a row spread as the marginal."""
        table = self._table(x, present, weight)
        marginal = self.marginal.masked_fill(~self.exists, -torch.inf).softmax(-1)
        log_p = (table + (smoothing + _PRIOR) * marginal).log().masked_fill(~self.exists, 0.0)
        return keep_known(log_p, table.sum(-1), self.marginal)

    def _table(self, x: Tensor, present: Tensor, weight: Tensor) -> Tensor:
        """The weight on each region, (K, ..., n, bins + 2)."""
        region = self.region(self.standard(x))
        values, counts = tabulate(region.flatten(1), present.flatten(1), weight)
        table = counts.new_zeros(*counts.shape[:2], self.size)
        table[..., values] = counts
        return table.reshape(weight.shape[1], *x.shape[1:], self.size)


def _quantile_edges(z: Tensor, w: Tensor, bins: int) -> Tensor:
    """Edges (n, bins + 1) that cut the weighted rows (N, n) into b + 2 equal masses, b <= bins; +inf behind them."""
    mask = w > 0
    ordered, index = z.masked_fill(~mask, torch.inf).sort(0)
    mass = w.gather(0, index).cumsum(0).T.contiguous()
    rows = mask.sum(0)
    # About 2 N^(1/3) bins (Rice's rule), at equal shares of the weight.
    bins_of = (2 * rows.double().pow(1 / 3)).round().clamp(2, bins)
    part = torch.arange(1, bins + 2, dtype=z.dtype, device=z.device) / (bins_of.unsqueeze(-1) + 2)
    at = torch.searchsorted(mass, (part * mass[:, -1:]).contiguous())
    last = (rows - 1).clamp(min=0).unsqueeze(-1)
    column = ordered.T
    # Edges in the middle between neighbouring values.
    edges = 0.5 * (column.gather(-1, at.minimum(last)) + column.gather(-1, (at + 1).minimum(last)))
    return edges.masked_fill(part > 1 - 0.5 / (bins_of.unsqueeze(-1) + 2), torch.inf)
