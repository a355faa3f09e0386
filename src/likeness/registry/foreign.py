"""Files that anybody may have written: regular ones alone, of a size that is looked at before they are read."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from likeness.core.errors import BadStore
from likeness.core.files import patiently

MOST_BRACKETS = 1 << 20  # of one JSON text: each makes an object of its own
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def opened(path: Path) -> BinaryIO:
    """A regular file, open for reading; whatever would wait or never end is not even waited for.

    Raises:
        BadStore: If there is no such file, it is no regular one, or it may not be read.
    """
    try:
        handle = patiently(lambda: os.open(path, FLAGS))
    except FileNotFoundError as error:
        raise BadStore("there is no such file", where=str(path), do="check the path") from error
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise BadStore(
            f"the file cannot be read: {reason}", where=str(path), do="check the path"
        ) from error
    # Opened first and looked at then: a path could change between the two.
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    kind = next((words for holds, words in KINDS if holds(mode)), "something else")
    raise BadStore(f"this is {kind} where a file is expected", where=str(path), do="check the path")


def read(path: Path, most: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        BadStore: If it is none, or holds more than `most` bytes.
    """
    with opened(path) as file:
        # One byte more than is allowed tells that there is more.
        content = file.read(most + 1)
    if len(content) > most:
        raise BadStore(
            f"the file holds more than {most:,} bytes, which no saved model needs",
            where=str(path),
            do="check the path",
        )
    return content


def parsed(text: bytes, where: Path) -> Any:
    """JSON as Python holds it.

    Raises:
        BadStore: If it is none, or nested or branched beyond what any model says.
    """
    # Brackets bound nesting and branching before the parser meets them.
    if text.count(b"[") + text.count(b"{") > MOST_BRACKETS:
        raise BadStore(
            f"{where.name} has more lists than any model",
            where=str(where),
            do="save the model again",
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadStore(
            f"{where.name} is not JSON", where=str(where), do="save the model again"
        ) from error
