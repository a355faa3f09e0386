"""Directed graphs of reals: each a linear regression on its parents with Gaussian noise, jointly one Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.inference.bayes_net.graph import Edges, Net, Parents, View, spanning
from likeness.numerics import gaussian


class Linear(Net):
    """x_j = a_j + sum_i B_ji x_i + e_j over the parents i of j: N(mean, (I - B)^-1 V (I - B)^-T).

    Args:
        size: D.
        parents: The parents of each variable, or None where a tree is to be learned.
    """

    def __init__(self, size: int, parents: Parents | None = None) -> None:
        self.size = size
        self.parents = parents

    def init(self, variance: Tensor | None = None) -> Parameters:
        """Independent unit normals."""
        d = self.size
        adjacent = torch.zeros(d, d, dtype=torch.bool)
        for j, above in enumerate(self.parents or ()):
            adjacent[j, list(above)] = True
        return {"mean": torch.zeros(d).double(), "cov": torch.eye(d).double(), "adjacent": adjacent}

    def start(
        self, rows: View, weight: Tensor, noise: Noise, restarts: int, trial: int
    ) -> Parameters:
        """Means and covariances of the pairs that are both observed, if entries are missing."""
        if not self.holes:
            return self.init()
        x, known = rows
        # Means over the known entries, covariances over the pairs that are both known.
        w = weight[:, None] * known
        v = x * known
        mean = (w * v).sum(0) / w.sum(0).clamp(min=1e-12)
        v = (v - mean) * known
        both = w.T @ known.double()
        cov = (v * weight[:, None]).T @ v / both.clamp(min=1e-12)
        return self._fitted(mean, cov, self.init()["adjacent"])

    def e_step(self, rows: View, weight: Tensor, now: Parameters) -> Parameters:
        """Sums of E[x] and E[x x'] given what is known."""
        x, known = rows
        if self.holes:
            first, second = gaussian.moments(x, now["mean"], now["cov"], known, weight)
            objective = self.log_prob(rows, now) @ weight
        else:
            first = weight @ x
            second = (x * weight[:, None]).T @ x
            objective = weight.sum() * 0
        return {"first": first, "second": second, "weight": weight.sum(), "objective": objective}

    def m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """Regressions on parents; the tree of greatest mutual information -log(1 - rho^2) / 2 where none is given.

        Expected moments hold every pair, so that the tree too is the best for them (structural EM;
        Friedman 1998).
        """
        n = sums["weight"].clamp(min=1e-12)
        mean = sums["first"] / n
        return self._fitted(mean, sums["second"] / n - mean[:, None] * mean, before["adjacent"])

    def _fitted(self, mean: Tensor, cov: Tensor, adjacent: Tensor) -> Parameters:
        # Without given parents: Chow-Liu, for mutual
        # information rises with the squared correlation.
        cov = gaussian.shrunk(cov, 0.0)
        if self.parents is None:
            std = cov.diagonal().sqrt()
            parent = spanning((cov / std / std[:, None]).square())
            adjacent = torch.zeros_like(adjacent)
            child = (parent >= 0).nonzero().flatten()
            adjacent[child, parent[child]] = True
        return {"mean": mean, "cov": implied(*regressions(cov, adjacent)), "adjacent": adjacent}

    # ---- answers ---------------------------------------------------------------------------------

    def log_prob(self, rows: View, now: Parameters) -> Tensor:
        """The joint Gaussian's log-density of the observed entries."""
        x, known = rows
        return gaussian.log_density(
            x, now["mean"], now["cov"], None if bool(known.all()) else known
        )

    def draw(self, rows: View, now: Parameters, noise: Noise) -> Tensor:
        """Missing entries from the joint Gaussian's conditional."""
        x, known = rows
        n = noise.rows // len(x)
        normal = noise.normal("x", self.size).double()
        return gaussian.conditional_draw(
            x.repeat(n, 1), now["mean"], now["cov"], known.repeat(n, 1), normal
        )

    def mode(self, rows: View, now: Parameters) -> tuple[Tensor, bool]:
        """The conditional mean, which is the peak."""
        x, known = rows
        return gaussian.conditional_mean(x, now["mean"], now["cov"], known), True

    def free_parameters(self, now: Parameters) -> int:
        """A mean and a variance each, and a slope for each edge."""
        return 2 * self.size + int(now["adjacent"].sum())

    def edges(self, now: Parameters) -> list[Edges]:
        """The edges (parent, child) of the graph."""
        return [[(int(i), int(j)) for j, i in now["adjacent"].nonzero().tolist()]]


def regressions(cov: Tensor, adjacent: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes B (D, D) of each variable on its parents (adjacent[j, i]: i is a parent of j), residual variances (D,)."""
    d = len(cov)
    most = int(adjacent.sum(-1).max())
    count = adjacent.sum(-1)
    # Parents of each variable side by side, padded to the largest number of parents, (D, most).
    above = (~adjacent).to(torch.int8).argsort(dim=-1, stable=True)[:, :most]  # parents first
    real = torch.arange(most) < count[:, None]
    # (D, most, most): covariances of the parents, identity where padded.
    within = cov[above[:, :, None], above[:, None, :]]
    within = torch.where(real[:, :, None] & real[:, None, :], within, torch.eye(most).double())
    cross = torch.where(real, cov[torch.arange(d)[:, None], above], 0.0)
    # Normal equations of every regression at once.
    slope = torch.cholesky_solve(cross[..., None], torch.linalg.cholesky(within)).squeeze(-1)
    left = cov.diagonal() - (slope * cross).sum(-1)
    b = torch.zeros_like(cov).scatter_add(1, above, slope)
    return b, left.clamp(min=1e-12 * float(cov.diagonal().mean()))


def implied(b: Tensor, left: Tensor) -> Tensor:
    """The covariance (I - B)^-1 V (I - B)^-T."""
    root = torch.linalg.solve(torch.eye(len(b)).to(b) - b, torch.diag(left.sqrt()))
    return root @ root.T
