"""Families by name, the shipped index of them, and saved models.

Names are imported when first used, so that the command line reads the index without loading pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from likeness.registry.families import (
        CARDS,
        FAMILIES,
        Card,
        FamilyConfig,
        build,
        family,
        load_all,
        name_of,
        register,
    )

__all__ = [
    "CARDS",
    "FAMILIES",
    "Card",
    "FamilyConfig",
    "build",
    "family",
    "load_all",
    "name_of",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'likeness.registry' has no attribute {name!r}")
    from likeness.registry import families

    return getattr(families, name)
