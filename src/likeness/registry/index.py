"""The shipped index of families, read without torch; `python -m likeness.registry.index` writes it, a test holds it."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any


def read() -> dict[str, dict[str, Any]]:
    """Cards and options of every shipped family, by name."""
    loaded: dict[str, dict[str, Any]] = json.loads(_file().read_text(encoding="utf-8"))
    return loaded


def _file() -> Path:
    return Path(str(resources.files("likeness.families"))) / "index.json"


def text() -> str:
    """What families/index.json should hold."""
    from likeness.registry.families import build_index  # readers of the index need no registry

    return json.dumps(build_index(), indent=1, sort_keys=True, default=str) + "\n"


def main() -> None:
    """Write families/index.json."""
    _file().write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
