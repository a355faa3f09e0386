"""Monotone rational-quadratic pieces and their inverse (Durkan et al. 2019, arXiv:1906.04032)."""

from __future__ import annotations

import torch
from torch import Tensor


def rational_quadratic(
    xi: Tensor, s: Tensor, d0: Tensor, d1: Tensor, bend: Tensor
) -> tuple[Tensor, Tensor]:
    """How far up its bin a rational-quadratic piece is at xi in [0, 1], as a part of the bin, and the log of its slope.

    s is the bin's mean slope, d0 and d1 the slopes at its ends, bend = d0 + d1 - 2 s (Durkan et al.
    2019, arXiv:1906.04032, eqs. 4 and 5).
    """
    eta = 1 - xi
    both = xi * eta
    d0_eta = d0 * eta
    per_below = (s + bend * both).reciprocal()  # of at least s / 2
    slope = (d1 * xi * xi + (s + s) * both + d0_eta * eta) * (s * per_below).square()
    return xi * (s * xi + d0_eta) * per_below, slope.log()


def rational_quadratic_inverse(v: Tensor, s: Tensor, d0: Tensor, bend: Tensor) -> Tensor:
    """The xi at which such a piece has risen to v: a root of (s - b) xi^2 + b xi - s v, free of cancellation."""
    vs = v * s
    b = d0 - v * bend
    size = b.abs()
    root = size + torch.addcmul(b * b, vs, s - b, value=4).clamp(min=1e-30).sqrt()
    return torch.where(b > 0, (vs + vs) / root, 0.5 * root / (s + size))
