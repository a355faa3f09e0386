"""What turns gradients into steps: Adam, and Muon for the matrices where it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from likeness.core.config import GradientConfig

FUSED = True  # one kernel for all of Adam's arithmetic
LEAST = 32  # rows and columns from which a matrix has directions enough to be moved alike
MOMENTUM = 0.95
ROUNDS = 5
QUINTIC = (
    3.4445,
    -4.7750,
    2.0315,
)  # of the iteration below: steep at 0, so that five rounds suffice


def optimisers(
    parameters: Sequence[nn.Parameter], config: GradientConfig, betas: tuple[float, float]
) -> list[torch.optim.Optimizer]:
    """Adam for all parameters, or Muon for wide matrices and Adam for the rest."""
    # Matrices whose smaller side is wide enough to orthogonalise.
    wide = [
        p
        for p in parameters
        if config.muon and p.dim() > 1 and min(p.shape[0], p.flatten(1).shape[1]) >= LEAST
    ]
    taken = {id(p) for p in wide}
    rest = [p for p in parameters if id(p) not in taken]
    made: list[torch.optim.Optimizer] = (
        [Muon(wide, lr=config.muon, weight_decay=config.weight_decay)] if wide else []
    )
    if rest:
        decay = config.weight_decay
        made.append(
            torch.optim.AdamW(rest, lr=config.lr, betas=betas, weight_decay=decay, fused=FUSED)
        )
    # Schedules scale each group's peak.
    for optimiser in made:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return made


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made nearly orthogonal, so that all directions of a matrix are moved alike.

    m <- 0.95 m + 0.05 g, then p <- p - lr sqrt(max(1, rows / columns)) orthogonal(0.95 m + 0.05 g).
    A kernel (O, I, h, w) is a matrix (O, I h w). Jordan, "Muon: an optimizer for hidden layers in
    neural networks", 2024.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], *, lr: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, group["lr"], group["weight_decay"])

    def _move(self, p: nn.Parameter, gradient: Tensor, lr: float, decay: float) -> None:
        state = self.state[p]
        momentum = state.setdefault("momentum", torch.zeros_like(p))
        # m <- 0.95 m + 0.05 g; Nesterov: the step looks one move ahead.
        momentum.lerp_(gradient, 1 - MOMENTUM)
        step = orthogonal(gradient.lerp(momentum, MOMENTUM).flatten(1))
        rows, columns = step.shape
        # Decoupled weight decay, then the step, scaled for tall matrices.
        p.mul_(1 - lr * decay).sub_(
            step.reshape(p.shape), alpha=lr * max(1.0, rows / columns) ** 0.5
        )


def orthogonal(matrix: Tensor) -> Tensor:
    """U V' of the matrix U S V', with singular values of 0.7 to 1.2 instead of 1, by matrix products alone.

    X <- a X + (b X X' + c (X X')^2) X, from X = M / |M|: an odd polynomial acts on the singular
    values alone.
    """
    a, b, c = QUINTIC
    # The smaller side first: X X' is then the smaller product.
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)
    # Newton-Schulz iterations with the quintic polynomial.
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    if matrix.shape[0] <= matrix.shape[1]:
        return x
    return x.T
