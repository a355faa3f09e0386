"""What the shipped index holds of each family; `python -m likeness.registry.entries` writes it, a test holds it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from likeness.core.config import Config
from likeness.registry.families import CARDS, FAMILIES, family, load_all
from likeness.registry.index import INDEX


def build_index() -> dict[str, dict[str, Any]]:
    """What the shipped index should hold, from the families themselves."""
    load_all()
    return {
        n: entry(n)
        for n in sorted(FAMILIES)
        if FAMILIES[n].__module__.startswith("likeness.families.")
    }


def entry(name: str) -> dict[str, Any]:
    """What an index holds of one family: its card, its module, its options."""
    chosen = family(name)
    return {
        "card": asdict(CARDS[name]),
        "module": chosen.__module__,
        "options": _fields(chosen.Config),
    }


def _fields(config: type[Config]) -> list[dict[str, Any]]:
    rows = []
    for name, info in config.model_fields.items():
        if isinstance(info.json_schema_extra, dict):
            extra = info.json_schema_extra
        else:
            extra = {}
        default = json.loads(json.dumps(info.default, default=str))
        kind = str(info.annotation).replace("typing.", "").replace("<class '", "").replace("'>", "")
        rows.append(
            {
                "name": name,
                "type": kind,
                "default": default,
                "meaning": info.description,
                "section": extra.get("section"),
            }
        )
    return rows


def text() -> str:
    """What families/index.json should hold."""
    return json.dumps(build_index(), indent=1, sort_keys=True, default=str) + "\n"


def main() -> None:
    """Write families/index.json."""
    INDEX.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
