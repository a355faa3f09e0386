"""Numerics that several heads share: stable logarithms of small differences, soft choices, weighted sums, searches."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_ROOT_HALF = math.sqrt(0.5)
NARROW = 10  # columns
_TINY = 1e-30


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(-x)) for x > 0, to rounding in absolute terms, with finite gradients."""
    return torch.log(-torch.expm1(-x))


def open_unit(u: Tensor) -> Tensor:
    """Uniform numbers of [0, 1) kept off 0 by half of their spacing, so that inverse laws stay finite."""
    return u.clamp(min=torch.finfo(u.dtype).eps / 4, max=1 - torch.finfo(u.dtype).eps / 2)


def log_interval(centre: Tensor, half: Tensor) -> Tensor:
    """log(Phi(c + h) - Phi(c - h)) of the standard normal for h > 0, with finite value and gradient in any tail.

    By symmetry for c >= 0. Both ends speak through the scaled erfcx, Q(t) = exp(-t^2 / 2) erfcx(t / sqrt 2) / 2, which
    never underflows; an interval so narrow that their difference would cancel is density * width * sinh(ch) / (ch).

    Args:
        centre: Middle of the interval in standard deviations.
        half: Half of its width, broadcastable to `centre`.
    """
    c = centre.abs()
    narrow = half < torch.finfo(half.dtype).eps ** (1 / 3)
    wide, thin = torch.where(narrow, 1.0, half), torch.where(narrow, half, 1e-3)
    low, high = c - wide, c + wide
    near, beyond = low.abs(), low > 0
    scaled, other = torch.special.erfcx(near * _ROOT_HALF), torch.special.erfcx(high * _ROOT_HALF)
    tail = scaled - torch.exp(-2 * c * wide) * other  # (high^2 - near^2) / 2 = 2 c h
    around = 2 - torch.exp(-0.5 * near.square()) * scaled - torch.exp(-0.5 * high.square()) * other
    mass = torch.where(beyond, tail, around)
    value = torch.log(0.5 * mass) - 0.5 * torch.where(beyond, near, 0.0).square()
    local = -0.5 * c.square() - HALF_LOG_2PI + torch.log(2 * thin) + _log_sinhc(c * thin)
    return torch.where(narrow, local, value)


def _log_sinhc(y: Tensor) -> Tensor:
    """log(sinh(y) / y) for y >= 0."""
    small = y < 0.05
    safe = torch.where(small, 1.0, y)
    series = y.square() / 6 - y.square().square() / 180
    return torch.where(small, series, safe + log1mexp(2 * safe) - torch.log(2 * safe))


def choose(log_p: Tensor, u: Tensor) -> Tensor:
    """A code by inverse CDF: the smallest k with u < p_0 + ... + p_k.

    Args:
        log_p: Normalised log-probabilities (..., K).
        u: Uniform numbers (...).

    Returns:
        int64 (...).
    """
    cdf = log_p.exp().cumsum(-1)
    return (cdf[..., :-1] <= (u * cdf[..., -1]).unsqueeze(-1)).sum(-1)


def log_softmax(x: Tensor) -> Tensor:
    """Log softmax over the last axis; where it is short the rows go ahead side by side.

    On a CPU torch's kernel for the last axis takes 2 to 14 times as long for rows narrower than a vector register.
    """
    if x.shape[-1] > NARROW or x.device.type != "cpu":
        return x.log_softmax(-1)
    return x.movedim(-1, 0).contiguous().log_softmax(0).movedim(0, -1)


def product(x: Tensor, w: Tensor) -> Tensor:
    """X W for x (B, C) and w (C, S); where S is small its columns lie side by side, as `log_softmax` reads them.

    The gradient of w is then a product of rows, five times as fast as one of columns laid across them. Answers, which
    take none, keep the product whose bits do not depend on how many rows there are.
    """
    side_by_side = torch.is_grad_enabled() and w.shape[1] <= NARROW
    return (w.T.contiguous() @ x.T).T if side_by_side else x @ w


