"""Weighted sums, moments, quantiles and tables of rows."""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-30


def sums(weight: Tensor, value: Tensor) -> Tensor:
    """Weighted sums over rows by one matrix product: weight (N, K), value (N, ...) -> (K, ...)."""
    flat = value.reshape(value.shape[0], -1).to(weight.dtype)
    return (weight.T @ flat).reshape(weight.shape[1], *value.shape[1:])


def moments(x: Tensor, present: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Total weight, weighted mean and standard deviation of each entry: x, present (N, n), weight (N,) -> 3 x (n,).

    An entry that was never seen has weight 0, mean 0 and deviation 0.
    """
    w = weight.double().unsqueeze(-1) * present
    total = w.sum(0)
    safe = total.clamp(min=_TINY)
    mean = (w * x).sum(0) / safe
    return total, mean, ((w * (x - mean).square()).sum(0) / safe).sqrt()


def spread(std: Tensor, mean: Tensor, dtype: torch.dtype) -> Tensor:
    """A scale that is safe to divide by: the deviation, or 1 where a column is constant to rounding."""
    constant = std <= 8 * torch.finfo(dtype).eps * mean.abs()
    return torch.where(constant | (std == 0), 1.0, std)


def quantiles(x: Tensor, weight: Tensor, levels: Tensor) -> Tensor:
    """Weighted quantiles of values x (N,): the first whose share of all weight (N,) at or below it reaches a level."""
    ordered, index = x.sort()
    # Cumulative weight in order of the values.
    share = weight[index].cumsum(0)
    at = torch.searchsorted(share, (levels * share[-1]).contiguous())
    return ordered[at.clamp(max=len(x) - 1)]


def tabulate(x: Tensor, present: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """How much weight each component gives to each distinct value of each entry.

    Args:
        x: Values (N, M).
        present: bool (N, M).
        weight: (N, K).

    Returns:
        The U distinct values in order (U,), and the table (K, M, U).
    """
    values, code = torch.unique(x, return_inverse=True)
    u = len(values)
    m = x.shape[1]
    # One histogram over cells (entry, value) for each component.
    cell = (code + u * torch.arange(m, device=x.device))[present]
    row = torch.arange(x.shape[0], device=x.device).unsqueeze(-1).expand_as(x)[present]
    rows = [torch.bincount(cell, weights=w[row], minlength=m * u) for w in weight.T]
    return values, torch.stack(rows).reshape(weight.shape[1], m, u).to(weight.dtype)
