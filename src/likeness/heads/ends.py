"""The distribution of where a sequence ends: at each step it stops or goes on, and the longest must stop."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def log_end(stop: Tensor, length: Tensor) -> Tensor:
    """Log of going on at every step before the length and of stopping there, at once where it is 0, (B,).

    Args:
        stop: Logits of stopping before each step, (B, L).
        length: The length of each item, int64 (B,); at L none is left to go on to.
    """
    steps = torch.arange(stop.shape[1], device=stop.device)
    # log sigmoid(-s_t) for going on at t < length, log sigmoid(s_length) for the stop.
    on = nn.functional.logsigmoid(-stop) * (steps < length[:, None])
    off = nn.functional.logsigmoid(stop) * (steps == length[:, None])
    return on.sum(-1) + off.sum(-1)


def stop_logits(lengths: Iterable[Tensor], steps: int) -> Tensor:
    """Logits of stopping before each step, by how many items that reached it stopped there, (steps,).

    Half an item more of either kind keeps them finite (Krichevsky & Trofimov 1981).
    """
    stopped = torch.zeros(steps + 1, dtype=torch.float64)
    for length in lengths:
        stopped += torch.bincount(length.cpu(), minlength=steps + 1).double()
    # Items that reach each step: all that stop there or later.
    arrivals = stopped.flip(0).cumsum(0).flip(0)
    return ((stopped + 0.5) / (arrivals - stopped + 0.5)).log()[:steps]
