"""Covariances of a linear-Gaussian chain's states, filtered forward and smoothed backward.

They depend on which entries of a step are observed, not on their values: rows with the same missing entries share
    them, and once they have converged to their stationary value they are no longer computed (Kalman 1960; Rauch,
    Tung & Striebel 1965).

Legend: L steps, Q latents, G groups of rows that know the same steps, P patterns of what a step
    knows, D steps whose
covariances differ from those before.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.inference.state_space.observations import System

REST = 1e-14  # change of a covariance, as a share of its variances, below which it has come to rest


@dataclass(frozen=True, eq=False)
class Filtered:
    """Filtered covariances, one entry for each step that differs from the one before.

    Args:
        place: Which entry each step has, L of them.
        since: The first step of each entry, and L behind them, D + 1.
        cov: Cov(z_t | x up to t), (D, G, Q, Q).
        root: root root' = cov.
        keep: I - cov Lambda: what the step's own x leaves of a prediction.
        log_det: log |I + S' Lambda S| of the prediction's covariance S S', (D, G).
        back: J = cov A' (A cov A' + Q)^-1, which smoothing goes back by.
    """

    place: list[int]
    since: list[int]
    cov: Tensor
    root: Tensor
    keep: Tensor
    log_det: Tensor
    back: Tensor


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Smoothed covariances, one entry for each step that differs from the one behind.

    Args:
        place: Which entry each step has, int64 (L,).
        cov: Cov(z_t | x), (D, G, Q, Q).
        cross: Cov(z_t+1, z_t | x), 0 at the last step.
    """

    place: Tensor
    cov: Tensor
    cross: Tensor

    def total(self, weight: Tensor) -> Tensor:
        """Sum of covariances of steps of that weight (L, G), (Q, Q)."""
        return self._sum(self.cov, weight)

    def total_cross(self, weight: Tensor) -> Tensor:
        """The same of a step and the one behind it, weight (L, G) of the former."""
        return self._sum(self.cross, weight)

    def _sum(self, of: Tensor, weight: Tensor) -> Tensor:
        each = weight.new_zeros(of.shape[:2]).index_add_(0, self.place[: len(weight)], weight)
        return torch.einsum("dg,dgij->ij", each, of)


@dataclass(frozen=True, eq=False)
class Update:
    """A step's covariance given its own x, cov = root root', and the factor of its determinant.

    Args:
        cov: P, (G, Q, Q).
        root: A root of it, (G, Q, Q).
        scale: The diagonal of the Cholesky factor of I + S' Lambda S, (G, Q).
    """

    cov: Tensor
    root: Tensor
    scale: Tensor


def filter_covariances(system: System, information: Tensor, code: Tensor) -> Filtered:
    """The forward recursion in which x's information is added, P = (P_predicted^-1 + Lambda)^-1.

    Args:
        system: The parameters.
        information: Lambda = C' R^-1 C of what each pattern knows, (P, Q, Q).
        code: Which pattern each step of each group knows, int64 (L, G).
    """
    # Steps at which what is known changes: up to the next one a covariance at rest stays as it is.
    steps = len(code)
    changes = [*((code[1:] != code[:-1]).any(-1).nonzero().flatten() + 1).tolist(), steps]
    ahead = system.first_cov.expand(code.shape[1], -1, -1)
    eye = torch.eye(ahead.shape[-1]).to(ahead)
    updates = list[Update]()
    since = list[int]()
    # One entry per step until all groups rest, then a jump to the next change.
    t = 0
    while t < steps:
        update = _updated(ahead, information[code[t]], eye)
        updates.append(update)
        since.append(t)
        then = _predicted(system, update.cov)
        rests = alike(ahead, then)
        t = changes[bisect_right(changes, t)] if bool(rests.all()) else t + 1
        # Where a covariance rests and the next step knows the same, the next one is the same to the bit.
        # What the smoother needs of all entries at once: I - P Lambda and J = P A' (A P A' +
        # Q)^-1.
        if t < steps:
            stays = rests & (code[t] == code[t - 1])
            ahead = torch.where(stays[:, None, None], ahead, then)

    cov = torch.stack([update.cov for update in updates])
    own = information[code[torch.tensor(since, device=code.device)]]
    since.append(steps)
    ahead_root = torch.linalg.cholesky(_predicted(system, cov))
    return Filtered(
        place=[d for d in range(len(updates)) for _ in range(since[d], since[d + 1])],
        since=since,
        cov=cov,
        root=torch.stack([update.root for update in updates]),
        keep=eye - cov @ own,
        log_det=2 * torch.stack([update.scale for update in updates]).log().sum(-1),
        back=torch.cholesky_solve(system.step @ cov, ahead_root).mT,
    )


