"""Linear recurrences of many steps taken side by side."""

from __future__ import annotations

from torch import Tensor


def scanned(given: Tensor, start: Tensor, gain: Tensor) -> Tensor:
    """z_t = z_t-1 gain + given_t for all steps at once, (T, R, Q): each pass doubles how far back a step sees.

    Hillis & Steele, Data parallel algorithms, 1986.
    """
    z = given.clone()
    z[0] += start @ gain
    power = gain
    reach = 1
    while reach < len(z) and bool(power.any()):
        z[reach:] += z[:-reach] @ power
        power = power @ power
        reach = 2 * reach
    return z
