"""Brute force on a law of five variables, of which it knows log p of whole rows only.

What is hidden is summed over: over its states, or over two lattices of points whose disagreement says how well the
integral is known. A VAE's law of whole rows is itself an integral over codes, a masked diffusion's a mean over orders.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from likeness.core.distribution import Distribution

D = 5
SUBSETS = [frozenset(s) for r in range(D + 1) for s in itertools.combinations(range(D), r)]
FINE = (1, 401, 101, 41, 20, 14)  # points along an axis of a lattice, by the number of axes
ROUGH = (
    1,
    201,
    61,
    21,
    12,
    10,
)  # where answers are estimates and lattices need be no better than they are
EDGE = 6.0  # half its width, in standard deviations: what lies outside weighs 1e-8
# Points that weigh less than so much of the heaviest are dropped once their sum is known
LIGHT = 1e-8
CODES, CODE_EDGE = 161, 6.0  # points along an axis of the codes
LOG_2PI = math.log(2 * math.pi)

Fineness = Callable[
    [frozenset[int]], Sequence[int]
]  # what is known -> points along an axis, by the number of axes
Joint = Callable[
    [Tensor], tuple[Tensor, Tensor | None]
]  # whole rows (N, D) -> log p (N,), its standard error


@dataclass(frozen=True, eq=False)
class Normals:
    """A mixture of Gaussians: log weights (K,), means (K, D), covariances (K, D, D)."""

    log_w: Tensor
    mean: Tensor
    cov: Tensor

    def log_density(self, x: Tensor, at: Sequence[int]) -> Tensor:
        """Log of the marginal density of the entries `at`, x (N, D), (N,)."""
        return self._each(x, at).logsumexp(-1)

    def _each(self, x: Tensor, at: Sequence[int]) -> Tensor:
        """log w_k + log N_k, (N, K)."""
        if not at:
            return self.log_w.expand(len(x), -1)
        at = list(at)
        tril = torch.linalg.cholesky(self.cov[:, at][:, :, at])
        u = torch.linalg.solve_triangular(tril, (x[:, at] - self.mean[:, None, at]).mT, upper=False)
        log_det = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return (
            self.log_w[:, None]
            - 0.5 * u.square().sum(1)
            - log_det[:, None]
            - 0.5 * len(at) * LOG_2PI
        ).T

    def conditional(self, x: Tensor, known: Sequence[int]) -> Normals:
        """The law of the other entries given those known of one row x (D,)."""
        a, b = list(known), [i for i in range(D) if i not in known]
        log_w = self._each(x[None], a)[0].log_softmax(-1)
        if not a:
            return Normals(log_w, self.mean, self.cov)
        gain = torch.linalg.solve(self.cov[:, a][:, :, a], self.cov[:, a][:, :, b]).mT
        mean = self.mean[:, b] + (gain @ (x[a] - self.mean[:, a])[..., None])[..., 0]
        return Normals(log_w, mean, self.cov[:, b][:, :, b] - gain @ self.cov[:, a][:, :, b])


# ---- brute force -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Found:
    """What brute force says of one row of which some entries are known.

    Args:
        log_p: Log p of what is known.
        error: How well that is known.
        x: Whole rows that stand for the law of the rest, (N, D).
        weight: What each stands for, (N,), adding up to 1.
        log_joint: Log p of each, (N,).
        half: Which of two lattices each lies on, (N,), or None.
    """

    log_p: float
    error: float
    x: Tensor
    weight: Tensor
    log_joint: Tensor
    half: Tensor | None = None

    def mean(self, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, standard deviation and error of the mean of functions f (N, F) of what is hidden."""
        mean = self.weight @ f
        std = (self.weight @ (f - mean).square()).clamp_min(0).sqrt()
        if self.half is None:
            return mean, std, torch.zeros_like(mean)
        one, two = (self.weight * h / (self.weight * h).sum() for h in (self.half, ~self.half))
        return mean, std, 0.5 * (one @ f - two @ f).abs()


class Brute(ABC):
    """The law of whole rows, and what follows from it by adding up."""

    def __init__(self, joint: Joint) -> None:
        self.joint = joint
        self.kept: dict[tuple[frozenset[int], tuple[float, ...]], Found] = {}

    def __call__(self, x: Tensor, known: frozenset[int]) -> Found:
        """What is to be said of one row x (D,)."""
        key = known, tuple(x[sorted(known)].tolist())
        if key not in self.kept:
            self.kept[key] = self._found(x, known)
        return self.kept[key]

    @abstractmethod
    def _found(self, x: Tensor, known: frozenset[int]) -> Found:
        """The same, computed."""


