"""Which rows of a mask are alike: their distinct patterns, and whose each row is."""

from __future__ import annotations

import torch
from torch import Tensor

BITS = 62  # entries whose pattern is one whole number


def patterns_of(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows of a mask (..., D), bool (P, D), and which of them each row is, int64 (...)."""
    # Too many entries for one integer: compare rows.
    if mask.shape[-1] > BITS:
        patterns, which = mask.flatten(0, -2).unique(dim=0, return_inverse=True)
        return patterns, which.reshape(mask.shape[:-1])
    # A row's bits as one integer, so that a sort of integers finds the distinct ones.
    place = torch.arange(mask.shape[-1], device=mask.device)
    codes, which = (mask.long() << place).sum(-1).unique(return_inverse=True)
    return (codes[:, None] >> place & 1).bool(), which
