"""Quality and diversity of generated items: precision, recall, density and coverage by nearest neighbours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.errors import BadData
from likeness.metrics.distance import aligned, nearest, squared_blocks
from likeness.metrics.intervals import Interval, normal_interval, proportion


@dataclass(frozen=True, slots=True)
class Membership:
    """What items contribute: precision and density per generated item, (M,), recall and coverage per real one, (B,)."""

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


@dataclass(frozen=True, slots=True)
class Coverage:
    """Precision and density (quality), recall and coverage (diversity), each with its interval."""

    precision: Interval
    recall: Interval
    density: Interval
    coverage: Interval


def membership(real: Tensor, generated: Tensor, *, k: int = 5) -> Membership:
    """Per item, whether it lies in the other set's manifold: the balls about items that reach their k-th neighbour.

    precision_j = any_i |x_i - y_j| <= r_i; density_j = (1 / k) sum_i 1(|x_i - y_j| <= r_i);
    recall_i = any_j |x_i - y_j| <= s_j; coverage_i = min_j |x_i - y_j| <= r_i, with r and s the
    k-th neighbour's distance among real and among generated items. Balls are closed, up to
    rounding: items that repeat more than k times lie in their own ball. Kynkaanniemi et al. 2019,
    arXiv:1904.06991, eq. 1; Naeem et al. 2020, arXiv:2002.09797.

    Args:
        real: Real features, (B, *E), B > k.
        generated: Generated features, (M, *E), M > k.
        k: Number of neighbours; the papers take 3 for precision and recall, 5 for density and
            coverage.
    """
    # Squared radii of every item's k-th nearest neighbour in its own set.
    radius_real, radius_generated = (
        nearest(x, x, k=k, own=True)[0][:, -1] ** 2 for x in (real, generated)
    )
    # A common origin for accurate squares; the slack keeps balls closed despite rounding.
    real, generated = aligned(real, generated)
    slack = 1e-12 * float((generated * generated).sum(1).mean())
    radius_real = radius_real + slack
    radius_generated = radius_generated + slack
    count = radius_real.new_zeros(len(generated))
    recall, coverage = (torch.empty_like(radius_real, dtype=torch.bool) for _ in range(2))
    # Real items a block at a time against all generated ones, (rows, M).
    for part, square in squared_blocks(real, generated):
        inside = square <= radius_real[part, None]
        count += inside.sum(0)
        coverage[part] = inside.any(1)
        recall[part] = (square <= radius_generated).any(1)
    return Membership((count > 0).double(), recall.double(), count / k, coverage.double())


def prdc(
    real: Tensor, generated: Tensor, *, k: int = 5, groups: int = 5, level: float = 0.95
) -> Coverage:
    """Precision, recall, density and coverage, the means of `membership`, each with its interval.

    Both sets are noisy, and a bootstrap would put copies among the neighbours; so the standard
    error is the spread of the score over disjoint interleaved groups of both sets, over
    sqrt(groups) (Politis & Romano 1994, doi:10.1214/aos/1176325770). On Gaussians it is 0.7 to 1.4
    times the spread over samples, and more than that for shares next to 1. A share's interval is at
    least Wilson's (`proportion`).

    Args:
        real: Real features, (B, *E).
        generated: Generated features, (M, *E); scores of unlike B and M do not compare.
        k: Number of neighbours.
        groups: Number of groups; each needs more than k items of either set.
        level: Probability with which the interval covers.
    """
    # Each of the groups needs k neighbours besides the item itself.
    if min(len(real), len(generated)) < groups * (k + 1):
        raise BadData(
            f"{len(real)} real and {len(generated)} generated items are too few",
            do=f"give at least {groups * (k + 1)} of each, or fewer groups",
        )
    # The scores of everything, and their spread over disjoint groups, (groups, 4).
    whole = _means(membership(real, generated, k=k))
    parts = torch.stack(
        [_means(membership(real[g::groups], generated[g::groups], k=k)) for g in range(groups)]
    )
    stderr = parts.std(0) / groups**0.5
    rows = zip(whole.tolist(), stderr.tolist(), strict=True)
    precision, recall, density, coverage = (
        normal_interval(v, s, level=level, degrees=groups - 1) for v, s in rows
    )
    # Shares are precision, recall and coverage; density is no share.
    m = len(generated)
    b = len(real)
    return Coverage(_share(precision, m), _share(recall, b), density, _share(coverage, b))


def _means(scores: Membership) -> Tensor:
    """Precision, recall, density, coverage, (4,)."""
    return torch.stack(
        [
            scores.precision.mean(),
            scores.recall.mean(),
            scores.density.mean(),
            scores.coverage.mean(),
        ]
    )


def _share(interval: Interval, n: int) -> Interval:
    """Within 0 and 1, and no narrower than Wilson's interval of n items: groups that agree at 1 do not make it sure."""
    least = proportion(interval.value * n, n, level=interval.level)
    low = max(min(interval.low, least.low), 0.0)
    high = min(max(interval.high, least.high), 1.0)
    return Interval(interval.value, interval.stderr, low, high, interval.level)
