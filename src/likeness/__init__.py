"""Likeness: fit a distribution to your data with any family of model, and ask it questions.

Names are imported when first used, so that `import likeness` and the command line start at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from likeness.api import compare, fit, load
    from likeness.check import check
    from likeness.core.batch import Batch
    from likeness.core.errors import LikenessError
    from likeness.core.space import Count, Nominal, Ordinal, Real, Space
    from likeness.data.synthetic import world
    from likeness.learn.run import Run
    from likeness.query import query
    from likeness.registry.reading import open_model as open

__version__ = "0.1.0"

_WHERE = {
    "Batch": ("likeness.core.batch", "Batch"),
    "Count": ("likeness.core.space", "Count"),
    "LikenessError": ("likeness.core.errors", "LikenessError"),
    "Nominal": ("likeness.core.space", "Nominal"),
    "Ordinal": ("likeness.core.space", "Ordinal"),
    "Real": ("likeness.core.space", "Real"),
    "Run": ("likeness.learn.run", "Run"),
    "Space": ("likeness.core.space", "Space"),
    "check": ("likeness.check", "check"),
    "compare": ("likeness.api", "compare"),
    "fit": ("likeness.api", "fit"),
    "load": ("likeness.api", "load"),
    "open": ("likeness.registry.reading", "open_model"),
    "query": ("likeness.query", "query"),
    "world": ("likeness.data.synthetic", "world"),
}
# Layers that only register what others look up: routes, readers of frames, writers of pictures.
_REGISTERING = ("likeness.routes", "likeness.data.load", "likeness.evaluate")
_NEEDS_THEM = {"fit", "open", "compare", "check", "load", "Run"}

__all__ = [
    "Batch",
    "Count",
    "LikenessError",
    "Nominal",
    "Ordinal",
    "Real",
    "Run",
    "Space",
    "check",
    "compare",
    "fit",
    "load",
    "open",
    "query",
    "world",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'likeness' has no attribute {name!r}")
    if name in _NEEDS_THEM:
        for module in _REGISTERING:
            importlib.import_module(module)
    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
