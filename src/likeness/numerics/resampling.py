"""Weighted particles: their effective number, and resampling."""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.numerics.draws import inverse_cdf


def effective_size(log_weight: Tensor) -> Tensor:
    """(sum w)^2 / sum w^2 of each row's particles, log weights (K, B) -> (B,) (Kong 1992)."""
    return 1 / log_weight.softmax(0).square().sum(0)


def systematic(log_weight: Tensor, u: Tensor) -> Tensor:
    """Which particle each takes over, int64 (K, B), from one uniform (B,) a row (Kitagawa 1996, appendix)."""
    count = len(log_weight)
    even = (torch.arange(count, device=u.device) + u[:, None]) / count
    return inverse_cdf(_cdf(log_weight), even).T


def multinomial(log_weight: Tensor, u: Tensor) -> Tensor:
    """Which particle each draw takes: log weights (K, B), uniforms (n, B) -> int64 (n, B)."""
    return inverse_cdf(_cdf(log_weight), u.T).T


def _cdf(log_weight: Tensor) -> Tensor:
    """Cumulative weights of each row's particles, (B, 1, K)."""
    return log_weight.softmax(0).cumsum(0).T[:, None]
