"""Do probabilities, quantiles and draws mean what they say? Proper scores per item, and tests of uniformity."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from likeness.core.errors import BadData
from likeness.metrics.intervals import Interval, proportion


@dataclass(frozen=True, slots=True)
class Test:
    """A test's statistic, its p-value under the null hypothesis, and its degrees of freedom or number of items."""

    __test__ = False  # not for pytest to collect

    statistic: float
    p_value: float
    degrees: int


def ranks(draws: Tensor, x: Tensor, uniforms: Tensor) -> Tensor:
    """Rank of each value among its draws, 0..n, ties broken by the uniforms: uniform where both share a distribution.

    Args:
        draws: Draws given each item, (n, B).
        x: Values, (B,).
        uniforms: In [0, 1), (B,).

    Returns:
        Ranks, int64, (B,).
    """
    below = (draws < x).sum(0)
    ties = (draws == x).sum(0)
    return below + (uniforms.double() * (ties + 1)).floor().long()


def probability_integral_transform(draws: Tensor, x: Tensor, uniforms: Tensor) -> Tensor:
    """Value in (0, 1), exactly uniform where draws and value share a distribution, discrete ones included, (B,).

    (#{Y < x} + u (1 + #{Y = x})) / (n + 1). Czado et al. 2009,
    doi:10.1111/j.1541-0420.2009.01191.x.

    Args:
        draws: Draws given each item, (n, B).
        x: Values, (B,).
        uniforms: In [0, 1), (B,).
    """
    below = (draws < x).sum(0)
    ties = (draws == x).sum(0)
    return (below + uniforms.double() * (ties + 1)) / (len(draws) + 1)


