"""Honest comparison: every family under one protocol, every number with its interval, one report.

Importing this package registers the writers of pictures; the rest is imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from likeness.evaluate import writers

if TYPE_CHECKING:
    from likeness.evaluate.comparison import Comparison, compare
    from likeness.evaluate.protocol import Options

_WHERE = {"Comparison": "comparison", "compare": "comparison", "Options": "protocol"}

__all__ = ["Comparison", "Options", "compare"]

writers.register()


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'likeness.evaluate' has no attribute {name!r}")
    return getattr(importlib.import_module(f"likeness.evaluate.{_WHERE[name]}"), name)
