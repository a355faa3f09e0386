"""Affine recurrences z_t = z_t-1 G + u_t, step by step or, where they are long and narrow, side by side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LONG = 64  # steps that share a gain, and numbers of a step, from and up to which doubling pays
NARROW = 128


def affine_scan(
    start: Tensor,
    gain: Tensor,
    drive: Tensor,
    out: Tensor,
    *,
    backward: bool = False,
    restart: Callable[[int, Tensor], Tensor] | None = None,
) -> Tensor:
    """z_t = z_t-1 G + u_t for all steps, written to `out`; the last one reached.

    Args:
        start: What the first step follows, (R, Q), or (B, n, Q) where each of B has a gain of its
            own.
        gain: G, (Q, Q) or (B, Q, Q).
        drive: u, (T, *start.shape).
        out: Where z goes, like `drive`.
        backward: Whether the steps are taken from the last to the first.
        restart: z_t from t and what it would be, where some rows begin anew.
    """
    # Long and narrow: log2 T passes over all steps beat T small products.
    if restart is None and gain.dim() == 2 and len(drive) >= LONG and start.numel() <= NARROW:
        order = drive.flip(0) if backward else drive
        z = _doubled(order, start, gain)
        out.copy_(z.flip(0) if backward else z)
        return z[-1]
    fused = torch.addmm if gain.dim() == 2 else torch.baddbmm
    steps = range(len(drive))
    z = start
    for t in reversed(steps) if backward else steps:
        # z G + u in one fused call a step.
        z = fused(drive[t], z, gain)
        if restart is not None:
            z = restart(t, z)
        out[t] = z
    return z


def _doubled(drive: Tensor, start: Tensor, gain: Tensor) -> Tensor:
    """All steps at once, (T, R, Q): each pass doubles how far back a step sees.

    Hillis & Steele, Data parallel algorithms, 1986.
    """
    z = drive.clone()
    z[0] += start @ gain
    power = gain
    reach = 1
    while reach < len(z) and bool(power.any()):
        # After this pass z_t holds u_t + u_t-1 G + ... over 2 reach steps.
        z[reach:] += z[:-reach] @ power
        power = power @ power
        reach = 2 * reach
    return z
