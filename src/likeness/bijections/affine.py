"""Affine steps, and a learnable affine map of each variable."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from likeness.bijections.base import Bijection, Step, keep_absent


@final
class AffineStep(Step):
    """y = x e^s + t with s = limit tanh(a / limit), so that no parameter overflows; params are (t, a).

    Args:
        limit: Largest |s| of one step, in nats.
    """

    size = 2
    limit: Tensor

    def __init__(self, limit: float = 3.0) -> None:
        super().__init__()
        self.register_buffer("limit", torch.tensor(limit), persistent=False)

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The image y = x e^s + t, and s."""
        shift, s = self._split(params)
        return torch.addcmul(shift, x, s.exp()), s

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The source x = (y - t) e^-s, and -s."""
        shift, s = self._split(params)
        return (y - shift) * (-s).exp(), -s

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.unbind(-2)
        return shift, torch.tanh(raw / self.limit) * self.limit


@final
class Affine(Bijection):
    """y = x e^s + t with learnt s and t for each variable; the identity when new.

    Args:
        dim: Number of variables D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(dim))
        self.shift = nn.Parameter(torch.zeros(dim))

    def forward(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The image y (B, D) and log|det dy/dx| (B,)."""
        y, s = keep_absent(
            x * self.log_scale.exp() + self.shift, self.log_scale.expand_as(x), x, present
        )
        return y, s.sum(-1)

    def inverse(
        self, y: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The source x (B, D) and log|det dx/dy| (B,)."""
        x, s = keep_absent(
            (y - self.shift) * (-self.log_scale).exp(), -self.log_scale.expand_as(y), y, present
        )
        return x, s.sum(-1)

    @torch.no_grad()
    def settle(self, x: Tensor) -> None:
        """Centre and scale the columns of x (N, D), as ActNorm does from a first batch (Kingma & Dhariwal 2018)."""
        # y = (x - mean) / scale.
        scale = x.std(0, correction=0).clamp(min=1e-6)
        self.log_scale.copy_(-scale.log())
        self.shift.copy_(-x.mean(0) / scale)
