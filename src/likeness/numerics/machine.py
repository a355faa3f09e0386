"""What the machine has."""

from __future__ import annotations

import os


def memory() -> float | None:
    """Its memory in bytes, None where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
