"""Autoregressive bijections: each variable is moved by a step whose parameters come from those before it."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from likeness.bijections.base import Bijection, Step, keep_absent, precise, seen
from likeness.core.errors import BadConfig
from likeness.nets.masked import MaskedNet

_ROWS = 1024  # rows of one walk on a processor: few enough for its cache, enough to pay for the calls of a step


@final
class Autoregressive(Bijection):
    """y_i = step(x_i; net(x_1..x_{i-1}, context)) along the net's order (Papamakarios et al. 2017, arXiv:1705.07057).

    `forward` is one pass of the net. `inverse` walks the order and computes each hidden unit once,
    so that it costs about one pass too; where gradients of the inverse are wanted it makes D
    passes. The net is silenced: when new, the whole is the identity.

    Args:
        net: Masked net with one feature, and the step's `size` outputs, for each of the D
            variables.
        step: The map of each variable.
    """

    back: Tensor

    def __init__(self, net: MaskedNet, step: Step) -> None:
        super().__init__()
        if set(net.in_sizes) != {1} or set(net.out_sizes) != {step.size}:
            raise BadConfig(
                f"a step of {step.size} parameters cannot follow a net of other sizes",
                do=f"build the net with inputs [1] * D and outputs [{step.size}] * D",
            )
        self.net = net.silence()
        self.step = step
        self.register_buffer("back", net.into.argsort(), persistent=False)

    def forward(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The image y (B, D) and log|det dy/dx| (B,), in one pass."""
        columns = self._columns(x)
        here = None if present is None else self._columns(present)
        # One pass gives the parameters of all positions, for the inputs are all known.
        params = self._params(columns, context, here)
        with precise(x):
            y_present, ladj = self.step(columns, params)
        y, ladj = keep_absent(y_present, ladj, columns, here)
        return self._rows(y), ladj.sum(0)

    def inverse(
        self, y: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The source x (B, D) and log|det dx/dy| (B,)."""
        columns = self._columns(y)
        here = None if present is None else self._columns(present)
        watched = [y, *self.parameters(), *([] if context is None else [context])]
        differentiable = torch.is_grad_enabled() and any(t.requires_grad for t in watched)
        with precise(y):
            x, ladj = (self._passes if differentiable else self._walks)(columns, context, here)
        return self._rows(x), ladj

    def _passes(
        self, y: Tensor, context: Tensor | None, present: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The source x (D, B) and the log-determinant by D passes: the i-th one settles position i."""
        x = torch.zeros_like(y)
        ladj = torch.zeros_like(y)
        at = torch.arange(len(y), device=y.device)[:, None]
        # After pass i positions 0..i are right: those before i + 1 no longer change.
        for i in range(len(y)):
            step_x, ladj = self.step.inverse(y, self._params(x, context, present))
            step_x, ladj = keep_absent(step_x, ladj, y, present)
            x = torch.where(at <= i, step_x, 0.0)
        return x, ladj.sum(0)

    def _walks(
        self, y: Tensor, context: Tensor | None, present: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The source x (D, B) and the log-determinant, by one walk for each block of rows."""
        size = _ROWS if y.device.type == "cpu" else max(y.shape[1], 1)
        parts = []
        for first in range(0, max(y.shape[1], 1), size):
            rows = slice(first, first + size)
            given = None if context is None else context[rows]
            here = None if present is None else present[:, rows]
            parts.append(self._walk(y[:, rows], given, here))
        x, ladj = zip(*parts, strict=True)
        return torch.cat(x, 1), torch.cat(ladj, 1).sum(0)

    @torch.no_grad()
    def _walk(
        self, y: Tensor, context: Tensor | None, present: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The source x and the log-derivatives (D, R) for y (D, R), one position at a time."""
        stepper = self.net.stepper(y.shape[1], context)
        solutions = []
        for i, target in enumerate(y.unbind()):
            # Position i from the parameters that follow from the positions before it.
            x, change = self.step.inverse(target, stepper.ask())
            stepper.tell(seen(x, None if present is None else present[i])[None])
            solutions.append((x, change))
        x, ladj = map(torch.stack, zip(*solutions, strict=True))
        return keep_absent(x, ladj, y, present)

    def _params(self, columns: Tensor, context: Tensor | None, present: Tensor | None) -> Tensor:
        """The step's parameters (D, size, B)."""
        return (
            self.net.ordered(seen(columns, present), context)
            .to(columns.dtype)
            .unflatten(0, (-1, self.step.size))
        )

    def _columns(self, x: Tensor) -> Tensor:
        """(D, B) along the order, the rows contiguous."""
        return (x.t() if self.net.sorted else x.t()[self.net.into]).contiguous()

    def _rows(self, x: Tensor) -> Tensor:
        if self.net.sorted:
            return x.t()
        return x[self.back].t()
