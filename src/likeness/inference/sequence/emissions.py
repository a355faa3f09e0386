"""Emission probabilities of hidden states: log p(step | state), and the statistics that EM needs of them.

Legend: N steps, K states of M mixture components each, C entries of a step, S values of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from likeness.core.learner import Parameters
from likeness.core.space import Space
from likeness.inference.mixture.components import SampledComponent

MAX_TABLE = 4096  # values of a step that are looked at once each, rather than step by step


@dataclass(frozen=True, eq=False)
class StateEStep:
    """The E-step of N steps, but for the chain.

    Args:
        unary: log p of each step in each state, (N, K).
        within: Shares of a state's components, (N, K, M), or None where each has one.
        statistics: Responsibilities (N, K * M) -> additive statistics.
    """

    unary: Tensor
    within: Tensor | None
    statistics: Callable[[Tensor], Parameters]


@dataclass(frozen=True, eq=False)
class Table:
    """Every value of a step, (S, C), which of it is observed, and what a unit of each entry counts in its place."""

    v: Tensor
    known: Tensor
    radix: Tensor

    def place(self, v: Tensor, known: Tensor) -> Tensor:
        """Where in the table steps (N, C) stand, int64 (N,)."""
        return (((v.long() + 1) * known) * self.radix).sum(-1)


class Emissions:
    """p(step | state) = sum_m share[state, m] p_{state, m}(step).

    Args:
        part: The K * M component densities, those of a state side by side.
        space: Of one step, where its values may be few enough for a table; else None.
    """

    def __init__(self, part: SampledComponent, space: Space | None) -> None:
        self.part = part
        self.space = space

    def e_step(
        self, v: Tensor, known: Tensor, params: Parameters, log_share: Tensor, *, draft: bool
    ) -> StateEStep:
        """The E-step of steps (N, C); where a step takes few values, each value is evaluated once."""
        table = self._table
        if table is None or len(v) <= len(table.v):
            return self._each(v, known, params, log_share, draft)
        # Steps of the same value have the same densities:
        # evaluate the S values, then look the steps up.
        code = table.place(v, known)
        few = self._each(table.v, table.known, params, log_share, draft)

        # Statistics are additive: responsibilities of like steps may be summed before.
        def statistics(resp: Tensor) -> Parameters:
            counts = resp.new_zeros(len(table.v), resp.shape[-1]).index_add_(0, code, resp)
            return few.statistics(counts)

        within = None if few.within is None else few.within[code]
        return StateEStep(few.unary[code], within, statistics)

    def _each(
        self, v: Tensor, known: Tensor, params: Parameters, log_share: Tensor, draft: bool
    ) -> StateEStep:
        part = self.part.e_step_at(params, draft=draft)(v, known)
        # (components, steps) -> (steps, states, components of a state)
        log_density = part.log_density.T.double().unflatten(-1, log_share.shape)

        def statistics(resp: Tensor) -> Parameters:
            return part.statistics(resp.T.contiguous())

        if log_density.shape[-1] == 1:
            return StateEStep(log_density[..., 0], None, statistics)
        # p(x | k) = sum_m c_km p_km(x), and the share that each component of a state has in it.
        joint = log_density + log_share
        return StateEStep(joint.logsumexp(-1), joint.softmax(-1), statistics)

    @cached_property
    def _table(self) -> Table | None:
        """Every value that a step may take, hidden entries too, or None where they are many."""
        if self.space is None:
            return None
        # One more value for each column: hidden.
        sizes = [v.states + 1 for v in self.space.columns]
        if math.prod(sizes) > MAX_TABLE:
            return None
        # All combinations, -1 for hidden; a mixed-radix number of its entries is a value's place.
        v = torch.cartesian_prod(*[torch.arange(int(s)) for s in sizes]).reshape(-1, len(sizes)) - 1
        radix = torch.tensor([math.prod(sizes[i + 1 :]) for i in range(len(sizes))]).long()
        return Table(v.clamp(min=0).double(), v >= 0, radix)
