"""Memorisation audit: whether a model hands out its training items."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from likeness.metrics.distance import nearest
from likeness.metrics.intervals import Interval, percentile_interval, proportion
from likeness.metrics.quality import auroc_interval

ALARM = 0.05  # p-value at which copies are reported


@dataclass(frozen=True, slots=True)
class Pair:
    """A generated item, the training item nearest to it, their distance, and that over the second nearest one's."""

    generated: int
    train: int
    distance: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Audit:
    """What the nearest training items say.

    Args:
        copies_p_value: p-value of "no more copies than among held-out items".
        distance_ratio: Median distance to the nearest training item, of generated over held-out
            items; 1 is right, below 1 is too close; None where that of held-out items may be 0, as
            in discrete data.
        duplicates: Share of generated items within the tolerance of a training item.
        duplicates_held_out: The same of held-out items: what the data repeat by themselves.
        membership: Area under the ROC curve of telling training from held-out items by their
            distance to the nearest generated item; 0.5 tells nothing.
        worst: The pairs closest to being copies, worst first.
    """

    copies_p_value: float
    distance_ratio: Interval | None
    duplicates: Interval
    duplicates_held_out: Interval
    membership: Interval
    worst: tuple[Pair, ...]

    @property
    def copies(self) -> bool:
        """Whether copies were found, with a false alarm in at most 5 % of clean models."""
        return self.copies_p_value <= ALARM


def memorisation_audit(
    generated: Tensor,
    train: Tensor,
    held_out: Tensor,
    *,
    seed: int,
    tolerance: float = 0.0,
    k: int = 50,
    draws: int = 1000,
    level: float = 0.95,
) -> Audit:
    """Compare how generated and held-out items lie among the training items.

    Columns of mixed type are the caller's to make comparable: standardise real ones, one-hot
    nominal ones. One copy in a hundred is found surely from 500 generated and as many held-out
    items on; fewer held-out items weaken the test.

    Args:
        generated: Features of generated items, (S, *E).
        train: Features of training items, (N, *E), N >= 2.
        held_out: Features of items that were not trained on, (H, *E).
        seed: The bootstrap draws are a function of it alone.
        tolerance: Distance up to which two items are copies, in units of the features.
        k: Number of worst pairs to list.
        draws: Number of bootstrap resamples.
        level: Probability with which the intervals cover.
    """
    # The two nearest training items of every generated and every held-out item.
    near, row = nearest(generated, train, k=2)
    near_held, _ = nearest(held_out, train, k=2)
    ratio, ratio_held = (_ratio(d, tolerance) for d in (near, near_held))
    return Audit(
        copies_p_value=copies_p_value(ratio, ratio_held),
        distance_ratio=median_ratio(
            near[:, 0], near_held[:, 0], seed=seed, draws=draws, level=level
        ),
        duplicates=_duplicates(near, tolerance, level),
        duplicates_held_out=_duplicates(near_held, tolerance, level),
        membership=membership_auroc(
            generated, train, held_out, seed=seed, draws=draws, level=level
        ),
        worst=_worst(near[:, 0], ratio, row[:, 0], k),
    )


def copies_p_value(generated: Tensor, held_out: Tensor) -> float:
    """p-value of "the smallest ratios are as small among held-out items as among generated ones".

    The ratio of the distances to the nearest and second nearest training item is 0 for a copy and
    does not change with the density, so a model that keeps to the dense regions is no suspect.
    Where no held-out item is a copy, the number C of generated items below all H held-out ones has
    P(C >= c) = prod_{i<c} (S - i) / (S + H - i) if all are exchangeable. Where some are, as in
    discrete data, the shares of copies are compared by Fisher's exact test. Both are one test: with
    K copies in all, that none is held out is the extreme of Fisher's.

    Args:
        generated: Ratios of generated items, (S,).
        held_out: Ratios of held-out items, (H,).
    """
    s = len(generated)
    h = len(held_out)
    least = float(held_out.min())
    # Discrete data: exact copies occur by chance, so their shares are compared.
    if least == 0:
        copies = int((generated == 0).sum())
        natural = int((held_out == 0).sum())
        return float(stats.hypergeom.sf(copies - 1, s + h, copies + natural, s))
    # Continuous data: how many generated ratios lie below every held-out one.
    below = np.arange(int((generated < least).sum()))
    return float(np.prod((s - below) / (s + h - below)))


def median_ratio(
    generated: Tensor, held_out: Tensor, *, seed: int, draws: int = 1000, level: float = 0.95
) -> Interval | None:
    """Median of one set of distances over that of the other, with its bootstrap interval over the items of both.

    Args:
        generated: Distances, (S,).
        held_out: Distances, (H,).
        seed: The draws are a function of it alone.
        draws: Number of resamples.
        level: Probability with which the interval covers.

    Returns:
        The interval; None where the median held-out distance may be 0, as in discrete data.
    """
    generator = np.random.default_rng(seed)
    a, b = (x.double().cpu().numpy() for x in (generated, held_out))
    # Medians of resampled items of both sets, independently.
    top, bottom = (
        np.array([np.median(generator.choice(x, len(x))) for _ in range(draws)]) for x in (a, b)
    )
    if np.median(b) == 0 or (bottom == 0).any():
        return None
    return percentile_interval(float(np.median(a) / np.median(b)), top / bottom, level=level)


def membership_auroc(
    generated: Tensor,
    train: Tensor,
    held_out: Tensor,
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """How well closeness to a generated item tells training items from held-out ones; 0.5 tells nothing.

    Chen et al. 2020 (GAN-Leaks), arXiv:1909.03935.
    """
    # Members should lie nearer to generated items than others, if the model copies.
    distance = torch.cat([nearest(x, generated)[0][:, 0] for x in (train, held_out)])
    member = torch.arange(len(distance)) < len(train)
    return auroc_interval(-distance, member, seed=seed, draws=draws, level=level)


def _ratio(near: Tensor, tolerance: float) -> Tensor:
    """Nearest over second nearest distance, (B,); a copy has 0, also of an item that is there twice."""
    return torch.where(near[:, 0] <= tolerance, 0.0, near[:, 0] / near[:, 1])


def _duplicates(near: Tensor, tolerance: float, level: float) -> Interval:
    return proportion(int((near[:, 0] <= tolerance).sum()), len(near), level=level)


def _worst(distance: Tensor, ratio: Tensor, row: Tensor, k: int) -> tuple[Pair, ...]:
    """The k pairs of smallest ratio, and among equal ratios of smallest distance."""
    by_distance = distance.argsort(stable=True)
    # A stable sort by ratio after one by distance: ratio first, ties by distance.
    order = by_distance[ratio[by_distance].argsort(stable=True)][:k].tolist()
    return tuple(Pair(i, int(row[i]), float(distance[i]), float(ratio[i])) for i in order)
