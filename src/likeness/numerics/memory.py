"""Memory that stays with the process: what each pass frees and takes again must not go back to the system between."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

KEPT = 1 << 20  # numbers of an array that is kept with others of its size, and at most
MOST = 1 << 24
CACHED = 1 << 17  # numbers of an array that stays in a core's second cache
WALK = 256  # rows from which steps taken one after the other cost what their arithmetic costs
LARGEST = (
    2**25 - 2**16
)  # bytes; the largest block that glibc learns from is 32 MiB, its own bookkeeping included


@cache
def keep() -> None:
    """Let glibc keep up to 64 MiB of freed memory; elsewhere this does nothing.

    It takes blocks above a threshold from the system, where each page costs a fault when first
    written, and gives the end of the heap back beyond twice that threshold, which is the largest
    block ever freed, 32 MiB at most (mallopt(3), M_MMAP_THRESHOLD). One such block, never written,
    is freed here. Half of a pass of EM went into faults.
    """
    torch.empty(LARGEST, dtype=torch.uint8)


def kept_for_gradients(work: Callable[[], object]) -> int:
    """Bytes of the tensors that a computation keeps for its gradient, each counted once."""
    sizes: dict[int, int] = {}

    def keep_track(t: torch.Tensor) -> torch.Tensor:
        storage = t.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return t

    # What the computation made is held until it has ended, so that no address is given twice.
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep_track, lambda t: t):
        made = work()
    del made
    return sum(sizes.values())


def cached(numbers: int) -> int:
    """Rows of a chunk that several passes of simple arithmetic find in a core's cache, each of so many numbers."""
    return max(64, CACHED // max(numbers, 1))


def rows(numbers: int) -> int:
    """Rows of a chunk whose steps are walked one after the other, each row of so many numbers.

    Few enough that arrays are kept, but no fewer than make a walk worth its calls, unless even
    those take much memory.
    """
    return max(1, min(max(KEPT // numbers, WALK), MOST // numbers))
