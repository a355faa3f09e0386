"""Mixtures of components whose densities, marginals and conditionals are closed."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.row_distribution import Categorical
from likeness.core.space import Space, label
from likeness.data.synthetic.base import Condition, SyntheticClasses, pick


class SyntheticMixture(SyntheticClasses):
    """sum_k w_k p_k(x), K components, each of one class: p(x | y) is the mixture of that class's own.

    Args:
        name: What reports call it.
        space: What x is.
        log_weights: Log w, (K,).
        of_class: The class of each component, int64 (K,); needed with `condition`.
        condition: What is given, or None.
        method: How log p is computed, in words.
        lengths: The shortest and longest item of a ragged space.
        blind: Why rows with holes cannot be answered, or None.
        coded: Whether components are codes that `encode` speaks of (nodes of a quadrature are not).
    """

    def __init__(
        self,
        name: str,
        space: Space,
        log_weights: Tensor,
        *,
        of_class: Tensor | None = None,
        condition: Condition | None = None,
        method: str = "closed form",
        lengths: tuple[int, int] | None = None,
        blind: str | None = None,
        coded: bool = True,
    ) -> None:
        log_weights = log_weights.double().log_softmax(-1)
        member = torch.zeros_like(log_weights, dtype=torch.int64) if condition is None else of_class
        assert member is not None
        classes = 1 if condition is None else condition.classes
        # log w_k where component k belongs to class y, else -inf, (C, K).
        within = log_weights.expand(classes, -1).where(
            member == torch.arange(classes)[:, None], -torch.inf
        )
        # p(y) is the weight of the class's components.
        prior = within.logsumexp(-1).exp()
        super().__init__(
            name,
            space,
            condition=condition,
            prior=prior,
            method=method,
            lengths=lengths,
            blind=blind,
        )
        self.log_weights = within.log_softmax(-1)  # (C, K): log p(k | y)
        self.of_class = member
        self.codes = label(len(log_weights)) if coded else None

    @abstractmethod
    def _components(self, batch: Batch) -> Tensor:
        """log p_k(x observed), (B, K)."""

    @abstractmethod
    def _fill_component(self, batch: Batch, k: Tensor, noise: Noise) -> Tensor:
        """What is hidden drawn from component k (B,) given what is observed, (B, *E)."""

    def _score_class(self, batch: Batch, y: Tensor) -> Tensor:
        return (self.log_weights[y] + self._components(batch)).logsumexp(-1)

    def _class_given_all(self, batch: Batch) -> Tensor:
        # p(y, x) = p(y) sum_k p(k | y) p_k(x): (B, 1, K) + (C, K) -> (B, C)
        joint = self._components(batch)[:, None] + self.log_weights
        return joint.logsumexp(-1) + self._log_class(batch.given, len(batch))

    def _fill(self, batch: Batch, y: Tensor, noise: Noise) -> Tensor:
        # p(k | y, x_o): prior weights of the class, times the evidence of what is observed.
        log_p = self.log_weights[y]
        if bool(batch.present.any()):
            log_p = log_p + self._components(batch)
        return self._fill_component(batch, pick(log_p, noise.uniform("component", 1)[:, 0]), noise)

    def _encode(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Categorical:
        # p(k | given) marginalises the class, (B, C, K) -> (B, K).
        log_class = self._log_class(batch.given, len(batch))
        log_prior = (log_class[:, :, None] + self.log_weights).logsumexp(1)
        logits = (log_prior + self._components(batch)).log_softmax(-1)
        return Categorical(self.code_space, batch.ids, Kind.EXACT, "responsibilities", logits)


def plane_entropy(
    world: SyntheticMixture, y: int, lower: Tensor, upper: Tensor, step: float
) -> float:
    """-integral of p log p over a box of the plane by the trapezoid rule, p = p(x | y) (Trefethen & Weideman 2014).

    Spectrally accurate for a smooth density that has died away at the box's edges.
    """
    # Grid points of both axes, half a step beyond the box at most.
    axes = [
        torch.arange(math.floor((b - a) / step) + 2, dtype=torch.float64) * step + a
        for a, b in zip(lower.tolist(), upper.tolist(), strict=True)
    ]
    total = 0.0
    # Column by column of the grid, so that memory stays bounded.
    for column in axes[0].split(max(1, 200_000 // (len(axes[1]) * 8))):
        x = torch.cartesian_prod(column, axes[1])
        with torch.no_grad():
            log_p = world._score_class(Batch(x), torch.full((len(x),), y))
        # xlogy is 0 where p underflows.
        total -= float(torch.special.xlogy(log_p.exp(), log_p.exp()).sum())
    return total * step**2
