"""Where to begin: k-means++ seeds and Lloyd's steps, for mixtures and codebooks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from likeness.numerics.draws import inverse_cdf

EQUAL = 1e9  # distances that agree to nine decimals are taken as equal


def candidates(k: int) -> int:
    """How many candidates the greedy choice of a seed weighs, 2 + log k (Arthur & Vassilvitskii 2007)."""
    if k > 1:
        return 2 + int(math.log(k))
    return 1


def seeds(x: Tensor, k: int, u: Tensor) -> Tensor:
    """k rows far from each other: each drawn by squared distance to those before, the best of a few, (k, F).

    Args:
        x: Rows (N, F).
        k: The number of seeds.
        u: Uniform numbers (k, candidates).
    """
    # D^2 weighting (Arthur & Vassilvitskii 2007): a row's
    # chance is its squared distance to the nearest seed.
    centres = x[(u[0, 0] * len(x)).long()][None]
    nearest = distances(x, centres)[:, 0]
    for step in range(1, k):
        cdf = nearest.double().cumsum(0)
        picks = inverse_cdf(cdf, u[step].double())
        # (rows, candidates): distances if each candidate became a seed.
        least = torch.minimum(nearest[:, None], distances(x, x[picks]))
        best = _least(least.mean(0))
        centres = torch.cat([centres, x[picks[best]][None]])
        nearest = least[:, best]
    return centres


def lloyd(x: Tensor, centres: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Centres after at most `steps` steps, and the nearest one to each row: (k, F), int64 (N,)."""
    own = _least(distances(x, centres))
    for _ in range(steps):
        # Centres move to the means of their rows; an empty cluster stays where it is.
        count = torch.bincount(own, minlength=len(centres)).to(x)[:, None]
        total = torch.zeros_like(centres).index_add_(0, own, x)
        centres = torch.where(count > 0, total / count.clamp(min=1), centres)
        before = own
        own = _least(distances(x, centres))
        if bool((own == before).all()):
            break
    return centres, own


def distances(x: Tensor, centres: Tensor) -> Tensor:
    """Squared distances (N, k), not below 0."""
    # |x - c|^2 = |x|^2 - 2 x.c + |c|^2, by one product of matrices.
    cross = x @ centres.T
    return (x.square().sum(-1, keepdim=True) - 2 * cross + centres.square().sum(-1)).clamp(min=0)


def _least(distance: Tensor) -> Tensor:
    """Which is least along the last axis, the first of those that are equal but for rounding: codes tie often."""
    return (distance * EQUAL).round().argmin(-1)
