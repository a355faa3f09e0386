"""One real that drives others: the banana, and Neal's funnel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import vector
from likeness.data.synthetic.base import HALF_LOG_2PI_E, Condition, SyntheticClasses, pick
from likeness.data.synthetic.conditions import condition
from likeness.numerics.constants import HALF_LOG_2PI

NODES = 4096
REACH = 10.0  # sigmas of the driver that the quadrature spans
ROWS = 512


@final
class Driven(SyntheticClasses):
    """t ~ N(0, scale^2), then n followers x_i ~ N(mean(t), e^{2 log_std(t)}), independent given t; x = (t, x_1..x_n).

    A hidden t is integrated by the trapezoid rule over 4,096 nodes, and drawn to within a node's
    width. With a condition of two classes the class is the sign of t (negative, positive); mean and
    log_std must then be even.

    Args:
        name: What reports call it.
        scale: Standard deviation of t.
        mean: Mean of a follower, t -> same shape.
        log_std: Log standard deviation of a follower, t -> same shape.
        mean_log_std: E[log_std(t)].
        followers: n.
        condition: What is given, or None.
    """

    def __init__(
        self,
        name: str,
        scale: float,
        mean: Callable[[Tensor], Tensor],
        log_std: Callable[[Tensor], Tensor],
        *,
        mean_log_std: float,
        followers: int,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(name, vector(1 + followers), condition=condition)
        self.scale = scale
        self.log_std = log_std
        self.mean_log_std = mean_log_std
        self.mean = mean
        # Midpoints of NODES equal cells over +- REACH sigmas of t.
        self.width = 2 * REACH * scale / NODES
        self.nodes = (torch.arange(NODES, dtype=torch.float64) + 0.5) * self.width - REACH * scale

    def _driver(self, t: Tensor, y: Tensor) -> Tensor:
        """log p(t | y)."""
        log_p = -0.5 * (t / self.scale).square() - HALF_LOG_2PI - math.log(self.scale)
        if self.classes == 1:
            return log_p
        # Given a class, t is half-normal: its density doubles on one side.
        return torch.where((t > 0) == (y == 1), log_p + math.log(2), -torch.inf)

    def _followers(self, batch: Batch, t: Tensor) -> Tensor:
        """log p(followers observed | t), t (B, T) or (1, T), (B, T)."""
        x = batch.x[:, 1:]
        known = batch.present[:, 1:].to(batch.x)
        n = known.sum(-1, keepdim=True)
        mean = self.mean(t)
        # sum_i (x_i - m(t))^2 = sum x^2 - 2 m sum x + n m^2:
        # nodes cost no copy of the rows, (B, T).
        log_std = self.log_std(t)
        squares = (x.square() * known).sum(-1, keepdim=True) - 2 * mean * (x * known).sum(
            -1, keepdim=True
        )
        squares = squares + n * mean.square()
        return -0.5 * squares * (-2 * log_std).exp() - n * (HALF_LOG_2PI + log_std)

    def _score_class(self, batch: Batch, y: Tensor) -> Tensor:
        # t observed: the factorisation p(t) prod_i p(x_i | t).
        t = batch.x[:, :1]
        with_driver = self._driver(t[:, 0], y) + self._followers(batch, t)[:, 0]
        if bool(batch.present[:, 0].all()):
            return with_driver
        # t hidden: the integral over the nodes times their width.
        return torch.where(
            batch.present[:, 0],
            with_driver,
            self._posterior(batch, y).logsumexp(-1) + math.log(self.width),
        )

    def _posterior(self, batch: Batch, y: Tensor) -> Tensor:
        """log p(t at a node, followers observed | y), (B, T)."""
        parts = [batch[rows] for rows in torch.arange(len(batch)).split(ROWS)]
        followers = torch.cat([self._followers(part, self.nodes[None]) for part in parts])
        return followers + self._driver(self.nodes[None], y[:, None])

    def _fill(self, batch: Batch, y: Tensor, noise: Noise) -> Tensor:
        # t from its prior, folded to the class's side.
        t = self.scale * noise.normal("driver", 1)
        if self.classes != 1:
            t = t.abs() * (2 * y[:, None] - 1)
        u = noise.uniform("driver given", 2)
        # With followers observed: a node by its posterior, then uniform within its cell.
        if bool(batch.present[:, 1:].any()):
            node = self.nodes[pick(self._posterior(batch, y), u[:, 0])]
            t = (node + (u[:, 1] - 0.5) * self.width)[:, None]
        # An observed t stays; hidden followers are drawn around it.
        t = torch.where(batch.present[:, :1], batch.x[:, :1], t)
        z = noise.normal("followers", batch.x.shape[1] - 1)
        sample = torch.cat([t, self.mean(t) + self.log_std(t).exp() * z], -1)
        return torch.where(batch.present, batch.x, sample)

    def _class_entropy(self, y: int) -> float:
        # H(t | y) is one bit less for each halving; followers add theirs at E[log std].
        own = HALF_LOG_2PI_E + math.log(self.scale) - math.log(self.classes)
        return own + (self.space.dims - 1) * (HALF_LOG_2PI_E + self.mean_log_std)


def banana(*, given: str | None = None) -> Driven:
    """x1 ~ N(0, 2^2), x2 ~ N(x1^2 / 4, 1); the class is the sign of x1."""
    return Driven(
        "banana",
        2.0,
        lambda t: t.square() / 4,
        torch.zeros_like,
        mean_log_std=0.0,
        followers=1,
        condition=condition(given, 2),
    )


def funnel(*, n: int = 10) -> Driven:
    """v ~ N(0, 3^2) and n - 1 x ~ N(0, e^v), v first (Neal 2003, section 8)."""
    return Driven(
        "funnel", 3.0, torch.zeros_like, lambda t: t / 2, mean_log_std=0.0, followers=n - 1
    )


DRIVEN: dict[str, Callable[..., Driven]] = {"banana": banana, "funnel": funnel}
