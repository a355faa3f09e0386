"""What objects say of themselves: lines in a console, tables in a notebook."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, final

from likeness.core.plain import plain

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 100  # characters of a line
LABEL_STYLE = "text-align:left;font-weight:600;padding-right:1.5em"
VALUE_STYLE = "text-align:left"


@dataclass(frozen=True)
class Overview:
    """A title, facts by their labels, and a table.

    Args:
        title: What the object is, in one line.
        facts: What a reader wants to know of it, in words.
        frame: Its first rows, or None.
    """

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    frame: pd.DataFrame | None = None

    def text(self) -> str:
        """Lines for a console; what a terminal would obey is escaped."""
        width = max(map(len, self.facts), default=0)
        lines = [self.title]
        for label, value in self.facts.items():
            lines += textwrap.wrap(
                value,
                WIDTH,
                initial_indent=f"  {label:{width}}  ",
                subsequent_indent=" " * (width + 4),
            )
        if self.frame is not None:
            table = self.frame.to_string(line_width=WIDTH, max_rows=len(self.frame))
            lines += ["", textwrap.indent(table, "  ")]
        return plain("\n".join(lines))

    def html(self) -> str:
        """The same for a notebook."""
        rows = "".join(
            f'<tr><th style="{LABEL_STYLE}">{escape(label)}</th>'
            f'<td style="{VALUE_STYLE}">{escape(value)}</td></tr>'
            for label, value in self.facts.items()
        )
        facts = f"<table>{rows}</table>" if rows else ""
        frame = "" if self.frame is None else self.frame.to_html(border=0)
        return f"<div><p><b>{escape(self.title)}</b></p>{facts}{frame}</div>"


class Shown(ABC):
    """Base of what shows itself by its overview."""

    @abstractmethod
    def overview(self) -> Overview:
        """What a reader wants to see of it."""

    @final
    def __repr__(self) -> str:
        return self.overview().text()

    @final
    def _repr_html_(self) -> str | None:
        """The overview as notebooks show it."""
        return self.overview().html()
