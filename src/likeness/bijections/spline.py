"""Monotone rational-quadratic spline steps (Durkan et al. 2019, arXiv:1906.04032) with identity tails."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from likeness.bijections.base import Step
from likeness.core.errors import BadConfig
from likeness.numerics.rational_quadratic import rational_quadratic, rational_quadratic_inverse

# Logits beyond it would not move a knot any more; its exponential is far from overflow
_HUGE = 30.0


@final
class SplineStep(Step):
    """Spline of `bins` rational-quadratic pieces from [-bound, bound] to itself, the identity outside of it.

    Parameters are K logits of widths, K logits of heights and K - 1 raw slopes at the inner knots.
    Bins are looked up and cut out before anything is normalised, so that only the values of one bin
    go through the formula. With xi the place within the bin, s its mean slope, d0 and d1 the slopes
    at its ends (eqs. 4 and 5):
        y = y0 + h (s xi^2 + d0 xi (1 - xi)) / (s + (d0 + d1 - 2 s) xi (1 - xi))

    Args:
        bins: Pieces K, at least 2.
        bound: Half width of the interval that is bent.
        least: Smallest width and height of a bin, as a part of their mean, and smallest slope at a
            knot.
    """

    knots: Tensor

    def __init__(self, bins: int = 8, bound: float = 5.0, *, least: float = 0.05) -> None:
        super().__init__()
        if bins < 2 or not 0 < least < 1:
            what = f"a spline of {bins} bins, each at least {least} of their mean"
            raise BadConfig(what, do="ask for 2 bins or more, and a least part between 0 and 1")
        self.bins = bins
        self.bound = bound
        self.least = least
        self.size = 3 * bins - 1
        # row k, applied to e = exp(logits), is knot k times sum(e): k least / K sum(e) + (1 - least) (e_1 + .. + e_k)
        steps = torch.arange(bins + 1)[:, None]
        below = (torch.arange(bins) < steps).double()
        knots = least / bins * steps + (1 - least) * below
        self._unit_slope = math.log(math.expm1(1 - least))  # softplus of it and `least` make 1
        self.register_buffer("knots", knots.to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The image y and log dy/dx."""
        # Clamp to the interval: outside of it the map is the identity.
        near = F.hardtanh(x, -self.bound, self.bound)  # no gradient is lost or infinite far out
        # Place within the bin, through the rational quadratic (eq. 4), and its slope (eq. 5).
        x0, per_width, y0, h, d0, d1 = self._bin(near, params, 0)
        s = h * per_width
        rise, ladj = rational_quadratic((near - x0) * per_width, s, d0, d1, (d0 - s) + (d1 - s))
        outside = x.abs() >= self.bound
        return torch.where(outside, x, y0 + h * rise), ladj.masked_fill(outside, 0)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The source x and log dx/dy."""
        near = F.hardtanh(y, -self.bound, self.bound)
        # Root of the quadratic (eqs. 6 to 8); the slope of the inverse is the reciprocal.
        y0, per_height, x0, w, d0, d1 = self._bin(near, params, 1)
        v = (near - y0) * per_height
        s = (w * per_height).reciprocal()
        bend = (d0 - s) + (d1 - s)
        xi = rational_quadratic_inverse(v, s, d0, bend)
        _, log_slope = rational_quadratic(xi, s, d0, d1, bend)
        outside = y.abs() >= self.bound
        return torch.where(outside, y, x0 + w * xi), -log_slope.masked_fill(outside, 0)

    def _bin(self, near: Tensor, params: Tensor, side: int) -> tuple[Tensor, ...]:
        """The bin where a number lies along x (side 0) or y (side 1).

        Where it begins on that side and 1 / its size there; where it begins on the other side and
        its size there; and the slopes at its ends.
        """
        logits, raw = params.split([2 * self.bins, self.bins - 1], -2)
        # Knots of widths and heights together, still unnormalised; K bins of both sides.
        e = F.hardtanh(logits.unflatten(-2, (2, self.bins)), -_HUGE, _HUGE).exp()
        knots = self.knots @ e  # (*S, 2, K + 1, B), from 0 to sum(e)
        unit = 2 * self.bound / knots[..., -1:, :]
        # The number's bin, found by comparing with the inner knots.
        with torch.no_grad():
            place = (near + self.bound).unsqueeze(-2) / unit[..., side, :, :]
            at = (knots[..., side, 1:-1, :] <= place).sum(-2)
            both = torch.stack([at, at + 1], -2)
            inner = (both - 1).clamp(0, self.bins - 2)
            ends = (both == 0) | (both == self.bins)
        # Only the knots at the bin's two ends are normalised.
        edges = knots.gather(-2, both.unsqueeze(-3).expand(*both.shape[:-2], 2, 2, both.shape[-1]))
        low, high = (edges * unit - self.bound).unbind(
            -2
        )  # differences from the knots are what must be precise
        begin = low.unbind(-2)
        size = (high - low).unbind(-2)
        # Slopes at the two ends; at the ends of the interval they are 1, as outside.
        slopes = self.least + F.softplus(raw.gather(-2, inner) + self._unit_slope)
        d0, d1 = slopes.masked_fill(ends, 1).unbind(-2)
        return begin[side], size[side].reciprocal(), begin[1 - side], size[1 - side], d0, d1
