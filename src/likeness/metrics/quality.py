"""Single numbers of quality: ranking, modes of a mixture, sharpness and signal-to-noise of images."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor

from likeness.core.errors import BadData
from likeness.metrics.distance import kl_to_uniform, nearest
from likeness.metrics.intervals import Interval, percentile_interval, proportion

# Standard deviations from a mode's centre within which an item counts as of high quality
REACH = 3.0


@dataclass(frozen=True, slots=True)
class Modes:
    """High-quality share, number of modes that hold a high-quality item, KL to uniform in nats, width, and counts.

    `width` is the standard deviation within modes over that of the truth, both of high-quality
    items: 1 is right. `ceiling` is the high-quality share of the truth itself, which more than that
    by chance betrays narrow modes.
    """

    high_quality: Interval
    captured: int
    kl_uniform: float
    width: float
    ceiling: float
    counts: Tensor


def modes(x: Tensor, centres: Tensor, sigma: float, *, level: float = 0.95) -> Modes:
    """How items fall on the modes of an equal mixture of round Gaussians; an item counts within 3 sigma of a centre.

    Lin et al. 2018 (PacGAN), arXiv:1712.04086, sec. 4.1. In two dimensions the ceiling is 1 -
    exp(-4.5) = 98.89 %, and (modes - 1) / (2 counted) nats of KL come by chance.

    Args:
        x: Items, (B, D).
        centres: Modes, (K, D).
        sigma: Standard deviation of a mode in each direction.
        level: Probability with which the interval covers.
    """
    distance, row = (closest[:, 0] for closest in nearest(x, centres))
    good = distance <= REACH * sigma
    counts = torch.bincount(row[good], minlength=len(centres))
    ceiling = float(stats.chi2.cdf(REACH**2, x.shape[1]))
    if bool(good.any()):
        kl = float(kl_to_uniform(counts))
    else:
        kl = math.inf
    width = _width(x[good], row[good], counts) / (sigma * _cut_deviation(x.shape[1]))
    share = proportion(int(good.sum()), len(x), level=level)
    return Modes(share, int((counts > 0).sum()), kl, width, ceiling, counts)


def auroc(score: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative) + P(equal) / 2.

    Args:
        score: Scores, larger for positives, (B,).
        positive: bool, (B,).
    """
    rank, label = _ranked(score, positive)
    return _area(rank, label, np.ones(len(label)))


def auroc_interval(
    score: Tensor, positive: Tensor, *, seed: int, draws: int = 1000, level: float = 0.95
) -> Interval:
    """Area under the ROC curve with its percentile bootstrap; positives and negatives are drawn apart.

    Args:
        score: Scores, larger for positives, (B,).
        positive: bool, (B,).
        seed: The draws are a function of it alone.
        draws: Number of resamples.
        level: Probability with which the interval covers.
    """
    rank, label = _ranked(score, positive)
    generator = np.random.default_rng(seed)
    areas = [_area(rank, label, _resample(label, generator)) for _ in range(draws)]
    return percentile_interval(
        _area(rank, label, np.ones(len(label))), np.array(areas), level=level
    )


def sharpness(images: Tensor) -> Tensor:
    """Variance of the Laplacian of each image over pixels and channels, (B,), in squared units: blur lowers it.

    Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548.

    Args:
        images: (B, C, H, W), H and W >= 3.
    """
    if images.ndim != 4 or min(images.shape[2:]) < 3:
        raise BadData(
            f"images (B, C, H, W) of at least 3 x 3 pixels were expected, got {tuple(images.shape)}"
        )
    # The five-point Laplacian of inner pixels.
    x = images.double()
    middle = x[..., 1:-1, 1:-1]
    around = x[..., 2:, 1:-1] + x[..., :-2, 1:-1] + x[..., 1:-1, 2:] + x[..., 1:-1, :-2]
    return (around - 4 * middle).flatten(1).var(1, correction=0)


def psnr(x: Tensor, y: Tensor, *, peak: float) -> Tensor:
    """Peak signal-to-noise ratio of each item, 10 log10(peak^2 / mean squared difference), in dB, (B,).

    Args:
        x: Items, (B, *E).
        y: Items, (B, *E).
        peak: Largest possible value less the smallest: 255 for 8-bit levels.
    """
    if x.shape != y.shape:
        raise BadData(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    error = ((x.double() - y.double()) ** 2).flatten(1).mean(1)
    return 10 * torch.log10(peak**2 / error)


def _width(x: Tensor, row: Tensor, counts: Tensor) -> float:
    """Standard deviation about the modes' own means, pooled, without bias; 0 where no mode holds two items."""
    freedom = int((counts - 1).clamp(min=0).sum()) * x.shape[1]
    if freedom == 0:
        return 0.0
    x = x.double()
    # Means of the modes, (K, D), then squares about them.
    total = x.new_zeros(len(counts), x.shape[1]).index_add_(0, row, x)
    mean = total / counts.clamp(min=1)[:, None]
    return math.sqrt(float(((x - mean[row]) ** 2).sum()) / freedom)


def _cut_deviation(size: int) -> float:
    """Standard deviation of a standard normal vector's entries, given that it lies within REACH of the origin."""
    return math.sqrt(float(stats.chi2.cdf(REACH**2, size + 2) / stats.chi2.cdf(REACH**2, size)))


def _ranked(score: Tensor, positive: Tensor) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Rank of each item's score, equal scores sharing one, and whether the item is positive."""
    values = score.detach().double().flatten().cpu().numpy()
    label = positive.flatten().bool().cpu().numpy()
    if len(values) != len(label) or label.all() or not label.any() or np.isnan(values).any():
        raise BadData("the ROC curve needs scores, none NaN, of positives and of negatives")
    return np.unique(values, return_inverse=True)[1], label


def _area(
    rank: npt.NDArray[np.int64], label: npt.NDArray[np.bool_], weight: npt.NDArray[np.float64]
) -> float:
    hit, miss = (
        np.bincount(rank, weight * kind, minlength=int(rank.max()) + 1) for kind in (label, ~label)
    )
    # Mann-Whitney: the share of (positive, negative) pairs in the right order, ties one half.
    return float(hit @ (miss.cumsum() - miss / 2) / (hit.sum() * miss.sum()))


def _resample(
    label: npt.NDArray[np.bool_], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """How often each item is drawn when each class is drawn with replacement, (B,)."""
    weight = np.empty(len(label))
    for kind in (label, ~label):
        n = int(kind.sum())
        weight[kind] = np.bincount(generator.integers(n, size=n), minlength=n)
    return weight
