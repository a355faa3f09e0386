"""Text files: the encoding that their first bytes tell, and where their lines end."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from likeness.core.errors import BadData
from likeness.data.limits import TEXT_EXPANSION, read_bytes

# The mark of UTF-32 begins with that of UTF-16, so that it is looked for first.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
NAMES = {
    "utf-8": "UTF-8",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "utf-32-le": "UTF-32",
    "utf-32-be": "UTF-32",
}
NUL = "\0"
LINE_END = re.compile(r"(\r?\n)")
RETURN = re.compile(r"(\r)")


def decode(path: Path, do: str = "save the file as UTF-8") -> str:
    """The text in a file, compressed or not: UTF-8, or what its byte-order mark says.

    Where it is neither, the refusal tells the user to `do` something.

    Raises:
        BadData: If it is in another encoding or no text, naming the line; if it takes more memory
            than is allowed.
    """
    raw = _read(path)
    mark, encoding = _encoding(raw)
    bare = raw[len(mark) :]
    try:
        text = bare.decode(encoding)
    except UnicodeDecodeError as error:
        what = f"byte {len(mark) + error.start} is not {NAMES[encoding]}"
        raise _unreadable(what, path, bare[: error.start].decode(encoding), do) from error
    if NUL in text:
        what = "a NUL character: this is no text, or UTF-16 without a byte-order mark"
        raise _unreadable(what, path, text[: text.index(NUL)], do)
    return text


def _unreadable(what: str, path: Path, before: str, do: str) -> BadData:
    """The refusal of what stands behind the text `before`, which tells the line."""
    line = len(lines(before + NUL))
    return BadData(what, where=f"{path}, line {line}", do=do)


def encode(text: str, like: Path) -> bytes:
    """A text in the encoding of another file, behind its byte-order mark."""
    mark, encoding = _encoding(_read(like))
    return mark + text.encode(encoding)


def lines(text: str) -> list[str]:
    r"""The lines of a text without their ends: \n or \r\n, or \r where there is no \n.

    No other character ends a line, as wc and open() count them. What ends the last line begins no
    other.
    """
    parts = text.replace("\r\n", "\n").split("\n" if "\n" in text else "\r")
    if parts[-1]:
        return parts
    return parts[:-1]


def lines_with_ends(text: str) -> list[tuple[str, str]]:
    """The lines of a text, each with what ends it: together they are the text."""
    parts = (LINE_END if "\n" in text else RETURN).split(text)
    pairs = list(zip(parts[::2], [*parts[1::2], ""], strict=True))
    if parts[-1]:
        return pairs
    return pairs[:-1]


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, expansion=TEXT_EXPANSION)
    except OSError as error:
        raise BadData("the file cannot be read", where=str(path), do=str(error.strerror)) from error


def _encoding(raw: bytes) -> tuple[bytes, str]:
    """The byte-order mark that a file begins with, and the encoding that it tells; UTF-8 without one."""
    return next(((mark, name) for mark, name in MARKS if raw.startswith(mark)), (b"", "utf-8"))