class States(Brute):
    """Every state of five bits."""

    @cached_property
    def table(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The states and log p of each."""
        states = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * D)
        return states, *self.joint(states)

    def _found(self, x: Tensor, known: frozenset[int]) -> Found:
        states, log_p, error = self.table
        at = sorted(known)
        here = (states[:, at] == x[at]).all(-1)
        weight = log_p[here].softmax(0)
        slack = 0.0 if error is None else float((weight * error[here]).norm())
        return Found(float(log_p[here].logsumexp(0)), slack, states[here], weight, log_p[here])


class Lattice(Brute):
    """Two lattices around each Gaussian of an envelope, each weighed by its Gaussian's share of the envelope.

    A trapezoidal sum of an analytic integrand that decays is exact up to exp(-2 pi^2 (std / step)^2), and the shares
    add up to 1, so the sum is of the joint alone; it is quickly right where the envelope resembles the joint.
    """

    def __init__(
        self, joint: Joint, envelope: Normals, fine: Fineness = lambda known: FINE
    ) -> None:
        super().__init__(joint)
        self.envelope, self.fine = envelope, fine

    def _found(self, x: Tensor, known: frozenset[int]) -> Found:
        hidden = [i for i in range(D) if i not in known]
        near = self.envelope.conditional(x, sorted(known))
        count, many = self.fine(known)[len(hidden)], range(len(near.log_w))
        parts = [
            self._around(x, hidden, near, k, shift, count) for k in many for shift in (0.0, 0.5)
        ]
        rows, volume, half, rim = (torch.cat(p) for p in zip(*parts, strict=True))
        log_joint, error = self.joint(rows)
        total = log_joint + volume
        weight = total.softmax(0)
        one, two = (
            (total[h].logsumexp(0) + math.log(2) for h in (half, ~half))
            if hidden
            else (total[0], total[0])
        )
        slack = 0.0 if error is None else float((weight * error).norm())
        cut = float(
            weight[rim].sum()
        )  # what lies outside, which neither lattice sees, weighs about as much
        off, heavy = abs(float(one - two)) / 2 + slack + cut, weight > LIGHT * weight.max()
        return Found(
            float(total.logsumexp(0)),
            off,
            rows[heavy],
            weight[heavy],
            log_joint[heavy],
            half[heavy],
        )

    def _around(
        self, x: Tensor, hidden: list[int], near: Normals, k: int, shift: float, count: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The lattice around component k: rows, log volumes (half, for there are two), which lattice, its rim."""
        if not hidden:
            volume = torch.full((1,), -math.log(2 * len(near.log_w)), dtype=x.dtype)
            return x[None], volume, torch.tensor([shift == 0]), torch.tensor([False])
        axis = torch.linspace(-EDGE, EDGE, count, dtype=x.dtype)
        step = float(axis[1] - axis[0])
        u = torch.cartesian_prod(*[axis + shift * step] * len(hidden)).reshape(-1, len(hidden))
        tril = torch.linalg.cholesky(near.cov[k])
        rows = x.repeat(len(u), 1)
        rows[:, hidden] = near.mean[k] + u @ tril.T
        inside = Normals(near.log_w, near.mean, near.cov)
        share = _share(inside, rows[:, hidden], k)
        volume = len(hidden) * math.log(step) + tril.diagonal().log().sum() - math.log(2) + share
        return rows, volume, torch.full((len(u),), shift == 0), u.abs().amax(-1) > EDGE - step


def _share(near: Normals, x: Tensor, k: int) -> Tensor:
    """Log of component k's share of a mixture at rows x (N, d), (N,)."""
    if len(near.log_w) == 1:
        return x.new_zeros(len(x))
    return near._each(x, range(x.shape[1])).log_softmax(-1)[:, k]


class Codes(Brute):
    """A VAE of reals, whose two codes are summed over: each is a product of normals."""

    def __init__(self, law: Any, draws: int = 40_000) -> None:
        super().__init__(lambda x: (self._each(x, range(D)).logsumexp(-1), None))
        self.log_w, self.mean, self.std = decoded(law)
        self.draws = draws

    def _each(self, x: Tensor, at: Sequence[int]) -> Tensor:
        """log w_z + log p(x_at | z), (N, Z)."""
        at = list(at)
        u = (x[:, None, at] - self.mean[:, at]) / self.std[:, at]
        return self.log_w + (-0.5 * u.square() - self.std[:, at].log() - 0.5 * LOG_2PI).sum(-1)

    def _found(self, x: Tensor, known: frozenset[int]) -> Found:
        each = self._each(x[None], sorted(known))[0]
        g = torch.Generator().manual_seed(len(known))
        z = torch.multinomial(each.softmax(-1), self.draws, replacement=True, generator=g)
        rows = self.mean[z] + self.std[z] * torch.randn(self.draws, D, generator=g, dtype=x.dtype)
        at = sorted(known)
        rows[:, at] = x[at]
        even = torch.full((self.draws,), 1 / self.draws, dtype=x.dtype)
        half = torch.arange(self.draws) % 2 == 0
        return Found(float(each.logsumexp(-1)), 0.0, rows, even, even, half)


def decoded(law: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights of a lattice of codes, means and standard deviations of the entries under each."""
    axis = torch.linspace(-CODE_EDGE, CODE_EDGE, CODES, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    log_w = (-0.5 * z.square().sum(-1)).log_softmax(0)
    told = law.decode(z)
    mean, top = told.mean, told.log_prob(told.mean)
    nudge = torch.eye(D, dtype=torch.float64)
    fall = torch.stack(
        [top - told.log_prob(mean + e) for e in nudge], -1
    )  # 1 / (2 std^2) of a normal
    return log_w, mean, (2 * fall).rsqrt()


# ---- joints ----------------------------------------------------------------------------------------------------------


def own(law: Distribution, given: float | None = None, effort: int | None = None) -> Joint:
    """log p of whole rows as the law says it."""

    def joint(x: Tensor) -> tuple[Tensor, Tensor | None]:
        told = None if given is None else torch.full((len(x), 1), given, dtype=x.dtype)
        scored = law.log_prob(x, given=told, effort=effort, seed=77)
        return scored.value, scored.stderr

    return joint


def of_codes(law: Any) -> Joint:
    """A VAE of bits: the sum over codes of the product of the bits' probabilities."""

    def joint(x: Tensor) -> tuple[Tensor, Tensor | None]:
        axis = torch.linspace(-CODE_EDGE, CODE_EDGE, CODES, dtype=torch.float64)
        z = torch.cartesian_prod(axis, axis)
        told, log_w = law.decode(z), (-0.5 * z.square().sum(-1)).log_softmax(0)
        return torch.stack(
            [(log_w + told.log_prob(row.expand(len(z), -1))).logsumexp(0) for row in x]
        ), None

    return joint


def of_orders(law: Any) -> Joint:
    """A masked diffusion of bits revealed one by one: the mean over all orders of the product of conditionals."""

    def joint(x: Tensor) -> tuple[Tensor, Tensor | None]:
        total = {frozenset[int](): x.new_zeros(len(x))}
        for seen in SUBSETS[:-1]:
            with torch.no_grad(), law.asking():
                visible = torch.tensor([i in seen for i in range(D)]).expand(x.shape)
                t = torch.full((len(x),), 1 - len(seen) / D, dtype=x.dtype)
                shown = torch.where(visible, x, 0).long()
                logits = law.process(
                    shown, visible, t, law._conditioning(None, None, len(x))
                ).log_softmax(-1)
            each = logits.gather(-1, x.long()[..., None])[..., 0]
            for i in set(range(D)) - seen:
                more = seen | {i}
                path = total[seen] + each[:, i] - math.log(len(more))
                total[more] = torch.logaddexp(total[more], path) if more in total else path
        return total[SUBSETS[-1]], None

    return joint


# ---- peaks -----------------------------------------------------------------------------------------------------------


def climbed(
    joint: Joint, x: Tensor, hidden: list[int], steps: int = 30, nudge: float = 1e-3
) -> Tensor:
    """The peak above x by Newton's method, derivatives by central differences of log p of whole rows."""
    h = len(hidden)
    eye = torch.zeros(h, D, dtype=x.dtype)
    eye[torch.arange(h), hidden] = nudge
    pairs = list(itertools.combinations(range(h), 2))
    for _ in range(steps):
        cross = [x + a * eye[i] + b * eye[j] for i, j in pairs for a in (1, -1) for b in (1, -1)]
        rows = torch.stack([x, *(x + eye), *(x - eye), *cross])
        value = joint(rows)[0]
        up, down = value[1 : h + 1], value[h + 1 : 2 * h + 1]
        slope, bend = (up - down) / (2 * nudge), torch.diag((up + down - 2 * value[0]) / nudge**2)
        for (i, j), (pp, pm, mp, mm) in zip(pairs, value[2 * h + 1 :].reshape(-1, 4), strict=True):
            bend[i, j] = bend[j, i] = (pp - pm - mp + mm) / (4 * nudge**2)
        top, axes = torch.linalg.eigh(bend)
        move = axes @ ((axes.T @ slope) / top.abs().clamp_min(1e-3))
        sizes = 0.5 ** torch.arange(20, dtype=x.dtype)
        tried = x.repeat(len(sizes), 1)
        tried[:, hidden] += sizes[:, None] * move
        found = joint(tried)[0]
        best = (
            int((found > value[0] - 1e-13).int().argmax())
            if bool((found >= value[0] - 1e-13).any())
            else -1
        )
        if best < 0 or float(move.norm()) < 1e-10:
            break
        x = tried[best]
    return x
