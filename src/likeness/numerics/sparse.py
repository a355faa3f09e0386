"""Sparse matrices compressed by rows."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor


def by_rows(start: Tensor, column: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A matrix whose row i holds the values at start[i]..start[i + 1] - 1, in their columns."""
    return torch.sparse_csr_tensor(start, column, values, shape, check_invariants=False)


def _heard() -> None:
    """Trigger torch's one warning that sparse matrices are in beta, at import, and ignore it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        none = torch.zeros(1, dtype=torch.int64)
        by_rows(none, none[:0], torch.zeros(0), (0, 1))


_heard()
