"""Docstrings are plain text with `code` in them: what reStructuredText would take for markup is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

CODE = re.compile(r"(?P<before>\w?)`+(?P<code>[^`]+)`+(?P<after>\w?)")
MARKUP = re.compile(r"[*|]|_(?=\W|$)|\\(?=\w)")
SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes|Example|Examples|Note):\s*$")
ITEM = re.compile(r"([-*+]|\d+\.|\(?\d+\)) ")
REQUEST = re.compile(r"set_\w+_request$|get_metadata_routing$")


def escaped(text: str) -> str:
    """A text in which only what stands in backticks is markup."""
    parts, end = [], 0
    for found in CODE.finditer(text):
        parts += [quoted(text[end : found.start()]), coded(found)]
        end = found.end()
    return "".join([*parts, quoted(text[end:])])


def quoted(text: str) -> str:
    """A text without markup."""
    return MARKUP.sub(lambda found: "\\" + found[0], text)


def coded(found: re.Match[str]) -> str:
    """A span of code, kept apart from letters that touch it."""
    before = found["before"] + ("\\ " if found["before"] else "")
    after = ("\\ " if found["after"] else "") + found["after"]
    return f"{before}``{found['code'].strip()}``{after}"


def blocks(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Runs of lines, and whether each is a formula: indented below a sentence, outside sections and lists."""
    run: list[str] = []
    formula = section = item = False
    for line in lines:
        indented = line.startswith(" ")
        if line.strip() and not indented:
            section = bool(SECTION.match(line))
            item = bool(ITEM.match(line))
        now = indented and not section and not item
        if now != formula and line.strip():
            yield formula, run
            run, formula = [], now
        run.append(line)
    yield formula, run


def rendered(lines: list[str]) -> list[str]:
    """A docstring as napoleon and reStructuredText want it."""
    out: list[str] = []
    for formula, run in blocks(lines):
        if formula:
            out += ["", "::", "", *run, ""]
        else:
            out += escaped("\n".join(run)).split("\n") if run else []
    return out


def plain(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Render a docstring's lines in place, before napoleon reads its sections."""
    lines[:] = rendered(lines)


def foreign(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn adds to every estimator."""
    return True if REQUEST.match(name) else None


def setup(app: Any) -> dict[str, bool]:
    """Connect the hook ahead of napoleon's."""
    app.connect("autodoc-process-docstring", plain, priority=100)
    app.connect("autodoc-skip-member", foreign)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
