"""Two-sample tests: how well a classifier, or a nearest neighbour, tells two sets of points apart."""

import math
from collections.abc import Callable

import numpy as np
import torch
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from likeness.core.errors import BadData
from likeness.metrics.distance import aligned, points, squared_blocks
from likeness.metrics.intervals import Interval, normal_interval, proportion

LEAF = 20  # items of a leaf, where a quarter of the items are as many: no cut could part fewer
FEW = 100  # items below which none can be spared to stop a network by


def boosted_trees(seed: int, items: int) -> ClassifierMixin:
    """Histogram gradient boosting: strong on tables and on low-dimensional points.

    Args:
        seed: Of its randomness.
        items: The number of items that it learns from.
    """
    leaf = min(LEAF, max(1, items // 4))
    return HistGradientBoostingClassifier(min_samples_leaf=leaf, random_state=seed)


def small_network(seed: int, items: int) -> ClassifierMixin:
    """Standardised inputs and two hidden layers of 64 units: sees oblique boundaries that trees need many cuts for.

    Args:
        seed: Of its randomness.
        items: The number of items that it learns from.
    """
    network = MLPClassifier(
        (64, 64),
        learning_rate_init=3e-3,
        early_stopping=items >= FEW,
        max_iter=200,
        random_state=seed,
    )
    return make_pipeline(StandardScaler(), network)


def c2st(
    x: Tensor,
    y: Tensor,
    *,
    seed: int,
    classifier: Callable[[int, int], ClassifierMixin] = boosted_trees,
    folds: int = 5,
    level: float = 0.95,
) -> Interval:
    """Accuracy of a classifier that tells x from y on unseen items: 0.5 for equal distributions, 1 for disjoint ones.

    Every item is predicted once, by cross-validation. The standard error is the binomial one, as if
    folds did not share what they learn from. The larger set is cut to the size of the smaller.
    Lopez-Paz & Oquab 2017, arXiv:1610.06545.

    Args:
        x: Items, (B, *E).
        y: Items, (M, *E).
        seed: Choice of items, folds and the classifier's own randomness are functions of it alone.
        classifier: From a seed and the number of items to learn from to an untrained scikit-learn
            classifier.
        folds: Number of folds.
        level: Probability with which the interval covers.
    """
    n = min(len(x), len(y))
    if n < folds:
        raise BadData(f"{n} items are too few for {folds} folds")
    # Equal numbers of both, so that guessing has accuracy 1/2.
    generator = np.random.default_rng(seed)
    rows = [points(part).cpu().numpy()[generator.permutation(len(part))[:n]] for part in (x, y)]
    features = np.concatenate(rows)
    labels = np.repeat([0, 1], n)
    # What each fold learns from: all items but one fold.
    model = classifier(seed, 2 * n - -(-2 * n // folds))
    # Every item is predicted by a classifier that has not seen it.
    right = 0
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(
        features, labels
    ):
        fitted = clone(model).fit(features[train], labels[train])
        right += int((fitted.predict(features[test]) == labels[test]).sum())
    return proportion(right, 2 * n, level=level)


def neighbour_accuracy(x: Tensor, y: Tensor, *, level: float = 0.95) -> Interval:
    """Share of items whose nearest other item is of their own set: 0.5 for equal distributions, less for copies.

    Ties count half. Two items that are each other's nearest err together, so the variance is p (1 -
    p) (1 + share of such items) / n. Xu et al. 2018, arXiv:1806.07755; variance from Schilling
    1986, doi:10.1080/01621459.1986.10478337.

    Args:
        x: Items, (B, *E).
        y: As many items, (B, *E).
        level: Probability with which the interval covers.
    """
    if len(x) != len(y):
        raise BadData(
            f"{len(x)} and {len(y)} items would make one set nearer by number",
            do="give as many of each",
        )
    # One pool of both samples; each item's nearest other item.
    pool = torch.cat(aligned(x, y))
    own = torch.arange(len(pool), device=pool.device) < len(x)
    credit = torch.empty_like(pool[:, 0])
    nearest = torch.empty(len(pool), dtype=torch.int64, device=pool.device)
    # Credit 1 where the nearest is of the own set, 1/2 for a tie, else 0.
    for part, square in squared_blocks(pool, pool):
        square[:, part].fill_diagonal_(math.inf)
        nearest[part] = square.argmin(1)
        same = own[part, None] == own
        gap = square.masked_fill(same, math.inf).amin(1) - square.masked_fill(~same, math.inf).amin(
            1
        )
        credit[part] = (gap.sign() + 1) / 2
    # Mutual nearest neighbours make errors in pairs, which widens the variance.
    mutual = (nearest[nearest] == torch.arange(len(pool), device=pool.device)).double().mean()
    share = float(credit.mean())
    return normal_interval(
        share, math.sqrt(share * (1 - share) * (1 + float(mutual)) / len(pool)), level=level
    )
