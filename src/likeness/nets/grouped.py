"""What nets that answer one variable at a time share: a head masked by groups, and the protocol for sampling."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from likeness.core.errors import BadConfig


class GroupedHead(nn.Module):
    """Outputs for the variables of one place, each allowed to see those before it at the same place.

    u_c = silu(W_c silu(h) + Σ_{j<c} V_cj x_j + b_c), out_c = Σ_{j<=c} R_cj u_j + a_c, for the
    groups c = 0..groups-1. h: (*S, inputs), what is known from other places; x: (*S, features),
    group by group -> (*S, outputs), group by group Germain et al. 2015, arXiv:1502.03509, eq. 8
    with one block of units a group.
    """

    below: Tensor
    upto: Tensor

    def __init__(
        self, inputs: int, outputs: int, *, groups: int, features: int, hidden: int
    ) -> None:
        super().__init__()
        if outputs % groups or features % groups:
            raise BadConfig(
                f"{features} features and {outputs} outputs cannot be dealt to {groups} variables equally"
            )
        self.groups = groups
        self.trunk = nn.Linear(inputs, groups * hidden)
        self.cross = nn.Linear(features, groups * hidden, bias=False) if groups > 1 else None
        self.last = nn.Linear(groups * hidden, outputs)
        # Masks by group: units see features of groups
        # before their own, outputs units up to their own.
        order = torch.arange(groups)
        unit, owner, out = (
            order.repeat_interleave(n // groups) for n in (groups * hidden, features, outputs)
        )
        self.register_buffer("below", owner < unit[:, None], persistent=False)
        self.register_buffer("upto", unit <= out[:, None], persistent=False)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """Outputs of all groups at once."""
        # trunk: what is known from other places; cross:
        # variables before this one at the same place.
        u = self.trunk(silu(h))
        if self.cross is None:
            return self.last(silu(u))
        u = u + linear(x, self.cross.weight * self.below)
        return linear(silu(u), self.last.weight * self.upto, self.last.bias)

    def units(self, h: Tensor, features: list[Tensor]) -> Tensor:
        """The hidden units (B, hidden) of the group that follows those `features`, a list of (B, features / groups)."""
        # The rows of the next group, and only the columns of the groups that are known.
        rows = _part(self.trunk.out_features // self.groups, len(features))
        u = linear(silu(h), self.trunk.weight[rows], self.trunk.bias[rows])
        if self.cross is not None and features:
            x = torch.cat(features, -1)
            u = u + linear(x, self.cross.weight[rows, : x.shape[-1]])
        return silu(u)

    def group(self, units: list[Tensor]) -> Tensor:
        """The outputs (B, outputs / groups) of the last group whose `units` are known."""
        rows = _part(self.last.out_features // self.groups, len(units) - 1)
        u = torch.cat(units, -1)
        return linear(u, self.last.weight[rows, : u.shape[-1]], self.last.bias[rows])


class Stepper(ABC):
    """Walks a causal net through its variables in order, computing every activation once.

    Ask `params` for the outputs of the next variable, then `push` the features of its value, drawn
    or given. A variable whose value is given may be pushed without asking.
    """

    def __init__(self, head: GroupedHead) -> None:
        self._head = head
        self._seen: list[Tensor] = []
        self._units: list[Tensor] = []
        self._state: Tensor | None = None
        self._place: Tensor | None = None

    def params(self) -> Tensor:
        """The net's outputs (B, outputs / groups) for the next variable: the same as the full pass, to rounding."""
        # Units of a group are computed once, when its outputs are first asked for.
        state = self._enter()
        while len(self._units) <= len(self._seen):
            self._units.append(self._head.units(state, self._seen[: len(self._units)]))
        return self._head.group(self._units)

    def push(self, features: Tensor) -> None:
        """Take the features (B, features / groups) of the value that the next variable has."""
        self._enter()
        self._seen.append(features)
        # The place is complete: its features become the input of the next state.
        if len(self._seen) == self._head.groups:
            self._place = torch.cat(self._seen, -1)
            self._seen = []
            self._units = []
            self._state = None

    def _enter(self) -> Tensor:
        if self._state is None:
            self._state = self._advance(self._place)
        return self._state

    @abstractmethod
    def _advance(self, place: Tensor | None) -> Tensor:
        """The state (B, inputs of the head) of the next place, from the last one's features (None at the start)."""


def _part(size: int, number: int) -> slice:
    return slice(number * size, (number + 1) * size)
