"""Posterior distribution of hidden states, a path for each row of a batch: the answer of `encode`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.core.noise import Noise
from likeness.core.row_distribution import RowDistribution
from likeness.inference.sequence.linear_chain import Paths
from likeness.inference.sequence.steps import StepNoise


class Steering:
    """First state's distribution and transitions, which all rows share: no tensor, so that rows may be taken."""

    def __init__(self, log_first: Tensor, log_step: Tensor) -> None:
        self.log_first = log_first
        self.log_step = log_step


@dataclass(frozen=True, eq=False, repr=False)
class StateDistribution(RowDistribution):
    """p(states | row): paths of K states; its mean is the marginal distribution of each step.

    Args:
        chain: Distribution of the first state, and transitions.
        unary: What each state is worth at each step, (B, L, K).
        length: (B,).
    """

    chain: Steering
    unary: Tensor
    length: Tensor

    @property
    def paths(self) -> Paths:
        """The chain of all rows, which computes what is asked."""
        return Paths(self.chain.log_first, self.chain.log_step, self.unary, self.length)

    @property
    def mean(self) -> Tensor:
        """p(z_t | row), (B, L, K), 0 past the end."""
        return self.paths.smooth()[0]

    @property
    def mode(self) -> Tensor:
        """The likeliest path, (B, L) (Viterbi 1967)."""
        return self._within(self.paths.best()[0])

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(path z (B, L) | row), (B,)."""
        paths = self.paths
        return paths.score(z.long()) - paths.log_z

    def draw(self, noise: Noise) -> Tensor:
        """A path, from its last state to its first."""
        rows, steps = self.unary.shape[:2]
        u = StepNoise.of(noise, steps).uniform("z").to(self.unary).reshape(-1, rows, steps)
        return self._within(self.paths.draw(u)).flatten(0, 1)

    def _within(self, path: Tensor) -> Tensor:
        steps = torch.arange(path.shape[-1], device=path.device)
        return path.masked_fill(steps >= self.length[:, None], 0).to(self.unary.dtype)
