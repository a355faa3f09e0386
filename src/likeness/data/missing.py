"""Words that stand for nothing in the cells of tables."""

from __future__ import annotations

ALWAYS = frozenset({"", "?", "n/a", "nan", "-nan", "null", "<na>", "nat", "#n/a"})
# Categories among words, gaps among numbers and dates.
AMONG_NUMBERS = frozenset({
    "na", "none", "nil", "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "\u2026", ":", "*", "**", "\\n",
    "missing", "unknown", "unk", "undefined", "empty", "blank", "void", "tbd", "tba", "n.a.", "n.a", "n/d", "n.d.",
    "nd", "n/r", "n.r.", "nr", "(null)", "(none)", "(blank)", "(empty)", "(missing)", "[null]", "not available",
    "not applicable", "not known", "not reported", "no data", "k.a.", "k. a.", "keine angabe", "s/d", "s.d.",
    "#value!", "#div/0!", "#ref!", "#name?", "#num!", "#null!", "#n/a n/a", "#error!", "#na", "err", "error",
    "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
})  # fmt: skip
PLAIN = frozenset({"", "nan", "-nan", "na", "n/a", "null", "<na>", "nat", "none", "#n/a", "?"})


def nothing(text: str) -> bool:
    """Whether a word stands for nothing wherever it stands."""
    return text.lower() in ALWAYS


def nothing_among_numbers(text: str) -> bool:
    """Whether a word stands for nothing in a column of numbers or dates."""
    return text.lower() in ALWAYS or text.lower() in AMONG_NUMBERS


def noteworthy(text: str) -> bool:
    """Whether users should hear that the word was read as missing."""
    return text.lower() not in PLAIN
