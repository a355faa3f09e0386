"""Facts and numbers in words; light enough for a command line that has not loaded a model."""

from __future__ import annotations

from typing import Any


def plural(n: int, word: str) -> str:
    """A number with its noun: 1 row, 2,000 rows."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def copies_in_words(found: dict[str, Any]) -> str:
    """What an audit of drawn rows found, in one line."""
    if found["copies"]:
        verdict = "training rows were COPIED"
    else:
        verdict = "no sign of copying"
    again = 100 * found["duplicates"]
    own = 100 * found["duplicates_held_out"]
    return (
        f"copies: {again:.1f} % of {found['draws']} draws equal a training row and {100 - again:.1f} % are new; "
        f"{own:.1f} % of held-out rows equal one: {verdict} (p = {found['p_value']:.2g})"
    )
