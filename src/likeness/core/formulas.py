"""Text that a spreadsheet would run as a formula, with an apostrophe before it where somebody asks for that.

A cell that begins with = + - @, a tab or a return is run by Excel, LibreOffice and others when a .csv
is opened (OWASP, CSV Injection).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FIRST = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # those of full width are taken for the same
NUMBERS = "fiubc"  # kinds of numpy's types that hold no text
# A signed number as people write it, with its unit: no operator after the sign, no call, no reference.
_NUMBER = re.compile(
    r"[+-] ?[€$£¥]? ?\d[\d.,'_\u00a0\u202f]*([eE][+-]?\d+)?[ \u00a0\u202f]?([%€$£¥]|[A-Za-z]{1,4})?|[+-]inf"
)
_ASKED: ContextVar[bool] = ContextVar("safe", default=False)


@contextmanager
def defused(safe: bool = True) -> Iterator[None]:
    """Inside, tables that are written as text have no cell that a spreadsheet would run."""
    token = _ASKED.set(safe)
    try:
        yield
    finally:
        _ASKED.reset(token)


def cell(value: Any) -> Any:
    """A value as it may stand in a spreadsheet: text that would be a formula has an apostrophe before it."""
    if isinstance(value, str) and value.startswith(FIRST) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def safe(text: str) -> str:
    """A name as it may stand in a spreadsheet where that was asked for, else as it is."""
    return str(cell(text)) if _ASKED.get() else text


def checked(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its text, names included, as it may stand in a spreadsheet where that was asked for."""
    if not _ASKED.get():
        return frame
    import pandas as pd

    if not frame.shape[1]:
        return frame
    columns = [_column(frame.iloc[:, place]) for place in range(frame.shape[1])]
    made = pd.concat(columns, axis=1)
    return made.set_axis([cell(name) for name in frame.columns], axis=1)


def _column(column: pd.Series[Any]) -> pd.Series[Any]:
    if column.dtype.kind in {*NUMBERS, "M", "m"}:
        return column
    return column.astype(object).map(cell)
