"""Filters of warnings, which are the process's own: one thread at a time changes them, and puts them back."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

_ALONE = threading.RLock()


@contextmanager
def filtered(action: Literal["ignore", "error"], kind: type[Warning] = Warning) -> Iterator[None]:
    """As `warnings.catch_warnings`, where two threads at once would leave each other's filters behind."""
    with _ALONE, warnings.catch_warnings():
        warnings.simplefilter(action, kind)
        yield


def _in_child() -> None:
    """A thread that held the lock when its process was forked does not live in the child."""
    global _ALONE  # noqa: PLW0603
    _ALONE = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
