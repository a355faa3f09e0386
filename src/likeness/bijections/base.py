"""What a bijection is, and what an elementwise step of one is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import hardtanh

from likeness.core.errors import Unsupported

_FAR = 10.0  # standard deviations; between 10 and 40 there are no training data


class Bijection(nn.Module, ABC):
    """An invertible map of (B, D), with the log-determinant of the direction that was taken.

    `context` (B, C) conditions it. `present` (B, D), where it is given, says which entries exist:
    the others pass through unchanged, add nothing to the log-determinant, and no other entry
    depends on them.
    """

    @abstractmethod
    def forward(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The image y (B, D) and log|det dy/dx| (B,)."""

    @abstractmethod
    def inverse(
        self, y: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The source x (B, D) and log|det dx/dy| (B,)."""


class Step(nn.Module, ABC):
    """An increasing map of one variable, given its parameters; for all rows at once, the rows along the last axis.

    Parameters of zero mean the identity. Every value is finite for finite arguments.
    """

    size: int
    """Parameters for each variable."""

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The image y and log dy/dx, both (*S, B), for x (*S, B) and params (*S, size, B)."""

    @abstractmethod
    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The source x and log dx/dy, both (*S, B), for y (*S, B) and params (*S, size, B)."""


class Chain(Bijection):
    """Bijections one after the other, first to last towards y; the log-determinants add up."""

    def __init__(self, parts: Sequence[Bijection]) -> None:
        super().__init__()
        self._parts = nn.ModuleList(parts)

    @property
    def parts(self) -> list[Bijection]:
        """The bijections, first to last."""
        return cast("list[Bijection]", list(self._parts))

    def forward(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The image y (B, D) and log|det dy/dx| (B,)."""
        total = x.new_zeros(len(x))
        for part in self.parts:
            x, ladj = part(x, context, present)
            total = total + ladj
        return x, total

    def inverse(
        self, y: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The source x (B, D) and log|det dx/dy| (B,)."""
        total = y.new_zeros(len(y))
        for part in reversed(self.parts):
            y, ladj = part.inverse(y, context, present)
            total = total + ladj
        return y, total


def keep_absent(
    image: Tensor, ladj: Tensor, unchanged: Tensor, present: Tensor | None
) -> tuple[Tensor, Tensor]:
    """An elementwise result where entries are present; where not, what was there and a log-derivative of 0."""
    if present is None:
        return image, ladj
    return torch.where(present, image, unchanged), torch.where(present, ladj, 0.0)


def refuse_absent(present: Tensor | None, name: str) -> None:
    """Refuse absent entries in the name of a map that mixes variables."""
    if present is not None:
        raise Unsupported(
            f"{name} mixes variables, so it cannot leave out absent ones",
            do="use masked autoregressive, coupling and elementwise parts for ragged items",
        )


def precise(x: Tensor) -> torch.autocast:
    """Where a net may compute in low precision, the variables themselves and their log-determinant may not."""
    return torch.autocast(x.device.type, enabled=False)


def seen(x: Tensor, present: Tensor | None) -> Tensor:
    """What a conditioning net is shown: absent entries as 0, and nothing beyond what it could have learnt from.

    A net that extrapolates to 40 standard deviations asks for maps too steep to be inverted in
    single precision.
    """
    # hardtanh caps what the net sees; the variable itself is transformed without a cap.
    near = hardtanh(x, -_FAR, _FAR)
    if present is None:
        return near
    return torch.where(present, near, 0.0)
