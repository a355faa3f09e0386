"""scikit-learn estimators over any family: densities, clusters, classes, codes, anomalies, in pipelines and searches.

Columns are taken as real numbers, NaN as missing. Options of a family stand in `options`, as in
`Density("mixture", options={"components": 5})`, so that a search sets them whole; tables of named
columns keep them.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    DensityMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import likeness.routes  # noqa: F401 - registers the ways of answering
from likeness.core.batch import Batch
from likeness.core.errors import LikenessError
from likeness.core.model import Model
from likeness.core.space import label, vector
from likeness.data.source import Table
from likeness.learn.fit import start
from likeness.learn.run import Run

Array = NDArray[Any]
STEPS = "500 steps"  # of gradients; the most passes of EM, which stops earlier


class _Estimator(BaseEstimator):
    """What all share: how a family is chosen and fitted.

    Args:
        family: Any family's name.
        options: Its options, by name; None for the defaults.
        budget: Of the fit: "500 steps", "1m", "10 epochs".
        seed: Of initial weights, row order, noise and draws.
    """

    model_: Model

    def __init__(
        self,
        family: str = "mixture",
        *,
        options: dict[str, Any] | None = None,
        budget: str = STEPS,
        seed: int = 0,
    ) -> None:
        self.family = family
        self.options = options
        self.budget = budget
        self.seed = seed

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _seen(self, x: Any, *, reset: bool) -> Array:
        """Rows as double numbers, NaN where missing; infinities refused."""
        found: Array = validate_data(
            self,
            x,
            reset=reset,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
        )
        return found

    def _learn(
        self,
        x: Array,
        weight: Any = None,
        classes: Array | None = None,
        names: int = 0,
        more: dict[str, Any] | None = None,
    ) -> Self:
        """A model of the rows, under classes where there are any; `more` options than the user's own."""
        if weight is None:
            weights = None
        else:
            weights = torch.from_numpy(_check_sample_weight(weight, x, dtype=np.float64))
        if classes is None:
            given = None
        else:
            given = Batch(torch.from_numpy(classes[:, None].astype(np.float64)))
        data = Table(
            vector(x.shape[1], names=_names(self, x.shape[1])),
            _batch(x, weights, given),
            None if classes is None else label(names),
            name="X",
        )
        try:
            model = start(
                self.family, {**(self.options or {}), **(more or {})}, data, seed=self.seed
            )
            self.model_ = Run(model, data, self.budget, self.seed).fit()
        except LikenessError as error:
            raise ValueError(f"{error} (n_features={x.shape[1]}, n_samples={len(x)})") from error
        self.n_iter_ = max(1, int(self.model_.facts.get("iterations", 1)))
        return self

    def _rows(self, x: Any) -> Batch:
        check_is_fitted(self)
        return _batch(self._seen(x, reset=False))

    def _log_prob(self, x: Any) -> Array:
        rows = self._rows(x)
        return np.asarray(self.model_.log_prob(rows, seed=self.seed).value, dtype=np.float64)

    def _encoded(self, rows: Batch) -> Array:
        """The mean code of each row; of a code that is a category, its chances."""
        return np.asarray(
            self.model_.encode(rows, seed=self.seed).mean.flatten(1), dtype=np.float64
        )


