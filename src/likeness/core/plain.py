"""Text for a terminal: names of columns, categories and files may hold characters that a terminal obeys."""

from __future__ import annotations

# Characters of control but line feed and tab (ESC, DEL, and C1, whose U+009B is ESC [ in one), ends of lines
# that are none, marks that turn the direction of what follows (Boucher & Anderson 2021), and halves of surrogate
# pairs, which stand for bytes of names that are no text.
_OBEYED = (
    *(range(0x09), range(0x0B, 0x20), range(0x7F, 0xA0), range(0x2028, 0x202F)),
    *(range(0x61C, 0x61D), range(0x200E, 0x2010), range(0x2066, 0x206A), range(0xD800, 0xE000)),
)
_ESCAPES = {
    code: chr(code).encode("unicode_escape").decode("ascii") for codes in _OBEYED for code in codes
}


def plain(text: str) -> str:
    r"""The text with escapes such as \x1b where it held what a terminal obeys; lines and tabs stay."""
    return text.translate(_ESCAPES)
