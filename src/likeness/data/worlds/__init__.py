"""Worlds: sources whose density, score, entropy, sampler and conditionals are known. Each is a Law."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from likeness.core.errors import BadConfig
from likeness.data.worlds.base import ClassWorld, Condition, World
from likeness.data.worlds.discrete import DISCRETE
from likeness.data.worlds.driven import DRIVEN
from likeness.data.worlds.gaussian import GAUSSIAN
from likeness.data.worlds.planar import PLANAR

WORLDS: dict[str, Callable[..., World]] = {**PLANAR, **DRIVEN, **GAUSSIAN, **DISCRETE}


def world(name: str, **options: Any) -> World:
    """The world of that name, with its options (`sigma`, `n`, `given`, ...).

    Raises:
        BadConfig: If there is no such world or option, with the nearest name.
    """
    make = WORLDS.get(name)
    if make is None:
        raise BadConfig(f"no world {name!r}", do=_nearest(name, list(WORLDS)))
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


__all__ = ["WORLDS", "ClassWorld", "Condition", "World", "world"]
