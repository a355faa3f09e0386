"""Parts of inputs that break readers: odd text, odd JSON, and good bytes that were mangled."""

from __future__ import annotations

import random
import string
from typing import Any

ODD = (
    *(
        "",
        " ",
        "\0",
        "\x1b[2J",
        "[red]x",
        "=1+1",
        "nan",
        "inf",
        "-0",
        "1e999",
        "True",
        "None",
        "null",
        "..",
        "/",
        "~",
    ),
    *(
        "é",
        "é",
        "ﬁ",
        "İ",
        "\u202e",
        "\ufeff",
        "\U0001f600",
        "\ud800",
        "\r\n",
        "\t",
        '"',
        "'",
        "\\",
        "{",
        "a" * 5000,
    ),
)
NUMBERS = (0, -1, 1, 2, 255, 2**31, 2**53 + 1, 2**63, 10**30, -(2**63) - 1, 10**400)
MOST_EXACT = 2**53
FLOATS = (0.5, -0.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"))


def text(rng: random.Random, longest: int = 12) -> str:
    """A short text: letters, or anything at all."""
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(ODD)
    if kind < 0.7:
        return "".join(rng.choice(string.printable) for _ in range(rng.randrange(longest)))
    return "".join(chr(rng.randrange(0x250)) for _ in range(rng.randrange(longest)))


def value(rng: random.Random, depth: int = 3) -> Any:
    """Something that JSON can say."""
    kind = rng.randrange(9 if depth else 6)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind == 2:
        return rng.choice(NUMBERS)
    if kind == 3:
        return rng.choice(FLOATS)
    if kind < 6:
        return text(rng)
    if kind < 8:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {text(rng): value(rng, depth - 1) for _ in range(rng.randrange(4))}


def changed(rng: random.Random, good: Any) -> Any:
    """JSON with one place, chosen at random, replaced, removed, doubled or wrapped."""
    if isinstance(good, dict) and good and rng.random() < 0.85:
        key = rng.choice(list(good))
        if rng.random() < 0.1:
            return {k: v for k, v in good.items() if k != key}
        return {**good, key: changed(rng, good[key])}
    if isinstance(good, list) and good and rng.random() < 0.7:
        place = rng.randrange(len(good))
        middle = rng.choice(([], [good[place]] * 2, [changed(rng, good[place])]))
        return good[:place] + middle + good[place + 1 :]
    if isinstance(good, int | float) and not isinstance(good, bool) and rng.random() < 0.6:
        others = (-good, good + 1, good * 10**6, str(good), *NUMBERS, *FLOATS)
        return rng.choice(others if abs(good) > MOST_EXACT else (*others, float(good)))
    return rng.choice((value(rng), [good], {"x": good}))


def mangled(rng: random.Random, good: bytes, times: int = 3) -> bytes:
    """Bytes with some of them flipped, cut out, doubled, or replaced by others."""
    data = bytearray(good)
    for _ in range(rng.randrange(1, times + 1)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((1, 1, 2, 8, 64, len(data))))
        piece = bytes(data[start:end])
        other = rng.choice(
            (b"", piece * 2, rng.randbytes(len(piece)), b"\0" * len(piece), rng.randbytes(3))
        )
        data[start:end] = other
    return bytes(data)
