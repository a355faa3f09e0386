"""One Gaussian: closed form, exact marginals and conditionals; the joint of x and what is given."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from likeness.bijections.preprocess import Reals
from likeness.core.answers import Mode
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.context import Joined
from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.space import Space
from likeness.inference.em_model import ExactEMModel
from likeness.numerics import gaussian
from likeness.numerics.gram import gram
from likeness.registry import Card, register


class GaussianConfig(Config):
    """Options of `gaussian`."""

    covariance: Literal["full", "diagonal"] = option(
        "full", "full: any covariance; diagonal: independent entries"
    )
    classes: Literal["shared", "own"] = option(
        "shared", "under a label: one covariance for all classes, or one each"
    )
    shrinkage: float = option(
        0.0,
        "share of the covariance replaced by its mean variance times the identity; 0 is maximum likelihood",
        "objective",
        ge=0,
        le=1,
    )
    passes: int = option(
        50,
        "most passes of EM where entries are missing; one suffices where none is",
        "optimiser",
        ge=1,
    )


@register(
    Card(
        "gaussian",
        "One Gaussian",
        "classical",
        "Anderson, An Introduction to Multivariate Statistical Analysis",
        1958,
        "A multivariate normal with exact answers to every question: the baseline that everything must beat.",
    )
)
class Gaussian(ExactEMModel):
    """N(mean, cov) over (x, summary of given); a label has a mean of its own, and may have its own covariance.

    Ragged rows are laid out to the longest; a shorter one is the marginal of its own entries.
    """

    Config = GaussianConfig
    tolerance = 1e-6
    preprocessor: Reals
    mean: Tensor
    cov: Tensor

    def __init__(
        self, config: GaussianConfig, space: Space, given_space: Space | None = None
    ) -> None:
        super().__init__(config, space, given_space)
        self.preprocessor = Reals(space)
        self.joined = Joined(self.preprocessor.out, given_space, per_class=self.sums_classes())
        self.holes = False
        self._declare()

    @classmethod
    def _refuse(cls, config: GaussianConfig, space: Space, given_space: Space | None) -> str | None:
        named = any(v.type in {"nominal", "count"} or v.states == 2 for v in space.variables)
        if named:
            return "a Gaussian has no density on named categories: take `mixture` with components=1"
        return None

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        self.joined.fit(source)
        self.holes = any(not self.joined.whole(b) for b in source.chunks(65536))

    def _init(self) -> Parameters:
        """Unit normals."""
        size = self.joined.size
        classes = self.joined.classes
        mean = torch.zeros(classes, size, dtype=torch.float64)
        own = classes if self.config.classes == "own" else 1
        return {"mean": mean, "cov": torch.eye(size, dtype=torch.float64).repeat(own, 1, 1)}

    @property
    def iterative(self) -> bool:
        """One pass of sums is enough where nothing is missing."""
        return self.holes

    def _e_step(self, batch: Batch, params: Parameters) -> Parameters:
        """Sums of 1, E[v], E[v v'] over rows, for each class; E[v v'] pooled in the first where that is enough."""
        v, known = self.joined(batch)
        v = v.double()
        weight = batch.weights.double()
        # Responsibilities of the classes: one-hot where the label is known.
        hot = self._responsibilities(v, known, batch, params) * weight[:, None]
        # Missing entries need E[v] and E[v v'] given the
        # rest, and the log-likelihood tells when EM is done.
        if self.holes:
            sums = self._moments(v, known, hot, params)
        else:
            sums = self._whole(v, hot)
        if self.holes:
            objective = (self._log_joint(v, known, batch, params) * weight).sum()
        else:
            objective = weight.sum() * 0
        return {
            "n": hot.sum(0),
            "first": sums[0],
            "second": sums[1],
            "weight": weight.sum(),
            "objective": objective,
        }

    def _moments(
        self, v: Tensor, known: Tensor, hot: Tensor, now: Parameters
    ) -> tuple[Tensor, Tensor]:
        """Those of every class's rows, missing entries imputed by its own Gaussian."""
        covs = [now["cov"][min(k, len(self.cov) - 1)] for k in range(len(self.mean))]
        moments = [
            gaussian.moments(v, m, c, known, w)
            for m, c, w in zip(now["mean"], covs, hot.T, strict=True)
        ]
        first, second = zip(*moments, strict=True)
        return torch.stack(first), torch.stack(second)

    def _whole(self, v: Tensor, hot: Tensor) -> tuple[Tensor, Tensor]:
        """Those of whole rows, each row in the one product of its class or in the one of all."""
        first = hot.T @ v
        second = v.new_zeros(len(self.mean), v.shape[1], v.shape[1])
        # One class has all of a row's weight; its root on either side of v v'.
        weight = hot.amax(-1, keepdim=True)
        rows = v if bool((weight == 1).all()) else v * weight.sqrt()
        if len(self.cov) == 1:
            second[0] = gram(rows)
            return first, second
        # One product for each class, over its own rows.
        code = hot.argmax(-1)
        for k in code.unique().tolist():
            second[k] = gram(rows[(code == k).nonzero().flatten()])
        return first, second

    def _m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """Means and covariances that maximise the expected log-density, shrunk by `shrinkage`."""
        config: GaussianConfig = self.config
        n = sums["n"].clamp_min(1e-12)[:, None]
        # cov = sum (v - m)(v - m)' / n, by class or pooled over them.
        mean = sums["first"] / n
        scatter = sums["second"] - n[:, :, None] * mean[:, :, None] * mean[:, None, :]
        pooled = scatter.sum(0, keepdim=True) / sums["n"].sum()
        if config.classes == "shared":
            cov = pooled
        else:
            # A class of a single row has no covariance of its own.
            cov = torch.where(n[:, :, None] > 1, scatter / n[:, :, None], pooled)
        if config.covariance != "full":
            cov = torch.diag_embed(cov.diagonal(dim1=-2, dim2=-1))
        return {"mean": mean, "cov": gaussian.shrunk(cov, config.shrinkage)}

    def count(self) -> int:
        """Means, covariances, and one less than the classes."""
        k, d = self.mean.shape
        if self.config.covariance == "full":
            own = d * (d + 1) // 2
        else:
            own = d
        return k * d + len(self.cov) * own + k - 1

    # ---- classes ---------------------------------------------------------------------------------

    def _responsibilities(
        self, v: Tensor, known: Tensor, batch: Batch, params: Parameters
    ) -> Tensor:
        """p(class | row) under the parameters where the class is missing, its own class elsewhere, (B, K)."""
        hot = self.joined.hot(batch, self.class_prior).double()
        unknown = (hot.amax(-1) < 1) & (len(self.mean) > 1)
        # Bayes' rule among the classes for rows without a label.
        if bool(unknown.any()):
            joint = self._log_classes(v[unknown], known[unknown], params) + hot[unknown].log()
            hot[unknown] = joint.softmax(-1)
        return hot

    def _log_classes(self, v: Tensor, known: Tensor, params: Parameters) -> Tensor:
        """log p log_p each row in every class, (B, K)."""
        cov = params["cov"]
        classes = range(len(self.mean))
        log_p = [
            gaussian.log_density(v, params["mean"][k], cov[min(k, len(cov) - 1)], known)
            for k in classes
        ]
        return torch.stack(log_p, -1)

    def _parameters_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean (B, D + C) and covariance of each row's class."""
        k = self.joined.code(batch, self.class_prior)
        return self.mean[k], self.cov[0] if len(self.cov) == 1 else self.cov[k]

    def _log_joint(self, v: Tensor, known: Tensor, batch: Batch, params: Parameters) -> Tensor:
        prior = self.joined.hot(batch, self.class_prior).double().clamp_min(1e-300).log()
        return torch.logsumexp(self._log_classes(v, known, params) + prior, -1)

    # ---- hooks -----------------------------------------------------------------------------------

    def _log_density(self, batch: Batch) -> Tensor:
        """log p(x, s) - log p(s)."""
        v, known = self.joined(batch)
        mean, cov = self._parameters_of(batch)
        everything = bool(known.all()) and cov.dim() == 2
        value = gaussian.log_density(v, mean, cov, None if everything else known)
        if self.joined.summary is not None:
            value = value - gaussian.log_density(v, mean, cov, self.joined.alone(known))
        return value

    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        batch = batch.repeat(noise.rows // len(batch))
        v, known = self.joined(batch)
        mean, cov = self._parameters_of(batch)
        v_drawn = gaussian.conditional_draw(v, mean, cov, known, noise.normal("x", v.shape[-1]))
        return v_drawn[:, : self.joined.dims].reshape(batch.x.shape)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The conditional mean, which is the peak."""
        v, known = self.joined(batch)
        mean, cov = self._parameters_of(batch)
        x = gaussian.conditional_mean(v, mean, cov, known)[:, : self.joined.dims]
        return Mode(batch.with_x(x.reshape(batch.x.shape)), self._kind(), "conditional mean")
