"""Functions that share their name with the module that holds them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def callable_module(name: str, function: Callable[..., Any]) -> None:
    """Let the module `name` be called as `function`: importing it binds the package's attribute to the module."""

    class CallableModule(ModuleType):
        def __call__(self, *args: Any, **named: Any) -> Any:
            return function(*args, **named)

    sys.modules[name].__class__ = CallableModule
