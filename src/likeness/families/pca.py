"""Probabilistic PCA and factor analysis: a Gaussian of few directions, in closed form, or by EM if entries miss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from likeness.bijections.preprocess import Reals
from likeness.core import plates
from likeness.core.answers import Kind, Mode
from likeness.core.batch import Batch, missing
from likeness.core.config import Config, option
from likeness.core.context import Joined
from likeness.core.learner import EM, Parameters
from likeness.core.noise import Noise
from likeness.core.preprocessor import Source
from likeness.core.row_distribution import Correlated, RowDistribution
from likeness.core.space import Space, vector
from likeness.inference.em_model import ExactEMModel
from likeness.inference.mixture.row_gaussian import RowGaussian
from likeness.numerics import memory
from likeness.numerics.constants import LOG_2PI
from likeness.numerics.gram import gram
from likeness.registry import Card, register

FLOOR = 1e-9  # least variance of the noise, in units of the data's own
ROOM = 1 << 24  # numbers in a chunk's second moments of codes
CHUNK = 1 << 16  # rows at most


class PCAConfig(Config):
    """Options of `pca`."""

    components: int = option(2, "directions, at most one fewer than the numbers that x has", ge=1)
    noise: Literal["isotropic", "diagonal"] = option(
        "isotropic",
        "isotropic: one variance for all (probabilistic PCA); diagonal: one each (factor analysis)",
    )
    scale: bool = option(
        True, "whether columns are brought to unit variance first, so that units do not matter"
    )
    passes: int = option(
        500,
        "most passes of EM, where there is no closed form: factor analysis, missing entries",
        "optimiser",
        ge=1,
    )
    tolerance: float = option(
        1e-7, "EM stops where a pass gains less, in nats a row", "optimiser", ge=0
    )


@register(
    Card(
        "pca",
        "Probabilistic PCA and factor analysis",
        "classical",
        "Tipping & Bishop, Probabilistic principal component analysis",
        1999,
        "The few directions in which data vary, with exact answers to every question.",
    )
)
class PCA(ExactEMModel):
    """v = mean + W z + e with z ~ N(0, I) and e ~ N(0, psi), of v = (x, summary of given); a label has its own mean.

    W is the data's leading directions: columns orthogonal in units of the noise, the largest first.
    """

    Config = PCAConfig
    codes: Space
    preprocessor: Reals
    mean: Tensor
    weight: Tensor
    psi: Tensor

    def __init__(self, config: PCAConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        self.preprocessor = Reals(space)
        self.joined = Joined(self.preprocessor.out, given_space, per_class=self.sums_classes())
        self.components = min(config.components, self.joined.dims - 1)
        self.codes = vector(self.components)
        self.holes = False
        self._declare()

    @classmethod
    def _refuse(cls, config: PCAConfig, space: Space, given_space: Space | None) -> str | None:
        if any(v.type in {"nominal", "count"} or v.states == 2 for v in space.variables):
            return "directions of named categories are no Gaussian's: take `mixture`, or `autoregressive`"
        if space.dims < 2:
            return "one number has no directions: take `gaussian`"
        return None

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        return {"components": 1 if space.dims < 4 else 3, "passes": 30}

    def graph(self) -> plates.Graph:
        """The code z of a row, which x depends on, and the condition unless it is a label."""
        z = plates.Node("z", "latent", self.codes)
        labelled = self.joined.classes > 1
        condition = () if labelled else plates.given(self)
        ties = (plates.Edge("z", "x"), *(plates.Edge("z", g.key) for g in condition))
        return plates.rows(self, z, ties=ties, under=("x",) if labelled else ())

    # ---- learning --------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> None:
        if not self.config.scale:
            self.preprocessor.scale.fill_(float(self.preprocessor.scale.square().mean().sqrt()))
        self.joined.fit(source)
        self.holes = any(not self.joined.whole(b) for b in source.chunks(65536))

    def _init(self) -> Parameters:
        """Unit normals, without directions."""
        size = self.joined.size
        mean = torch.zeros(self.joined.classes, size, dtype=torch.float64)
        weight = torch.zeros(size, self.components, dtype=torch.float64)
        return {"mean": mean, "weight": weight, "psi": torch.ones(size, dtype=torch.float64)}

    @property
    def iterative(self) -> bool:
        """The covariance alone is enough where rows are whole; EM goes over rows with missing entries."""
        return self.holes

    @property
    def chunk_rows(self) -> int:
        """As many as the second moments of their codes have room for."""
        return min(CHUNK, max(64, ROOM // (self.components + self.joined.classes) ** 2))

    def learner(self) -> EM:
        """EM; where rows are whole their covariance says what a pass would."""
        return replace(super().learner(), known=None if self.holes else self._settled_sums)

    def _start(self, task: Any, noise: Noise) -> Parameters:
        """W = U (L - s^2)^1/2 of the leading eigenvalues, s^2 the mean of the others (Tipping & Bishop, eq. 7 and 8).

        Missing entries count as their column's mean.
        """
        # One pass: sums of 1, v and v v' over the rows, for each class and pooled.
        total = first = torch.zeros(self.mean.shape, dtype=torch.float64)
        second = torch.zeros(self.mean.shape[1:] * 2, dtype=torch.float64)
        for batch, _ in task.everything(memory.cached(self.joined.size)):
            v, known = self.joined(batch)
            hot = (
                self.joined.hot(batch, self.class_prior).double() * batch.weights.double()[:, None]
            )
            v = v.double() if not self.holes else v.double() * known
            total = total + (hot.T @ known.double() if self.holes else hot.sum(0)[:, None])
            first = first + hot.T @ v
            if batch.weight is None:
                second += gram(v)
            else:
                second += gram(v * batch.weight.double().sqrt()[:, None])
        # Covariance about the class means, and its eigenvalues in rising order.
        mean = first / total.clamp_min(1e-12)
        cov = (second - (mean * total).T @ mean) / total.sum(0).amax()
        values, vectors = torch.linalg.eigh(cov)
        # s^2 is the mean of the eigenvalues left out; W has the leading directions above it.
        rest = values[: -self.components].mean().clamp_min(FLOOR)
        weight = (vectors * (values - rest).clamp_min(0).sqrt())[:, -self.components :]
        if not self.holes and self.config.noise == "isotropic" and self.joined.summary is None:
            return self._with_height(
                {"mean": mean, "weight": weight, "psi": rest.expand(len(cov))}, cov, total
            )
        # Factor analysis: noise of each entry from what W leaves of its variance.
        psi = (cov.diagonal() - weight.square().sum(-1)).clamp_min(
            1e-2 * cov.diagonal().clamp_min(FLOOR)
        )
        now = {"mean": mean, "weight": weight, "psi": self._alike(psi, torch.ones_like(psi))}
        if self.holes:
            return now
        return self._with_height(self._settled(now, cov), cov, total)

    def _settled(self, now: Parameters, cov: Tensor) -> Parameters:
        """W at its best under psi, then psi by EM under that W, in turn, from the covariance of whole rows.

        W = psi^1/2 U (L - 1)^1/2 of psi^-1/2 cov psi^-1/2 (Jöreskog 1967, eq. 15).
        """
        before = torch.tensor(-torch.inf)
        # Alternate: W is the closed form under psi (Jöreskog 1967), psi one step of EM under W.
        for _ in range(self.config.passes):
            root = now["psi"].sqrt()
            values, vectors = torch.linalg.eigh(cov / root / root[:, None])
            values = values[-self.components :]
            vectors = vectors[:, -self.components :]
            now = now | {"weight": root[:, None] * vectors * (values - 1).clamp_min(0).sqrt()}
            value = self._height(now, cov)
            if value - before < self.config.tolerance:
                break
            before = value
            weight = now["weight"]
            # E[z z'] summed over rows, from the covariance alone: M^-1 + G cov G'.
            factor = self._precision(torch.ones(1, len(cov), dtype=torch.bool), now)[0]
            gain = torch.cholesky_solve((weight / now["psi"][:, None]).T, factor)
            second = torch.cholesky_inverse(factor) + gain @ cov @ gain.T
            residual = cov.diagonal() + ((weight @ second - 2 * cov @ gain.T) * weight).sum(-1)
            now = now | {"psi": self._alike(residual, torch.ones_like(residual))}
        return now

    def _height(self, now: Parameters, cov: Tensor) -> Tensor:
        """The mean of log N(v; mean, W W' + psi) over whole rows of that covariance."""
        # Woodbury: v'(W W' + psi)^-1 v = v' psi^-1 v - |M^-1/2 W' psi^-1 v|^2.
        factor = self._precision(torch.ones(1, len(cov), dtype=torch.bool), now)[0]
        scaled = now["weight"] / now["psi"][:, None]
        gained = torch.cholesky_solve(scaled.T @ cov @ scaled, factor).diagonal().sum()
        log_det = now["psi"].log().sum() + 2 * factor.diagonal().log().sum()
        return -0.5 * ((cov.diagonal() / now["psi"]).sum() - gained + log_det + len(cov) * LOG_2PI)

    def _with_height(self, now: Parameters, cov: Tensor, total: Tensor) -> Parameters:
        """The same with its mean log p, classes included, and the weight of the rows: no pass over them is left."""
        weight = total[:, 0].sum()
        share = total[:, 0] / weight
        height = self._height(now, cov) + torch.special.xlogy(share, share).sum()
        return now | {"height": height, "rows": weight}

    def _settled_sums(self, now: Parameters) -> Parameters:
        """The sums of a pass over complete rows, from their covariance alone."""
        return {"objective": now["height"] * now["rows"], "weight": now["rows"]}

    def _alike(self, squares: Tensor, count: Tensor) -> Tensor:
        """Noise variances from sums of squared residuals and their counts: one for all of x where isotropic."""
        psi = squares / count.clamp_min(1e-12)
        own = self.joined.dims
        if self.config.noise == "isotropic":
            psi = torch.cat([(squares[:own].sum() / count[:own].sum()).expand(own), psi[own:]])
        return psi.clamp_min(FLOOR)

    def _e_step(self, batch: Batch, now: Parameters) -> Parameters:
        """For every number of v the sums of h h', h v and v^2 of its regression on h = (z, class)."""
        weight = batch.weights.double()
        v, known = self.joined(batch)
        # Responsibilities of the classes, then sums for each class and over them.
        shares, value = self._shares(
            v.double(), known, self.joined.hot(batch, self.class_prior).double(), now
        )
        sums = [
            self._sums(v.double(), known, shares[:, k] * weight, k, now)
            for k in range(self.joined.classes)
        ]
        outer, cross, square = (torch.stack(parts).sum(0) for parts in zip(*sums, strict=True))
        count = known.double().T @ weight
        return {
            "outer": outer,
            "cross": cross,
            "square": square,
            "seen": count,
            "objective": (value * weight).sum(),
            "weight": weight.sum(),
        }

    def _sums(
        self, v: Tensor, known: Tensor, share: Tensor, k: int, now: Parameters
    ) -> tuple[Tensor, Tensor, Tensor]:
        # h = (E z, class indicator); E[h h'] adds the posterior covariance F F' in its z block.
        loc, factor = self._posterior(v - now["mean"][k], known, now)
        hot = torch.nn.functional.one_hot(torch.tensor(k), self.joined.classes).to(v)
        h = torch.cat([loc, hot.expand(len(v), -1)], -1)
        second = h[:, :, None] * h[:, None, :]
        second[:, : self.components, : self.components] += factor @ factor.mT
        there = known.double() * share[:, None]
        v = v * known
        outer = (there.T @ second.flatten(1)).unflatten(-1, h.shape[-1:] * 2)
        return outer, (v * share[:, None]).T @ h, (v.square() * share[:, None]).sum(0)

    def _m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """Each number's regression on codes and class, and what it leaves (Rubin & Thayer 1982, eq. 6 and 7)."""
        if not self.holes:
            return before
        # Regression of each entry on h by its normal equations, with a ridge of rounding size.
        outer = sums["outer"]
        ridge = 1e-12 * outer.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None] + 1e-30
        outer = outer + ridge * torch.eye(outer.shape[-1]).to(outer)
        slope = torch.linalg.solve(outer, sums["cross"][..., None]).squeeze(-1)
        psi = self._alike(sums["square"] - (slope * sums["cross"]).sum(-1), sums["seen"])
        return {
            "mean": slope[:, self.components :].T,
            "weight": slope[:, : self.components],
            "psi": psi,
        }

    def _canonical(self, params: Parameters) -> Parameters:
        """The directions turned to be the principal ones, the largest loading of each positive."""
        # SVD of the noise-scaled weights: orthogonal
        # directions in falling order, signs made definite.
        root = params["psi"].sqrt()[:, None]
        u, s, _ = torch.linalg.svd(params["weight"] / root, full_matrices=False)
        loadings = root * u * s
        sign = loadings.gather(0, loadings.abs().argmax(0, keepdim=True)).sign()
        return params | {"weight": loadings * sign}

    def count(self) -> int:
        """Means, noise, and the directions less their rotations."""
        (k, d) = self.mean.shape
        q = self.components
        if self.config.noise == "isotropic":
            noise = 1 + d - self.joined.dims
        else:
            noise = d
        return k * d + d * q - q * (q - 1) // 2 + noise + k - 1

    # ---- codes -----------------------------------------------------------------------------------

    def _precision(self, known: Tensor, now: Parameters) -> Tensor:
        """Cholesky factors of M = I + W' psi^-1 W over what is known, (B, Q, Q), or (1, Q, Q) where all is."""
        weight = now["weight"]
        eye = torch.eye(self.components).to(now["weight"])
        # Nothing missing: one factor serves all rows.
        if bool(known.all()):
            return torch.linalg.cholesky(eye + weight.T @ (weight / now["psi"][:, None]))[None]
        # M sums w_d w_d' / psi_d over the observed entries of each row, (B, Q * Q).
        outer = (weight[:, :, None] * weight[:, None, :] / now["psi"][:, None, None]).flatten(1)
        return torch.linalg.cholesky(
            eye + (known.double() @ outer).unflatten(-1, (self.components,) * 2)
        )

    def _posterior(self, gap: Tensor, known: Tensor, now: Parameters) -> tuple[Tensor, Tensor]:
        """Mean (B, Q) and a factor (B, Q, Q), F F' the covariance, of z given the known of v - mean."""
        factor = self._precision(known, now).expand(len(gap), -1, -1)
        pull = (gap * known / now["psi"]) @ now["weight"]
        loc = torch.cholesky_solve(pull[..., None], factor).squeeze(-1)
        eye = torch.eye(self.components).to(factor).expand_as(factor)
        return loc, torch.linalg.solve_triangular(factor, eye, upper=False).mT

    def _log_gaussian(self, gap: Tensor, known: Tensor, now: Parameters) -> Tensor:
        """log N(v; mean, W W' + psi) of what is known, by Woodbury's identity: O(D Q^2) a row."""
        factor = self._precision(known, now)
        psi = now["psi"]
        known = known.to(gap)
        pull = ((gap * known / psi) @ now["weight"])[..., None]
        u = torch.linalg.solve_triangular(
            factor.expand(len(gap), -1, -1), pull, upper=False
        ).squeeze(-1)
        square = (gap.square() * known / psi).sum(-1) - u.square().sum(-1)
        log_det = known @ psi.log() + 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (square + log_det + known.sum(-1) * LOG_2PI)

    def _shares(
        self, v: Tensor, known: Tensor, hot: Tensor, now: Parameters
    ) -> tuple[Tensor, Tensor]:
        """p(class | row), its own where it is known, (B, K), and log p of the row, (B,)."""
        log_p = [self._log_gaussian(v - mean, known, now) for mean in now["mean"]]
        joint = torch.stack(log_p, -1) + hot.clamp_min(1e-300).log()
        return joint.softmax(-1), joint.logsumexp(-1)

    def _mean_of(self, batch: Batch, v: Tensor, known: Tensor) -> Tensor:
        """The mean of each row's class, or of its likeliest one, (B, D)."""
        hot = self.joined.hot(batch, self.class_prior)
        if len(self.mean) > 1 and bool((hot.amax(-1) < 1).any()):
            hot = self._shares(v, known, hot.double(), self.fitted)[0]
        return self.fitted["mean"][hot.argmax(-1)]

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """v less its mean, what of it is known, the mean."""
        v, known = self.joined(batch)
        v = v.double()
        mean = self._mean_of(batch, v, known)
        return v - mean, known, mean

    # ---- hooks -----------------------------------------------------------------------------------

    def _log_density(self, batch: Batch) -> Tensor:
        """log p(x, s) - log p(s)."""
        gap, known, _ = self._read(batch)
        value = self._log_gaussian(gap, known, self.fitted)
        if self.joined.summary is not None:
            value = value - self._log_gaussian(gap, self.joined.alone(known), self.fitted)
        return value

    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        """A code given what is known, then what is hidden given the code."""
        batch = batch.repeat(noise.rows // len(batch))
        gap, known, mean = self._read(batch)
        # z from its posterior, then the hidden entries from N(mean + W z, psi).
        loc, factor = self._posterior(gap, known, self.fitted)
        z = loc + (factor * noise.normal("z", self.components).double()[:, None]).sum(-1)
        eps = noise.normal("x", self.joined.size).double()
        v = mean + z @ self.fitted["weight"].T + self.fitted["psi"].sqrt() * eps
        return self._as_x(torch.where(known, gap + mean, v), batch)

    def _as_x(self, v: Tensor, batch: Batch) -> Tensor:
        return v[:, : self.joined.dims].reshape(batch.x.shape).to(self.dtype)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The conditional mean, which is the peak."""
        gap, known, mean = self._read(batch)
        v = mean + self._posterior(gap, known, self.fitted)[0] @ self.fitted["weight"].T
        x = self._as_x(torch.where(known, gap + mean, v), batch)
        return Mode(batch.with_x(x), self._kind(), "conditional mean")

    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        """The posterior of z given what is known: N(M^-1 W' psi^-1 (v - mean), M^-1)."""
        gap, known, _ = self._read(batch)
        loc, factor = self._posterior(gap, known, self.fitted)
        classed = not self.joined.per_class or self.joined.whole(_x_complete(batch))
        lower = torch.linalg.cholesky(factor @ factor.mT)
        return Correlated(
            self.codes,
            batch.ids,
            self._kind() if classed else Kind.ESTIMATE,
            "posterior",
            loc.to(self.dtype),
            lower.to(self.dtype),
        )

    def _decode(self, z: Tensor, given: Batch | None, index: Tensor) -> RowDistribution:
        """N(mean + W z, psi), in data units."""
        batch = replace(missing(self.inner_space, len(z), self.mean), given=given, index=index)
        mean = self._mean_of(batch, *self.joined(batch))
        loc = (mean + z.double() @ self.fitted["weight"].T)[:, : self.joined.dims].to(self.dtype)
        factor = torch.diag_embed(self.psi[: self.joined.dims].sqrt().expand_as(loc)).to(self.dtype)
        kind = self._kind(Kind.LOWER_BOUND)
        return RowGaussian(self.space, index, kind, "linear", self.preprocessor, loc, factor)


def _x_complete(batch: Batch) -> Batch:
    """The row as if x were complete: what matters is whether its class is known."""
    return replace(batch, observed=None)
