"""Distances between two sets of points, in chunks of bounded memory and in double precision."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from likeness.core.errors import BadData
from likeness.metrics.intervals import CHUNK, Interval, jackknife


def points(x: Tensor, name: str = "x") -> Tensor:
    """Items as rows of float64, (B, *E) -> (B, D), after checking that they are finite."""
    if x.ndim == 0 or len(x) == 0:
        raise BadData(f"{name} holds no items")
    flat = x.detach().reshape(len(x), -1).double()
    if not flat.isfinite().all():
        raise BadData(
            f"{name} holds values that are not finite", do="drop or fill these entries first"
        )
    return flat


def aligned(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two sets as points about a common origin, so that |x|^2 + |y|^2 - 2xy does not cancel.

    The origin is rounded to a power of two of the data's scale: whole numbers and one-hot codes
    stay exact.
    """
    x = points(x, "x")
    y = points(y, "y")
    if x.shape[1] != y.shape[1]:
        raise BadData(f"points of {x.shape[1]} and of {y.shape[1]} entries cannot be compared")
    # The origin is a multiple of a power of two near the spread, so that subtraction is exact.
    spread = float((y - y[:1]).abs().amax())
    if spread > 0:
        unit = 2.0 ** math.floor(math.log2(spread)) / 4
    else:
        unit = 1.0
    origin = (y.mean(0) / unit).round() * unit
    return x - origin, y - origin


