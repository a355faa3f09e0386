"""Plain words on a terminal: columns that line up, answers on stdout, remarks on stderr."""

from __future__ import annotations

import io
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress

from likeness.core.plain import plain

WIDEST = 120


def say(line: str = "") -> None:
    """A line of the answer, on stdout."""
    print(plain(line), flush=True)


def give(text: str) -> None:
    """An answer that is data, on stdout: as it is in a pipe, with escapes for what a terminal obeys on one."""
    print(plain(text) if sys.stdout.isatty() else text, end="", flush=True)


def remark(line: str) -> None:
    """A line about the answer, on stderr, so that stdout can be piped; lost where the terminal has closed."""
    with suppress(OSError):
        print(plain(line), file=sys.stderr, flush=True)


def lossless() -> None:
    """Let stdout and stderr write escapes for what their encoding cannot hold, rather than stop the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def aligned(rows: Iterable[Sequence[str]], indent: str = "  ") -> list[str]:
    """Rows of words as lines whose cells stand under each other; the last cell is wrapped to the terminal."""
    table = [tuple(plain(cell).replace("\n", " ") for cell in row) for row in rows]
    if not table:
        return []
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]) - 1)]
    lines: list[str] = []
    for row in table:
        head = indent + "".join(
            f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False)
        )
        room = max(30, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns) - len(head))
        first, *more = textwrap.wrap(row[-1], room) or [""]
        lines.append((head + first).rstrip())
        lines += [" " * len(head) + line for line in more]
    return lines


def table(rows: Iterable[Sequence[str]], indent: str = "  ") -> None:
    """Say rows of words under each other."""
    for line in aligned(rows, indent):
        say(line)
