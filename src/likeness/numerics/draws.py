"""Draws from given uniform numbers: by inverse CDF, and relaxed so that gradients pass."""

from __future__ import annotations

import torch
from torch import Tensor

FEW_CODES = 12  # up to which comparing with every code is faster than a search


def inverse_cdf(cdf: Tensor, u: Tensor) -> Tensor:
    """Codes by inverse CDF: the smallest k with u F_K < F_k.

    Many draws of each distribution take an axis that is 1: `cdf[..., None, :]` under u (..., n).

    Args:
        cdf: Cumulative weights F (..., K), up to a constant factor.
        u: Uniform numbers in [0, 1), (...), as `cdf` without its last axis or broadcast with it.

    Returns:
        int64 (...).
    """
    level = u * cdf[..., -1]
    # Few codes: count how many F_k lie at or below the level. Many: binary search.
    if cdf.shape[-1] <= FEW_CODES:
        return (cdf[..., :-1] <= level.unsqueeze(-1)).sum(-1)
    if cdf.dim() == 1 or cdf.shape[-2] == 1:
        return _searched(cdf if cdf.dim() == 1 else cdf.squeeze(-2), level)
    return _searched(cdf, level.unsqueeze(-1)).squeeze(-1)


def _searched(cdf: Tensor, level: Tensor) -> Tensor:
    """How many of F_1..F_K-1 lie at or below each level (..., n), for cdf (K,) or (..., K)."""
    if cdf.dim() > 1:
        cdf = cdf.expand(*level.shape[:-1], -1)
    code = torch.searchsorted(cdf.to(level.dtype).contiguous(), level.contiguous(), right=True)
    return code.clamp(max=cdf.shape[-1] - 1)


def staircase(weights: Tensor) -> Tensor:
    """CDFs of R distributions of K codes as one rising sequence (R * K,): F_r / F_rK + r, for weights (R, K)."""
    cdf = weights.cumsum(-1)
    return (cdf / cdf[:, -1:] + torch.arange(len(cdf), device=cdf.device)[:, None]).flatten()


def from_staircase(stairs: Tensor, codes: int, row: Tensor, u: Tensor) -> Tensor:
    """A code of one of the distributions of a `staircase`, which many draws search at once, int64 (...).

    Args:
        stairs: What `staircase` says.
        codes: K.
        row: Which distribution each draw is from, int64 (...).
        u: Uniform numbers in [0, 1), (...).
    """
    place = torch.searchsorted(stairs, row + u, right=True)
    return (place - row * codes).clamp(0, codes - 1)


def open_unit(u: Tensor) -> Tensor:
    """Uniform numbers of [0, 1) kept off 0 by half of their spacing, so that inverse CDFs stay finite."""
    return u.clamp(min=torch.finfo(u.dtype).eps / 4, max=1 - torch.finfo(u.dtype).eps / 2)


def choose(log_p: Tensor, u: Tensor) -> Tensor:
    """A code by inverse CDF: the smallest k with u < p_0 + ... + p_k.

    Args:
        log_p: Normalised log-probabilities (..., K).
        u: Uniform numbers (...).

    Returns:
        int64 (...).
    """
    return inverse_cdf(log_p.exp().cumsum(-1), u)


def soft_choice(log_p: Tensor, u: Tensor, temperature: float) -> Tensor:
    """A differentiable relaxation of `choose`, one-hot as the temperature goes to 0.

    P_soft(code > k) = sigmoid((logit u - logit c_k) / temperature) with c_k = p_0 + ... + p_k: for
    two codes the binary concrete distribution (Maddison et al. 2017, arXiv:1611.00712, eq. 11), extended
    along the order of the codes so that one uniform number is enough and the hard limit is the draw
    itself.

    Args:
        log_p: Normalised log-probabilities (..., K).
        u: Uniform numbers (...).
        temperature: > 0.

    Returns:
        Weights (..., K), non-negative, with sum 1.
    """
    # P_soft(code > k) for all but the last code, then differences of neighbours.
    cdf = open_unit(log_p.exp().cumsum(-1)[..., :-1])
    odds = torch.logit(open_unit(u)).unsqueeze(-1) - torch.logit(cdf)
    above = torch.sigmoid(odds / temperature)
    edges = torch.cat(
        [torch.ones_like(above[..., :1]), above, torch.zeros_like(above[..., :1])], -1
    )
    if above.shape[-1] == 0:
        return torch.ones_like(log_p.expand(*u.shape, 1))
    return edges[..., :-1] - edges[..., 1:]


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of `hard` with the gradient of `soft`."""
    return soft + (hard - soft).detach()
