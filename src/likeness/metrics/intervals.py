"""Numbers that carry their uncertainty: means, proportions, bootstraps and differences."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor

from likeness.core.errors import BadData

CHUNK = 1 << 22  # entries of a temporary matrix: 32 MB in float64


@dataclass(frozen=True, slots=True)
class Interval:
    """A number, its standard error, and the interval that covers the truth with probability `level`."""

    value: float
    stderr: float
    low: float
    high: float
    level: float = 0.95

    def __post_init__(self) -> None:
        if any(math.isnan(number) for number in (self.value, self.stderr, self.low, self.high)):
            raise BadData(
                f"an interval holds NaN: {self.value}, {self.stderr}, [{self.low}, {self.high}]"
            )

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.stderr:.2g} [{self.low:.4g}, {self.high:.4g}]"

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high


def normal_interval(
    value: float, stderr: float, *, level: float = 0.95, degrees: float = math.inf
) -> Interval:
    """Value -+ t stderr, with t the quantile of Student's t of `degrees` (infinite: the normal distribution)."""
    if stderr > 0:
        half = float(stats.t.ppf(0.5 + level / 2, degrees)) * stderr
    else:
        half = 0.0
    return Interval(value, stderr, value - half, value + half, level)


def mean_with_stderr(x: Tensor, *, weight: Tensor | None = None, level: float = 0.95) -> Interval:
    """Mean of independent items with its standard error s / sqrt(n), and Student's interval.

    With weights the mean is sum w x / sum w, its variance n / (n - 1) sum w^2 (x - mean)^2 / (sum
    w)^2, and the degrees of freedom are those of the effective number (sum w)^2 / sum w^2.

    Args:
        x: Values, (B,), B >= 2.
        weight: Weights >= 0, (B,).
        level: Probability with which the interval covers.
    """
    # Normalised weights; the weighted variance of a mean, and the effective number of items.
    x = _items(x, 2)
    if weight is None:
        w = torch.ones_like(x)
    else:
        w = weight.double().flatten()
    share = w / w.sum()
    mean = (share * x).sum()
    variance = ((share * (x - mean)) ** 2).sum() * len(x) / (len(x) - 1)
    degrees = max(float(1 / (share**2).sum()) - 1, 1.0)
    return normal_interval(float(mean), math.sqrt(float(variance)), level=level, degrees=degrees)


