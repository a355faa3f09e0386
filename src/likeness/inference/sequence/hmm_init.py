"""Initial states of a hidden Markov model, before EM: their emissions, their transitions and their numbering."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from likeness.inference.sequence.steps import Packed
from likeness.numerics import gaussian


def variances(view: Packed) -> Tensor:
    """Variances of each entry over the observed steps, 1 where nothing varies, (C,)."""
    if view.each is None:
        weight = view.known.double()
    else:
        # Two weighted passes: the mean, then the squares about it.
        weight = view.known * view.each[:, None]
    total = weight.sum(0).clamp(min=1e-12)
    mean = (view.v * weight).sum(0) / total
    variance = ((view.v - mean).square() * weight).sum(0) / total
    return gaussian.varying(variance)


def in_order(length: Tensor, k: int) -> Tensor:
    """Each step's state where an item goes through all of them, each for as long, int64 (N,)."""
    start = (length.cumsum(0) - length).repeat_interleave(length)
    place = torch.arange(len(start), device=length.device) - start
    return place * k // length.repeat_interleave(length).clamp(min=1)


def followed(r: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Expected first states (K,) and transitions (K, K) if steps have responsibilities r (N, K)."""
    # A pair of steps is a transition unless its second step begins an item.
    start = length.cumsum(0) - length
    begins = torch.zeros(len(r) + 1, dtype=torch.bool, device=r.device)
    begins[start[length > 0]] = True
    inner = ~begins[1:-1]
    return r[begins[:-1]].sum(0), r[:-1][inner].T @ r[1:][inner]


def renamed(pairs: Tensor, allowed: Tensor) -> Tensor:
    """New names of K states, int64 (K,), under which most steps are allowed, as swaps of two find them."""
    names = torch.arange(len(pairs), device=pairs.device)
    others = list(itertools.combinations(range(len(pairs)), 2))

    def fits(one: Tensor) -> float:
        return float((pairs * allowed[one][:, one]).sum())

    # Greedy search: swap two names as long as any swap moves more transitions into allowed places.
    improved = True
    while improved:
        improved = False
        for i, j in others:
            swapped = names.clone()
            swapped[[i, j]] = names[[j, i]]
            if fits(swapped) > fits(names):
                names = swapped
                improved = True
    return names