class Density(DensityMixin, _Estimator):
    """A density: `score_samples` is log p of each row in nats, exact or a bound as the family has it (`model_`)."""

    def fit(self, x: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows (n, d)."""
        return self._learn(self._seen(x, reset=True), sample_weight)

    def score_samples(self, x: Any) -> Array:
        """log p of each row, (n,)."""
        return self._log_prob(x)

    def score(self, x: Any, y: Any = None) -> float:
        """The sum of log p over rows, as scikit-learn's densities have it."""
        return float(self._log_prob(x).sum())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """New rows, (n, d)."""
        check_is_fitted(self)
        drawn = self.model_.sample(n_samples, seed=_seed(random_state)).x
        return np.asarray(drawn, dtype=np.float64)


class Clusters(ClusterMixin, _Estimator):
    """Clusters by a family whose codes are categories: a mixture's components, the likeliest for each row.

    Args:
        n_clusters: How many components the mixture has.
        family: As elsewhere, with an option `components`.
        options: Others.
        budget: As elsewhere.
        seed: As elsewhere.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        family: str = "mixture",
        options: dict[str, Any] | None = None,
        budget: str = STEPS,
        seed: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        super().__init__(family, options=options, budget=budget, seed=seed)

    def fit(self, x: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows (n, d)."""
        seen = self._seen(x, reset=True)
        if len(seen) < self.n_clusters:
            raise ValueError(f"n_samples={len(seen)} should be >= n_clusters={self.n_clusters}")
        self._learn(seen, sample_weight, more={"components": self.n_clusters})
        if self.model_.codes is None or self.model_.codes.label is None:
            raise ValueError(f"codes of {self.family} are no clusters: take family='mixture'")
        self.labels_ = self.predict(x)
        return self

    def predict_proba(self, x: Any) -> Array:
        """The share of every component in each row, (n, k)."""
        return self._encoded(self._rows(x))

    def predict(self, x: Any) -> Array:
        """The likeliest component of each row, (n,)."""
        return self.predict_proba(x).argmax(-1)


class Classifier(ClassifierMixin, _Estimator):
    """Classes by Bayes' rule: p(y | x) is in proportion to p(y) p(x | y); missing features are integrated out.

    Args:
        family: One that takes a label as its condition; `discriminant` by default.
        options: Its options.
        budget: As elsewhere.
        seed: As elsewhere.
        priors: A weight for each class; None: as learned.
    """

    def __init__(
        self,
        family: str = "discriminant",
        *,
        options: dict[str, Any] | None = None,
        budget: str = STEPS,
        seed: int = 0,
        priors: Any = None,
    ) -> None:
        self.priors = priors
        super().__init__(family, options=options, budget=budget, seed=seed)

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from rows (n, d) and their classes (n,)."""
        found, targets = validate_data(
            self, x, y, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2
        )
        check_classification_targets(targets)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, found, dtype=np.float64)
            counted = sample_weight > 0
            found = found[counted]
            targets = targets[counted]
            sample_weight = sample_weight[counted]
        self.classes_, codes = np.unique(targets, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"the classifier needs 2 classes or more; the data hold one class: {self.classes_[0]!r}"
            )
        return self._learn(found, sample_weight, codes, len(self.classes_))

    def predict_log_proba(self, x: Any) -> Array:
        """log p(y | x), (n, k)."""
        rows = self._rows(x)
        posterior = self.model_.classify(rows, prior=self.priors, seed=self.seed)
        return np.asarray(posterior.logits, dtype=np.float64)

    def predict_proba(self, x: Any) -> Array:
        """p(y | x), (n, k)."""
        return np.exp(self.predict_log_proba(x))

    def predict(self, x: Any) -> Array:
        """The likeliest class of each row, (n,)."""
        best = self.predict_log_proba(x).argmax(-1)
        chosen: Array = self.classes_[best]
        return chosen


class Codes(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Estimator):
    """Codes of rows: the mean of what `encode` answers, such as principal components or a VAE's latent code.

    Args:
        family: One that encodes; `pca` by default.
        options: Its options.
        budget: As elsewhere.
        seed: As elsewhere.
    """

    def __init__(
        self,
        family: str = "pca",
        *,
        options: dict[str, Any] | None = None,
        budget: str = STEPS,
        seed: int = 0,
    ) -> None:
        super().__init__(family, options=options, budget=budget, seed=seed)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, x: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows (n, d)."""
        self._learn(self._seen(x, reset=True), sample_weight)
        self._n_features_out = int(
            self._encoded(_batch(np.zeros((1, self.n_features_in_)))).shape[1]
        )
        return self

    def transform(self, x: Any) -> Array:
        """The mean code of each row, (n, q)."""
        return self._encoded(self._rows(x))

    def inverse_transform(self, z: Any) -> Array:
        """The mean of x at each code, (n, d)."""
        check_is_fitted(self)
        return np.asarray(
            self.model_.decode(np.asarray(z, dtype=np.float64)).mean, dtype=np.float64
        )


class Anomalies(OutlierMixin, _Estimator):
    """Rows of low density: `decision_function` is log p less the level below which `contamination` of the rows lie.

    Args:
        family: Any with a log p.
        options: Its options.
        budget: As elsewhere.
        seed: As elsewhere.
        contamination: The share of the training rows that count as strange.
    """

    def __init__(
        self,
        family: str = "mixture",
        *,
        options: dict[str, Any] | None = None,
        budget: str = STEPS,
        seed: int = 0,
        contamination: float = 0.1,
    ) -> None:
        self.contamination = contamination
        super().__init__(family, options=options, budget=budget, seed=seed)

    def fit(self, x: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows (n, d)."""
        if not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination must be in (0, 0.5], got: {self.contamination}")
        self._learn(self._seen(x, reset=True), sample_weight)
        self.offset_ = _level(self.score_samples(x), sample_weight, self.contamination)
        return self

    def score_samples(self, x: Any) -> Array:
        """log p of each row, (n,): lower is stranger."""
        return self._log_prob(x)

    def decision_function(self, x: Any) -> Array:
        """log p above the level, (n,): negative for strange rows."""
        return self.score_samples(x) - self.offset_

    def predict(self, x: Any) -> Array:
        """-1 for strange rows, 1 for the others, (n,)."""
        return np.where(self.decision_function(x) < 0, -1, 1)


def _batch(x: Array, weight: torch.Tensor | None = None, given: Batch | None = None) -> Batch:
    missing = np.isnan(x)
    if missing.any():
        observed = torch.from_numpy(~missing)
    else:
        observed = None
    return Batch(torch.from_numpy(np.where(missing, 0.0, x)), observed, weight=weight, given=given)


def _level(scores: Array, weight: Any, share: float) -> float:
    """The score below which that share of the rows, as they weigh, lie."""
    order = scores.argsort(kind="stable")
    if weight is None:
        mass = np.ones(len(scores))
    else:
        mass = np.asarray(weight, dtype=np.float64)[order]
    reached = np.searchsorted(mass.cumsum(), share * mass.sum() * (1 + 1e-12), side="right")
    return float(scores[order][min(int(reached), len(scores) - 1)])


def _names(estimator: BaseEstimator, columns: int) -> tuple[str, ...]:
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return tuple(f"x{i}" for i in range(columns))
    return tuple(map(str, names))


def _seed(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(2**31 - 1))


__all__ = ["Anomalies", "Classifier", "Clusters", "Codes", "Density"]