def squared_blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances of some rows of x to all of y, (rows, M) at a time; x and y come from `aligned`."""
    # |x - y|^2 = |x|^2 + |y|^2 - 2 x'y as one matrix product a block.
    rows = max(1, CHUNK // len(y))
    norm_y = (y * y).sum(1)
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        square = torch.addmm(norm_y, part, y.T, alpha=-2).add_((part * part).sum(1, keepdim=True))
        yield slice(start, start + len(part)), square.clamp_(min=0)


def nearest(x: Tensor, y: Tensor, *, k: int = 1, own: bool = False) -> tuple[Tensor, Tensor]:
    """Distances and row numbers of the k points of y nearest to each x, nearest first.

    Args:
        x: Items, (B, *E).
        y: Items to search, (M, *E).
        k: Number of neighbours.
        own: x is y itself, and an item is not its own neighbour.

    Returns:
        Distances (B, k), computed from the differences so that copies lie at exactly 0, and rows of
        y, (B, k).
    """
    if k > len(y) - own:
        raise BadData(
            f"{k} neighbours were asked of {len(y)} items", do="give more items or a smaller k"
        )
    x, y = aligned(x, y)
    distance = x.new_empty(len(x), k)
    row = torch.empty(len(x), k, dtype=torch.int64, device=x.device)
    # A block's k nearest by expanded squares, then exact distances of those k alone.
    for part, square in squared_blocks(x, y):
        if own:
            square[:, part].fill_diagonal_(math.inf)
        candidates = square.topk(k, largest=False).indices
        exact = torch.stack([(x[part] - y[candidates[:, j]]).norm(dim=1) for j in range(k)], 1)
        distance[part], order = exact.sort(1)
        row[part] = candidates.gather(1, order)
    return distance, row


def energy_distance(
    x: Tensor,
    y: Tensor,
    *,
    x_weight: Tensor | None = None,
    y_weight: Tensor | None = None,
    unbiased: bool = True,
    level: float = 0.95,
) -> Interval:
    """Energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'|, in data units, with a jackknife standard error.

    Zero only for equal distributions. The unbiased form leaves out an item's distance to itself and may fall
    below 0; the biased one is the distance of the two empirical distributions. Between equal distributions the
    standard error is conservative. Szekely & Rizzo 2013, doi:10.1016/j.jspi.2013.03.018.

    Args:
        x: Items, (B, *E).
        y: Items, (M, *E).
        x_weight: Weights >= 0 of x, (B,).
        y_weight: Weights >= 0 of y, (M,).
        unbiased: Leave out each item's distance to itself.
        level: Probability with which the interval covers.
    """
    return _discrepancy(x, y, x_weight, y_weight, Tensor.sqrt_, 0.0, unbiased, level)


def mmd(
    x: Tensor,
    y: Tensor,
    *,
    bandwidth: float | None = None,
    unbiased: bool = True,
    level: float = 0.95,
) -> Interval:
    """Squared maximum mean discrepancy E k(X,X') + E k(Y,Y') - 2 E k(X,Y), with k = exp(-|x-y|^2 / (2 bandwidth^2)).

    Gretton et al. 2012, JMLR 13:723, eq. 3; the standard error is a jackknife's.

    Args:
        x: Items, (B, *E).
        y: Items, (M, *E).
        bandwidth: Of the kernel, in data units; None takes `median_distance`.
        unbiased: Leave out k(x, x).
        level: Probability with which the interval covers.
    """
    scale = -0.5 / (median_distance(x, y) if bandwidth is None else bandwidth) ** 2
    return _discrepancy(
        x, y, None, None, lambda d2: d2.mul_(scale).exp_().neg_(), -1.0, unbiased, level
    )


def median_distance(x: Tensor, y: Tensor, *, most: int = 1000) -> float:
    """Median distance between items of both sets, on at most `most` evenly spaced items of each."""
    # An even subsample of both sets.
    x, y = (part[:: -(-len(part) // most)] for part in aligned(x, y))
    middle = float(torch.pdist(torch.cat([x, y])).median())
    if middle == 0:
        raise BadData(
            "more than half of the distances are 0, so they give no bandwidth", do="pass bandwidth="
        )
    return middle


def energy_score(draws: Tensor, x: Tensor) -> Tensor:
    """Energy score of each item against draws of its own, E|Y-x| - E|Y-Y'|/2, in data units: lower is better.

    Strictly proper, and unbiased in the number of draws. Gneiting & Raftery 2007,
    doi:10.1198/016214506000001437, eq. 22; Ferro 2014, doi:10.1002/qj.2270.

    Args:
        draws: Draws given each item, (n, B, *E), n >= 2.
        x: Items, (B, *E).

    Returns:
        Scores, (B,).
    """
    x = points(x)
    n = _draws(draws)
    # (B, n, D): draws about their own item.
    gap_BnD = points(draws.flatten(0, 1), "draws").view(n, len(x), -1).transpose(0, 1) - x[:, None]
    # E|Y - Y'| over all pairs of an item's draws, some items at a time.
    among = [
        torch.cdist(part, part).sum((1, 2)) for part in gap_BnD.split(max(1, CHUNK // (n * n)))
    ]
    return gap_BnD.norm(dim=2).mean(1) - torch.cat(among) / (2 * n * (n - 1))


def shared_energy_score(draws: Tensor, x: Tensor) -> Tensor:
    """Energy score of each item, (B,), against draws that all items share, (n, *E), n >= 2, as `energy_score`."""
    n = _draws(draws)
    y, x = aligned(draws, x)
    among = _within(y, y.new_ones(n), Tensor.sqrt_, 0.0).sum()
    to_x = torch.cat([square.sqrt_().mean(1) for _, square in squared_blocks(x, y)])
    return to_x - among / (2 * n * (n - 1))


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor, *, order: float = 2.0) -> float:
    """Sliced Wasserstein distance: root mean over directions of the one-dimensional W_p^p, in data units.

    Exact for each direction, for unequal numbers too. Bonneel et al. 2015,
    doi:10.1007/s10851-014-0506-3.

    Args:
        x: Items, (B, *E).
        y: Items, (M, *E).
        directions: Directions of any length but 0, (L, *E): normal draws make uniform directions.
        order: p >= 1.
    """
    x, y = aligned(x, y)
    # Unit directions, and how the sorted samples of unlike sizes are coupled.
    unit = torch.nn.functional.normalize(points(directions, "directions"), dim=1)
    i, j, width = _coupling(len(x), len(y), x.device)
    total = 0.0
    # Projections (B, L), sorted: the optimal coupling in one dimension.
    for part in unit.split(max(1, CHUNK // (len(x) + len(y)))):
        gap = (x @ part.T).sort(0).values[i] - (y @ part.T).sort(0).values[j]
        total += float((width @ gap.abs_().pow_(order)).sum())
    return (total / len(unit)) ** (1 / order)


def wasserstein(x: Tensor, y: Tensor, *, order: float = 2.0) -> float:
    """Wasserstein distance W_p of one-dimensional samples, (B,) and (M,), exactly, in data units."""
    x = points(x)
    y = points(y, "y")
    if x.shape[1] != 1 or y.shape[1] != 1:
        raise BadData("this Wasserstein distance is for one dimension", do="use sliced_wasserstein")
    return sliced_wasserstein(x, y, x.new_ones(1, 1), order=order)


def kl_histograms(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) = sum p log(p / q) over the last axis, in nats, of counts or weights that are normalised first.

    Infinite where q lacks a cell that p has.
    """
    p = _normalised(p)
    q = _normalised(q)
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


