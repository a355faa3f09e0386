"""The shipped index of families: cards and options, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

INDEX = Path(__file__).parents[1] / "families" / "index.json"


def read() -> dict[str, dict[str, Any]]:
    """Cards and options of every shipped family, by name."""
    loaded: dict[str, dict[str, Any]] = json.loads(INDEX.read_text(encoding="utf-8"))
    return loaded
