"""What a user names on the command line as package.module:name, imported because it was typed there."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from likeness.core.errors import BadConfig


def load(name: str) -> Any:
    """What stands under package.module:name; modules of the working directory come after those that are installed.

    Raises:
        BadConfig: Where nothing stands there.
    """
    module, _, path = name.partition(":")
    try:
        with _here():
            found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise BadConfig(
            f"{name!r} cannot be imported: {type(error).__name__}: {error}",
            do="write package.module:name",
        ) from error
    return found


@contextmanager
def _here() -> Iterator[None]:
    """With modules of the working directory at hand, while one is imported and no longer."""
    sys.path.append("")
    try:
        yield
    finally:
        sys.path.remove("")
