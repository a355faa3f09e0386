"""The shipped index of families: `python -m likeness.core.index` writes it, a test holds it to the families."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from likeness.core.registry import build_index


def text() -> str:
    """What families/index.json should hold."""
    return json.dumps(build_index(), indent=1, sort_keys=True, default=str) + "\n"


def main() -> None:
    """Write families/index.json."""
    path = Path(str(resources.files("likeness.families"))) / "index.json"
    path.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