def js_histograms(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, in nats: from 0 to log 2."""
    p = _normalised(p)
    q = _normalised(q)
    middle = (p + q) / 2
    return (kl_histograms(p, middle) + kl_histograms(q, middle)) / 2


def kl_to_uniform(counts: Tensor) -> Tensor:
    """KL(counts || uniform) over the last axis, in nats; N draws of K equal cells give (K - 1) / (2 N) by chance."""
    return kl_histograms(counts, torch.ones_like(counts))


def kl_gaussians(mean_p: Tensor, cov_p: Tensor, mean_q: Tensor, cov_q: Tensor) -> Tensor:
    """KL(N(mean_p, cov_p) || N(mean_q, cov_q)), in nats, by Cholesky factors.

    (tr(S_q^-1 S_p) + |L_q^-1 (m_q - m_p)|^2 - D) / 2 + log det L_q - log det L_p.

    Args:
        mean_p: Mean, (..., D).
        cov_p: Covariance, (..., D, D), positive definite.
        mean_q: Mean, (..., D).
        cov_q: Covariance, (..., D, D), positive definite.
    """
    factor_p = torch.linalg.cholesky(cov_p)
    factor_q = torch.linalg.cholesky(cov_q)
    # L_q^-1 L_p and L_q^-1 (m_q - m_p), whose squares are the trace and the Mahalanobis term.
    white = torch.linalg.solve_triangular(factor_q, factor_p, upper=False)
    shift = torch.linalg.solve_triangular(factor_q, (mean_q - mean_p)[..., None], upper=False)
    log_det = (
        factor_q.diagonal(dim1=-2, dim2=-1).log() - factor_p.diagonal(dim1=-2, dim2=-1).log()
    ).sum(-1)
    return ((white**2).sum((-2, -1)) + (shift**2).sum((-2, -1)) - mean_p.shape[-1]) / 2 + log_det


def _discrepancy(
    x: Tensor,
    y: Tensor,
    x_weight: Tensor | None,
    y_weight: Tensor | None,
    cost: Callable[[Tensor], Tensor],
    self_cost: float,
    unbiased: bool,
    level: float,
) -> Interval:
    """2 E c(X,Y) - E c(X,X') - E c(Y,Y') with the delete-one jackknife, which needs only the sums of rows."""
    x, y = aligned(x, y)
    u = _weights(x_weight, x)
    v = _weights(y_weight, y)
    xx = _within(x, u, cost, self_cost)
    yy = _within(y, v, cost, self_cost)
    xy, yx = _across(x, y, u, v, cost)
    cross = float(u @ xy)
    mean_x, without_x = _mean_within(xx, u, self_cost, unbiased)
    mean_y, without_y = _mean_within(yy, v, self_cost, unbiased)
    cross_x, cross_y = ((cross - w * row) / (1 - w) for w, row in ((u, xy), (v, yx)))
    value = 2 * cross - mean_x - mean_y
    return jackknife(
        value, 2 * cross_x - without_x - mean_y, 2 * cross_y - mean_x - without_y, level=level
    )


def _within(
    x: Tensor, weight: Tensor, cost: Callable[[Tensor], Tensor], self_cost: float
) -> Tensor:
    """sum_{j != i} w_j c(x_i, x_j), (B,): the item itself is taken out exactly, not up to rounding."""
    total = torch.empty_like(weight)
    for part, square in squared_blocks(x, x):
        square[:, part].fill_diagonal_(0)
        total[part] = cost(square) @ weight
    return total - self_cost * weight


def _across(
    x: Tensor, y: Tensor, u: Tensor, v: Tensor, cost: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean cost of each x over y, (B,), and of each y over x, (M,), in one pass."""
    over_y = torch.empty_like(u)
    over_x = torch.zeros_like(v)
    for part, square in squared_blocks(x, y):
        c = cost(square)
        over_y[part] = c @ v
        over_x += u[part] @ c
    return over_y, over_x


def _mean_within(row: Tensor, w: Tensor, self_cost: float, unbiased: bool) -> tuple[float, Tensor]:
    """E c(X,X') under weights that sum to 1, and the same without each item."""
    pairs = float(w @ row)
    total = 1.0
    squares = float((w**2).sum())
    pairs_without = pairs - 2 * w * row
    total_without = 1 - w
    squares_without = squares - w**2
    if unbiased:
        return pairs / (total - squares), pairs_without / (total_without**2 - squares_without)
    biased = pairs_without + self_cost * squares_without
    return pairs + self_cost * squares, biased / total_without**2


def _weights(weight: Tensor | None, x: Tensor) -> Tensor:
    """Weights that sum to 1; three items are the fewest that leave a pair when one is left out."""
    if weight is None:
        w = x.new_ones(len(x))
    else:
        w = weight.to(x).flatten()
    if len(w) != len(x) or not bool((w >= 0).all()) or int((w > 0).sum()) < 3:
        raise BadData(
            f"{len(x)} items with {len(w)} weights",
            do="give at least 3 items, each with a weight >= 0",
        )
    return w / w.sum()


def _coupling(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ranks i of n and j of m that the monotone coupling joins, and the mass of each pair."""
    right = (
        torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique().to(device)
    )  # of n m
    width = torch.diff(right, prepend=right.new_zeros(1)).double() / (n * m)
    return (right - 1) // m, (right - 1) // n, width


def _normalised(p: Tensor) -> Tensor:
    p = p.double()
    if not bool((p >= 0).all()) or not bool((p.sum(-1) > 0).all()):
        raise BadData("a histogram needs weights >= 0 that are not all 0")
    return p / p.sum(-1, keepdim=True)


def _draws(draws: Tensor) -> int:
    if len(draws) < 2:
        raise BadData("the energy score needs at least 2 draws")
    return len(draws)