def soft_choice(log_p: Tensor, u: Tensor, temperature: float) -> Tensor:
    """A differentiable relaxation of `choose`, one-hot as the temperature goes to 0.

    P_soft(code > k) = sigmoid((logit u - logit c_k) / temperature) with c_k = p_0 + ... + p_k: for two codes the
    binary concrete law (Maddison et al. 2017, arXiv:1611.00712, eq. 11), extended along the order of the codes so that
    one uniform number is enough and the hard limit is the draw itself.

    Args:
        log_p: Normalised log-probabilities (..., K).
        u: Uniform numbers (...).
        temperature: > 0.

    Returns:
        Weights (..., K), non-negative, with sum 1.
    """
    cdf = open_unit(log_p.exp().cumsum(-1)[..., :-1])
    odds = torch.logit(open_unit(u)).unsqueeze(-1) - torch.logit(cdf)
    above = torch.sigmoid(odds / temperature)
    edges = torch.cat([torch.ones_like(above[..., :1]), above, torch.zeros_like(above[..., :1])], -1)
    if above.shape[-1] == 0:
        return torch.ones_like(log_p.expand(*u.shape, 1))
    return edges[..., :-1] - edges[..., 1:]


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of `hard` with the gradient of `soft`."""
    return soft + (hard - soft).detach()


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
    u, m = len(values), x.shape[1]
    cell = (code + u * torch.arange(m, device=x.device))[present]
    row = torch.arange(x.shape[0], device=x.device).unsqueeze(-1).expand_as(x)[present]
    rows = [torch.bincount(cell, weights=w[row], minlength=m * u) for w in weight.T]
    return values, torch.stack(rows).reshape(weight.shape[1], m, u).to(weight.dtype)


def bisect(increasing: Callable[[Tensor], Tensor], target: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Where an increasing function reaches `target`, between `low` and `high`, to the last bit of the midpoint."""
    for _ in range(52 if low.dtype == torch.float64 else 28):
        middle = 0.5 * (low + high)
        under = increasing(middle) < target
        low, high = torch.where(under, middle, low), torch.where(under, high, middle)
    return 0.5 * (low + high)


def highest(height: Callable[[Tensor], Tensor], grid: Tensor) -> Tensor:
    """Where a function of (..., n) is highest: at the best of points (..., n, P), or near it by a search of thirds."""
    grid = grid.sort(-1).values
    best = height(grid.movedim(-1, 0)).argmax(0).unsqueeze(-1)
    left, right = (grid.gather(-1, (best + d).clamp(0, grid.shape[-1] - 1)).squeeze(-1) for d in (-1, 1))
    for _ in range(40):
        third = (right - left) / 3
        a, b = left + third, right - third
        rises = height(a) < height(b)
        left, right = torch.where(rises, a, left), torch.where(rises, right, b)
    ends = torch.stack([grid.gather(-1, best).squeeze(-1), 0.5 * (left + right)])
    return ends.gather(0, height(ends).argmax(0, keepdim=True)).squeeze(0)


def piece(xi: Tensor, s: Tensor, d0: Tensor, d1: Tensor, bend: Tensor) -> tuple[Tensor, Tensor]:
    """How far up its bin a rational-quadratic piece is at xi in [0, 1], as a part of the bin, and the log of its slope.

    S is the bin's mean slope, d0 and d1 the slopes at its ends, bend = d0 + d1 - 2 s (Durkan et al. 2019,
    arXiv:1906.04032, eqs. 4 and 5).
    """
    eta = 1 - xi
    both, d0_eta = xi * eta, d0 * eta
    per_below = (s + bend * both).reciprocal()  # of at least s / 2
    slope = (d1 * xi * xi + (s + s) * both + d0_eta * eta) * (s * per_below).square()
    return xi * (s * xi + d0_eta) * per_below, slope.log()


def solve(v: Tensor, s: Tensor, d0: Tensor, bend: Tensor) -> Tensor:
    """The xi at which such a piece has risen to v: a root of (s - b) xi^2 + b xi - s v, free of cancellation."""
    vs = v * s
    b = d0 - v * bend
    size = b.abs()
    root = size + torch.addcmul(b * b, vs, s - b, value=4).clamp(min=1e-30).sqrt()
    return torch.where(b > 0, (vs + vs) / root, 0.5 * root / (s + size))


def scanned(given: Tensor, start: Tensor, gain: Tensor) -> Tensor:
    """z_t = z_t-1 gain + given_t for all steps at once, (T, R, Q): each pass doubles how far back a step sees.

    Hillis & Steele, Data parallel algorithms, 1986.
    """
    z = given.clone()
    z[0] += start @ gain
    power, reach = gain, 1
    while reach < len(z) and bool(power.any()):
        z[reach:] += z[:-reach] @ power
        power, reach = power @ power, 2 * reach
    return z
