"""The one family of exceptions: what was wrong, where it was, and what to do about it."""

from __future__ import annotations

from likeness.core.plain import plain


class LikenessError(Exception):
    """Something a user can mend.

    Args:
        what: One sentence on what was wrong.
        where: The place: a file, a row, a column, an option.
        do: What to do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, do: str | None = None) -> None:
        self.what = what
        self.where = where
        self.do = do
        place = f" ({where})" if where else ""
        remedy = f"; {do}" if do else ""
        super().__init__(plain(f"{what}{place}{remedy}"))  # a traceback shows it on a terminal


class Unsupported(LikenessError):
    """A question that this distribution cannot answer, with the reason."""


class BadData(LikenessError):
    """Data that cannot be read, or that do not lie in the Space they are meant for."""


class BadConfig(LikenessError):
    """An option, a Config or a command that makes no sense."""


class BadStore(LikenessError):
    """A saved model or checkpoint that is truncated, tampered with, or of another version."""
