"""Families by name: a Card each, found through an index that needs no torch, built through one door."""

from __future__ import annotations

import difflib
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, resources
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from likeness.core.config import Config
from likeness.core.errors import BadConfig
from likeness.core.space import Space
from likeness.registry.index import read

if TYPE_CHECKING:
    from likeness.core.model import Model

FAMILIES: dict[str, type[Model]] = {}
CARDS: dict[str, Card] = {}
GROUP = "likeness.families"
M = TypeVar("M", bound=type[Any])


@dataclass(frozen=True)
class Card:
    """What a family is: shown by `likeness families`, in docs and in saved models.

    Args:
        name: The name that users type.
        title: A few words.
        group: "classical", "autoregressive", "latent" or "implicit".
        reference: The paper or book.
        year: Its year.
        summary: One sentence on what it is good for.
    """

    name: str
    title: str
    group: str
    reference: str
    year: int
    summary: str


def register(card: Card) -> Callable[[M], M]:
    """Enter a family under its card's name."""

    def keep(family: M) -> M:
        FAMILIES[card.name] = family
        CARDS[card.name] = card
        family.card = card
        return family

    return keep


def family(name: str) -> type[Model]:
    """The family of that name, imported on demand.

    Raises:
        BadConfig: If there is none, with the nearest name.
    """
    # Registered in this process already.
    if name in FAMILIES:
        _imported(FAMILIES[name].__module__)
        return FAMILIES[name]
    # Shipped: the index says which module holds it.
    shipped = read()
    if name in shipped:
        importlib.import_module(shipped[name]["module"])
        return FAMILIES[name]
    # Of another package, by entry point.
    for point in metadata.entry_points(group=GROUP):
        if point.name == name:
            point.load()
            return FAMILIES[name]
    # Unknown: the nearest name helps.
    names = sorted({*shipped, *FAMILIES})
    near = difflib.get_close_matches(name, names, n=1)
    raise BadConfig(
        f"there is no family {name!r}",
        do=f"did you mean {near[0]!r}?" if near else f"choose among {', '.join(names)}",
    )


def _imported(module: str) -> None:
    """Wait for another thread that has registered a family and still imports the rest of its file."""
    if module in sys.modules:
        importlib.import_module(module)


def load_all() -> dict[str, type[Model]]:
    """Every family there is: shipped, by entry point, and registered by hand."""
    for module in resources.files("likeness.families").iterdir():
        if module.name.endswith(".py") and not module.name.startswith("_"):
            importlib.import_module(f"likeness.families.{module.name[:-3]}")
    for point in metadata.entry_points(group=GROUP):
        point.load()
    return dict(FAMILIES)


def build(
    name: str,
    options: dict[str, Any] | Config,
    space: Space,
    given_space: Space | None = None,
    *,
    seed: int = 0,
) -> Model:
    """A new model of a family, its initial weights a function of `seed` alone.

    Raises:
        BadConfig: If the family does not take the Spaces, with its sentence, or an option is wrong.
    """
    from likeness.core.ambient import Seeded  # torch is not needed to list families
    from likeness.core.precision import products

    importlib.import_module("likeness.registry.store")  # it registers what writes models
    chosen = family(name)
    if isinstance(options, chosen.Config):
        config = options
    else:
        config = chosen.Config.parse(dict(options))
    # The family's own sentence where it does not take such data.
    answer = chosen.accepts(config, space, given_space)
    if not answer:
        raise BadConfig(f"{name} does not take these data: {answer.why}")
    # Initial weights from their own generator; ambient ones stay as they are.
    with Seeded(seed), products("fp32"):
        return chosen(config, space, given_space)


def _parse_nested(value: Any) -> Any:
    if value is None or value == "none":
        return None
    if isinstance(value, str):
        return family(value).Config.parse({})
    if isinstance(value, dict):
        if "family" not in value:
            raise ValueError("a nested family needs the key 'family', as in prior=flow")
        rest = {k: v for k, v in value.items() if k != "family"}
        return family(value["family"]).Config.parse(rest)
    if not isinstance(value, Config):
        raise ValueError("a nested family is a name, such as prior=flow, or none")
    return value


def name_of(config: Config) -> str:
    """The name of the family that a Config belongs to."""
    return next(n for n, f in FAMILIES.items() if f.Config is type(config))


def _dump_nested(config: Config | None) -> dict[str, Any] | None:
    if config is None:
        return None
    return {"family": name_of(config), **json.loads(config.model_dump_json())}


FamilyConfig = Annotated[
    Any,
    BeforeValidator(_parse_nested),
    PlainSerializer(_dump_nested),
    WithJsonSchema({"x-family": True}),
]
