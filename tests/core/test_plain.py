"""Text for a terminal holds nothing that a terminal obeys, and is otherwise as it was."""

import sys
import unicodedata

import pytest

from likeness.core.errors import BadData
from likeness.core.plain import plain

# What Unicode says of a character's direction, where it turns what follows it.
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
ALL = [chr(code) for code in range(sys.maxunicode + 1)]


def obeyed(c: str) -> bool:
    control = unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} and c not in "\n\t"
    return control or unicodedata.bidirectional(c) in TURNING or c in "\u061c\u200e\u200f"


def test_what_a_terminal_obeys_is_escaped_and_nothing_else() -> None:
    changed = {c for c in ALL if plain(c) != c}
    assert changed == {c for c in ALL if obeyed(c)}
    assert all(plain(c).isascii() and plain(c).isprintable() for c in changed)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("\x1b]8;;x://a\x07b", r"\x1b]8;;x://a\x07b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\rb", r"a\rb"),
        ("caf\udce9", r"caf\udce9"),
        ("Genève, größe\n\t\U0001f468\u200d\U0001f469", None),
    ],
)
def test_escapes_are_those_of_python(text: str, words: str | None) -> None:
    assert plain(text) == (words or text)
    assert plain(plain(text)) == plain(text)


def test_an_error_is_plain_and_keeps_what_it_speaks_of() -> None:
    error = BadData("no column \x1b[2J", where="a\u202eb", do="leave \x9b out")
    assert str(error) == r"no column \x1b[2J (a\u202eb); leave \x9b out"
    assert error.where == "a\u202eb"
