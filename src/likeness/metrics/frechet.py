"""Frechet distance between Gaussians fitted to features, without the square root of a non-symmetric matrix."""

from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.errors import BadData
from likeness.metrics.distance import points
from likeness.metrics.intervals import Interval, jackknife


@dataclass(frozen=True, slots=True)
class Moments:
    """Number, mean (D,) and covariance (D, D) of features, unbiased, in float64."""

    n: int
    mean: Tensor
    cov: Tensor


def moments(x: Tensor) -> Moments:
    """Number, mean and covariance (divided by B - 1) of features (B, *E), all in float64."""
    x = points(x)
    if len(x) < 2:
        raise BadData("a covariance needs at least 2 items")
    mean = x.mean(0)
    centred = x - mean
    return Moments(len(x), mean, centred.T @ centred / (len(x) - 1))


def frechet_gaussians(p: Moments, q: Moments) -> float:
    """|m_p - m_q|^2 + tr S_p + tr S_q - 2 tr (S_p S_q)^1/2, in squared units of the features.

    With S_p = L L', the last trace is the sum of the square roots of the eigenvalues of L' S_q L,
    which is symmetric: nothing is ever complex, and covariances of low rank need no added diagonal.
    Dowson & Landau 1982, doi:10.1016/0047-259X(82)90077-X; Heusel et al. 2017, arXiv:1706.08500,
    eq. 6.
    """
    # With S_p = L L' the eigenvalues of S_p S_q are those of the symmetric L' S_q L.
    factor = _factor(p.cov)
    overlap = torch.linalg.eigvalsh(factor.T @ q.cov @ factor).clamp(min=0).sqrt().sum()
    return float(((p.mean - q.mean) ** 2).sum() + p.cov.trace() + q.cov.trace() - 2 * overlap)


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Frechet distance of features (B, *E) and (M, *E); it grows as B and M fall, so compare equal numbers only."""
    return frechet_gaussians(moments(x), moments(y))


def frechet_interval(x: Tensor, y: Tensor, *, groups: int = 10, level: float = 0.95) -> Interval:
    """Frechet distance with the standard error of a jackknife over interleaved groups of items.

    The interval speaks of the distance at this number of items, whose bias both sides of a
    comparison share.

    Args:
        x: Features, (B, *E).
        y: Features, (M, *E).
        groups: Number of groups, each left out once on either side.
        level: Probability with which the interval covers.
    """
    x = points(x)
    y = points(y, "y")
    p = moments(x)
    q = moments(y)
    # Group g left out of one sample while the other stays whole: a two-sample jackknife.
    left_x = [frechet_gaussians(part, q) for part in _without_groups(x, p, groups)]
    left_y = [frechet_gaussians(p, part) for part in _without_groups(y, q, groups)]
    return jackknife(
        frechet_gaussians(p, q), x.new_tensor(left_x), x.new_tensor(left_y), level=level
    )


def _factor(cov: Tensor) -> Tensor:
    """L with L L' = cov: Cholesky's where there is one, else from eigenvectors, rounding below 0 clipped."""
    factor, failed = torch.linalg.cholesky_ex(cov)
    if not failed:
        return factor
    # Singular covariances: a factor V sqrt(lambda) from eigenvectors.
    value, vector = torch.linalg.eigh(cov)
    return vector * value.clamp(min=0).sqrt()


def _without_groups(x: Tensor, whole: Moments, groups: int) -> list[Moments]:
    """Moments without each group, downdated from the whole: one product of the group instead of one of all the rest."""
    if len(x) < 2 * groups:
        raise BadData(
            f"{len(x)} items are too few for {groups} groups", do=f"give at least {2 * groups}"
        )
    return [_without(x[g::groups], whole) for g in range(groups)]


def _without(group: Tensor, whole: Moments) -> Moments:
    # Downdating: n and mean of the rest, and its scatter about the new mean.
    n = whole.n - len(group)
    m = len(group)
    centred = group - whole.mean
    shift = centred.sum(0) / n  # whole.mean - mean of the rest
    scatter = whole.cov * (whole.n - 1) - centred.T @ centred - n * torch.outer(shift, shift)
    return Moments(whole.n - m, whole.mean - shift, scatter / (n - 1))