def rank_uniformity(rank: Tensor, *, draws: int, cells: int | None = None) -> Test:
    """Chi-squared test that ranks 0..draws are uniform (Talts et al. 2018, arXiv:1804.06788).

    Args:
        rank: Ranks, (B,).
        draws: Number of draws n that each rank was taken among.
        cells: Number of cells of near equal size; None aims at 20 items a cell, at most n + 1
            cells.
    """
    if cells is None:
        count = min(draws + 1, max(2, len(rank) // 20))
    else:
        count = min(cells, draws + 1)
    cell = torch.arange(draws + 1) * count // (draws + 1)
    observed = torch.bincount(cell.to(rank.device)[rank], minlength=count)
    return chi_squared(observed, torch.bincount(cell, minlength=count).double())


def chi_squared(observed: Tensor, expected: Tensor, *, least: float = 5.0) -> Test:
    """Pearson's test of counts against cell probabilities: sum (O - E)^2 / E on K - 1 degrees of freedom.

    Cells that expect fewer than `least` items are joined into one, so that the chi-squared
    approximation holds. An item in an impossible cell gives a p-value of 0.

    Args:
        observed: Counts, (K,).
        expected: Probabilities or counts in proportion, (K,); all else of the mass must be in a
            cell too.
        least: Fewest items expected of a cell.
    """
    o = observed.double().flatten()
    e = expected.double().flatten().to(observed.device)
    if o.shape != e.shape or bool((e < 0).any()):
        raise BadData(f"{len(o)} counts and {len(e)} expected shares do not match")
    e = e * (o.sum() / e.sum())
    if bool(o[e == 0].any()):
        return Test(math.inf, 0.0, len(e) - 1)
    e, order = e.sort()
    small = int((e < least).sum())
    if small:
        join = max(small, int(torch.searchsorted(e.cumsum(0), least)) + 1)
    else:
        join = 1
    o, e = (torch.cat([t[:join].sum()[None], t[join:]]) for t in (o[order], e))
    if len(e) < 2:
        raise BadData("fewer than two cells remain", do="give more items or fewer cells")
    statistic = float(((o - e) ** 2 / e).sum())
    return Test(statistic, float(stats.chi2.sf(statistic, len(e) - 1)), len(e) - 1)


def ks_uniform(u: Tensor) -> Test:
    """Kolmogorov-Smirnov test that values in [0, 1] are uniform: of a continuous distribution, its CDF at items."""
    result = stats.kstest(_array(u), "uniform")
    return Test(float(result.statistic), float(result.pvalue), u.numel())


def ks_two_sample(x: Tensor, y: Tensor) -> Test:
    """Kolmogorov-Smirnov test that two samples, (B,) and (M,), share a continuous distribution."""
    result = stats.ks_2samp(_array(x), _array(y))
    return Test(float(result.statistic), float(result.pvalue), x.numel() + y.numel())


def central_interval(draws: Tensor, *, level: float) -> tuple[Tensor, Tensor]:
    """Ends of the central interval of draws (n, *S), so that a further draw falls inside with probability `level`.

    They lie at ranks (n + 1)(1 -+ level) / 2, which calibrates few draws too, down to n = (1 +
    level) / (1 - level).
    """
    n = len(draws)
    least = max(2, math.ceil((1 + level) / (1 - level) - 1e-9))
    if n < least:
        raise BadData(
            f"{n} draws cannot give an interval of level {level}", do=f"take at least {least}"
        )
    ranked = draws.double().sort(0).values
    place = (n + 1) * (1 - level) / 2 - 1  # from either end, 0 being the outermost draw
    inner = min(int(place) + 1, n - 1)
    share = max(place, 0.0) % 1
    low = torch.lerp(ranked[inner - 1], ranked[inner], share)
    return low, torch.lerp(ranked[n - inner], ranked[n - 1 - inner], share)


def interval_coverage(low: Tensor, high: Tensor, x: Tensor, *, level: float = 0.95) -> Interval:
    """Share of values inside [low, high], with Wilson's interval for independent values."""
    inside = (low <= x) & (x <= high)
    return proportion(int(inside.sum()), inside.numel(), level=level)


def crps(draws: Tensor, x: Tensor) -> Tensor:
    """Continuous ranked probability score E|Y-x| - E|Y-Y'|/2 of each value, in its unit: lower is better.

    Unbiased in the number of draws; the second term from sorted draws, sum_i (2i - n - 1) y_(i) /
    (n (n - 1)). Gneiting & Raftery 2007, eq. 21; Ferro 2014, doi:10.1002/qj.2270.

    Args:
        draws: Draws, (n, *S), n >= 2.
        x: Values, (*S).

    Returns:
        Scores, (*S).
    """
    n = len(draws)
    if n < 2:
        raise BadData("the score needs at least 2 draws")
    gap = (draws.double() - x.double()).sort(0).values
    rank = torch.arange(1 - n, n, 2, device=gap.device, dtype=gap.dtype)
    return gap.abs().mean(0) - torch.tensordot(rank, gap, dims=1) / (n * (n - 1))


def brier(probability: Tensor, label: Tensor) -> Tensor:
    """Brier score of each item, sum_k (p_k - 1(label = k))^2, from 0 to 2 (Brier 1950).

    Args:
        probability: Class probabilities, (B, K).
        label: Classes, int64, (B,).
    """
    hit = torch.nn.functional.one_hot(label.long(), probability.shape[-1])
    return ((probability.double() - hit) ** 2).sum(-1)


def expected_calibration_error(probability: Tensor, label: Tensor, *, bins: int = 15) -> float:
    """Mean over items of |accuracy - confidence| of the item's bin of confidence, both of the likeliest class.

    Positive by chance alone: compare like numbers of items. Guo et al. 2017, arXiv:1706.04599, eq.
        3.

    Args:
        probability: Class probabilities, (B, K).
        label: Classes, int64, (B,).
        bins: Number of bins of equal width.
    """
    confidence, guess = probability.double().max(-1)
    gap = (guess == label).double() - confidence
    cell = (confidence * bins).ceil().long().clamp(1, bins) - 1  # bins are open below
    return float(gap.new_zeros(bins).index_add_(0, cell, gap).abs().sum() / len(gap))


def _array(x: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = (
        x.detach().double().flatten().cpu().numpy()
    )
    if len(values) == 0 or np.isnan(values).any():
        raise BadData("values are absent or NaN")
    return values
