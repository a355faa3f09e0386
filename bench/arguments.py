"""What the commands of this folder share."""

import json
from typing import Any


def assignment(text: str) -> tuple[str, Any]:
    """A name and a value from NAME=VALUE; what is not JSON is text."""
    name, value = text.split("=", 1)
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
