"""Families by name, the shipped index of them, and saved models."""

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
