"""`likeness families`: what there is, and what each takes, read from the shipped index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from likeness.cli import options
from likeness.cli.arguments import complete_family
from likeness.cli.text import aligned, say, table
from likeness.registry.index import read

SECTIONS = {"family": "the model", "objective": "what is learned", "optimiser": "how it is learned"}
_TYPES = (
    (r"Union\[(.*)\]", r"\1"),
    (r"Literal\[([^\]]*)\]", lambda m: m[1].replace(", ", "|").replace("'", "")),
    (r"tuple\[(\w+), \.\.\.\]", r"\1s between commas"),
    (r"\bAny\b", "family"),
    (r"\bint", "whole number"),
    (r"\bfloat", "number"),
    (r"\bbool\b", "true|false"),
    (r"\bstr\b", "text"),
    (r" \| |, ", " or "),
    (r"\bNone\b", "none"),
)


def families(
    name: Annotated[
        str | None,
        typer.Argument(metavar="FAMILY", help="Print its options.", autocompletion=complete_family),
    ] = None,
) -> None:
    """List the families, or the options of one.

    likeness families vae
    """
    if name is None:
        _all()
    else:
        _one(name)


def _all() -> None:
    cards = [entry["card"] for entry in read().values()] + _others()
    for group in dict.fromkeys(
        card["group"] for card in sorted(cards, key=lambda c: str(c["group"]))
    ):
        say(group)
        table((card["name"], card["summary"]) for card in cards if card["group"] == group)
    say("options of one: likeness families NAME")


def _others() -> list[dict[str, Any]]:
    """Families of other packages, by entry point: their names alone, as their code is not loaded for a list."""
    from importlib import metadata

    points = metadata.entry_points(group="likeness.families")
    return [{"name": p.name, "group": "of other packages", "summary": p.value} for p in points]


def _one(name: str) -> None:
    entry = read().get(options.known(name)) or _loaded(name)
    card = entry["card"]
    say(f"{card['name']}: {card['title']} ({card['reference']}, {card['year']})")
    say(card["summary"])
    for section, title in SECTIONS.items():
        rows = [row for row in entry["options"] if (row["section"] or "family") == section]
        if rows:
            say(f"{title}:")
            for line in aligned([_option(row) for row in rows]):
                say(line)
    say(f"for example: likeness fit data.csv {name} {_example(entry['options'])}".rstrip())


def _loaded(name: str) -> dict[str, Any]:
    """The entry of a family of another package."""
    from likeness.registry.entries import entry

    return entry(name)


def _option(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{row['name']}={shown(row['default'])}", kind(str(row["type"])), str(row["meaning"])


def shown(default: Any) -> str:
    """A default as it is typed."""
    if isinstance(default, list):
        return ",".join(map(shown, default)) or "()"
    if isinstance(default, float):
        return f"{default:g}"
    return {"None": "none", "True": "true", "False": "false"}.get(str(default), str(default))


def kind(annotation: str) -> str:
    """A type in a few words."""
    for pattern, words in _TYPES:
        annotation = re.sub(pattern, words, annotation)
    return annotation


def _example(rows: list[Mapping[str, Any]]) -> str:
    """Two numbers that a first user may turn, at their defaults."""
    own = [
        row
        for row in rows
        if row["section"] == "family" and row["type"] in {"int", "tuple[int, ...]"}
    ]
    return " ".join(f"{row['name']}={shown(row['default'])}" for row in own[:2])
