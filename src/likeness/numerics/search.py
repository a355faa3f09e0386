"""Where a function of one number reaches a value, or its highest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def bisect(
    increasing: Callable[[Tensor], Tensor], target: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Where an increasing function reaches `target`, between `low` and `high`, to the last bit of the midpoint."""
    for _ in range(52 if low.dtype == torch.float64 else 28):
        middle = 0.5 * (low + high)
        under = increasing(middle) < target
        low = torch.where(under, middle, low)
        high = torch.where(under, high, middle)
    return 0.5 * (low + high)


def highest(height: Callable[[Tensor], Tensor], grid: Tensor) -> Tensor:
    """Where a function of (..., n) is highest: at the best of points (..., n, P), or near it by a search of thirds."""
    # The best grid point and its neighbours enclose the peak, if it is the only one there.
    grid = grid.sort(-1).values
    best = height(grid.movedim(-1, 0)).argmax(0).unsqueeze(-1)
    left, right = (
        grid.gather(-1, (best + d).clamp(0, grid.shape[-1] - 1)).squeeze(-1) for d in (-1, 1)
    )
    # Ternary search: the third below the higher of two inner points holds no peak.
    for _ in range(40):
        third = (right - left) / 3
        a = left + third
        b = right - third
        rises = height(a) < height(b)
        left = torch.where(rises, a, left)
        right = torch.where(rises, right, b)
    ends = torch.stack([grid.gather(-1, best).squeeze(-1), 0.5 * (left + right)])
    return ends.gather(0, height(ends).argmax(0, keepdim=True)).squeeze(0)
