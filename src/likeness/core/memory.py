"""Memory that stays with the process: what each pass frees and takes again must not go back to the system between."""

from __future__ import annotations

from functools import cache

import torch

LARGEST = 2**25 - 2**16  # bytes; the largest block that glibc learns from is 32 MiB, its own bookkeeping included


@cache
def keep() -> None:
    """Let glibc keep up to 64 MiB of freed memory; elsewhere this does nothing.

    It takes blocks above a threshold from the system, where each page costs a fault when first written, and gives the
    end of the heap back beyond twice that threshold, which is the largest block ever freed, 32 MiB at most (mallopt(3),
    M_MMAP_THRESHOLD). One such block, never written, is freed here. Half of a pass of EM went into faults.
    """
    torch.empty(LARGEST, dtype=torch.uint8)
