"""Synthetic data: sources whose density, score, entropy, sampler and conditionals are known. Each is a Distribution."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from likeness.core.errors import BadConfig
from likeness.data.synthetic.base import Condition, SyntheticClasses, SyntheticDistribution
from likeness.data.synthetic.discrete import DISCRETE
from likeness.data.synthetic.driven import DRIVEN
from likeness.data.synthetic.gaussian import GAUSSIAN
from likeness.data.synthetic.planar import PLANAR

SYNTHETIC: dict[str, Callable[..., SyntheticDistribution]] = {
    **PLANAR,
    **DRIVEN,
    **GAUSSIAN,
    **DISCRETE,
}


def world(name: str, **options: Any) -> SyntheticDistribution:
    """The world of that name, with its options (`sigma`, `n`, `given`, ...).

    Raises:
        BadConfig: If there is no such world or option, with the nearest name.
    """
    make = SYNTHETIC.get(name)
    if make is None:
        raise BadConfig(f"no world {name!r}", do=_nearest(name, list(SYNTHETIC)))
    known = list(inspect.signature(make).parameters)
    for option in options:
        if option not in known:
            raise BadConfig(
                f"the world {name} has no option {option!r}", do=_nearest(option, known)
            )
    return make(**options)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"choose among {', '.join(known) or 'none'}"


__all__ = ["SYNTHETIC", "Condition", "SyntheticClasses", "SyntheticDistribution", "world"]
