"""Gaussians, mixtures of them, a linear-Gaussian latent model, a linear-Gaussian regression: all in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from likeness.core.answers import Completed, Kind, Mode
from likeness.core.batch import Batch, missing
from likeness.core.errors import BadConfig, Unsupported
from likeness.core.noise import Noise, generator
from likeness.core.row_distribution import Correlated, Normal
from likeness.core.space import Space, vector
from likeness.data.synthetic.base import (
    HALF_LOG_2PI_E,
    Condition,
    SyntheticClasses,
    SyntheticDistribution,
)
from likeness.data.synthetic.conditions import condition
from likeness.data.synthetic.mixture import SyntheticMixture, plane_entropy
from likeness.numerics.constants import HALF_LOG_2PI

ROWS = 512  # rows with a Cholesky factor of their own that are held at once


@final
class GaussianMixture(SyntheticMixture):
    """sum_k w_k N(m_k, S_k) over the flattened event; one component is a Gaussian.

    Holes: one Cholesky factor a row, with the identity in place of what is hidden; where what is
    present is a prefix (all of it, or an item of a ragged series) the factor of the whole serves,
    since a Cholesky factor's leading block is the block's own factor. Draws of what is hidden by
    Matheron's rule.

    Args:
        name: What reports call it.
        mean: m, (K, D).
        cov: S, (K, D, D).
        log_weights: Log w, (K,); equal unless told.
        space: What x is, D entries; a vector unless told.
        of_class: The class of each component, int64 (K,).
        condition: What is given, or None.
        lengths: The shortest and longest item of a ragged space.
        entropies: H(x | y) where it is known and a class has several components in more than 2-D,
            (C,).
    """

    def __init__(
        self,
        name: str,
        mean: Tensor,
        cov: Tensor,
        *,
        log_weights: Tensor | None = None,
        space: Space | None = None,
        of_class: Tensor | None = None,
        condition: Condition | None = None,
        lengths: tuple[int, int] | None = None,
        entropies: Tensor | None = None,
    ) -> None:
        if log_weights is None:
            weights = torch.zeros(len(mean))
        else:
            weights = log_weights
        super().__init__(
            name,
            space or vector(mean.shape[1]),
            weights,
            of_class=of_class,
            condition=condition,
            lengths=lengths,
        )
        # S_k = L_k L_k', (K, D, D); L^-1 whitens, and log det L scores.
        self.mean = mean.double()
        self.cov = cov.double()
        self.tril = torch.linalg.cholesky(self.cov)
        self.whiten = torch.linalg.inv(self.tril)
        self.log_scale = self.tril.diagonal(dim1=-2, dim2=-1).log()
        self.entropies = entropies

    def diffused(self, alpha: float, sigma: float) -> GaussianMixture:
        """The distribution of alpha x + sigma eps with eps ~ N(0, I)."""
        # Moments of alpha x + sigma eps: alpha m and alpha^2 S + sigma^2 I.
        cov = alpha**2 * self.cov + sigma**2 * torch.eye(self.mean.shape[1], dtype=self.dtype)
        # log w_k = log sum_c p(c) p(k | c): the components' weights without the class.
        log_weights = (self.prior.log() + self.log_weights.T).logsumexp(-1)
        return GaussianMixture(
            self.name,
            alpha * self.mean,
            cov,
            log_weights=log_weights,
            space=self.space,
            of_class=self.of_class,
            condition=self.condition,
            lengths=self.lengths,
        )

    def _components(self, batch: Batch) -> Tensor:
        # Everything known lies in front: whitened by the whole factor's leading block, (B, K, D).
        x = batch.x.flatten(1)
        known = batch.present.flatten(1)
        if bool((known[:, 1:] <= known[:, :-1]).all()):
            z = torch.einsum("bkd,ked->bke", (x[:, None] - self.mean) * known[:, None], self.whiten)
            cost = 0.5 * z.square() + self.log_scale + HALF_LOG_2PI
            return -(cost * known[:, None]).sum(-1)
        # Any other pattern: a Cholesky factor for each row and component.
        parts = zip(x.split(ROWS), known.split(ROWS), strict=True)
        return torch.cat([self._with_holes(*part) for part in parts])

    def _with_holes(self, x: Tensor, known: Tensor) -> Tensor:
        # Hidden entries have the identity's block, residual 0, and no term in the sum.
        tril = torch.linalg.cholesky(_observed_block(self.cov, known[:, None]))
        rest = ((x[:, None] - self.mean) * known[:, None])[..., None]
        z = torch.linalg.solve_triangular(tril, rest, upper=False)[..., 0]
        cost = 0.5 * z.square() + tril.diagonal(dim1=-2, dim2=-1).log() + HALF_LOG_2PI
        return -(cost * known[:, None]).sum(-1)

    def _fill_component(self, batch: Batch, k: Tensor, noise: Noise) -> Tensor:
        # An unconditional draw of the chosen component, (B, K, D) -> (B, D).
        eps = noise.normal("x", self.mean.shape[1])
        all_drawn = self.mean + torch.einsum("bd,ked->bke", eps, self.tril)
        sample = all_drawn[torch.arange(len(k)), k]
        x = batch.x.flatten(1)
        known = batch.present.flatten(1)
        # Matheron's rule: x = z + S[:, o] S[o, o]^-1 (x_o - z_o) has the conditional distribution.
        if bool(known.any()):
            parts = zip(
                x.split(ROWS), known.split(ROWS), k.split(ROWS), sample.split(ROWS), strict=True
            )
            sample = torch.cat([self._regressed(xs, ks, c, z, z) for xs, ks, c, z in parts])
        return torch.where(known, x, sample).reshape(batch.x.shape)

    def _regressed(self, x: Tensor, known: Tensor, k: Tensor, at: Tensor, around: Tensor) -> Tensor:
        """The sum at + S[:, o] S[o, o]^-1 (x_o - around_o) under component k of each row, (B, D)."""
        # S[o, o]^-1 (x_o - around_o), with zeros where hidden.
        rest = torch.where(known, x - around, 0.0)[..., None]
        tril = torch.linalg.cholesky(_observed_block(self.cov[k], known))
        weights = torch.where(known, torch.cholesky_solve(rest, tril)[..., 0], 0.0)
        return at + torch.einsum("bde,be->bd", self.cov[k], weights)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        # One component: the mode is the mean m + S[:, o] S[o, o]^-1 (x_o - m_o).
        x = batch.x.flatten(1)
        known = batch.present.flatten(1)
        k = torch.zeros(len(x), dtype=torch.int64)
        filled = self._regressed(x, known, k, self.mean[k], self.mean[k])
        best = torch.where(known, x, filled).reshape(batch.x.shape)
        return Mode(batch.with_x(best), Kind.EXACT, "the conditional mean")

    def _why_not(self, verb: str) -> str | None:
        if verb == "mode" and len(self.mean) > 1:
            return "a Gaussian mixture's mode has no closed form"
        return super()._why_not(verb)

    def _class_entropy(self, y: int) -> float:
        # The components that class y has.
        own = torch.nonzero(self.log_weights[y] > -torch.inf).flatten()
        if self.entropies is not None:
            return float(self.entropies[y])
        if len(own) == 1:
            return self._gaussian_entropy(int(own[0]))
        # Several components: quadrature over the plane, out to 9 standard deviations.
        if self.mean.shape[1] != 2:
            raise Unsupported(
                f"{self.name}: the entropy of this mixture is not known", do="give `entropies`"
            )
        spread = self.cov[own].diagonal(dim1=-2, dim2=-1).sqrt()
        narrowest = float(torch.linalg.eigvalsh(self.cov[own]).min().sqrt())
        low = (self.mean[own] - 9 * spread).amin(0)
        high = (self.mean[own] + 9 * spread).amax(0)
        return plane_entropy(self, y, low, high, narrowest / 4)

    def _gaussian_entropy(self, k: int) -> float:
        """H of component k, its mean over lengths where items are ragged."""
        # A Cholesky factor's leading block is the factor of a prefix, so sums of its logarithms
        # are the entropies of all prefixes, (D,).
        each = (self.log_scale[k] + HALF_LOG_2PI_E).cumsum(0)
        if self.lengths is None:
            return float(each[-1])
        steps = torch.arange(self.lengths[0], self.lengths[1] + 1) * math.prod(
            self.space.layout[1:]
        )
        return float(each[steps - 1].mean())


def _observed_block(cov: Tensor, known: Tensor) -> Tensor:
    """The covariance of what is known, with the identity in place of the rest."""
    both = known[..., :, None] & known[..., None, :]
    return torch.where(both, cov, torch.eye(cov.shape[-1], dtype=cov.dtype))


@final
class LinearGaussian(SyntheticClasses):
    """z ~ N(0, I_L), x | z ~ N(W z + b, sigma^2 I_D): evidence, posterior and every ELBO in closed form.

    Tipping & Bishop 1999 (probabilistic PCA). The evidence is N(b, W W^T + sigma^2 I); the
    posterior is N(m, S) with S = (I + W^T W / sigma^2)^-1 and m = S W^T (x - b) / sigma^2.

    Args:
        weight: W, (D, L).
        sigma: The noise's standard deviation.
        bias: b, (D,); 0 unless told.
    """

    def __init__(self, weight: Tensor, sigma: float, *, bias: Tensor | None = None) -> None:
        d, latents = weight.shape
        super().__init__("linear_gaussian", vector(d))
        self.weight = weight.double()
        self.sigma = sigma
        if bias is None:
            self.bias = torch.zeros(d, dtype=self.dtype)
        else:
            self.bias = bias.double()
        self.codes = vector(latents)
        # The evidence is Gaussian: W W' + sigma^2 I.
        cov = self.weight @ self.weight.T + sigma**2 * torch.eye(d, dtype=self.dtype)
        self.evidence = GaussianMixture("linear_gaussian", self.bias[None], cov[None])

    def elbo(self, x: Tensor, q: Correlated) -> Tensor:
        """E_q[log p(x, z) - log q(z)] in closed form, x (B, D), (B,); log p(x) where q is the posterior."""
        d, latents = self.weight.shape
        # E_q[log p(x | z)]: the residual at q's mean, plus the spread that W carries over.
        rest = x.double() - self.bias - q.loc @ self.weight.T
        squares = rest.square().sum(-1) + (self.weight @ q.factor).square().sum((-2, -1))
        fit = -squares / (2 * self.sigma**2) - d * (HALF_LOG_2PI + math.log(self.sigma))
        # E_q[log p(z)]
        prior = (
            -0.5 * (q.loc.square().sum(-1) + q.factor.square().sum((-2, -1)))
            - latents * HALF_LOG_2PI
        )
        # H(q)
        own = q.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + latents * HALF_LOG_2PI_E
        return fit + prior + own

    def widened(self, x: Tensor, scale: float = 1.5) -> Correlated:
        """The distribution N(m, scale S), whose ELBO is log p(x) - `gap(scale)`."""
        q = self._posterior(Batch(x.double()))
        return replace(
            q,
            factor=q.factor * math.sqrt(scale),
            kind=Kind.ESTIMATE,
            how=f"posterior widened {scale} times",
        )

    def gap(self, scale: float = 1.5) -> float:
        """KL(N(m, scale S) || N(m, S)) = L (scale - 1 - log scale) / 2, nats: 0.0473 for scale 1.5 and one latent."""
        return self.weight.shape[1] * 0.5 * (scale - 1 - math.log(scale))

    def _posterior(self, batch: Batch) -> Correlated:
        # S^-1 = I + W_o' W_o / sigma^2 over the observed entries, (B, L, L).
        known = batch.present.to(batch.x)
        gram = torch.einsum("bd,dk,dl->bkl", known, self.weight, self.weight) / self.sigma**2
        cov = torch.linalg.inv(gram + torch.eye(self.weight.shape[1]))
        # m = S W_o' (x_o - b_o) / sigma^2, (B, L)
        pull = ((batch.x - self.bias) * known) @ self.weight / self.sigma**2
        loc = torch.einsum("bkl,bl->bk", cov, pull)
        tril = torch.linalg.cholesky(cov)
        return Correlated(self.code_space, batch.ids, Kind.EXACT, "the posterior", loc, tril)

    def _score_class(self, batch: Batch, y: Tensor) -> Tensor:
        return self.evidence._score_class(batch, y)

    def _fill(self, batch: Batch, y: Tensor, noise: Noise) -> Tensor:
        return self.evidence._fill(batch, y, noise)

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        return self.evidence._mode(batch, settings)

    def _encode(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Correlated:
        return self._posterior(batch)

    def _decode(self, z: Tensor, given: Batch | None, index: Tensor) -> Normal:
        loc = z @ self.weight.T + self.bias
        return Normal(
            self.space, index, Kind.EXACT, "W z + b", loc, torch.full_like(loc, self.sigma)
        )

    def _class_entropy(self, y: int) -> float:
        return self.evidence._class_entropy(y)


@final
class Regression(SyntheticDistribution):
    """x = slope c + offset + e with c ~ N(0, I) and e from a Gaussian mixture: p(x | c) is e's distribution, moved.

    (x, c) is one Gaussian mixture, so a condition that is missing, or missing in part, is
    integrated exactly.

    Args:
        slope: (D, C).
        noise: The distribution of e, over D reals and two of them if it has several components.
    """

    def __init__(self, slope: Tensor, noise: GaussianMixture) -> None:
        d, c = slope.shape
        super().__init__("regression", vector(d), vector(c))
        # The joint covariance of (x, c): [[S_e + A A', A], [A', I]], (K, D + C, D + C).
        slope = slope.double()
        k = len(noise.mean)
        mean = torch.cat([noise.mean, torch.zeros(k, c)], -1)
        top = torch.cat([noise.cov + slope @ slope.T, slope.expand(k, -1, -1)], -1)
        low = torch.cat([slope.T, torch.eye(c)], -1).expand(k, -1, -1)
        self.residual = noise
        self.slope = slope
        self.joint = GaussianMixture(
            "joint", mean, torch.cat([top, low], -2), log_weights=noise.log_weights[0]
        )

    def _density(self, batch: Batch) -> Tensor:
        # log p(x | c) = log p(x, c) - log p(c).
        whole = self._jointly(batch)
        condition_alone = whole.hide(torch.arange(whole.x.shape[1]) < self.space.dims)
        return self.joint._density(whole) - self.joint._density(condition_alone)

    def _jointly(self, batch: Batch) -> Batch:
        given = batch.condition
        # (x, c) side by side, (B, D + C)
        x = torch.cat([batch.x, given.x], -1)
        return Batch(x, observed=torch.cat([batch.present, given.present], -1), index=batch.ids)

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        return self._drawn(replace(missing(self.space, noise.rows, self.slope), given=given), noise)

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        x = self._drawn(batch.repeat(n), noise.draws(n))
        return Completed(x.reshape(n, *batch.x.shape), "the truth's own conditional")

    def _drawn(self, batch: Batch, noise: Noise) -> Tensor:
        # x is what is hidden of (x, c)
        joint = self._jointly(batch)
        return self.joint._fill(joint, torch.zeros_like(noise.index), noise)[:, : self.space.dims]

    def _draw_given(self, noise: Noise) -> Batch:
        return Batch(noise.normal("given", self.condition_space.dims), index=noise.index)

    def _entropy(self) -> float:
        return self.residual.entropy


def gaussian(
    *, n: int = 2, rho: float = 0.8, mean: float = 0.0, sigma: float = 1.0
) -> GaussianMixture:
    """n reals of correlation rho^|i - j|, means and standard deviations alike; entropy in closed form.

    Raises:
        BadConfig: If rho is not between -1 and 1.
    """
    if not -1 < rho < 1:
        raise BadConfig(f"a correlation of {rho}", do="choose -1 < rho < 1")
    place = torch.arange(n).double()
    cov = sigma**2 * torch.tensor(rho, dtype=torch.float64) ** (place[:, None] - place).abs()
    return GaussianMixture("gaussian", torch.full((1, n), mean), cov[None])


def mixture43(*, n: int = 43, components: int = 10, seed: int = 0) -> GaussianMixture:
    """Means N(0, I), covariances A A^T / n + 0.1 I with standard normal A, weights softmax(0.5 normal).

    The components barely overlap: H = sum_k w_k (H_k - log w_k) - H(k | x) with H(k | x) = 7e-10
    nats for the default seed, which is left out.
    """
    # Random but fixed: the generator depends on the seed alone.
    g = generator(seed, 43)
    mean = torch.randn((components, n), generator=g, dtype=torch.float64)
    a = torch.randn((components, n, n), generator=g, dtype=torch.float64)
    cov = a @ a.mT / n + 0.1 * torch.eye(n, dtype=torch.float64)
    log_w = (0.5 * torch.randn(components, generator=g, dtype=torch.float64)).log_softmax(0)
    # H = sum_k w_k (H_k - log w_k), since components barely overlap.
    own = 0.5 * torch.logdet(cov) + n * HALF_LOG_2PI_E
    entropy = (log_w.exp() * (own - log_w)).sum()
    return GaussianMixture("mixture43", mean, cov, log_weights=log_w, entropies=entropy[None])


def lifted(
    name: str,
    n: int,
    plane: GaussianMixture,
    *,
    condition: Condition | None = None,
    seed: int = 5,
) -> GaussianMixture:
    """A mixture of the plane beside n - 2 standard normals, all mixed by one fixed matrix A: x = A (u, v).

    H(x) = H(u) + (n - 2) log(2 pi e) / 2 + log |det A|, so a mixture of full covariances has a
    known entropy.
    """
    k = len(plane.mean)
    # A close to the identity, so that log|det A| is moderate.
    g = generator(seed, n)
    a = torch.eye(n) + 0.5 * torch.randn((n, n), generator=g, dtype=torch.float64) / math.sqrt(n)
    # Means (u, 0) and covariances [[S_u, 0], [0, I]], both mapped by A.
    mean = torch.cat([plane.mean, torch.zeros(k, n - 2)], -1) @ a.T
    cov = torch.eye(n, dtype=torch.float64).repeat(k, 1, 1)
    cov[:, :2, :2] = plane.cov
    # H(x | y) = H(u | y) + (n - 2) H(N(0, 1)) + log|det A|
    planes = [plane._class_entropy(y) for y in range(plane.classes)]
    entropies = torch.tensor(planes) + (n - 2) * HALF_LOG_2PI_E + torch.linalg.slogdet(a)[1]
    return GaussianMixture(
        name,
        mean,
        a @ cov @ a.T,
        log_weights=(plane.prior.log() + plane.log_weights.T).logsumexp(-1),
        of_class=plane.of_class,
        condition=plane.condition if condition is None else condition,
        entropies=entropies,
    )


def mixture5(*, n: int = 5, given: str | None = None) -> GaussianMixture:
    """Three Gaussians of unlike weight and covariance over n correlated reals; the class is the component."""
    mean = torch.tensor([[-2.0, 0.0], [2.0, 1.0], [0.5, -2.5]], dtype=torch.float64)
    cov = torch.tensor(
        [[[0.6, 0.4], [0.4, 0.8]], [[0.5, -0.3], [-0.3, 0.4]], [[1.0, 0.2], [0.2, 0.3]]]
    )
    log_weights = torch.tensor([0.5, 0.3, 0.2]).log()
    plane = GaussianMixture(
        "plane",
        mean,
        cov,
        log_weights=log_weights,
        of_class=torch.arange(3),
        condition=condition(given, 3),
    )
    return lifted("mixture5", n, plane)


def linear_gaussian(*, sigma: float = 0.5, latents: int = 1, n: int = 2) -> LinearGaussian:
    """A fixed W of n rows and so many latents, with a bias."""
    g = generator(latents, n)
    weight = torch.randn((n, latents), generator=g, dtype=torch.float64)
    return LinearGaussian(weight, sigma, bias=torch.linspace(-1, 1, n, dtype=torch.float64))


def regression() -> Regression:
    """Two reals given a vector of 3: linear in it, with noise from two Gaussians."""
    mean = torch.tensor([[-0.6, 0.3], [0.9, -0.45]], dtype=torch.float64)
    cov = torch.tensor([[[0.10, 0.04], [0.04, 0.20]], [[0.30, -0.10], [-0.10, 0.15]]])
    noise = GaussianMixture("noise", mean, cov, log_weights=torch.tensor([0.6, 0.4]).log())
    return Regression(torch.tensor([[1.0, -0.5, 0.0], [0.25, 0.75, 1.5]]), noise)


GAUSSIAN: dict[str, Callable[..., SyntheticDistribution]] = {
    "gaussian": gaussian,
    "mixture5": mixture5,
    "mixture43": mixture43,
    "linear_gaussian": linear_gaussian,
    "regression": regression,
}
