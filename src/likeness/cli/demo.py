"""`likeness demo`: what the families can say about one small problem."""

from __future__ import annotations

import importlib
import importlib.util

from likeness.core.errors import Unsupported

MODULE = "likeness.evaluate.demo"


def demo() -> None:
    """Fit families side by side on a small problem."""
    if importlib.util.find_spec(MODULE) is None:
        raise Unsupported("this copy has no demonstration", do="try likeness compare digits --families vae,flow")
    importlib.import_module(MODULE).main()
