"""Bijections that mix variables: permutations and triangular-times-triangular linear maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.linalg import solve_triangular

from likeness.bijections.base import Bijection, precise, refuse_absent
from likeness.core.errors import BadConfig


@final
class Permutation(Bijection):
    """y_i = x_order[i]; volume is kept.

    Args:
        order: Which variable comes to each place.
    """

    order: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        if sorted(order) != list(range(len(order))):
            raise BadConfig(
                "an order that leaves out variables or repeats them",
                do="give a permutation of 0..D-1",
            )
        self.register_buffer("order", torch.tensor(list(order)))

    def forward(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The image y (B, D) and 0 (B,)."""
        refuse_absent(present, "a permutation")
        return x[:, self.order], x.new_zeros(len(x))

    def inverse(
        self, y: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The source x (B, D) and 0 (B,)."""
        refuse_absent(present, "a permutation")
        return y[:, self.order.argsort()], y.new_zeros(len(y))


@final
class LU(Bijection):
    """y = L U x + b with L unit lower triangular and the diagonal of U positive (Kingma & Dhariwal 2018, eq. 10).

    With `order` the variables are permuted first, y = L U P x + b: the permutation is fixed, the
    rest is learnt and starts as the identity.

    Args:
        dim: Number of variables D.
        order: The permutation P, None for none.
    """

    def __init__(self, dim: int, order: Sequence[int] | None = None) -> None:
        super().__init__()
        self.first = Permutation(range(dim) if order is None else order)
        self.lower = nn.Parameter(torch.zeros(dim, dim))
        self.upper = nn.Parameter(torch.zeros(dim, dim))
        self.log_diagonal = nn.Parameter(torch.zeros(dim))
        self.shift = nn.Parameter(torch.zeros(dim))

    def forward(
        self, x: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The image y (B, D) and log|det dy/dx| (B,)."""
        refuse_absent(present, "a linear map")
        lower, upper = self._factors()
        with precise(x):
            y = self.first(x)[0] @ (lower @ upper).t() + self.shift
        # log |det L U P| = sum of the logs of U's diagonal.
        return y, self.log_diagonal.sum().expand(len(x))

    def inverse(
        self, y: Tensor, context: Tensor | None = None, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The source x (B, D) and log|det dx/dy| (B,), by two triangular solves."""
        refuse_absent(present, "a linear map")
        lower, upper = self._factors()
        # L first, then U: no inverse matrix is formed.
        x = solve_triangular(lower, (y - self.shift).t(), upper=False, unitriangular=True)
        x = solve_triangular(upper, x, upper=True)
        return self.first.inverse(x.t())[0], -self.log_diagonal.sum().expand(len(y))

    def _factors(self) -> tuple[Tensor, Tensor]:
        """L and U, (D, D) each."""
        one = torch.eye(len(self.lower), dtype=self.lower.dtype, device=self.lower.device)
        return self.lower.tril(-1) + one, self.upper.triu(1) + self.log_diagonal.exp().diag()
