"""Coupling bijections: half of the variables set the parameters of a step for the other half."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from likeness.bijections.base import Bijection, Step, keep_absent, precise, seen
from likeness.core.errors import BadConfig


@final
class Coupling(Bijection):
    """y_m = step(x_m; net(x_rest, context)), y_rest = x_rest (Dinh et al. 2017, arXiv:1605.08803, eqs. 7 and 8).

    Both directions cost one pass of the net. It is the identity when new if the net starts as the
    zero function.

    Args:
        net: (B, number of kept variables), context (B, C) or None -> (B, number of moved variables
            * step.size).
        moved: For each variable whether it is moved (D,).
        step: The map of each moved variable.
    """

    moved: Tensor
    kept: Tensor
    back: Tensor

    def __init__(self, net: nn.Module, moved: Sequence[bool], step: Step) -> None:
        super().__init__()
        if all(moved) or not any(moved):
            raise BadConfig(
                "a coupling needs a variable to move and one to keep",
                do="mark some of them, not all",
            )
        self.net = net
        self.step = step
        mask = torch.tensor(list(moved))
        self.register_buffer("moved", mask.nonzero()[:, 0], persistent=False)
        self.register_buffer("kept", (~mask).nonzero()[:, 0], persistent=False)
        self.register_buffer("back", torch.cat([self.kept, self.moved]).argsort(), persistent=False)

    def forward(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The image y (B, D) and log|det dy/dx| (B,)."""
        columns, params, here = self._conditioned(x, context, present)
        with precise(x):
            image, ladj = self.step(columns, params)
        return self._joined(x, *keep_absent(image, ladj, columns, here))

    def inverse(
        self, y: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The source x (B, D) and log|det dx/dy| (B,)."""
        columns, params, here = self._conditioned(y, context, present)
        with precise(y):
            image, ladj = self.step.inverse(columns, params)
        return self._joined(y, *keep_absent(image, ladj, columns, here))

    def _conditioned(
        self, x: Tensor, context: Tensor | None, present: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The moved variables (n, B), their parameters (n, size, B), and which of them are present."""
        # The kept variables, through the net, give the
        # parameters of the others: (B, kept) -> (n, size, B).
        rest = seen(x[:, self.kept], None if present is None else present[:, self.kept])
        params = (
            self.net(rest, context).to(x.dtype).t().contiguous().unflatten(0, (-1, self.step.size))
        )
        return x.t()[self.moved], params, None if present is None else present.t()[self.moved]

    def _joined(self, x: Tensor, image: Tensor, ladj: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x.t()[self.kept], image])[self.back].t(), ladj.sum(0)