def proportion(successes: float, n: int, *, level: float = 0.95) -> Interval:
    """Share of successes with its binomial standard error, and Wilson's interval (1927), never empty at 0 or 1."""
    if n < 1 or not 0 <= successes <= n:
        raise BadData(f"{successes} successes among {n} items", do="give at least one item")
    # Wilson's centre and half width; the ends are exact where all or none succeed.
    share = successes / n
    z = float(stats.norm.ppf(0.5 + level / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(share, math.sqrt(share * (1 - share) / n), low, high, level)


def crossed_mean(x: Tensor, *, level: float = 0.95) -> Interval:
    """Mean over seeds and items that are both random: every seed is scored on the same items.

    x_si = mean + a_s + b_i + e_si; the variance of the mean, var(a)/S + var(b)/B + var(e)/(S B), is
    (MS_a + MS_b - MS_e) / (S B) in mean squares, and Satterthwaite's degrees of freedom give the
    interval, so three seeds count as three. One seed alone says nothing about other seeds: then the
    items alone count.

    Args:
        x: Value of seed s on item i, (S, B).
        level: Probability with which the interval covers.
    """
    if x.ndim != 2:
        raise BadData(f"seeds x items were expected, got a tensor of shape {tuple(x.shape)}")
    seeds, items = x.shape
    if seeds == 1 or items == 1:
        return mean_with_stderr(x.flatten(), level=level)
    # Two-way analysis of variance: effects of seeds a, of items b, and the rest.
    x = x.double()
    mean = x.mean()
    a = x.mean(1) - x.mean()
    b = x.mean(0) - x.mean()
    rest = x - mean - a[:, None] - b
    # Degrees of freedom and mean squares of the three, (3,).
    freedom = torch.tensor([seeds - 1, items - 1, (seeds - 1) * (items - 1)], dtype=torch.float64)
    square = torch.stack([items * (a**2).sum(), seeds * (b**2).sum(), (rest**2).sum()]) / freedom
    # Negative only by the noise of MS_e, where the larger of the two others is the whole of it.
    total = max(float(square[0] + square[1] - square[2]), float(square[:2].max()))
    # Satterthwaite's degrees of freedom of a sum of mean squares.
    if total > 0:
        degrees = total**2 / float((square**2 / freedom).sum())
    else:
        degrees = math.inf
    return normal_interval(
        float(mean), math.sqrt(total / (seeds * items)), level=level, degrees=max(degrees, 1.0)
    )


def paired_difference(a: Tensor, b: Tensor, *, level: float = 0.95) -> Interval:
    """Mean of a - b on the same items, (B,), or the same seeds and items, (S, B): what is common to both cancels."""
    if a.shape != b.shape:
        raise BadData(
            f"shapes {tuple(a.shape)} and {tuple(b.shape)} do not pair",
            do="score both on the same items",
        )
    gap = a.double() - b.double()
    if a.ndim == 2:
        return crossed_mean(gap, level=level)
    return mean_with_stderr(gap, level=level)


def difference(a: Interval, b: Interval) -> Interval:
    """Difference a - b of independent numbers, from their intervals (Zou & Donner 2008, doi:10.1002/sim.3095)."""
    # MOVER: each end moves by the ends of the two intervals, in squares.
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, math.hypot(a.stderr, b.stderr), low, high, min(a.level, b.level))


def separable(a: Interval, b: Interval) -> bool:
    """Whether two independent numbers differ: the interval of their difference leaves out 0."""
    return 0.0 not in difference(a, b)


def bootstrap(
    statistic: Callable[[Tensor], float],
    items: int,
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic by drawing items with replacement (Efron 1979).

    Args:
        statistic: From the rows drawn, int64 (items,), to the number; it is asked for all rows in
            order first.
        items: Number of items.
        seed: The draws are a function of it alone.
        draws: Number of resamples.
        level: Probability with which the interval covers.
    """
    # Resampled rows, one draw at a time.
    generator = np.random.default_rng(seed)
    rows = (torch.from_numpy(generator.integers(items, size=items)) for _ in range(draws))
    values = np.array([statistic(row) for row in rows])
    return percentile_interval(statistic(torch.arange(items)), values, level=level)


def bootstrap_mean(x: Tensor, *, seed: int, draws: int = 1000, level: float = 0.95) -> Interval:
    """Percentile interval of a mean, over items, (B,), or over seeds and items drawn independently, (S, B).

    With seeds it is the pigeonhole bootstrap (Owen 2007, arXiv:0712.1111): conservative for the
    items; few seeds are better served by `crossed_mean`.
    """
    values = x.double().cpu().numpy()
    if x.ndim == 1:
        values = values[None]
    generator = np.random.default_rng(seed)
    means = [_resampled_mean(values, generator) for _ in range(draws)]
    return percentile_interval(float(values.mean()), np.array(means), level=level)


def percentile_interval(
    value: float, draws: npt.NDArray[np.float64], *, level: float = 0.95
) -> Interval:
    """Interval between the quantiles of resampled values; the standard error is their standard deviation."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(draws.std(ddof=1)), float(low), float(high), level)


def jackknife(value: float, *left_out: Tensor, level: float = 0.95) -> Interval:
    """Delete-a-group jackknife: stderr^2 = sum over samples of (G-1)/G sum_g (t_g - mean t)^2 (Arvesen 1969).

    Args:
        value: The statistic of everything.
        left_out: For each independent sample, the statistic without its group g, (G,).
        level: Probability with which the interval covers.
    """
    variance = sum(float(((t - t.mean()) ** 2).sum()) * (len(t) - 1) / len(t) for t in left_out)
    degrees = min(len(t) for t in left_out) - 1
    return normal_interval(value, math.sqrt(variance), level=level, degrees=max(degrees, 1))


def _resampled_mean(values: npt.NDArray[np.float64], generator: np.random.Generator) -> float:
    seeds, items = values.shape
    rows = generator.integers(items, size=items)
    if seeds == 1:
        return float(values[0, rows].mean())
    multiplicity = np.bincount(generator.integers(seeds, size=seeds), minlength=seeds)
    return float((multiplicity @ values)[rows].mean() / seeds)


def _items(x: Tensor, least: int) -> Tensor:
    x = x.detach().double().flatten()
    if len(x) < least:
        raise BadData(
            f"{len(x)} items are too few for a standard error", do=f"give at least {least}"
        )
    return x
