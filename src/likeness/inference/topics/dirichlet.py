"""Dirichlet distributions of shares that add up to 1: as posteriors of a row's code, and their fit to data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.noise import Noise
from likeness.core.row_distribution import RowDistribution

LEAST = 1e-4  # weights that data may lead to
MOST = 1e6
STEPS = 30
HALVES = 20
CLOSE = 1e-9  # a relative step that ends Newton's


@dataclass(frozen=True, eq=False, repr=False)
class Dirichlet(RowDistribution):
    """Dirichlet(weights) over K shares for each row, weights (B, K)."""

    weights: Tensor

    @property
    def mean(self) -> Tensor:
        """The weights, scaled to add up to 1."""
        return self.weights / self.weights.sum(-1, keepdim=True)

    @property
    def mode(self) -> Tensor:
        """The peak among things of weights above 1, the others 0; where no weight is, all on the heaviest."""
        # The mode is (w_k - 1) / sum (w - 1) where all w > 1;
        # else the density peaks on an edge or in a corner.
        above = (self.weights - 1).clamp(min=0)
        total = above.sum(-1, keepdim=True)
        corner = torch.nn.functional.one_hot(self.weights.argmax(-1), self.weights.shape[-1]).to(
            above
        )
        return torch.where(total > 0, above / total.clamp(min=1e-300), corner)

    def log_prob(self, z: Tensor) -> Tensor:
        """The log-density of the first K - 1 shares, (B,)."""
        return torch.xlogy(self.weights - 1, z).sum(-1) - log_norm(self.weights)

    def draw(self, noise: Noise) -> Tensor:
        """Gamma numbers, scaled to add up to 1."""
        n = noise.rows // len(self.weights)
        return log_shares(self.weights.repeat(n, 1), noise, "z").exp()


def log_norm(weights: Tensor) -> Tensor:
    """Log of prod_k Gamma(w_k) / Gamma(sum_k w_k), (...)."""
    return torch.lgamma(weights).sum(-1) - torch.lgamma(weights.sum(-1))


def mean_log(weights: Tensor) -> Tensor:
    """E log share_k = psi(w_k) - psi(sum_k w_k), (..., K)."""
    return torch.digamma(weights) - torch.digamma(weights.sum(-1, keepdim=True))


def log_density(log_z: Tensor, weights: Tensor) -> Tensor:
    """The log-density of shares with these logarithms, (...)."""
    return ((weights - 1) * log_z).sum(-1) - log_norm(weights)


def log_shares(weights: Tensor, noise: Noise, use: str) -> Tensor:
    """Logarithms of one draw of each row's shares, (B, K), finite however small the weights.

    Gamma(w) = Gamma(w + 1) U^(1 / w) (Stuart 1962), and Gamma(w + 1) by inverse CDF.
    """
    from scipy.special import gammaincinv  # torch has no inverse of the incomplete gamma function

    # Two uniforms a share: one for Gamma(w + 1) by inverse CDF, one for the power U^(1/w), which
    # may be far below the least double and therefore stays a logarithm.
    u = noise.uniform(use, 2, weights.shape[-1]).to(weights)
    u = u.clamp(min=2.0**-54)
    body = torch.from_numpy(
        gammaincinv((weights + 1).double().cpu().numpy(), u[:, 0].double().cpu().numpy())
    )
    return (body.to(weights).log() + u[:, 1].log() / weights).log_softmax(-1)


def fitted(weights: Tensor, mean: Tensor, *, symmetric: bool) -> Tensor:
    """The weights (K,) that make shares of these mean logarithms (K,) likeliest, by Newton's method from `weights`.

    Maximises -log_norm(w) + sum_k w_k mean_k over all w, or over equal ones, a step halved until it
    rises (Minka 2000, Estimating a Dirichlet distribution, eqs. 15 to 18; Blei, Ng & Jordan 2003,
    A.4.2).
    """
    # Equal weights see the mean logarithms through their average alone.
    if symmetric:
        mean = mean.mean().expand_as(mean)

    def height(w: Tensor) -> float:
        return float((w * mean).sum() - log_norm(w))

    w = weights
    likelihood = height(weights)
    for _ in range(STEPS):
        # Halve the step until the weights stay positive and the likelihood does not fall.
        step = _newton(w, mean, symmetric=symmetric)
        converged = False
        for half in range(HALVES):
            proposal = w + step / 2**half
            if (
                bool((proposal > 0).all())
                and (risen := height(proposal.clamp(LEAST, MOST))) >= likelihood
            ):
                proposal = proposal.clamp(LEAST, MOST)
                converged = bool(((proposal - w).abs() <= CLOSE * w).all())
                w = proposal
                likelihood = risen
                break
        else:
            return w
        if converged:
            break
    return w


def _newton(w: Tensor, mean: Tensor, *, symmetric: bool) -> Tensor:
    """Newton's step; the Hessian is a diagonal and a constant, so that its inverse takes O(K)."""
    slope = mean - mean_log(w)
    own = -torch.polygamma(1, w)
    common = torch.polygamma(1, w.sum())
    if symmetric:  # one number, whose second derivative is the sum of all
        return -slope.sum() / (own.sum() + len(w) ** 2 * common) * torch.ones_like(w)
    # Sherman-Morrison for H = diag(own) + shared 1 1' (Minka 2000, eqs. 15 to 18).
    b = (slope / own).sum() / (1 / common + (1 / own).sum())
    return (b - slope) / own
