"""Synthetic data in the plane: ring, grid, moons, spirals, checkerboard, pinwheel.

All but the last know every marginal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import numpy as np
import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import vector
from likeness.data.synthetic.base import Condition
from likeness.data.synthetic.conditions import condition
from likeness.data.synthetic.mixture import SyntheticMixture, plane_entropy
from likeness.numerics.constants import HALF_LOG_2PI

STEPS_A_SIGMA = 2  # grid points a sigma: entropies to 1e-7


@final
class Isotropic(SyntheticMixture):
    """sum_k w_k N(c_k, sigma^2 I).

    Args:
        name: What reports call it.
        centres: c, (K, D).
        log_weights: Log w, (K,).
        sigma: The standard deviation that all share.
        of_class: The class of each component, int64 (K,).
        condition: What is given, or None.
        method: How log p is computed, in words.
        coded: Whether components are codes that `encode` speaks of.
    """

    def __init__(
        self,
        name: str,
        centres: Tensor,
        log_weights: Tensor,
        sigma: float,
        *,
        of_class: Tensor | None = None,
        condition: Condition | None = None,
        method: str = "closed form",
        coded: bool = True,
    ) -> None:
        super().__init__(
            name,
            vector(centres.shape[1]),
            log_weights,
            of_class=of_class,
            condition=condition,
            method=method,
            coded=coded,
        )
        self.centres = centres.double()
        self.sigma = sigma

    def diffused(self, alpha: float, sigma: float) -> Isotropic:
        """The distribution of alpha x + sigma eps with eps ~ N(0, I)."""
        spread = math.hypot(alpha * self.sigma, sigma)
        log_weights = (self.prior.log() + self.log_weights.T).logsumexp(-1)
        return Isotropic(
            self.name,
            alpha * self.centres,
            log_weights,
            spread,
            of_class=self.of_class,
            condition=self.condition,
            method=self.method,
            coded=self.codes is not None,
        )

    def _components(self, batch: Batch) -> Tensor:
        # |x - c|^2 in two products; x and c are of order 1 to 1e4 sigma, so rounding stays below 1e-8 nats
        # Hidden entries add neither to the distance nor to the normaliser.
        known = batch.present.to(batch.x)
        x = batch.x * known
        squares = (
            x.square().sum(-1, keepdim=True)
            - 2 * x @ self.centres.T
            + known @ self.centres.square().T
        )
        scale = HALF_LOG_2PI + math.log(self.sigma)
        return squares * (-0.5 / self.sigma**2) - known.sum(-1, keepdim=True) * scale

    def _fill_component(self, batch: Batch, k: Tensor, noise: Noise) -> Tensor:
        sample = self.centres[k] + self.sigma * noise.normal("x", self.centres.shape[1])
        return torch.where(batch.present, batch.x, sample)

    def _class_entropy(self, y: int) -> float:
        # 9 sigmas around the outermost centres.
        own = self.centres[self.log_weights[y] > -torch.inf]
        margin = 9 * self.sigma
        return plane_entropy(
            self, y, own.amin(0) - margin, own.amax(0) + margin, self.sigma / STEPS_A_SIGMA
        )


@final
class Boxes(SyntheticMixture):
    """A mixture of uniform distributions on disjoint boxes, lower and upper (K, D), weights in proportion to volume."""

    def __init__(
        self,
        name: str,
        lower: Tensor,
        upper: Tensor,
        *,
        of_class: Tensor | None = None,
        condition: Condition | None = None,
    ) -> None:
        self.lower = lower.double()
        self.upper = upper.double()
        self.log_sides = (self.upper - self.lower).log()
        log_weights = self.log_sides.sum(-1)
        super().__init__(
            name, vector(lower.shape[1]), log_weights, of_class=of_class, condition=condition
        )

    def _components(self, batch: Batch) -> Tensor:
        x = batch.x[:, None]
        known = batch.present[:, None]
        # log of the density of each side, -inf outside; hidden sides add 0.
        inside = (x >= self.lower) & (x < self.upper)
        each = torch.where(inside, -self.log_sides, -torch.inf)
        return torch.where(known, each, 0.0).sum(-1)

    def _fill_component(self, batch: Batch, k: Tensor, noise: Noise) -> Tensor:
        u = noise.uniform("x", self.lower.shape[1])
        return torch.where(batch.present, batch.x, self.lower[k] + u * (self.upper - self.lower)[k])

    def _class_entropy(self, y: int) -> float:
        return float(self.log_sides.sum(-1)[self.log_weights[y] > -torch.inf].logsumexp(0))


@final
class Pinwheel(SyntheticMixture):
    """Arms k: x = 2 R(theta_k + 0.25 e^a) (a, b) with a ~ N(1, 0.3^2), b ~ N(0, 0.1^2), R a rotation.

    log p by change of variables at every root a of rho cos(phi - theta_k - 0.25 e^a) = a, where x /
    2 is (rho, phi) in polar coordinates; |det dx/d(a, b)| = 4 |1 - 0.25 e^a b|. Roots further than
    10 sigma from the mean of a are left out.
    """

    ALONG = 0.3
    ACROSS = 0.1
    MEAN = 1.0
    RATE = 0.25
    REACH = (-2.0, 4.0)
    CELLS = 64
    HALVINGS = 40

    def __init__(self, *, arms: int = 5, condition: Condition | None = None) -> None:
        super().__init__(
            "pinwheel",
            vector(2),
            torch.zeros(arms),
            of_class=torch.arange(arms),
            condition=condition,
            method="root finding",
            blind="a pinwheel's marginals have no closed form",
        )
        self.theta = torch.arange(arms).double() * (2 * math.pi / arms)

    def place(self, a: Tensor, b: Tensor, k: Tensor) -> Tensor:
        """The point of arm k at radial coordinate a and across it b, (B, 2)."""
        angle = self.theta[k] + self.RATE * a.exp()
        return 2 * torch.stack(
            [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1
        )

    def _components(self, batch: Batch) -> Tensor:
        # x / 2 in the arms' own scale; roots of the angle equation, (R,).
        u, v = (batch.x / 2).unbind(-1)
        row, arm, a = self._roots(u.detach(), v.detach())
        # Across is b, along - a is 0 at the root.
        cos, sin = self._turned(u[row], v[row], arm, a)
        slope = self.RATE * a.exp() * sin - 1
        a = a - (cos - a) / slope.detach()  # one Newton step carries the gradient of the root
        b = self._turned(u[row], v[row], arm, a)[1]
        # log N(a) + log N(b) - log|det dx/d(a, b)|.
        log_p = (
            -0.5 * ((a - self.MEAN) / self.ALONG).square()
            - 0.5 * (b / self.ACROSS).square()
            - 2 * HALF_LOG_2PI
            - math.log(4 * self.ALONG * self.ACROSS)
            - (1 - self.RATE * a.exp() * b).abs().log()
        )
        # An arm may pass a point several times: sum over its roots, (R,) -> (B, K).
        return _scatter_logsumexp(
            log_p, row * len(self.theta) + arm, len(u) * len(self.theta)
        ).reshape(len(u), -1)

    def _turned(self, u: Tensor, v: Tensor, arm: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v) turned back by the angle of arm and a."""
        angle = self.theta[arm] + self.RATE * a.exp()
        cos = angle.cos()
        sin = angle.sin()
        return u * cos + v * sin, v * cos - u * sin

    def _roots(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Row, arm and radial coordinate of every root, each (R,): brackets over a grid, then bisection.

        A bracket is a cell whose ends differ in sign, or half a cell whose extremum crosses zero.
        """
        # The gap on a grid of a, (B, K, cells + 1).
        grid = torch.linspace(*self.REACH, self.CELLS + 1, dtype=torch.float64)
        arms = torch.arange(len(self.theta))[:, None]
        value, slope = self._gap(u[:, None, None], v[:, None, None], arms, grid)
        left = value[..., :-1]
        right = value[..., 1:]
        falls = slope[..., :-1]
        # A sign change brackets one root.
        crossed = (left >= 0) != (right >= 0)
        # No sign change, but a slope that turns towards zero: perhaps two roots about the extremum.
        bent = ~crossed & (falls * slope[..., 1:] < 0) & (left * falls < 0)
        row, arm, cell = torch.nonzero(crossed, as_tuple=True)
        near, middle, far, twice, limb = self._bent(u, v, grid, torch.nonzero(bent, as_tuple=True))
        low = torch.cat([grid[cell], near, middle])
        high = torch.cat([grid[cell + 1], middle, far])
        row = torch.cat([row, twice, twice])
        arm = torch.cat([arm, limb, limb])
        return row, arm, self._halved(u[row], v[row], arm, low, high, 0)

    def _bent(
        self, u: Tensor, v: Tensor, grid: Tensor, found: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Left end, extremum, right end, row and arm of the cells whose extremum lies beyond zero, each (R,)."""
        row, arm, cell = found
        low = grid[cell]
        high = grid[cell + 1]
        # The extremum by bisection of the derivative.
        middle = self._halved(u[row], v[row], arm, low, high, 1)
        ends, top = (self._gap(u[row], v[row], arm, a)[0] for a in (low, middle))
        # It counts only if the gap really changes sign there.
        real = (ends >= 0) != (top >= 0)
        return low[real], middle[real], high[real], row[real], arm[real]

    def _gap(self, u: Tensor, v: Tensor, arm: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """What is 0 at a root, and its derivative in a."""
        along, across = self._turned(u, v, arm, a)
        return along - a, self.RATE * a.exp() * across - 1

    def _halved(
        self, u: Tensor, v: Tensor, arm: Tensor, low: Tensor, high: Tensor, order: int
    ) -> Tensor:
        """Where the gap (order 0) or its derivative (order 1) changes sign between low and high, by bisection."""
        # A cell of the grid, 40 times halved, is below 1e-13.
        above = self._gap(u, v, arm, low)[order] >= 0
        for _ in range(self.HALVINGS):
            middle = (low + high) / 2
            same = (self._gap(u, v, arm, middle)[order] >= 0) == above
            low = torch.where(same, middle, low)
            high = torch.where(same, high, middle)
        return (low + high) / 2

    def _fill_component(self, batch: Batch, k: Tensor, noise: Noise) -> Tensor:
        z = noise.normal("x", 2)
        return self.place(self.MEAN + self.ALONG * z[:, 0], self.ACROSS * z[:, 1], k)

    def _class_entropy(self, y: int) -> float:
        """E[-log p(x | y)] by the trapezoid rule over one arm's own coordinates: the arms are rotations of one."""
        # A and b standard normal in the arm's coordinates: a grid of 65 x 65 points to +- 8.
        z = torch.arange(-32, 33, dtype=torch.float64) / 4
        points = torch.cartesian_prod(z, z)
        weight = (-0.5 * points.square()).sum(-1).softmax(0)
        k = torch.full((len(points),), int(self.log_weights[y].argmax()))
        x = self.place(self.MEAN + self.ALONG * points[:, 0], self.ACROSS * points[:, 1], k)
        with torch.no_grad():
            log_p = self._score_class(Batch(x), torch.full((len(x),), y))
        return -float((weight * log_p).sum())


def _scatter_logsumexp(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Log of the sum of exp within each group, (groups,), -inf where a group is empty."""
    # Log-sum-exp by group: the maximum, then the sum relative to it.
    top = (
        values.detach()
        .new_full((groups,), -torch.inf)
        .scatter_reduce(0, group, values.detach(), "amax")
    )
    safe = top.where(top > -torch.inf, 0.0)
    total = torch.zeros_like(top).index_add(0, group, (values - safe[group]).exp())
    return total.log() + safe


def ring(
    *, sigma: float = 0.1, modes: int = 8, classes: int = 2, given: str | None = None
) -> Isotropic:
    """Gaussians on the unit circle; the class is the number of the Gaussian modulo `classes`."""
    # Modes equally spaced, classes alternating.
    angle = torch.arange(modes).double() * (2 * math.pi / modes)
    centres = torch.stack([angle.cos(), angle.sin()], -1)
    of_class = torch.arange(modes) % classes
    return Isotropic(
        "ring",
        centres,
        torch.zeros(modes),
        sigma,
        of_class=of_class,
        condition=condition(given, classes),
    )


def grid(*, sigma: float = 0.05, classes: int = 2, given: str | None = None) -> Isotropic:
    """25 Gaussians with means {-4, -2, 0, 2, 4}^2; the class is the number of the Gaussian modulo `classes`."""
    axis = torch.arange(-4.0, 5.0, 2.0, dtype=torch.float64)
    of_class = torch.arange(25) % classes
    return Isotropic(
        "grid",
        torch.cartesian_prod(axis, axis),
        torch.zeros(25),
        sigma,
        of_class=of_class,
        condition=condition(given, classes),
    )


def moons(*, sigma: float = 0.1, given: str | None = None) -> Isotropic:
    """Two half circles (cos t, sin t) and (1 - cos t, 0.5 - sin t), t uniform on [0, pi], with noise."""

    def upper(u: Tensor) -> Tensor:
        return torch.stack([(math.pi * u).cos(), (math.pi * u).sin()], -1)

    def lower(u: Tensor) -> Tensor:
        return torch.stack([1 - (math.pi * u).cos(), 0.5 - (math.pi * u).sin()], -1)

    u, log_weights = legendre(128)
    return _curves("moons", (upper(u), lower(u)), log_weights, sigma, given)


def spirals(*, sigma: float = 0.1, given: str | None = None) -> Isotropic:
    """Two arms +-(-cos a, sin a) a / 3 with a = 3 pi sqrt(u), u uniform on [0, 1], with noise."""
    s, log_weights = legendre(320)  # nodes in s = sqrt(u), where the curve is smooth: du = 2 s ds
    a = 3 * math.pi * s
    arm = torch.stack([-a.cos(), a.sin()], -1) * (a / 3)[:, None]
    return _curves("spirals", (arm, -arm), log_weights + (2 * s).log(), sigma, given)


def checkerboard(*, given: str | None = None) -> Boxes:
    """The 8 squares of side 2 on [-4, 4]^2 with i + j even; the class is the column i of the square."""
    corners = torch.tensor([[i, j] for i in range(4) for j in range(4) if (i + j) % 2 == 0])
    lower = corners.double() * 2 - 4
    return Boxes(
        "checkerboard", lower, lower + 2, of_class=corners[:, 0], condition=condition(given, 4)
    )


def pinwheel(*, given: str | None = None) -> Pinwheel:
    """Five curved arms; the class is the arm."""
    return Pinwheel(condition=condition(given, 5))


def legendre(n: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes on [0, 1] and the logs of their weights, each (n,)."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(np.log(weights / 2))


def _curves(
    name: str, curves: tuple[Tensor, Tensor], log_weights: Tensor, sigma: float, given: str | None
) -> Isotropic:
    """A uniform choice of curves with noise; each curve is its quadrature nodes, so density and draws agree."""
    n = len(log_weights)
    return Isotropic(
        name,
        torch.cat(curves),
        log_weights.repeat(len(curves)),
        sigma,
        of_class=torch.arange(len(curves)).repeat_interleave(n),
        condition=condition(given, len(curves)),
        method=f"quadrature, {n} nodes a curve",
        coded=False,
    )


PLANAR: dict[str, Callable[..., SyntheticMixture]] = {
    "ring": ring,
    "grid": grid,
    "moons": moons,
    "spirals": spirals,
    "checkerboard": checkerboard,
    "pinwheel": pinwheel,
}