def _updated(ahead: Tensor, information: Tensor, eye: Tensor) -> Update:
    """A predicted covariance S S' after the step's information Lambda, by the Cholesky factor of I + S' Lambda S."""
    # P = (P_predicted^-1 + Lambda)^-1 = S (I + S' Lambda S)^-1 S': a sum of squares, so that
    # rounding cannot make it indefinite (square-root filter).
    spread = torch.linalg.cholesky(ahead)
    factor = torch.linalg.cholesky(eye + spread.mT @ information @ spread)
    root = torch.linalg.solve_triangular(factor, spread.mT, upper=False).mT
    return Update(root @ root.mT, root, factor.diagonal(dim1=-2, dim2=-1))


def _predicted(system: System, cov: Tensor) -> Tensor:
    """A cov A' + Q, (..., Q, Q)."""
    return system.step @ cov @ system.step.T + system.step_cov


def backward_root(system: System, filtered: Filtered) -> Tensor:
    """A root of Cov(z_t | z_t+1, x up to t) = (cov^-1 + A' Q^-1 A)^-1, (D, G, Q, Q)."""
    # With U = Q^-1/2 A root, the covariance is root (I + U'U)^-1 root': again a sum of squares.
    root = filtered.root
    step_root = torch.linalg.cholesky(system.step_cov)
    u = torch.linalg.solve_triangular(step_root, system.step @ root, upper=False)
    factor = torch.linalg.cholesky(torch.eye(u.shape[-1]).to(u) + u.mT @ u)
    return torch.linalg.solve_triangular(factor, root.mT, upper=False).mT


def smooth_covariances(filtered: Filtered, behind: Tensor) -> Smoothed:
    """The backward recursion P_t|L = V_t + J_t P_t+1|L J_t', a sum of squares (Rauch, Tung & Striebel 1965).

    Args:
        filtered: The forward recursion.
        behind: Its `backward_root`, a root of V.
    """
    # From the last step, whose smoothed covariance is the filtered one.
    left = behind @ behind.mT
    cov = filtered.cov[filtered.place[-1]]
    entries = [(cov, torch.zeros_like(cov))]
    place = [0]
    rests = False
    for t in range(len(filtered.place) - 2, -1, -1):
        here = filtered.place[t]
        same = here == filtered.place[t + 1]
        # A smoothed covariance at rest stays so while the filtered ones before it are shared.
        if not (rests and same):
            gain = filtered.back[here]
            # Cov(z_t+1, z_t | x) = P_t+1|L J_t'.
            cross = cov @ gain.mT
            before = left[here] + gain @ cross
            rests = same and bool(alike(before, cov).all())
            cov = before
            entries.append((cov, cross))
        place.append(len(entries) - 1)
    covs, crosses = zip(*entries, strict=True)
    laid = torch.tensor(place[::-1], device=cov.device)
    return Smoothed(laid, torch.stack(covs), torch.stack(crosses))


def alike(a: Tensor, b: Tensor) -> Tensor:
    """Whether covariances (G, Q, Q) agree to rounding, bool (G,)."""
    std = b.diagonal(dim1=-2, dim2=-1).sqrt()
    return ((a - b).abs() <= REST * std[:, :, None] * std[:, None, :]).flatten(1).all(-1)
