"""Chains of codes: what follows the last few, counted; which windows of codes there are, and where they lead.

Legend: S codes, k the order, M = (S + 1)^k windows of the last k codes, 0 standing for what is
before an item. A window is one number, its oldest code the largest part of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.inference.sequence.linear_chain import NEVER


class Windows:
    """Windows of the last k codes.

    Args:
        codes: S.
        order: k, 1 at least.
    """

    def __init__(self, codes: int, order: int) -> None:
        self.codes = codes
        self.order = order
        self.count = (codes + 1) ** order

    def before(self, x: Tensor) -> Tensor:
        """The window before each step of rows (B, L), int64 (B, L)."""
        window = torch.zeros_like(x)
        # Horner's scheme: the code `lag` steps back is the
        # next digit; 0 where that lies before the item.
        after = x + 1
        for lag in range(self.order, 0, -1):
            window.mul_(self.codes + 1)
            window[:, lag:] += after[:, :-lag]
        return window

    def next(self, window: Tensor, code: Tensor) -> Tensor:
        """The window behind a window and the code that follows it."""
        return (window * (self.codes + 1) + code + 1) % self.count

    def last(self, device: torch.device | None = None) -> Tensor:
        """The last code of each window, int64 (M,); -1 where it is before an item."""
        return torch.arange(self.count, device=device) % (self.codes + 1) - 1

    def steps(self, log_p: Tensor) -> Tensor:
        """log p(code | window), (..., M, S), as log transitions between windows, (..., M, M)."""
        # Each window leads to S others, all else is impossible: (..., M, S) -> (..., M, M).
        window = torch.arange(self.count, device=log_p.device)[:, None].expand(-1, self.codes)
        after = self.next(window, torch.arange(self.codes, device=log_p.device))
        blank = log_p.new_full((*log_p.shape[:-1], self.count), NEVER)
        return blank.scatter(-1, after.expand(log_p.shape), log_p)

    def taken(self, steps: Tensor) -> Tensor:
        """Transition counts between windows, (..., M, M), as counts of (window, code), (..., M, S)."""
        window = torch.arange(self.count, device=steps.device)[:, None].expand(-1, self.codes)
        after = self.next(window, torch.arange(self.codes, device=steps.device))
        return steps.gather(-1, after.expand(*steps.shape[:-1], -1))
