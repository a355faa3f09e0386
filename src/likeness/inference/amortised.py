"""Gaussian approximate posteriors of latent codes: from an encoder, and refined by gradient ascent on each row's bound.

Legend: B rows, L latent dimensions, k draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from likeness.core.batch import Batch

LEAST_LOG_STD = -9.0  # only to keep exp finite: edges that no fit comes near
MOST_LOG_STD = 4.0
PACE = 0.15  # the first step of a refinement, in deviations of the code
PRIOR_SHARE = 1 / 8  # of proposals that come from the prior, so that no weight is unbounded


@dataclass(frozen=True, eq=False)
class Code:
    """N(loc, exp(log_std)^2) for each row, both (B, L), with its condition and the condition's embedding (B, C)."""

    loc: Tensor
    log_std: Tensor
    given: Batch | None
    context: Tensor | None

    @property
    def kl(self) -> Tensor:
        """KL(q || N(0, 1)) of each number, nats, (B, L): Kingma & Welling 2014, arXiv:1312.6114, appendix B."""
        return 0.5 * (self.loc.square() + (2 * self.log_std).exp() - 1) - self.log_std

    def at(self, eps: Tensor) -> Tensor:
        """z = loc + std eps, eps (k, B, L)."""
        return self.loc + self.log_std.exp() * eps

    def log_ratio(self, eps: Tensor) -> Tensor:
        """log q(z) - log N(z; 0, I) at z = loc + std eps, (k, B)."""
        return (0.5 * (self.at(eps).square() - eps.square()) - self.log_std).sum(-1)

    def log_mixed_ratio(self, z: Tensor) -> Tensor:
        """log of (7/8 q(z) + 1/8 N(z; 0, I)) / N(z; 0, I), of codes z (k, B, L), (k, B)."""
        # A mixture proposal: with a share of the prior, no weight exceeds 1 / PRIOR_SHARE.
        u = (z - self.loc) * (-self.log_std).exp()
        ratio = (0.5 * (z.square() - u.square()) - self.log_std).sum(-1)
        prior = torch.full_like(ratio, math.log(PRIOR_SHARE))
        return torch.logaddexp(ratio + math.log1p(-PRIOR_SHARE), prior)


Slopes = Callable[[Code, int], tuple[Tensor, Tensor]]


def refined(code: Code, slopes: Slopes, steps: int) -> Code:
    """Each row's own ascent of its bound from the encoder's guess, by Adam (Kingma & Ba 2015, algorithm 1).

    Steps are measured in the code's own deviations and fade to 0 by half a cosine.

    Args:
        code: Where it begins.
        slopes: (code, step) -> gradients of each row's bound in loc and log_std, both (B, L).
        steps: How many.
    """
    params = [code.loc, code.log_std]
    first = [torch.zeros_like(p) for p in params]
    second = [torch.zeros_like(p) for p in params]
    for t in range(steps):
        gradients = slopes(replace(code, loc=params[0], log_std=params[1]), t)
        units = (params[1].exp(), torch.ones_like(params[1]))
        pace = PACE * 0.5 * (1 + math.cos(math.pi * t / steps))
        for i, (gradient, unit) in enumerate(zip(gradients, units, strict=True)):
            # Running means of the gradient and its square, in units of the code
            g = gradient * unit
            first[i] = first[i].lerp(g, 0.1)
            second[i] = second[i].lerp(g.square(), 0.05)
            # Freed of their start at 0
            mean = first[i] / (1 - 0.9 ** (t + 1))
            size = (second[i] / (1 - 0.95 ** (t + 1))).sqrt()
            params[i] = params[i] + pace * unit * (mean / (size + 1e-8))
    # Far from 0 and from overflow, whatever the ascent did.
    log_std = params[1].clamp(LEAST_LOG_STD, MOST_LOG_STD)
    return replace(code, loc=params[0], log_std=log_std)
