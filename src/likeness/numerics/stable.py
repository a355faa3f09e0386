"""Logarithms of small differences and of sums, without loss of digits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from likeness.numerics.constants import HALF_LOG_2PI

_ROOT_HALF = math.sqrt(0.5)
NARROW = 10  # columns
LEAST_EXPONENT = -80.0  # below it exponentials are no normal single-precision numbers, and slow


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(-x)) for x > 0, to rounding in absolute terms, with finite gradients."""
    return torch.log(-torch.expm1(-x))


def log_interval(centre: Tensor, half: Tensor) -> Tensor:
    """log(Phi(c + h) - Phi(c - h)) of the standard normal for h > 0, with finite value and gradient in any tail.

    By symmetry for c >= 0. Both ends speak through the scaled erfcx, Q(t) = exp(-t^2 / 2) erfcx(t /
    sqrt 2) / 2, which never underflows; an interval so narrow that their difference would cancel is
    density * width * sinh(ch) / (ch).

    Args:
        centre: Middle of the interval in standard deviations.
        half: Half of its width, broadcastable to `centre`.
    """
    # Both branches run on all entries: each gets arguments that are safe where the other is taken.
    c = centre.abs()
    narrow = half < torch.finfo(half.dtype).eps ** (1 / 3)
    wide = torch.where(narrow, 1.0, half)
    thin = torch.where(narrow, half, 1e-3)
    low = c - wide
    high = c + wide
    near = low.abs()
    beyond = low > 0
    # Beyond the middle: difference of two tails, exp(-near^2 / 2) taken out of both.
    near_tail = torch.special.erfcx(near * _ROOT_HALF)
    other = torch.special.erfcx(high * _ROOT_HALF)
    tail = near_tail - torch.exp(-2 * c * wide) * other  # (high^2 - near^2) / 2 = 2 c h
    # Around the middle: 1 minus both tails.
    around = (
        2 - torch.exp(-0.5 * near.square()) * near_tail - torch.exp(-0.5 * high.square()) * other
    )
    mass = torch.where(beyond, tail, around)
    value = torch.log(0.5 * mass) - 0.5 * torch.where(beyond, near, 0.0).square()
    # Narrow: density at the centre times width, corrected by log sinh(c h) / (c h).
    local = -0.5 * c.square() - HALF_LOG_2PI + torch.log(2 * thin) + _log_sinhc(c * thin)
    return torch.where(narrow, local, value)


def _log_sinhc(y: Tensor) -> Tensor:
    """log(sinh(y) / y) for y >= 0."""
    small = y < 0.05
    # Series near 0, else log sinh y = y + log(1 - e^-2y) - log 2.
    safe = torch.where(small, 1.0, y)
    series = y.square() / 6 - y.square().square() / 180
    return torch.where(small, series, safe + log1mexp(2 * safe) - torch.log(2 * safe))


def log_softmax(x: Tensor) -> Tensor:
    """Log softmax over the last axis; where it is short the rows go ahead side by side.

    On a CPU torch's kernel for the last axis takes 2 to 14 times as long for rows narrower than a
    vector register.
    """
    if x.shape[-1] > NARROW or x.device.type != "cpu":
        return x.log_softmax(-1)
    return x.movedim(-1, 0).contiguous().log_softmax(0).movedim(0, -1)


def product(x: Tensor, w: Tensor) -> Tensor:
    """x w for x (B, C) and w (C, S); where S is small its columns lie side by side, as `log_softmax` reads them.

    The gradient of w is then a product of rows, five times as fast as one of columns laid across
    them. Answers, which take none, keep the product whose bits do not depend on how many rows there
    are.
    """
    side_by_side = torch.is_grad_enabled() and w.shape[1] <= NARROW
    if side_by_side:
        return (w.T.contiguous() @ x.T).T
    return x @ w


def log_mean_exp(values: Tensor) -> tuple[Tensor, Tensor | None]:
    """Log of the mean of exp over axis 0, and its delta-method standard error (None for one draw).

    stderr = std(w) / (sqrt(K) mean(w)) with w = exp(values).
    """
    k = values.shape[0]
    value = torch.logsumexp(values, 0) - math.log(k)
    if k < 2:
        return value, None
    w = (values - value).masked_fill(value.isneginf(), 0.0).exp()
    return value, (w - 1).square().sum(0).div(k * (k - 1)).sqrt()


def exponentials(log_k: Tensor) -> tuple[Tensor, Tensor]:
    """Log of the sum of exponentials (B,), and each over the largest in single precision, (B, M); uses `log_k` up."""
    top = log_k.detach().amax(-1, keepdim=True)
    e = log_k.sub_(top).float().clamp_(min=LEAST_EXPONENT).exp_()
    return e.sum(-1).double().log_() + top[:, 0], e
